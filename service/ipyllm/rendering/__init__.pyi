from .answer_bundle import answer_bundle
from .answer_columns import Column, columns_html, columns_markdown, columns_text, reasoning_html
from .blocks import BlockStream
from .footer import ending_text, footer_html, footer_markdown, footer_text
from .growing_answer import GrowingAnswer, GrowingCall, GrowingText
from .markdown import to_html
from .markdown_source import escape_markdown, to_markdown
from .style import CSS, LIVE_STYLE, STYLE, copy_script, styled, styles_for

__all__ = [
    "CSS",
    "LIVE_STYLE",
    "STYLE",
    "BlockStream",
    "Column",
    "GrowingAnswer",
    "GrowingCall",
    "GrowingText",
    "answer_bundle",
    "columns_html",
    "columns_markdown",
    "columns_text",
    "copy_script",
    "ending_text",
    "escape_markdown",
    "footer_html",
    "footer_markdown",
    "footer_text",
    "reasoning_html",
    "styled",
    "styles_for",
    "to_html",
    "to_markdown",
]
