"""From a model's answer, which is untrusted, to what a notebook, widget, export or terminal may show.

Everything a front end draws of an answer passes here. The names below load on first use, because the parser,
the highlighter and the sanitiser behind them take a tenth of a second to import.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ipyllm.rendering.blocks import BlockStream
    from ipyllm.rendering.columns import COLUMNS_CSS, COLUMNS_STYLE, Column, columns_html, columns_text, reasoning_html
    from ipyllm.rendering.footer import footer_html, footer_text
    from ipyllm.rendering.markdown import to_html
    from ipyllm.rendering.style import CSS, STYLE
    from ipyllm.text.terminal import TerminalFilter, plain

__all__ = [
    "COLUMNS_CSS",
    "COLUMNS_STYLE",
    "CSS",
    "STYLE",
    "BlockStream",
    "Column",
    "TerminalFilter",
    "columns_html",
    "columns_text",
    "footer_html",
    "footer_text",
    "plain",
    "reasoning_html",
    "to_html",
]

_HOMES = {
    "BlockStream": "blocks",
    "COLUMNS_CSS": "columns",
    "COLUMNS_STYLE": "columns",
    "CSS": "style",
    "Column": "columns",
    "STYLE": "style",
    "TerminalFilter": "terminal",
    "columns_html": "columns",
    "columns_text": "columns",
    "footer_html": "footer",
    "footer_text": "footer",
    "plain": "terminal",
    "reasoning_html": "columns",
    "to_html": "markdown",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
