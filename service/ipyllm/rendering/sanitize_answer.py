"""Sanitiser for the HTML of an answer: a list of allowed tags, attributes, classes and addresses.

The last step before HTML leaves :mod:`ipyllm.rendering`. It does not trust the parser.
"""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING

from ipyllm.rendering.highlight import CLASSES, LANGUAGE_CLASSES
from ipyllm.rendering.math_text import HIDDEN_TAGS
from ipyllm.rendering.tex import MATHML_ATTRIBUTES, MATHML_TAGS

if TYPE_CHECKING:
    import nh3

__all__ = ["is_raster_image", "sanitize"]


_TAGS = set(
    "a blockquote br code del div em h1 h2 h3 h4 h5 h6 hr img kbd li ol p pre s span strong sub sup table tbody td "  # noqa: SIM905 - a list of words
    "th thead tr ul".split()
)
_ALIGNMENTS = {f"text-align:{side}" for side in ("left", "center", "right")}
_LINK = re.compile(r"(?:https?://|mailto:)", re.IGNORECASE)
_RASTER = re.compile(r"data:image/(?:png|jpeg|gif|webp);base64,[A-Za-z0-9+/]+={0,2}")


def sanitize(html: str) -> str:
    """Return ``html`` without anything that is not allowed."""
    return _cleaner().clean(html)


def is_raster_image(address: str) -> bool:
    """Return whether ``address`` is a data: URL of pixels, which can neither fetch nor run scripts as an SVG could."""
    return _RASTER.fullmatch(address) is not None


@cache
def _cleaner() -> nh3.Cleaner:
    import nh3

    return nh3.Cleaner(
        tags=_TAGS | MATHML_TAGS | HIDDEN_TAGS,
        attributes={
            "a": {"href"},
            "img": {"src", "alt"},
            "ol": {"start"},
            **{tag: set(MATHML_ATTRIBUTES) for tag in MATHML_TAGS},
        },
        tag_attribute_values={
            "a": {"target": {"_blank"}},
            "li": {"dir": {"auto"}},
            **{
                tag: {"dir": {"auto"}, "style": _ALIGNMENTS}
                for tag in ("p", "h1", "h2", "h3", "h4", "h5", "h6", "td", "th")
            },
            **{tag: {"dir": {"ltr", "rtl"}} for tag in ("blockquote", "ol", "table", "ul")},
        },
        # One attribute per tag: nh3 writes several in random order, and equal answers must give equal HTML.
        set_tag_attribute_values={"a": {"rel": "noopener noreferrer nofollow"}, "pre": {"dir": "ltr"}},
        allowed_classes={
            "code": set(LANGUAGE_CLASSES),
            "span": set(CLASSES) | {"ipyllm-math"},
            "li": {"ipyllm-task"},
            "p": {"ipyllm-footnote"},
            "ol": {"ipyllm-part"},
            "ul": {"ipyllm-part"},
        },
        # `data` is for images; the filter below removes it from links.
        url_schemes={"http", "https", "mailto", "data"},
        url_relative="deny",
        attribute_filter=_filter,
        link_rel=None,
    )


def _filter(_tag: str, attribute: str, value: str) -> str | None:
    if attribute == "href":
        return value if _LINK.match(value) else None
    if attribute == "src":
        return value if is_raster_image(value) else None
    return value
