"""Reads the state of an experiment from the ledger: which trials are done, and what they cost."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, Final

from ipyllm.experiment.run import GRID_TAG, TRIAL_TAG
from ipyllm.text.format import count

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import pandas as pd

    from ipyllm.experiment.grid import Grid
    from ipyllm.ledger import Ledger

__all__ = ["LedgerProgress"]

_FINAL_ERRORS: Final = ("bad_request", "content_filter", "context_length")
"""Errors that the same model would return again for the same prompt."""

_FIRST: Final = (
    "experiment", "arm", "model", "params", "system", "prompt_id", "repeat", "row", "prompt", "response", "status",
    "error_category", "error_message", "finish_reason",
)  # fmt: skip
_MAX_NAMES = 5


class LedgerProgress:
    """The rows of one experiment, as the ledger has them now.

    Rows of other trials than the grid's belong to an earlier grid; ``texts`` has answers that are not in the ledger.
    """

    def __init__(self, name: str, grid: Grid, ledger: Ledger, texts: Mapping[str, str] | None = None) -> None:
        from ipyllm.dataframes.usage import usage

        self._grid = grid
        self._name = name
        self._texts = texts or {}
        rows = usage(kernel=None, experiment=name, ledger=ledger)
        tags = [each if isinstance(each, dict) else {} for each in rows["tags"]]
        self.rows: pd.DataFrame = rows.assign(
            trial=_objects(each.get(TRIAL_TAG) for each in tags), grid=_objects(each.get(GRID_TAG) for each in tags)
        )
        self._warm = self.rows["warmup"].fillna(value=False).astype(bool)
        self._ours = self.rows["trial"].isin(grid.trials.keys())

    @property
    def spent_usd(self) -> float:
        """Cost of all its calls so far; unknown prices are not included."""
        return float(self.rows["cost_usd"].sum())

    def done(self) -> set[str]:
        """Return the keys of the trials that were answered, or failed with a final error."""
        status, category = self.rows["status"], self.rows["error_category"]
        final = (status == "ok") | ((status == "error") & category.isin(_FINAL_ERRORS))
        return set(self.rows.loc[final & ~self._warm & self._ours, "trial"])

    def running(self) -> set[str]:
        """Return the keys of the trials whose calls are running."""
        return set(self.rows.loc[(self.rows["status"] == "running") & ~self._warm & self._ours, "trial"])

    def rows_per_trial(self) -> Counter[str]:
        """Return the number of rows of each trial, by :func:`~ipyllm.experiment.remote_chunk.trial_name`."""
        from ipyllm.experiment.remote_chunk import trial_name

        return Counter(trial_name(key, warmup=warm) for key, warm in zip(self.rows["trial"], self._warm, strict=True))

    def calls(self) -> pd.DataFrame:
        """Return one row for each trial, its answer or else its latest failure; and the warm-ups."""
        rows = self.rows[self._ours]
        warm = self._warm[self._ours]
        best = (
            rows[~warm]
            .assign(_answered=rows["status"] == "ok")
            .sort_values(["_answered", "started_at"], kind="stable")
            .drop_duplicates("trial", keep="last")
            .index
        )
        rows = rows.loc[rows.index.isin(best) | warm]
        trials = [self._grid.trials[key] for key in rows["trial"]]
        rows = rows.assign(
            arm=[trial.arm.label for trial in trials],
            model=[trial.arm.model for trial in trials],
            system=_objects(trial.arm.system for trial in trials),
            prompt_id=[trial.prompt.prompt_id for trial in trials],
            repeat=[trial.repeat for trial in trials],
            row=[trial.prompt.row for trial in trials],
            prompt=[trial.prompt.text for trial in trials],
            warmup=self._warm[rows.index],
        )
        if self._texts:
            rows["response"] = rows["response"].fillna(rows["call_id"].map(self._texts))
        rest = [name for name in rows.columns if name not in {*_FIRST, "trial", "grid"}]
        return rows[[*_FIRST, *rest]].reset_index(drop=True)

    def changes(self) -> str | None:
        """Describe how the grid differs from that of the stored rows; None where it does not."""
        asked = self.rows[~self._warm & self.rows["trial"].notna()]
        if asked.empty or asked["grid"].iloc[-1] == self._grid.signature:
            return None
        before = str(asked["grid"].iloc[-1]).rpartition(",")[0]
        sentences = [f"The grid of {self._name!r} has changed: it was {before}, now it is {self._grid.shape}."]
        labels = {arm.label for arm in self._grid.arms}
        if new := [arm.label for arm in self._grid.arms if arm.label not in set(asked["arm"])]:
            sentences.append(f"New: {_named('arm', new)}.")
        gone = asked[~asked["trial"].isin(self._grid.trials.keys())]
        if not gone.empty:
            of_arms = ~gone["arm"].isin(labels)
            of_prompts = ~gone["prompt_id"].isin({prompt.prompt_id for prompt in self._grid.prompts})
            fewer = gone["repeat"].astype("Int64") >= self._grid.repeats
            otherwise = gone[~of_arms & ~of_prompts & ~fewer]
            what = [_named("arm", sorted(set(gone.loc[of_arms, "arm"])))] if of_arms.any() else []
            if of_prompts.any():
                what.append(count(gone.loc[of_prompts, "prompt_id"].nunique(), "prompt"))
            if fewer.any():
                what.append(f"repeats from {self._grid.repeats + 1} on")
            if not otherwise.empty:
                changed = _named("arm", sorted(set(otherwise["arm"])))
                what.append(f"calls of {changed} with other parameters, system prompt or text")
            sentences.append(
                f"No longer in it, and left out of the results: {', '.join(what)} ({count(len(gone), 'call')})."
            )
        sentences.append(f"{len(self.done())} of {len(self._grid)} calls are done already.")
        return " ".join(sentences)


def _objects(values: Iterable[Any]) -> Any:
    import pandas as pd

    return pd.Series(list(values), dtype=object).to_numpy()


def _named(what: str, names: list[str]) -> str:
    shown = ", ".join(repr(name) for name in names[:_MAX_NAMES])
    more = f" and {len(names) - _MAX_NAMES} more" if len(names) > _MAX_NAMES else ""
    return f"{what}{'s' if len(names) > 1 else ''} {shown}{more}"
