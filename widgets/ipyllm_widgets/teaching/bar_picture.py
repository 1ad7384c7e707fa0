"""Rows of bars as a picture, for a notebook without a kernel: an SVG image, because viewers remove styles and scripts.

Each tone is a colour with a pattern of its own, the same as in ``static/teaching/teaching.css``.
"""

from __future__ import annotations

from base64 import b64encode
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Final

from ipyllm.text.format import shorten
from ipyllm.text.terminal import strip_control_sequences

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

__all__ = ["BarPicture", "BarRow", "Piece", "figures_table", "one_line", "plain_lines"]

_WIDTH: Final = 680.0
_LABEL, _VALUE = 170.0, 130.0  # columns at both sides of the bars
_ROW, _BAR, _THIN, _TOP = 26.0, 15.0, 3.5, 30.0
_LEGEND_CHAR, _LEGEND_ROW = 5.6, 18.0
_LABEL_CHARS, _VALUE_CHARS = 26, 22
_COLOURS: Final = {
    "solid": "#0072b2",
    "stripes": "#d98200",
    "dots": "#009e73",
    "cross": "#c4588a",
    "light": "#9aa0a6",
    "faint": "#c8ccd0",
    "gone": "none",
}
_PATTERNS: Final = {
    "stripes": '<path d="M0 6L6 0" stroke="#fff" stroke-width="1.6"/>',
    "dots": '<circle cx="3" cy="3" r="1.2" fill="#fff"/>',
    "cross": '<path d="M0 0L6 6M0 6L6 0" stroke="#fff" stroke-width="1.2"/>',
    "light": '<path d="M3 0V6" stroke="#fff" stroke-width="1.4"/>',
}
_STYLE: Final = (
    "text{font:11px sans-serif;fill:#222}.title{font:bold 12px sans-serif}.page{fill:#fff}.gone{fill:none;"
    "stroke:#555;stroke-dasharray:3 2}.edge{stroke:#222;stroke-width:1.2}.axis{stroke:#ccc;stroke-width:.6}"
    "@media(prefers-color-scheme:dark){text{fill:#ddd}.page{fill:#181818}.gone{stroke:#bbb}.edge{stroke:#eee}"
    ".axis{stroke:#555}}"
)


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a bar: where it starts and how long it is, as fractions of the width."""

    tone: str
    start: float
    length: float
    is_thin: bool = False  # drawn as a line below the bar


@dataclass(frozen=True, slots=True)
class BarRow:
    """A label, a bar of some pieces, and the figures beside it."""

    label: str
    pieces: Sequence[Piece]
    value: str


@dataclass(frozen=True, slots=True)
class BarPicture:
    """Rows of bars with a title and a legend.

    Examples
    --------
    >>> picture = BarPicture("Tokens", (BarRow("the", (Piece("solid", 0, 0.5),), "50 %"),), (("solid", "drawn"),))
    >>> picture.image()[:31], "alt=" in picture.image()
    ('<img src="data:image/svg+xml;ba', True)
    """

    title: str
    rows: Sequence[BarRow]
    legend: Sequence[tuple[str, str]]
    edge: float | None = None  # where a line goes through all rows

    def svg(self) -> str:
        """Return the picture as SVG without anything that is loaded or run."""
        parts = [*map(self._row, range(len(self.rows)))]
        bottom = _TOP + _ROW * len(self.rows)
        if self.edge is not None:
            x = _x(self.edge)
            parts.append(f'<path class="edge" d="M{x:.1f} {_TOP - 4:g}V{bottom:g}"/>')
        legend, height = self._legend(bottom + 8)
        patterns = "".join(
            f'<pattern id="{tone}" width="6" height="6" patternUnits="userSpaceOnUse">'
            f'<rect width="6" height="6" fill="{_COLOURS[tone]}"/>{drawn}</pattern>'
            for tone, drawn in _PATTERNS.items()
        )
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH:g} {height:g}" width="{_WIDTH:g}" '
            f'height="{height:g}"><style>{_STYLE}</style><defs>{patterns}</defs>'
            f'<rect class="page" width="{_WIDTH:g}" height="{height:g}" rx="4"/>'
            f'<text class="title" x="8" y="18">{escape(_fitting(self.title, 100))}</text>{"".join(parts)}{legend}</svg>'
        )

    def image(self) -> str:
        """Return the picture as an ``img`` element that contains it, described by its rows."""
        data = b64encode(self.svg().encode("utf-8", "replace")).decode()
        rows = "; ".join(f"{row.label} {row.value}" for row in self.rows)
        alt = escape(_fitting(f"{self.title}: {rows}", 1_000))
        return f'<img src="data:image/svg+xml;base64,{data}" alt="{alt}" style="max-width:100%">'

    def _row(self, index: int) -> str:
        row, top = self.rows[index], _TOP + _ROW * index
        text_y = top + 12
        drawn = "".join(_piece(piece, top) for piece in row.pieces)
        return (
            f'<text x="{_LABEL - 8:g}" y="{text_y:g}" text-anchor="end">'
            f"{escape(_fitting(row.label, _LABEL_CHARS))}</text>"
            f'<path class="axis" d="M{_LABEL:g} {top + _BAR:g}H{_WIDTH - _VALUE:g}"/>{drawn}'
            f'<text x="{_WIDTH - _VALUE + 8:g}" y="{text_y:g}">{escape(_fitting(row.value, _VALUE_CHARS))}</text>'
        )

    def _legend(self, top: float) -> tuple[str, float]:
        """Return the legend and where it ends."""
        x, y, shown = 8.0, top, []
        for tone, words in self.legend:
            width = 30 + _LEGEND_CHAR * len(words)
            if x + width > _WIDTH and x > 8:  # noqa: PLR2004 - the margin
                x, y = 8.0, y + _LEGEND_ROW
            shown.append(_rect(tone, x, y, 14, 11) + f'<text x="{x + 19:g}" y="{y + 10:g}">{escape(words)}</text>')
            x += width
        return "".join(shown), y + _LEGEND_ROW + 2


def figures_table(heads: Iterable[str], rows: Iterable[Iterable[str]], caption: str = "") -> str:
    """Return figures as an HTML table whose cells are texts."""
    head = "".join(f"<th>{one_line(name)}</th>" for name in heads)
    body = "".join(f"<tr>{''.join(f'<td>{one_line(cell)}</td>' for cell in row)}</tr>" for row in rows)
    title = f"<caption>{one_line(caption)}</caption>" if caption else ""
    return f"<table>{title}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def one_line(text: str) -> str:
    """Escape a text on one line: in Markdown an empty line ends the HTML, and what follows would be interpreted."""
    return escape(" ".join(strip_control_sequences(text).split()))


def _piece(piece: Piece, top: float) -> str:
    start, length = max(0.0, min(piece.start, 1.0)), max(0.0, min(piece.length, 1.0 - piece.start))
    if length <= 0:
        return ""
    x, width = _x(start), _x(start + length) - _x(start)
    y, height = (top + _BAR + 1, _THIN) if piece.is_thin else (top, _BAR)
    return _rect(piece.tone, x, y, max(width, 0.7), height, is_plain=piece.is_thin)


def _rect(tone: str, x: float, y: float, width: float, height: float, *, is_plain: bool = False) -> str:
    place = f'x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}"'
    if tone == "gone":
        return f'<rect class="gone" {place}/>'
    fill = f"url(#{tone})" if tone in _PATTERNS and not is_plain else _COLOURS[tone]
    return f'<rect fill="{fill}" {place}/>'


def _x(fraction: float) -> float:
    return _LABEL + (_WIDTH - _LABEL - _VALUE) * fraction


def _fitting(text: str, limit: int) -> str:
    return shorten(strip_control_sequences(text), limit)


def plain_lines(picture: BarPicture) -> Iterator[str]:
    """Yield title and rows as plain text."""
    yield picture.title
    for row in picture.rows:
        yield f"{_fitting(row.label, _LABEL_CHARS):>{_LABEL_CHARS}}  {row.value}"
