"""Families of metrics, primary and secondary: comparisons are corrected within each, not across both."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ipyllm.errors import bad_request
from ipyllm.text.format import count

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

    from ipyllm.statistics.observations import Metric, Observations

__all__ = ["Family", "families_of"]


@dataclass(frozen=True)
class Family:
    """Metrics whose comparisons are corrected together."""

    name: str  # primary, secondary
    metrics: tuple[Metric, ...]
    alone: bool  # there is no other family

    def comparisons(self, table: pd.DataFrame) -> int:
        """Return the number of comparisons of this family that a table of pairs has."""
        return int(((table["family"] == self.name) & (table["n_pairs"] > 0)).sum())

    def counted(self, comparisons: int) -> str:
        """Return a number of comparisons in words, with the name of the family if there are two."""
        return count(comparisons, "comparison" if self.alone else f"{self.name} comparison")


def families_of(
    observed: Observations, primary: Sequence[str] | str | None, secondary: Sequence[str] | str | None
) -> list[Family]:
    """Return the families of metrics that are named; by default the scores, or else first times, and all others.

    Raises
    ------
    LLMError
        ``bad_request``: no such metric, one that is in both, or no primary metric.
    """
    known = observed.metrics() if primary is None or secondary is None else []
    second = [] if primary is not None else _other_than_scores(known)
    if secondary is not None:
        second = observed.metrics(secondary) if len(secondary) else []
    if primary is None:
        first = [metric for metric in known if metric not in _other_than_scores(known) and metric not in second]
    else:
        first = observed.metrics(primary)
    if both := [metric.label for metric in first if metric in second]:
        raise bad_request(f"{both[0]} is both a primary and a secondary metric: name it once.")
    if second and not first:
        raise bad_request("There are only secondary metrics: name the primary ones with metrics=….")
    found = {"primary": first, "secondary": second}
    return [Family(name, tuple(metrics), alone=not second) for name, metrics in found.items() if metrics]


def _other_than_scores(known: Sequence[Metric]) -> list[Metric]:
    """Return the metrics that are secondary by default: without scores, all but the first."""
    scores = [metric for metric in known if metric.kind == "score"] or list(known[:1])
    return [metric for metric in known if metric not in scores]
