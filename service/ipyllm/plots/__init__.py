"""Pictures of a comparison, by matplotlib (extra ``plots``), each returning its Axes.

Every arm keeps its colour, marker and line in all of them. They follow matplotlib's settings, or ``dark=True`` and
``dark=False``. matplotlib loads on first use.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ipyllm.plots.page import overview
    from ipyllm.plots.scores import cost_score, pairs, pareto_front, win_matrix
    from ipyllm.plots.timing import intervals, latency, throughput

_HOMES = {
    "cost_score": "comparison",
    "intervals": "timing",
    "latency": "timing",
    "overview": "page",
    "pairs": "comparison",
    "pareto_front": "comparison",
    "throughput": "timing",
    "win_matrix": "comparison",
}

__all__ = ["cost_score", "intervals", "latency", "overview", "pairs", "pareto_front", "throughput", "win_matrix"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
