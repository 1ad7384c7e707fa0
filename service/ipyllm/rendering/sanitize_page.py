"""Sanitiser for a whole HTML page that a model wrote: removes what could fetch, submit or run scripts.

The frame around it (no scripts, a policy that forbids fetching) is the second protection. This one also removes what
browsers do before they apply a policy, such as ``<link rel="preconnect">``.
"""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING

from ipyllm.rendering.sanitize_answer import is_raster_image

if TYPE_CHECKING:
    import nh3

__all__ = ["sanitize_page"]

_TAGS = set(
    "a abbr address article aside b bdi bdo blockquote br button caption center cite code col colgroup dd del details "  # noqa: SIM905 - a list of words
    "dfn div dl dt em figcaption figure footer h1 h2 h3 h4 h5 h6 header hr i img ins kbd label legend li main mark "
    "meter nav ol p pre progress q s samp section small span strong style sub summary sup table tbody td tfoot th "
    "thead time tr u ul var wbr "
    "svg g path rect circle ellipse line polyline polygon text tspan title desc defs linearGradient "
    "radialGradient stop clipPath".split()
)
_ATTRIBUTES = set(
    "class style title dir lang role width height colspan rowspan scope span open value min max low high optimum "  # noqa: SIM905 - a list of words
    "align valign bgcolor color border cellpadding cellspacing "
    "viewBox xmlns x y x1 x2 y1 y2 cx cy r rx ry d points fill fill-opacity fill-rule stroke stroke-width "
    "stroke-opacity stroke-linecap stroke-linejoin stroke-dasharray opacity transform font-size font-family "
    "font-weight text-anchor dominant-baseline offset stop-color stop-opacity gradientUnits gradientTransform "
    "preserveAspectRatio id".split()
)
_FETCHES = re.compile(
    r"url\s*\(\s*['\"]?(?!#|data:image/(?:png|jpeg|gif|webp))|@import|image-set|expression\s*\(|\\", re.IGNORECASE
)


def sanitize_page(html: str) -> str:
    """Return ``html`` with layout, styles and drawings only."""
    return _cleaner().clean(html)


@cache
def _cleaner() -> nh3.Cleaner:
    import nh3

    return nh3.Cleaner(
        tags=_TAGS,
        clean_content_tags={"script", "iframe", "object", "template", "noscript"},
        attributes={"*": _ATTRIBUTES, "a": {"href"}, "img": {"src", "alt"}},
        set_tag_attribute_values={"a": {"rel": "noopener noreferrer nofollow", "target": "_blank"}},
        url_schemes={"http", "https", "mailto", "data"},
        url_relative="deny",
        attribute_filter=_filter,
        link_rel=None,
    )


def _filter(_tag: str, attribute: str, value: str) -> str | None:
    if attribute == "src":
        return value if is_raster_image(value) else None
    if attribute == "href":
        return None if value.lower().startswith("data:") else value
    if _FETCHES.search(value):
        return None
    return value
