"""The browser's front end: chat, comparison and dashboard, over the service layer ``ipyllm``."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ipyllm_widgets.chat.widget import ChatWidget
    from ipyllm_widgets.compare.widget import CompareWidget
    from ipyllm_widgets.dashboard import UsageDashboard

__all__ = ["ChatWidget", "CompareWidget", "UsageDashboard"]

_HOMES = {"ChatWidget": "chat.widget", "CompareWidget": "compare.widget", "UsageDashboard": "dashboard"}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
