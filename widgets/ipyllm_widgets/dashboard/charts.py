"""Charts of the dashboard as SVG, in the theme's colours, with the values of each interval for their tooltips.

Matplotlib would take half a second per chart; these are drawn at each change of the ledger.
"""

from __future__ import annotations

import json
import math
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
"""Okabe and Ito's palette for colour-blind readers, darkened to a contrast of 3:1 on white and dark pages. Black and
yellow, which one theme hides, are replaced. The ninth model has the first colour again with another shape."""

_WIDTH, _HEIGHT = 340.0, 168.0  # about as wide as on the page, so that labels have the size that they are given
_LEFT, _RIGHT, _TOP, _BOTTOM = 66.0, 8.0, 8.0, 20.0
_CAPTION = 20.0  # above a chart that is an image
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
_MIN_MARK_HEIGHT = 7.0  # of a bar's segment, so that a mark is visible in it
_IMAGE_STYLE = (
    "text{font:12px sans-serif;fill:#555}.caption{font:bold 12px sans-serif;fill:#222}"
    ".grid{stroke:#ddd;stroke-width:.6}"
)
_MIN_FOR_MIDDLE_LABEL = 4  # intervals, so that three time labels fit


@dataclass(frozen=True, slots=True)
class Chart:
    """A chart, shown in the page or as an image.

    Attributes
    ----------
    label : str
        The quantity with its unit.
    description : str
        The label with a summary, for screen readers.
    svg : str
        Content of the ``<svg>``; empty without data.
    placeholder : str
        Text shown without data.
    values : str
        JSON of the values by interval, for ``chart_tips.js``.
    """

    label: str
    description: str
    svg: str
    placeholder: str = ""
    values: str = ""

    def figure(self) -> str:
        """Return the chart as HTML, in the theme's colours."""
        content = f'<div class="nothing">{escape(self.placeholder)}</div>'
        if self.svg:
            content = (
                f'<div class="plot" tabindex="0" role="group" aria-roledescription="chart" '
                f'aria-label="{escape(self.description)}. Arrow keys read the values." '
                f'data-values="{escape(self.values)}">'
                f'<svg viewBox="0 0 {_WIDTH:g} {_HEIGHT:g}" aria-hidden="true">{self.svg}</svg></div>'
            )
        return f"<figure><figcaption>{escape(self.label)}</figcaption>{content}</figure>"

    def image(self) -> str:
        """Return the chart as a self-contained ``<img>``: JupyterLab removes inline SVG from untrusted notebooks.

        The page's theme does not apply inside an image, so the image has its own background.
        """
        if not self.svg:
            return f"<p>{escape(self.label)}: {escape(self.placeholder)}</p>"
        width, height = _WIDTH, _HEIGHT + _CAPTION
        background = f'<rect y="{-_CAPTION}" width="{width}" height="{height}" rx="4" fill="#fff"/>'
        caption = f'<text class="caption" x="6" y="{14 - _CAPTION}">{escape(self.label)}</text>'
        inner = f"<style>{_IMAGE_STYLE}</style>{background}{caption}{self.svg}"
        return _image(inner, f"0 {-_CAPTION:g} {width:g} {height:g}", width, height, self.description)


def colour_of(index: int) -> str:
    """Return the colour of the model with this mark."""
    return COLOURS[index % len(COLOURS)]


def swatch(index: int) -> str:
    """Return a model's mark for a legend."""
    return f'<svg class="swatch" viewBox="0 0 12 12" aria-hidden="true">{_mark(index, 6, 6)}</svg>'


def swatch_image(index: int) -> str:
    """Return :func:`swatch` as an image, as :meth:`Chart.image` does."""
    return _image(_mark(index, 6, 6), "0 0 12 12", 12, 12, "")


def _image(inner: str, view: str, width: float, height: float, alt: str) -> str:
    svg = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="{view}" width="{width:g}" height="{height:g}">{inner}</svg>'
    )
    data = b64encode(svg.encode()).decode()
    return f'<img src="data:image/svg+xml;base64,{data}" width="{width:g}" height="{height:g}" alt="{escape(alt)}">'


def lines(series: Series, column: str, label: str, format_value: Callable[[float], str]) -> Chart:
    """Draw one line per model, dotted across missing values, with a mark at each value.

    Parameters
    ----------
    series : Series
    column : str
        Column of the series.
    label : str
        The quantity with its unit.
    format_value : callable
        Formats a value with its unit.
    """
    values = series.by_column[column]
    known = [value for one in values.values() for value in one if value is not None]
    if not known:
        return Chart(label, label, "", "nothing measured")
    top = _round_up(max(known))
    shapes: list[str] = []
    for index, model in zip(series.marks, series.models, strict=True):
        points = [
            (_x(at + 0.5, series.n), _y(value, top), value, at)
            for at, value in enumerate(values[model])
            if value is not None
        ]
        shapes += [_path(points, colour_of(index), across_gaps=across_gaps) for across_gaps in (True, False)]
        shapes += [_mark(index, x, y) for x, y, _, _ in points]
    summary = f"highest {format_value(max(known))}"
    return _chart(series, column, label, format_value, top, shapes, summary)


