"""Style of all plots: colours for every kind of colour vision, light and dark backgrounds, and labels that fit.

:func:`pyplot` imports matplotlib when it is needed.
"""

from __future__ import annotations

import math
import textwrap
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from ipyllm.errors import bad_request
from ipyllm.text.terminal import strip_control_sequences

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from matplotlib.axes import Axes
    from matplotlib.lines import Line2D

__all__ = [
    "ArmStyle",
    "arm_styles",
    "axes_for",
    "draw_point",
    "label_arms",
    "labels",
    "legend_below",
    "percent_axis",
    "pyplot",
    "text_colour",
    "themed",
]

# Okabe & Ito (2008), "Color universal design". On dark backgrounds the light ones come first. Black is the text colour.
_LIGHT_THEME_COLOURS = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9")
_DARK_THEME_COLOURS = ("#56B4E9", "#E69F00", "#009E73", "#F0E442", "#CC79A7", "#D55E00")
_MARKERS = "osD^vP*Xh<>p"
_LINE_STYLES = ("-", (0, (5, 1.5)), (0, (1.5, 1.2)), (0, (6, 1.5, 1.5, 1.5)))

_HATCHES = ("", "///", "...", "xxx")

_BACKGROUND, _FOREGROUND = {True: "#111418", False: "#ffffff"}, {True: "#e4e7eb", False: "#24292f"}
_SEPARATOR = " · "
_MAX_LINE_CHARS = 30
_MAX_LABEL_LINES = 3
_CHAR_WIDTH, _LINE_HEIGHT = 0.078, 0.15
"""Approximate width of a small character and height of a small line, in inches."""


@dataclass(frozen=True)
class ArmStyle:
    """Colour, marker, line and hatching of an arm; each alone distinguishes it."""

    colour: str
    marker: str
    line: Any
    hatch: str


def pyplot() -> Any:
    """Return ``matplotlib.pyplot``, or raise an error that says how to install it."""
    try:
        import matplotlib.pyplot as plt
    except ImportError as exc:
        raise bad_request("Plots need matplotlib: pip install 'ipyllm[plots]'.") from exc
    return plt


@contextmanager
def themed(dark: bool | None) -> Iterator[None]:
    """Draw on a dark or light background; None follows matplotlib's settings (``plt.style.use("dark_background")``)."""
    plt = pyplot()
    settings: dict[str, Any] = {"axes.spines.top": False, "axes.spines.right": False, "axes.axisbelow": True}
    if dark is not None:
        text, background = _FOREGROUND[dark], _BACKGROUND[dark]
        settings |= dict.fromkeys(
            ("text.color", "axes.labelcolor", "axes.edgecolor", "axes.titlecolor", "xtick.color", "ytick.color"), text
        )
        settings |= dict.fromkeys(("figure.facecolor", "axes.facecolor", "savefig.facecolor"), background)
        settings |= {"xtick.labelcolor": text, "ytick.labelcolor": text}
        settings |= dict.fromkeys(("legend.facecolor", "legend.edgecolor"), background)
    with plt.rc_context(settings):
        yield
        # A notebook's backend loads with the first figure and makes pyplot interactive, which must stay so.
        interactive = plt.isinteractive()
    plt.interactive(interactive)


