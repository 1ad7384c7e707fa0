"""What the ledger has of an experiment: the record of truth, by which a run goes on where another one stopped."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, Final

from ipyllm.experiment.run import CELL_TAG, GRID_TAG

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import pandas as pd

    from ipyllm.experiment.grid import Cell, Grid
    from ipyllm.ledger import Ledger

__all__ = ["Record"]

_SETTLED_ERRORS: Final = ("bad_request", "content_filter", "context_length")
"""What the same model would say again to the same question: asking again is paying again."""

_FIRST: Final = (
    "experiment", "arm", "model", "params", "system", "prompt_id", "repeat", "row", "prompt", "response", "status",
    "error_category", "error_message", "finish_reason",
)  # fmt: skip
_MOST_NAMED = 5


class Record:
    """The rows of one experiment, as the ledger has them at this moment.

    Parameters
    ----------
    name : str
        The experiment.
    grid : Grid
        Its cells as they are now; rows of other cells are another grid's.
    ledger : Ledger
        Where to look.
    texts : mapping, optional
        Answers by call that the ledger was not to keep.
    """

    def __init__(self, name: str, grid: Grid, ledger: Ledger, texts: Mapping[str, str] | None = None) -> None:
        from ipyllm.dataframes.usage import usage

        self._grid = grid
        self._name = name
        self._texts = texts or {}
        rows = usage(kernel=None, experiment=name, ledger=ledger)
        tags = [each if isinstance(each, dict) else {} for each in rows["tags"]]
        self.rows: pd.DataFrame = rows.assign(
            cell=_objects(each.get(CELL_TAG) for each in tags), grid=_objects(each.get(GRID_TAG) for each in tags)
        )
        self._warm = self.rows["warmup"].fillna(value=False).astype(bool)
        self._ours = self.rows["cell"].isin(grid.cells.keys())

    @property
    def spent_usd(self) -> float:
        """What all its calls have cost so far, as far as that is known."""
        return float(self.rows["cost_usd"].sum())

    def done(self) -> set[str]:
        """Return the cells that have been answered, or refused for good."""
        status, category = self.rows["status"], self.rows["error_category"]
        final = (status == "ok") | ((status == "error") & category.isin(_SETTLED_ERRORS))
        return set(self.rows.loc[final & ~self._warm & self._ours, "cell"])

    def running(self) -> set[str]:
        """Return the cells that are being asked right now."""
        return set(self.rows.loc[(self.rows["status"] == "running") & ~self._warm & self._ours, "cell"])

    def times_asked(self) -> Counter[str]:
        """Return how many rows each cell has, by :func:`~ipyllm.experiment.remote_chunk.cell_name`."""
        from ipyllm.experiment.remote_chunk import cell_name

        return Counter(cell_name(key, warmup=warm) for key, warm in zip(self.rows["cell"], self._warm, strict=True))

    def calls(self) -> pd.DataFrame:
        """Return one row for each cell that was asked, its answer or else its latest failure; and the warm-ups."""
        rows = self.rows[self._ours]
        warm = self._warm[self._ours]
        best = (
            rows[~warm]
            .assign(_answered=rows["status"] == "ok")
            .sort_values(["_answered", "started_at"], kind="stable")
            .drop_duplicates("cell", keep="last")
            .index
        )
        rows = rows.loc[rows.index.isin(best) | warm]
        cells: list[Cell] = [self._grid.cells[key] for key in rows["cell"]]
        rows = rows.assign(
            arm=[cell.arm.label for cell in cells],
            model=[cell.arm.model for cell in cells],
            system=_objects(cell.arm.system for cell in cells),
            prompt_id=[cell.prompt.prompt_id for cell in cells],
            repeat=[cell.repeat for cell in cells],
            row=[cell.prompt.row for cell in cells],
            prompt=[cell.prompt.text for cell in cells],
            warmup=self._warm[rows.index],
        )
        if self._texts:
            rows["response"] = rows["response"].fillna(rows["call_id"].map(self._texts))
        rest = [name for name in rows.columns if name not in {*_FIRST, "cell", "grid"}]
        return rows[[*_FIRST, *rest]].reset_index(drop=True)

    def changes(self) -> str | None:
        """Return how the grid differs from that of the rows that are there, in words; None where it does not."""
        asked = self.rows[~self._warm & self.rows["cell"].notna()]
        if asked.empty:
            return None
        before = asked["grid"].iloc[-1]
        if before == self._grid.signature:
            return None
        shape = str(before).rpartition(",")[0]
        said = [f"The grid of {self._name!r} has changed: it was {shape}, now it is {self._grid.shape}."]
        labels = {arm.label for arm in self._grid.arms}
        ids = {prompt.prompt_id for prompt in self._grid.prompts}
        if new := [arm.label for arm in self._grid.arms if arm.label not in set(asked["arm"])]:
            said.append(f"New: {_named('arm', new)}.")
        gone = asked[~asked["cell"].isin(self._grid.cells.keys())]
        if not gone.empty:
            of_arms, of_prompts = ~gone["arm"].isin(labels), ~gone["prompt_id"].isin(ids)
            fewer = gone["repeat"].astype("Int64") >= self._grid.repeats
            otherwise = gone[~of_arms & ~of_prompts & ~fewer]
            what = [_named("arm", sorted(set(gone.loc[of_arms, "arm"])))] if of_arms.any() else []
            if of_prompts.any():
                what.append(_count(gone.loc[of_prompts, "prompt_id"].nunique(), "prompt"))
            if fewer.any():
                what.append(f"repeats from {self._grid.repeats + 1} on")
            if not otherwise.empty:
                changed = _named("arm", sorted(set(otherwise["arm"])))
                what.append(f"what {changed} asked with other parameters, system prompt or text")
            said.append(
                f"No longer in it, and left out of the results: {', '.join(what)} ({_count(len(gone), 'call')})."
            )
        done = len(self.done())
        said.append(f"{done} of {len(self._grid)} calls are there already.")
        return " ".join(said)


def _objects(values: Iterable[Any]) -> Any:
    import numpy as np

    found = list(values)
    array = np.empty(len(found), dtype=object)
    array[:] = found
    return array


def _named(what: str, names: list[str]) -> str:
    shown = ", ".join(repr(name) for name in names[:_MOST_NAMED])
    more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
    return f"{what}{'s' if len(names) > 1 else ''} {shown}{more}"


def _count(n: Any, what: str) -> str:
    return f"{n} {what}{'s' if n != 1 else ''}"
