from .answer_columns import COLUMNS_CSS, COLUMNS_STYLE, Column, columns_html, columns_text, reasoning_html
from .blocks import BlockStream
from .footer import footer_html, footer_text
from .growing_answer import GrowingAnswer, GrowingCall, GrowingText
from .markdown import to_html
from .style import CSS, STYLE

__all__ = [
    "COLUMNS_CSS",
    "COLUMNS_STYLE",
    "CSS",
    "STYLE",
    "BlockStream",
    "Column",
    "GrowingAnswer",
    "GrowingCall",
    "GrowingText",
    "columns_html",
    "columns_text",
    "footer_html",
    "footer_text",
    "reasoning_html",
    "to_html",
]
