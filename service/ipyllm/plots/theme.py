"""How every picture looks: colours that all can tell apart, on light and dark ground, and names that fit.

Imports matplotlib: load it late, by way of :func:`pyplot`.
"""

from __future__ import annotations

import math
import textwrap
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ipyllm.errors import LLMError
from ipyllm.text.terminal import plain

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from matplotlib.axes import Axes

__all__ = ["Look", "axes_for", "ink", "labels", "legend_below", "looks", "pyplot", "themed"]

# Okabe & Ito (2008), "Color universal design". On dark ground the light ones come first; black is the ink's part.
_LIGHT_GROUND = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9")
_DARK_GROUND = ("#56B4E9", "#E69F00", "#009E73", "#F0E442", "#CC79A7", "#D55E00")
_MARKERS = "osD^vP*Xh<>p"
_LINES = ("-", (0, (5, 1.5)), (0, (1.5, 1.2)), (0, (6, 1.5, 1.5, 1.5)))

_HATCHES = ("", "///", "...", "xxx")

_GROUND, _INK = {True: "#111418", False: "#ffffff"}, {True: "#e4e7eb", False: "#24292f"}
_BETWEEN = " · "
_LINE_CHARACTERS = 30
_LINES_OF_A_NAME = 3
_CHARACTER, _LINE = 0.078, 0.15
"""Inches that a small character is wide and a small line high, about."""


@dataclass(frozen=True)
class Look:
    """How one arm is drawn everywhere: in colour, marker, line and hatching, so that none alone has to be seen."""

    colour: str
    marker: str
    line: Any
    hatch: str


def pyplot() -> Any:
    """Return ``matplotlib.pyplot``, or say how to install it."""
    try:
        import matplotlib.pyplot as plt
    except ImportError as exc:
        raise LLMError("Pictures need matplotlib: pip install 'ipyllm[plots]'.", category="bad_request") from exc
    return plt


@contextmanager
def themed(dark: bool | None) -> Iterator[None]:
    """Draw on dark or light ground; None follows matplotlib's own settings (``plt.style.use("dark_background")``)."""
    plt = pyplot()
    settings: dict[str, Any] = {"axes.spines.top": False, "axes.spines.right": False, "axes.axisbelow": True}
    if dark is not None:
        ink, ground = _INK[dark], _GROUND[dark]
        settings |= dict.fromkeys(
            ("text.color", "axes.labelcolor", "axes.edgecolor", "axes.titlecolor", "xtick.color", "ytick.color"), ink
        )
        settings |= dict.fromkeys(("figure.facecolor", "axes.facecolor", "savefig.facecolor"), ground)
        settings |= {
            "legend.facecolor": ground,
            "legend.edgecolor": ground,
            "xtick.labelcolor": ink,
            "ytick.labelcolor": ink,
        }
    with plt.rc_context(settings):
        yield
        # A notebook's backend loads with the first figure and makes pyplot interactive: that is to outlive the theme.
        interactive = plt.isinteractive()
    plt.interactive(interactive)


def looks(arms: Sequence[str]) -> dict[str, Look]:
    """Return how each arm is drawn, to be called inside :func:`themed`."""
    colours = (*(_DARK_GROUND if _on_dark() else _LIGHT_GROUND), ink())
    return {
        arm: Look(
            colours[i % len(colours)],
            _MARKERS[i % len(_MARKERS)],
            _LINES[i // len(colours) % len(_LINES)],
            _HATCHES[i // len(colours) % len(_HATCHES)],
        )
        for i, arm in enumerate(arms)
    }


def ink() -> str:
    """Return the colour of text."""
    return str(pyplot().rcParams["text.color"])


def labels(arms: Sequence[str]) -> dict[str, str]:
    r"""Return the names of arms as they stand in a picture: what all share left out, in lines, never TeX, each its own.

    Examples
    --------
    >>> arms = ["openai/gpt-5-mini · temperature=0 · concise", "openai/gpt-5-mini · temperature=1 · concise"]
    >>> list(labels(arms).values())
    ['temperature=0', 'temperature=1']
    >>> labels(["costs $5 or $6"])
    {'costs $5 or $6': 'costs \\$5 or \\$6'}
    """
    parts = {arm: [part for part in " ".join(plain(arm).split()).split(_BETWEEN) if part] for arm in arms}
    shared = set.intersection(*map(set, parts.values())) if len(parts) > 1 else set()
    shown: dict[str, str] = {}
    for number, (arm, of_arm) in enumerate(parts.items(), 1):
        own = [part for part in of_arm if part not in shared] or of_arm
        text = _lines(own)
        if text in shown.values():  # what tells it from another did not fit
            text = f"{number}: {text}"
        shown[arm] = text
    return shown


def _lines(parts: list[str]) -> str:
    """Return the parts of a name in few and short lines."""
    lines = textwrap.wrap(_BETWEEN.join(parts), _LINE_CHARACTERS)
    if len(lines) > _LINES_OF_A_NAME:
        # The beginning tells the model, the end what distinguishes the arm.
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
    """Put the names of the arms below everything, in as many columns as fit, and make the figure taller by them."""
    figure: Any = axes.figure
    texts = list(labels(names).values())
    longest = max((len(line) for text in texts for line in text.split("\n")), default=1)
    width, height = figure.get_size_inches()
    columns = max(1, min(len(names), math.floor(width / (_CHARACTER * longest + 0.6))))
    rows = math.ceil(len(texts) / columns)
    lines = sum(sorted((text.count("\n") + 1 for text in texts), reverse=True)[:rows])
    figure.set_size_inches(width, height + _LINE * lines + 0.05 * rows)
    figure.legend(
        list(handles),
        texts,
        loc="outside lower center",
        ncols=columns,
        frameon=False,
        fontsize="small",
        handlelength=2.6,
    )


def _on_dark() -> bool:
    from matplotlib.colors import to_rgba

    red, green, blue, alpha = to_rgba(pyplot().rcParams["axes.facecolor"])
    if alpha == 0:  # a transparent picture is seen on whatever its text was made for
        red, green, blue = (1 - part for part in to_rgba(ink())[:3])
    return 0.299 * red + 0.587 * green + 0.114 * blue < 0.5  # noqa: PLR2004