def arm_styles(arms: Sequence[str]) -> dict[str, ArmStyle]:
    """Return the style of each arm. Call it inside :func:`themed`."""
    colours = (*(_DARK_THEME_COLOURS if _is_dark() else _LIGHT_THEME_COLOURS), text_colour())
    return {
        arm: ArmStyle(
            colours[i % len(colours)],
            _MARKERS[i % len(_MARKERS)],
            _LINE_STYLES[i // len(colours) % len(_LINE_STYLES)],
            _HATCHES[i // len(colours) % len(_HATCHES)],
        )
        for i, arm in enumerate(arms)
    }


def text_colour() -> str:
    """Return the colour of text."""
    return str(pyplot().rcParams["text.color"])


def labels(arms: Sequence[str]) -> dict[str, str]:
    r"""Return unique short labels of arms: without their common parts, wrapped, with TeX escaped.

    Examples
    --------
    >>> arms = ["openai/gpt-6-luna · temperature=0 · concise", "openai/gpt-6-luna · temperature=1 · concise"]
    >>> list(labels(arms).values())
    ['temperature=0', 'temperature=1']
    >>> labels(["costs $5 or $6"])
    {'costs $5 or $6': 'costs \\$5 or \\$6'}
    """
    parts = {
        arm: [part for part in " ".join(strip_control_sequences(arm).split()).split(_SEPARATOR) if part] for arm in arms
    }
    shared = set.intersection(*map(set, parts.values())) if len(parts) > 1 else set()
    shown: dict[str, str] = {}
    for number, (arm, of_arm) in enumerate(parts.items(), 1):
        own = [part for part in of_arm if part not in shared] or of_arm
        text = _wrap(own)
        if text in shown.values():  # the distinguishing part was cut
            text = f"{number}: {text}"
        shown[arm] = text
    return shown


def _wrap(parts: list[str]) -> str:
    """Return the parts of a label in a few short lines."""
    lines = textwrap.wrap(_SEPARATOR.join(parts), _MAX_LINE_CHARS)
    if len(lines) > _MAX_LABEL_LINES:
        # The model is at the beginning, the distinguishing part at the end.
        lines = [lines[0], "…", lines[-1]]
    return "\n".join(lines).replace("$", r"\$")


def axes_for(ax: Axes | None, *, size: tuple[float, float]) -> Axes:
    """Return ``ax``, or one in a new figure of that size in inches."""
    if ax is not None:
        return ax
    _, new = pyplot().subplots(figsize=size, layout="constrained")
    axes: Axes = new
    return axes


def legend_below(axes: Axes, handles: Sequence[Any], names: Sequence[str]) -> None:
    """Add a legend below the plots, in as many columns as fit, and enlarge the figure by its height."""
    figure: Any = axes.figure
    texts = list(labels(names).values())
    longest = max((len(line) for text in texts for line in text.split("\n")), default=1)
    width, height = figure.get_size_inches()
    columns = max(1, min(len(names), math.floor(width / (_CHAR_WIDTH * longest + 0.6))))
    rows = math.ceil(len(texts) / columns)
    lines = sum(sorted((text.count("\n") + 1 for text in texts), reverse=True)[:rows])
    figure.set_size_inches(width, height + _LINE_HEIGHT * lines + 0.05 * rows)
    figure.legend(
        list(handles),
        texts,
        loc="outside lower center",
        ncols=columns,
        frameon=False,
        fontsize="small",
        handlelength=2.6,
    )


def label_arms(axes: Axes, arms: Sequence[str], axis: Literal["x", "y"] = "y", **style: Any) -> None:
    """Label the ticks 0, 1, … of an axis with the names of the arms."""
    set_ticks = axes.set_yticks if axis == "y" else axes.set_xticks
    set_ticks(range(len(arms)), list(labels(arms).values()), fontsize="small", **style)
    axes.tick_params(axis=axis, length=0)


def draw_point(
    axes: Axes, x: float, y: float, style: ArmStyle, *, filled: bool = True, size: float = 7
) -> list[Line2D]:
    """Draw an arm's marker, filled or hollow."""
    face = style.colour if filled else axes.get_facecolor()
    return axes.plot(
        x, y, style.marker, color=style.colour, markerfacecolor=face, markersize=size, markeredgewidth=1.6, zorder=3
    )


def percent_axis(axis: Any) -> None:
    """Format the ticks of an axis as percentages."""
    from matplotlib.ticker import PercentFormatter

    axis.set_major_formatter(PercentFormatter(1, decimals=0))


def _is_dark() -> bool:
    from matplotlib.colors import to_rgba

    red, green, blue, alpha = to_rgba(pyplot().rcParams["axes.facecolor"])
    if alpha == 0:  # a transparent plot has the background that suits its text
        red, green, blue = (1 - part for part in to_rgba(text_colour())[:3])
    return 0.299 * red + 0.587 * green + 0.114 * blue < 0.5  # noqa: PLR2004
