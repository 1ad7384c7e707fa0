"""The dashboard's charts as SVG: text made here, in the theme's colours, with a title on everything that has a value.

Matplotlib would draw prettier ones in half a second each; these are drawn anew at every change of the ledger.
"""

from __future__ import annotations

import re
from base64 import b64encode
from dataclasses import dataclass
from datetime import timedelta
from html import escape
from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime

    from ipyllm_widgets.dashboard.series import Series

__all__ = ["COLOURS", "Chart", "bars", "colour_of", "lines", "swatch", "swatch_image"]

COLOURS = ("#0072b2", "#b97f00", "#009e73", "#c96f9f", "#3a97cd", "#d55e00", "#93932f", "#888888")
"""Okabe and Ito's palette, told apart by the colour-blind too, its light colours darkened to 3:1 on white and on a dark
page; black and yellow, which one theme or the other hides, are replaced. The ninth model has the first colour again,
and another shape."""

_WIDTH, _HEIGHT = 420.0, 168.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 58.0, 8.0, 8.0, 20.0
_CAPTION = 20.0  # above a chart that is an image, where the page has a caption of its own
_PLUS: tuple[tuple[float, float], ...] = (
    *((-0.4, -1.2), (0.4, -1.2), (0.4, -0.4), (1.2, -0.4), (1.2, 0.4), (0.4, 0.4)),
    *((0.4, 1.2), (-0.4, 1.2), (-0.4, 0.4), (-1.2, 0.4), (-1.2, -0.4), (-0.4, -0.4)),
)
_SHAPES: tuple[tuple[tuple[float, float], ...], ...] = (
    (),  # a circle
    ((-1, -1), (1, -1), (1, 1), (-1, 1)),
    ((0, -1.35), (1.35, 0), (0, 1.35), (-1.35, 0)),
    ((0, -1.3), (1.3, 1), (-1.3, 1)),
    _PLUS,
    ((0, 1.3), (1.3, -1), (-1.3, -1)),
    ((-1.4, -0.5), (1.4, -0.5), (1.4, 0.5), (-1.4, 0.5)),
    tuple(((x - y) * 0.72, (x + y) * 0.72) for x, y in _PLUS),
)
_RADIUS = 3.2
_LEAST_FOR_MARK = 7.0  # of a bar's piece, so that its shape can be seen in it
_IMAGE_STYLE = (
    "text{font:10px sans-serif;fill:#555}.caption{font:bold 12px sans-serif;fill:#222}"
    ".grid{stroke:#ddd;stroke-width:.6}"
)
_LEAST_FOR_MIDDLE = 4  # stretches, so that three times stand side by side
_TITLE = re.compile(r"<title>[^<]*</title>")


@dataclass(frozen=True, slots=True)
class Chart:
    """A chart, to be shown in the page or as an image.

    Attributes
    ----------
    label : str
        What it shows, with its unit.
    said : str
        The same for who does not see it, with a summary.
    drawn : str
        What is in its ``<svg>``; empty where there is nothing to draw.
    nothing : str
        What is said then.
    """

    label: str
    said: str
    drawn: str
    nothing: str = ""

    def figure(self) -> str:
        """Return it as a part of the page, in the theme's colours."""
        shown = f'<div class="nothing">{escape(self.nothing)}</div>'
        if self.drawn:
            head = f'viewBox="0 0 {_WIDTH:g} {_HEIGHT:g}" role="img" aria-label="{escape(self.said)}"'
            shown = f"<svg {head}>{self.drawn}</svg>"
        return f"<figure><figcaption>{escape(self.label)}</figcaption>{shown}</figure>"

    def image(self) -> str:
        """Return it as an ``<img>`` that needs nothing else: JupyterLab shows no SVG of a page it does not trust.

        The page's theme does not reach into an image, so it has a ground of its own.
        """
        if not self.drawn:
            return f"<p>{escape(self.label)}: {escape(self.nothing)}</p>"
        width, height = _WIDTH, _HEIGHT + _CAPTION
        ground = f'<rect y="{-_CAPTION}" width="{width}" height="{height}" rx="4" fill="#fff"/>'
        caption = f'<text class="caption" x="6" y="{14 - _CAPTION}">{escape(self.label)}</text>'
        inner = f"<style>{_IMAGE_STYLE}</style>{ground}{caption}{_TITLE.sub('', self.drawn)}"
        return _image(inner, f"0 {-_CAPTION:g} {width:g} {height:g}", width, height, self.said)


