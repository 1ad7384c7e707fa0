"""The dashboard's charts as SVG: text made here, in the theme's colours, with a title on everything that has a value.

Matplotlib would draw prettier ones in half a second each; these are drawn anew at every change of the ledger.
"""

from __future__ import annotations

from datetime import timedelta
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime

    from ipyllm_widgets.dashboard.series import Series

__all__ = ["COLOURS", "bars", "colour_of", "lines", "swatch"]

COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#999933", "#888888")
"""Okabe and Ito's palette, told apart by the colour-blind too; black and yellow, which one theme or the other hides,
are replaced. More models than colours share the last."""

_WIDTH, _HEIGHT = 420.0, 168.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 46.0, 8.0, 8.0, 20.0
_SHAPES = ("circle", "square", "diamond", "triangle")


def colour_of(place: int) -> str:
    """Return the colour of the model at ``place`` in the order of models."""
    return COLOURS[min(place, len(COLOURS) - 1)]


def swatch(place: int) -> str:
    """Return the mark that names a model's colour and shape in a legend."""
    return f'<svg class="swatch" viewBox="0 0 12 12" aria-hidden="true">{_mark(place, 6, 6, "")}</svg>'


def lines(series: Series, column: str, label: str, show: Callable[[float], str]) -> str:
    """Draw one line per model, broken where it has no value, with a mark at each value.

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
        return _empty(label)
    top = _round_up(max(known))
    drawn: list[str] = []
    for place, model in enumerate(series.models):
        points = [
            (_x(at + 0.5, series.n), _y(value, top), value, at)
            for at, value in enumerate(values[model])
            if value is not None
        ]
        path = "".join(
            f"{'L' if i and points[i - 1][3] == at - 1 else 'M'}{x:.1f},{y:.1f}"
            for i, (x, y, _, at) in enumerate(points)
        )
        drawn.append(f'<path d="{path}" fill="none" stroke="{colour_of(place)}" stroke-width="1.5"/>')
        drawn += [_mark(place, x, y, _told(model, show(value), series, at)) for x, y, value, at in points]
    return _chart(series, label, show, top, drawn, f"highest {show(max(known))}")


def bars(series: Series, column: str, label: str, show: Callable[[float], str], nothing: str = "none") -> str:
    """Draw one stacked bar per stretch of time. Parameters as of :func:`lines`; ``nothing`` is said without any."""
    values = series.by_column[column]
    sums = [sum(values[model][at] or 0.0 for model in series.models) for at in range(series.n)]
    if not any(sums):
        return _empty(label, nothing)
    top = _round_up(max(sums))
    drawn: list[str] = []
    width = (_WIDTH - _LEFT - _RIGHT) / series.n
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
    return _chart(series, label, show, top, drawn, f"{show(sum(sums))} in all")


def _chart(series: Series, label: str, show: Callable[[float], str], top: float, drawn: list[str], summary: str) -> str:
    grid = "".join(
        f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
        f'<text x="{_LEFT - 5}" y="{y + 3.5:.1f}" text-anchor="end">{escape(shown)}</text>'
        for y, shown in ((_y(value, top), show(value) if value else "0") for value in (0.0, top / 2, top))
    )
    times = "".join(
        f'<text x="{x:.1f}" y="{_HEIGHT - 5}" text-anchor="{anchor}">{escape(text)}</text>'
        for x, text, anchor in _times(series)
    )
    said = f"{label}, by model, {summary}"
    return (
        f'<figure><figcaption>{escape(label)}</figcaption><svg viewBox="0 0 {_WIDTH:.0f} {_HEIGHT:.0f}" role="img" '
        f'aria-label="{escape(said)}">{grid}{times}{"".join(drawn)}</svg></figure>'
    )


def _empty(label: str, what: str = "nothing measured") -> str:
    return f'<figure><figcaption>{escape(label)}</figcaption><div class="nothing">{what}</div></figure>'


def _mark(place: int, x: float, y: float, title: str) -> str:
    """Draw a mark whose shape differs too, for eyes and printers that see no colours."""
    colour, told = colour_of(place), f"<title>{title}</title>" if title else ""
    match _SHAPES[place % len(_SHAPES)]:
        case "circle":
            return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.2" fill="{colour}">{told}</circle>'
        case "square":
            return f'<rect x="{x - 3:.1f}" y="{y - 3:.1f}" width="6" height="6" fill="{colour}">{told}</rect>'
        case "diamond":
            points = f"{x:.1f},{y - 4:.1f} {x + 4:.1f},{y:.1f} {x:.1f},{y + 4:.1f} {x - 4:.1f},{y:.1f}"
        case _:
            points = f"{x:.1f},{y - 4:.1f} {x + 4:.1f},{y + 3:.1f} {x - 4:.1f},{y + 3:.1f}"
    return f'<polygon points="{points}" fill="{colour}">{told}</polygon>'


def _told(model: str, value: str, series: Series, at: int) -> str:
    return escape(f"{model} · {value} · {_clock(series.instant(at), series.width)}")


def _times(series: Series) -> Iterator[tuple[float, str, str]]:
    yield _LEFT, _clock(series.instant(0), series.width), "start"
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
