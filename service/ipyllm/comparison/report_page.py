"""The page of a report: its style on screens, dark ones too, and on paper."""

from __future__ import annotations

from html import escape
from typing import Protocol

from ipyllm.rendering import STYLE
from ipyllm.text.terminal import strip_control_sequences

__all__ = ["PagePart", "page"]

_PAGE = """\
<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8">
<meta http-equiv="Content-Security-Policy"
content="default-src 'none'; style-src 'unsafe-inline'; img-src data:{script}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
{answer_style}
<style>
{style}
</style></head><body>
<h1>{title}</h1>
{body}
</body></html>
"""

_STYLE = """\
:root{color-scheme:light dark;--line:#8884;--soft:#8881}
body{font:16px/1.5 system-ui,sans-serif;max-width:75rem;margin:2rem auto;padding:0 1rem;
background:light-dark(#fff,#111418);color:light-dark(#24292f,#e4e7eb)}
h1{font-size:1.7rem;margin-bottom:.2rem} h2{font-size:1.25rem;margin-top:2.5rem}
h3{font-size:1rem;margin:1.4rem 0 .3rem} :is(h1,h2,h3,p,li){overflow-wrap:anywhere}
.facts,.method{opacity:.8;font-size:.9rem} ul.method{padding-left:1.2rem}
.headline{font-size:1.35rem;font-weight:600;line-height:1.35;margin:1rem 0 .3rem}
.beside{font-size:1.05rem;margin:.2rem 0}
.ipyllm-scroller{overflow-x:auto}
.tabled table{border-collapse:collapse;width:100%;font-size:.8rem;line-height:1.35;border:0;
font-variant-numeric:tabular-nums}
.tabled.lead table{font-size:.9rem;margin-top:1.2rem}
.tabled :is(th,td){border:0;border-bottom:1px solid var(--line);padding:.35rem .5rem;
text-align:right;vertical-align:top}
.tabled :is(th:first-child){text-align:left;overflow-wrap:anywhere;min-width:8rem;max-width:20rem}
.tabled thead th{vertical-align:bottom;font-weight:600} .tabled tbody th{font-weight:500}
.tabled small{display:block;font-size:.85em;font-weight:400;opacity:.85}
.tabled .better{color:light-dark(#0a6b3d,#5fd39a)} .tabled .worse,.failed{color:light-dark(#b3261e,#ff8a80)}
img{max-width:100%;height:auto} img.dark{display:none}
@media screen and (prefers-color-scheme:dark){img.light{display:none} img.dark{display:inline}}
details{border-bottom:1px solid var(--line);padding:.4rem 0} summary{cursor:pointer;overflow-wrap:anywhere}
.answer{margin:.6rem 0 .6rem 1rem;padding:.5rem .8rem;background:var(--soft);border-radius:.4rem;overflow-x:auto}
.answer header{font-size:.85rem;opacity:.85;margin-bottom:.3rem}
pre.prompt{white-space:pre-wrap;overflow-wrap:anywhere;margin:.5rem 0 .5rem 1rem;font-size:.9rem}
@page{size:A4;margin:14mm}
@media print{:root{color-scheme:only light} .ipyllm-xpage{display:none}
body{font-size:10pt;max-width:none;margin:0;padding:0;background:#fff;color:#000}
.tabled table{font-size:7pt} .tabled.lead table{font-size:8pt} .tabled :is(th,td){padding:.2rem .15rem}
.tabled :is(th:first-child){min-width:5rem;max-width:12rem} .ipyllm-scroller{overflow:visible}
h1,h2,h3{break-after:avoid} :is(tr,img,.headline,.answer header){break-inside:avoid} p,li{orphans:3;widows:3}
.details{break-before:page}}"""


class PagePart(Protocol):
    """A part of a page that has a script."""

    @property
    def html(self) -> str:
        """The part, with its script."""

    @property
    def script_source(self) -> str:
        """The source expression by which a content security policy allows the script."""


def page(title: str, body: str, script_source: str = "") -> str:
    """Return a page of a title, which is text, and a body, which is HTML; only the script of that source runs in it."""
    shown = escape(strip_control_sequences(title))
    script = f"; script-src {script_source}" if script_source else ""
    return _PAGE.format(title=shown, script=script, answer_style=STYLE, style=_STYLE, body=body)