def colour_of(place: int) -> str:
    """Return the colour of the model at ``place`` in the order of models."""
    return COLOURS[place % len(COLOURS)]


def swatch(place: int) -> str:
    """Return the mark that names a model's colour and shape in a legend."""
    return f'<svg class="swatch" viewBox="0 0 12 12" aria-hidden="true">{_mark(place, 6, 6)}</svg>'


def swatch_image(place: int) -> str:
    """Return :func:`swatch` as an image, as :meth:`Chart.image` does."""
    return _image(_mark(place, 6, 6), "0 0 12 12", 12, 12, "")


def _image(inner: str, view: str, width: float, height: float, alt: str) -> str:
    svg = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="{view}" width="{width:g}" height="{height:g}">{inner}</svg>'
    )
    data = b64encode(svg.encode()).decode()
    return f'<img src="data:image/svg+xml;base64,{data}" width="{width:g}" height="{height:g}" alt="{escape(alt)}">'


def lines(series: Series, column: str, label: str, show: Callable[[float], str]) -> Chart:
    """Draw one line per model, dotted where it has no value, with a mark at each value.

    Parameters
    ----------
    series : Series
    column : str
        Which of its values.
    label : str
        What the chart shows, with its unit: its title, and what a screen reader says.
    show : callable
        Writes a value with its unit.
    """
    values = series.by_column[column]
    known = [value for one in values.values() for value in one if value is not None]
    if not known:
        return Chart(label, label, "", "nothing measured")
    top = _round_up(max(known))
    drawn: list[str] = []
    for place, model in enumerate(series.models):
        points = [
            (_x(at + 0.5, series.n), _y(value, top), value, at)
            for at, value in enumerate(values[model])
            if value is not None
        ]
        drawn += [_path(points, colour_of(place), across_gaps=across_gaps) for across_gaps in (True, False)]
        drawn += [_mark(place, x, y, _told(model, show(value), series, at)) for x, y, value, at in points]
    return _chart(series, label, show, top, drawn, f"highest {show(max(known))}")


def bars(series: Series, column: str, label: str, show: Callable[[float], str], nothing: str = "none") -> Chart:
    """Draw one stacked bar per stretch of time. Parameters as of :func:`lines`; ``nothing`` is said without any."""
    values = series.by_column[column]
    sums = [sum(values[model][at] or 0.0 for model in series.models) for at in range(series.n)]
    if not any(sums):
        return Chart(label, label, "", nothing)
    top = _round_up(max(sums))
    drawn: list[str] = []
    width = (_WIDTH - _LEFT - _RIGHT) / series.n
    shares = len(series.models) > 1  # a bar of one model needs no mark
    for at in range(series.n):
        below = 0.0
        for place, model in enumerate(series.models):
            value = values[model][at]
            if not value:
                continue
            y0, y1 = _y(below, top), _y(below + value, top)
            below += value
            drawn.append(
                f'<rect x="{_x(at, series.n) + width * 0.1:.1f}" y="{y1:.1f}" width="{max(width * 0.8, 1):.1f}" '
                f'height="{max(y0 - y1, 0.5):.1f}" fill="{colour_of(place)}">'
                f"<title>{_told(model, show(value), series, at)}</title></rect>"
            )
            if shares and y0 - y1 >= _LEAST_FOR_MARK:
                drawn.append(_mark(place, _x(at + 0.5, series.n), (y0 + y1) / 2, inside=True))
    return _chart(series, label, show, top, drawn, f"{show(sum(sums))} in all")


