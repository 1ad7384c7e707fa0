"""Reads the state of an experiment from the ledger: which trials are done, and what its calls cost."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from ipyllm.dataframes.call_totals import cost_total
from ipyllm.dataframes.conditions import CONDITIONS, in_words
from ipyllm.dataframes.convert import plain_list
from ipyllm.experiment.earlier_rows import EarlierRows
from ipyllm.experiment.grid import GRID_TAG, TRIAL_TAG
from ipyllm.experiment.servers import is_embedded, n_servers
from ipyllm.experiment.spending_limit import max_cost
from ipyllm.experiment.steps import with_steps
from ipyllm.runtime.short_pauses import without_collections
from ipyllm.text.format import count, join_names
from ipyllm.totals import CostTotal

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Iterator, Mapping
    from collections.abc import Set as AbstractSet

    import pandas as pd

    from ipyllm.experiment.grid import Grid
    from ipyllm.ledger import Ledger

__all__ = ["START_COLUMNS", "LedgerProgress", "answered_trials", "cost_sentence"]

_FINAL_ERRORS: Final = ("content_filter", "refusal", "schema_mismatch")
"""Errors that say something about the answer, as an answer does: to ask again until it fits a schema, say, would make a
model look better than it is. All others may pass: a model gets configured, say."""

_LEADING_COLUMNS: Final = (
    "experiment", "arm", "model", "variant", "params", "system", "prompt_id", "repeat", "row", "n_rows", "prompt",
    "response", "status", "error_category", "cause", "error_message", "finish_reason",
)  # fmt: skip
_COLUMNS: Final = frozenset({
    "call_id", "started_at", "experiment", "tags", "warmup", "step", "status", "error_category", "address", "endpoint",
    "cost_usd", "total_s",
})  # fmt: skip
"""Columns that are read in any case."""

_OF_GRID: Final = frozenset({"model", "prompt"})
"""Columns that :meth:`LedgerProgress.calls` fills in from the grid. Without ``model`` it leaves out what arms are."""

START_COLUMNS: Final = frozenset({*CONDITIONS, "arm", "prompt_id", "repeat"})
"""Columns that :class:`LedgerProgress` needs besides, to tell a run what is done, what changed, and what is warm."""

_STAYS_WARM: Final = {True: timedelta(minutes=5), False: timedelta(days=1)}
"""How long after an answer a model is ready for the next, by whether it is free: Ollama unloads a model after five
minutes, while a provider, or a server of one model, keeps it (docs/decisions/0027)."""

_MAX_NAMES = 5


class LedgerProgress:
    """The rows of one experiment, as the ledger has them now.

    Rows of trials that are not in the grid belong to an earlier grid; ``texts`` has answers that are not in the ledger.
    ``only`` reads these columns and those that :meth:`done` and :meth:`calls` need, instead of all, and ``prompt_ids``
    only the rows with these.
    """

    @without_collections()
    def __init__(
        self,
        name: str,
        grid: Grid,
        ledger: Ledger,
        texts: Mapping[str, str] | None = None,
        *,
        only: AbstractSet[str] | None = None,
        prompt_ids: tuple[str, ...] = (),
    ) -> None:
        from ipyllm.dataframes.filters import read_frame
        from ipyllm.ledger.query import Query

        self._grid = grid
        self._name = name
        self._texts = texts or {}
        self._has_arms = only is None or "model" in only
        columns = None if only is None else _COLUMNS | only - _OF_GRID
        rows = read_frame(Query(experiments=(name,), prompt_ids=prompt_ids, only=columns), ledger)
        self.rows: pd.DataFrame = rows.assign(trial=_array(_tag(rows, TRIAL_TAG)))
        self._is_warmup = self.rows["warmup"].fillna(value=False).astype(bool)
        self._is_step = self.rows["step"].notna()  # of a call that went on
        self._earlier = EarlierRows(self.rows, grid)
        self.rows["trial"] = self._earlier.trials
        self._in_grid = _among(self.rows["trial"], grid.trials)

    def done(self) -> set[str]:
        """Return the keys of the trials that were answered, or failed with a final error."""
        status, category = self.rows["status"], self.rows["error_category"]
        final = (status == "ok") | ((status == "error") & category.isin(_FINAL_ERRORS))
        return set(self.rows.loc[final & ~self._is_warmup & ~self._is_step & self._in_grid, "trial"])

    def warm_servers(self) -> frozenset[str]:
        """Return the models of the grid (``arm.server``) that have answered so lately that no warm-up is due."""
        import pandas as pd

        rows = self.rows[self._in_grid & (self.rows["status"] == "ok") & self.rows["started_at"].notna()]
        if rows.empty:
            return frozenset()
        age = datetime.now(UTC) - (rows["started_at"] + pd.to_timedelta(rows["total_s"].fillna(0.0), unit="s"))
        is_warm = age < (rows["cost_usd"] == 0).map(_STAYS_WARM)
        arms = {(arm := self._grid.trials[key].arm).server: arm for key in rows.loc[is_warm, "trial"]}
        # An embedded model is loaded anew in each kernel, and one answer says nothing about other servers of a pool.
        services = {server: arm.service for server, arm in arms.items()}
        return frozenset(name for name, each in services.items() if not is_embedded(each) and n_servers(each) == 1)

    def done_in_words(self) -> str:
        """Return how many trials of the grid are done, and under which conditions they were asked."""
        is_done = _among(self.rows["trial"], self.done()) & ~self._is_warmup & (self.rows["status"] != "running")
        rows = self.rows[is_done].drop_duplicates("trial", keep="last")
        return f"{len(rows)} of {len(self._grid)} {in_words(rows)}" if len(rows) else ""

    def calls(self, done_before: AbstractSet[str] = frozenset()) -> pd.DataFrame:
        """Return one row for each trial (its answer, or else its latest failure), and the warm-ups.

        ``reused`` marks those of the trials that were done before the latest run.
        """
        rows = with_steps(self.rows[self._in_grid])
        is_warmup = self._is_warmup[rows.index]
        best = (
            rows.loc[~is_warmup, ["trial", "started_at"]]
            .assign(_answered=rows["status"] == "ok")
            .sort_values(["_answered", "started_at"], kind="stable")
            .drop_duplicates("trial", keep="last")
            .index
        )
        rows = rows.loc[rows.index.isin(best) | is_warmup]
        is_warmup = is_warmup[rows.index]
        trials = [self._grid.trials[key] for key in plain_list(rows["trial"])]
        if self._has_arms:
            rows = rows.assign(
                model=[trial.arm.model for trial in trials],
                variant=_array(trial.arm.variant or None for trial in trials),
                system=_array(trial.arm.system for trial in trials),
            )
        rows = rows.assign(
            arm=[trial.arm.label for trial in trials],
            prompt_id=[trial.prompt.prompt_id for trial in trials],
            repeat=[trial.repeat for trial in trials],
            row=[trial.prompt.row for trial in trials],
            n_rows=[len(trial.prompt.rows) for trial in trials],
            prompt=[trial.prompt.text for trial in trials],
            warmup=is_warmup,
            reused=_among(rows["trial"], done_before) & ~is_warmup,
        )
        if self._texts and "response" in rows.columns:
            rows["response"] = rows["response"].fillna(rows["call_id"].map(self._texts))
        leading = [name for name in _LEADING_COLUMNS if name in rows.columns]
        other_columns = [name for name in rows.columns if name not in {*leading, "trial", "step"}]
        return rows[[*leading, *other_columns]].reset_index(drop=True)

    def costs(self) -> pd.DataFrame:
        """Return what all calls of the experiment cost, earlier grids included: see :attr:`Results.costs`."""
        import pandas as pd

        rows = self.rows[self.rows["status"] != "running"]
        is_judge = pd.Series([isinstance(tags, dict) and "judge" in tags for tags in rows["tags"]], index=rows.index)
        is_warmup = self._is_warmup[rows.index]
        kinds = {"calls": ~is_judge & ~is_warmup, "warm-ups": is_warmup, "judges": is_judge, "total": is_judge | True}
        bound = rows["cost_bound_usd"].fillna(rows["cost_usd"]).fillna(self._bounds_of_lost_calls(rows))
        table = {}
        for kind, chosen in kinds.items():
            total = cost_total(rows[chosen])
            table[kind] = {
                "n": int((chosen & ~self._is_step[rows.index]).sum()),
                "cost_usd": total.known_usd,
                "cost_unknown": total.n_unknown,
                "cost_bound_usd": float(bound[chosen].sum(skipna=False)),
            }
        return pd.DataFrame.from_dict(table, orient="index")

    def _bounds_of_lost_calls(self, rows: pd.DataFrame) -> pd.Series:
        """Return the most that calls whose process died can have cost, by row, for trials of the grid.

        Only under a limit their rows say so themselves.
        """
        import pandas as pd

        lost = rows[(rows["status"] == "interrupted") & _among(rows["trial"], self._grid.trials)]
        trials = [self._grid.trials[key] for key in lost["trial"]]
        bounds = [max_cost(each.arm.service, replace(each.arm.request, messages=each.messages)) for each in trials]
        return pd.Series(bounds, index=lost.index, dtype="float64")

    def changes(self) -> str | None:
        """Describe how the grid differs from that of the stored rows; None if they are the same."""
        stored = self.rows[~self._is_warmup & self.rows["trial"].notna()]
        notes = self._earlier.notes()
        signature = None if stored.empty else next(_tag(stored.iloc[-1:], GRID_TAG))
        if stored.empty or signature in self._earlier.signatures():
            return " ".join(notes) or None
        before = str(signature).rpartition(",")[0]
        sentences = [f"The grid of {self._name!r} has changed: it was {before}, now it is {self._grid.shape}."]
        labels = {arm.label for arm in self._grid.arms}
        trials, ids = self._grid.trials, self._grid.prompt_ids
        asked = {*stored["arm"], *(trials[key].arm.label for key in stored["trial"] if key in trials)}  # or renamed
        if new_arms := [arm.label for arm in self._grid.arms if arm.label not in asked]:
            sentences.append(f"New: {_named('arm', new_arms)}.")
        removed = stored[~_among(stored["trial"], trials)]
        if not removed.empty:
            arm_removed = ~removed["arm"].isin(labels)
            prompt_removed = ~removed["prompt_id"].isin(ids)
            repeat_removed = removed["repeat"].astype("Int64") >= self._grid.repeats
            others = removed[~arm_removed & ~prompt_removed & ~repeat_removed]
            moved = others[self._earlier.elsewhere(others)]
            changed_otherwise = others.drop(moved.index)
            parts = [_named("arm", sorted(set(removed.loc[arm_removed, "arm"])))] if arm_removed.any() else []
            if prompt_removed.any():
                parts.append(count(removed.loc[prompt_removed, "prompt_id"].nunique(), "prompt"))
            if repeat_removed.any():
                parts.append(f"repeats from {self._grid.repeats + 1} on")
            if not moved.empty:
                where = join_names(list(moved["address"].fillna(moved["endpoint"]).unique()), limit=_MAX_NAMES)
                parts.append(f"calls of {_named('arm', sorted(set(moved['arm'])))} at another address, {where}")
            if not changed_otherwise.empty:
                changed = _named("arm", sorted(set(changed_otherwise["arm"])))
                parts.append(f"calls of {changed} with other parameters, headers, system prompt or text")
            sentences.append(
                f"Removed from it, and left out of the results: {', '.join(parts)} ({count(len(removed), 'call')})."
            )
        sentences.append(f"{len(self.done())} of {len(self._grid)} calls are already done.")
        return " ".join([*sentences, *notes])


def cost_sentence(costs: pd.DataFrame) -> str:
    """Return :attr:`Results.costs` in words: the costs of calls and judges; empty if none is known."""
    rows = costs.fillna({"cost_usd": 0.0})[["cost_usd", "n", "cost_unknown"]].itertuples()
    totals = {kind: CostTotal(usd, n, n_unknown) for kind, usd, n, n_unknown in rows}
    total = totals.pop("total")
    if not total.usd:
        return ""
    parts = [f"{each.amount} for {kind}" for kind, each in totals.items() if each.usd]
    caveat = f" ({total.caveat})" if total.caveat else ""
    return f"It costs {total.amount}{caveat}: {', '.join(parts)}."


def answered_trials(ledger: Ledger, name: str) -> set[str]:
    """Return the keys of all trials of an experiment that have an answer."""
    from ipyllm.dataframes.usage import usage

    rows = usage(kernel=None, experiment=name, status="ok", text=False, ledger=ledger)
    measured = rows["tags"][~rows["warmup"].fillna(value=False).astype(bool) & rows["step"].isna()]
    return {tags[TRIAL_TAG] for tags in measured if isinstance(tags, dict) and TRIAL_TAG in tags}


def _among(column: pd.Series[Any], values: Container[str]) -> pd.Series[bool]:
    """Return which values of a column of text are among these: faster than isin() with many values."""
    import pandas as pd

    return pd.Series([value in values for value in plain_list(column)], index=column.index, dtype=bool)


def _tag(rows: pd.DataFrame, name: str) -> Iterator[Any]:
    """Yield the tag of this name of each row; None where it has none."""
    return (tags.get(name) if isinstance(tags, dict) else None for tags in rows["tags"].tolist())


def _array(values: Iterable[Any]) -> Any:
    import pandas as pd

    return pd.Series(list(values), dtype=object).to_numpy()


def _named(noun: str, names: list[str]) -> str:
    shown = ", ".join(repr(name) for name in names[:_MAX_NAMES])
    more = f" and {len(names) - _MAX_NAMES} more" if len(names) > _MAX_NAMES else ""
    return f"{noun}{'s' if len(names) > 1 else ''} {shown}{more}"