def bars(
    series: Series, column: str, label: str, format_value: Callable[[float], str], placeholder: str = "none"
) -> Chart:
    """Draw one stacked bar per interval. Parameters as for :func:`lines`; ``placeholder`` is shown without values."""
    values = series.by_column[column]
    sums = [sum(values[model][at] or 0.0 for model in series.models) for at in range(series.n)]
    if not any(sums):
        return Chart(label, label, "", placeholder)
    top = _round_up(max(sums))
    shapes: list[str] = []
    width = (_WIDTH - _LEFT - _RIGHT) / series.n
    needs_marks = len(series.models) > 1
    for at in range(series.n):
        below = 0.0
        for index, model in zip(series.marks, series.models, strict=True):
            value = values[model][at]
            if not value:
                continue
            y0, y1 = _y(below, top), _y(below + value, top)
            below += value
            shapes.append(
                f'<rect x="{_x(at, series.n) + width * 0.1:.1f}" y="{y1:.1f}" width="{max(width * 0.8, 1):.1f}" '
                f'height="{max(y0 - y1, 0.5):.1f}" fill="{colour_of(index)}"/>'
            )
            if needs_marks and y0 - y1 >= _MIN_MARK_HEIGHT:
                shapes.append(_mark(index, _x(at + 0.5, series.n), (y0 + y1) / 2, inside=True))
    return _chart(series, column, label, format_value, top, shapes, f"{format_value(sum(sums))} in total")


def _chart(
    series: Series,
    column: str,
    label: str,
    format_value: Callable[[float], str],
    top: float,
    shapes: list[str],
    summary: str,
) -> Chart:
    grid = "".join(
        f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
        f'<text x="{_LEFT - 5}" y="{y + 3.5:.1f}" text-anchor="end">{escape(shown)}</text>'
        for y, shown in ((_y(value, top), format_value(value) if value else "0") for value in (0.0, top / 2, top))
    )
    times = "".join(
        f'<text x="{x:.1f}" y="{_HEIGHT - 5}" text-anchor="{anchor}">{escape(text)}</text>'
        for x, text, anchor in _times(series)
    )
    values = json.dumps(_values(series, column, format_value), ensure_ascii=False, separators=(",", ":"))
    return Chart(label, f"{label}, by model, {summary}", f"{grid}{times}{''.join(shapes)}", values=values)


def _values(series: Series, column: str, format_value: Callable[[float], str]) -> dict[str, object]:
    """Return the models with their colours, and of each interval its place, its time and its values."""
    tips = []
    for at in range(series.n):
        shown = [
            (index, format_value(value))
            for index, model in enumerate(series.models)
            if (value := series.by_column[column][model][at]) is not None
        ]
        if shown:
            time = _format_time(series.instant(at), series.width)
            tips.append((round(_x(at + 0.5, series.n) / _WIDTH, 4), time, shown))
    return {
        "models": [(model, colour_of(mark)) for model, mark in zip(series.models, series.marks, strict=True)],
        "tips": tips,
    }


def _path(points: list[tuple[float, float, float, int]], colour: str, *, across_gaps: bool) -> str:
    """Draw the lines between values (x, y, value, interval) of adjacent intervals, or only those across gaps."""
    segments = "".join(
        f"M{x0:.1f},{y0:.1f}L{x1:.1f},{y1:.1f}"
        for (x0, y0, _, first), (x1, y1, _, second) in pairwise(points)
        if (second > first + 1) == across_gaps
    )
    style = 'stroke-width="1" stroke-dasharray="1 4" opacity=".7"' if across_gaps else 'stroke-width="1.5"'
    return f'<path d="{segments}" fill="none" stroke="{colour}" {style}/>' if segments else ""


def _mark(index: int, x: float, y: float, *, inside: bool = False) -> str:
    """Draw a model's mark, which has its own shape for readers without colours; ``inside`` a bar it is white."""
    style = 'fill="#fff" pointer-events="none"' if inside else f'fill="{colour_of(index)}"'
    # The ninth to sixteenth model have the colours of the first eight, with the next shape each.
    corners = _SHAPES[(index + index // len(COLOURS)) % len(_SHAPES)]
    radius = _RADIUS * (0.75 if inside else 1)
    if not corners:
        return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius:.1f}" {style}/>'
    points = " ".join(f"{x + radius * right:.1f},{y + radius * down:.1f}" for right, down in corners)
    return f'<polygon points="{points}" {style}/>'


def _times(series: Series) -> Iterator[tuple[float, str, str]]:
    yield _LEFT, _format_time(series.instant(0), series.width), "start"
    if series.n >= _MIN_FOR_MIDDLE_LABEL:
        yield _x(series.n / 2, series.n), _format_time(series.instant(series.n / 2), series.width), "middle"
    if series.n > 1:
        yield _WIDTH - _RIGHT, _format_time(series.instant(series.n), series.width), "end"


def _format_time(instant: datetime, width: timedelta) -> str:
    """Format an instant in local time, as precisely as an interval of ``width`` needs."""
    local = instant.astimezone()
    if width >= timedelta(days=1):
        return f"{local:%Y-%m-%d}"
    if width >= timedelta(minutes=30):
        return f"{local:%m-%d %H:%M}"
    return f"{local:%H:%M}" if width >= timedelta(minutes=1) else f"{local:%H:%M:%S}"


def _x(interval: float, n: int) -> float:
    return _LEFT + (_WIDTH - _LEFT - _RIGHT) * interval / n


def _y(value: float, top: float) -> float:
    return _TOP + (_HEIGHT - _TOP - _BOTTOM) * (1 - value / top)


def _round_up(value: float) -> float:
    """Return the next round number whose half is round too; 1 for 0 and below.

    Examples
    --------
    >>> [_round_up(value) for value in (0, 0.07, 3.2, 41, 900)]
    [1.0, 0.08, 4.0, 60.0, 1000.0]
    """
    if value <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(value))
    return next(float(f"{power * step:.6g}") for step in (1, 2, 4, 6, 8, 10) if power * step >= value * (1 - 1e-9))