def _chart(
    series: Series, label: str, show: Callable[[float], str], top: float, drawn: list[str], summary: str
) -> Chart:
    grid = "".join(
        f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
        f'<text x="{_LEFT - 5}" y="{y + 3.5:.1f}" text-anchor="end">{escape(shown)}</text>'
        for y, shown in ((_y(value, top), show(value) if value else "0") for value in (0.0, top / 2, top))
    )
    times = "".join(
        f'<text x="{x:.1f}" y="{_HEIGHT - 5}" text-anchor="{anchor}">{escape(text)}</text>'
        for x, text, anchor in _times(series)
    )
    return Chart(label, f"{label}, by model, {summary}", f"{grid}{times}{''.join(drawn)}")


def _path(points: list[tuple[float, float, float, int]], colour: str, *, across_gaps: bool) -> str:
    """Draw what joins the values (x, y, value, stretch) of neighbouring stretches, or only those across gaps."""
    joined = "".join(
        f"M{x0:.1f},{y0:.1f}L{x1:.1f},{y1:.1f}"
        for (x0, y0, _, first), (x1, y1, _, second) in pairwise(points)
        if (second > first + 1) == across_gaps
    )
    look = 'stroke-width="1" stroke-dasharray="1 4" opacity=".7"' if across_gaps else 'stroke-width="1.5"'
    return f'<path d="{joined}" fill="none" stroke="{colour}" {look}/>' if joined else ""


def _mark(place: int, x: float, y: float, title: str = "", *, inside: bool = False) -> str:
    """Draw the mark of the model at ``place``: its shape differs too, for eyes and printers that see no colours.

    ``inside``: of a bar, which has the colour.
    """
    look = 'fill="#fff" pointer-events="none"' if inside else f'fill="{colour_of(place)}"'
    told = f"<title>{title}</title>" if title else ""
    # The second eight have the colours of the first, and each the next shape.
    corners = _SHAPES[(place + place // len(COLOURS)) % len(_SHAPES)]
    radius = _RADIUS * (0.75 if inside else 1)
    if not corners:
        return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius:.1f}" {look}>{told}</circle>'
    points = " ".join(f"{x + radius * right:.1f},{y + radius * down:.1f}" for right, down in corners)
    return f'<polygon points="{points}" {look}>{told}</polygon>'


def _told(model: str, value: str, series: Series, at: int) -> str:
    return escape(f"{model} · {value} · {_clock(series.instant(at), series.width)}")


def _times(series: Series) -> Iterator[tuple[float, str, str]]:
    yield _LEFT, _clock(series.instant(0), series.width), "start"
    if series.n >= _LEAST_FOR_MIDDLE:
        yield _x(series.n / 2, series.n), _clock(series.instant(series.n / 2), series.width), "middle"
    if series.n > 1:
        yield _WIDTH - _RIGHT, _clock(series.instant(series.n), series.width), "end"


def _clock(moment: datetime, width: timedelta) -> str:
    """Write a moment in local time, to what a stretch of ``width`` can tell."""
    local = moment.astimezone()
    if width >= timedelta(days=1):
        return f"{local:%Y-%m-%d}"
    if width >= timedelta(minutes=30):
        return f"{local:%m-%d %H:%M}"
    return f"{local:%H:%M}" if width >= timedelta(minutes=1) else f"{local:%H:%M:%S}"


def _x(place: float, n: int) -> float:
    return _LEFT + (_WIDTH - _LEFT - _RIGHT) * place / n


def _y(value: float, top: float) -> float:
    return _TOP + (_HEIGHT - _TOP - _BOTTOM) * (1 - value / top)


def _round_up(value: float) -> float:
    """Return the next number whose half is round too.

    Examples
    --------
    >>> [_round_up(value) for value in (0.07, 3.2, 41, 900)]
    [0.08, 4.0, 60.0, 1000.0]
    """
    if value <= 0:
        return 1.0
    power = 10.0
    while power > value:
        power /= 10
    while power * 10 <= value:
        power *= 10
    return next(float(f"{power * step:.6g}") for step in (1, 2, 4, 6, 8, 10) if power * step >= value * (1 - 1e-9))
