"""The browser's front end: the chat widget, over the service layer ``ipyllm``."""

from __future__ import annotations

from ipyllm_widgets.chat import ChatWidget

__all__ = ["ChatWidget"]
