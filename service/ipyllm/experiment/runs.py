"""The experiments of a ledger as a table, and two of them compared row by row."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ipyllm.errors import LLMError, bad_request
from ipyllm.experiment.arms_of_runs import arms_to_compare, unpaired
from ipyllm.experiment.run_changes import ComparedRun, run_changes

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pandas as pd

    from ipyllm.experiment.results import Results
    from ipyllm.ledger import Ledger
    from ipyllm.statistics.table import StatisticsFrame

__all__ = ["compare_runs", "experiments"]

_COUNTED = frozenset({"experiment", "tags", "warmup", "status", "step", "cost_usd", "price_source"})
"""Columns that are read to count the calls of experiments."""


def experiments(*, ledger: Ledger | None = None) -> pd.DataFrame:
    """Return the experiments of the ledger, those that ran last first.

    Parameters
    ----------
    ledger : Ledger, optional
        Default: the current one.

    Returns
    -------
    DataFrame
        Index ``name``. ``started_at`` and ``changed_at``: first and latest run or change, in UTC; ``arms``: a list of
        their labels; ``n_prompts``, ``repeats`` and ``calls``, their product; ``answered`` and ``failed`` calls;
        ``state``: ``"complete"``, ``"incomplete"`` or ``"running"``; ``cost_usd`` of all calls, judges and warm-ups
        included, and ``cost_unknown``, the calls whose cost is unknown; ``data_hash``: the version of the data set, the
        same for the same rows; ``note`` and ``tags``. Experiments that ran in earlier versions only are not among them.

    Examples
    --------
    >>> from ipyllm.ledger import Ledger
    >>> with Ledger("sqlite://") as ledger:
    ...     len(experiments(ledger=ledger))
    0
    """
    import pandas as pd

    from ipyllm.dataframes.call_totals import cost_total
    from ipyllm.dataframes.filters import read_frame
    from ipyllm.ledger.query import ExperimentQuery, Query

    stored = read_frame(ExperimentQuery(), ledger).set_index("name").sort_values("changed_at", ascending=False)
    names = list(stored.index)
    rows = read_frame(Query(experiments=tuple(names), only=_COUNTED), ledger) if names else pd.DataFrame()
    by_name = {str(name): group for name, group in rows.groupby("experiment")} if len(rows) else {}
    figures = []
    for name, experiment in stored.iterrows():
        of_name = by_name.get(str(name), rows.iloc[:0])
        n_calls = len(experiment["arms"] or []) * int(experiment["n_prompts"]) * int(experiment["repeats"])
        answered, failed, running = _states(of_name, experiment["signature"], ledger) if len(of_name) else (0, 0, 0)
        total = cost_total(of_name) if len(of_name) else None
        figures.append(
            {
                "calls": n_calls,
                "answered": min(answered, n_calls),
                "failed": failed,
                "state": "running" if running else "complete" if answered >= n_calls else "incomplete",
                "cost_usd": 0.0 if total is None else total.known_usd,
                "cost_unknown": 0 if total is None else total.n_unknown,
            }
        )
    columns = ["calls", "answered", "failed", "state", "cost_usd", "cost_unknown"]
    found = stored.join(pd.DataFrame(figures, index=stored.index, columns=columns))
    order = ["started_at", "changed_at", "arms", "n_prompts", "repeats", *columns, "data_hash", "note", "tags"]
    return found[order]


def _states(rows: pd.DataFrame, signature: str, ledger: Ledger | None) -> tuple[int, int, int]:
    """Return the numbers of trials that were answered, that only failed, and that run, of the grid of the last run."""
    import pandas as pd

    from ipyllm.experiment.grid import GRID_TAG, TRIAL_TAG

    tags = [each if isinstance(each, dict) else {} for each in rows["tags"]]
    trials = rows.assign(trial=pd.Series([each.get(TRIAL_TAG) for each in tags], index=rows.index, dtype=object))
    trials = trials[trials["trial"].notna() & ~trials["warmup"].fillna(value=False).astype(bool)]
    if {each.get(GRID_TAG) for each in tags} - {None, signature}:  # some may belong to an earlier grid
        known = _trials_of(str(rows["experiment"].iloc[0]), ledger)
        trials = trials if known is None else trials[trials["trial"].isin(known)]
    answered = set(trials.loc[trials["status"] == "ok", "trial"])
    running = set(trials.loc[trials["status"] == "running", "trial"]) - answered
    failed = set(trials["trial"]) - answered - running
    return len(answered), len(failed), len(running)


def _trials_of(name: str, ledger: Ledger | None) -> set[str] | None:
    """Return the keys of the trials of an experiment as it last ran; None if its grid was not stored."""
    from ipyllm.experiment.records import read_record
    from ipyllm.experiment.stored_grid import grid_of
    from ipyllm.ledger.current import current_ledger

    try:
        record = read_record(current_ledger() if ledger is None else ledger, name)
    except LLMError:
        return None
    return set(grid_of(record["grid"]).trials)


def compare_runs(
    before: str | Results, after: str | Results, *, arms: Mapping[str, str] | None = None, **options: Any
) -> StatisticsFrame:
    """Return how the answers of two experiments differ, on the rows that both asked about.

    Parameters
    ----------
    before, after : str or Results
        Names of experiments in the ledger, or their results. Rows are paired by ``prompt_id``: the input's own ids, or
        hashes of its rows.
    arms : mapping, optional
        Which arms to compare: labels of ``before`` to those of ``after``. By default those of the same label; or else
        the only one of a run with each of the other; or else those of the same model, where one of the runs has it
        once.
    **options
        As for :func:`ipyllm.statistics.paired`, without ``baseline``.

    Returns
    -------
    StatisticsFrame
        As of :func:`~ipyllm.statistics.paired`: ``after`` minus ``before``. Each pair of arms is a row for each metric,
        and all intervals hold together. Its ``notes`` say which arms were not compared, and what else changed: the rows
        and their data, prompts, system prompts, parameters, models, addresses, tools and schemas.

    Raises
    ------
    LLMError
        ``not_found``: there is no such experiment. ``bad_request``: they share no rows, or
        it is not clear which arms to compare.
    """
    import pandas as pd

    from ipyllm.statistics import paired
    from ipyllm.statistics.table import StatisticsFrame

    first, second = _results(before), _results(after)
    if first.name == second.name:
        raise bad_request("These are one experiment: give the second run another name=… to compare it with the first.")
    old, new = first.calls, second.calls
    shared = set(old["prompt_id"]) & set(new["prompt_id"])
    if not shared:
        raise bad_request(
            f"{first.name!r} and {second.name!r} have no row in common: they are paired by prompt_id, the input's own "
            "or a hash of the row. Give both inputs a column prompt_id."
        )
    pairs = arms_to_compare((first.name, first.grid.arms), (second.name, second.grid.arms), arms)
    level = 1 - (1 - options.pop("level", 0.95)) / len(pairs)  # Bonferroni's, over the arms
    tables = []
    for one, other in pairs:
        several = len(pairs) > 1
        names = [f"{arm} · {run.name}" if several else run.name for arm, run in ((one, first), (other, second))]
        parts = [old[old["arm"] == one].assign(arm=names[0]), new[new["arm"] == other].assign(arm=names[1])]
        calls = pd.concat([part[part["prompt_id"].isin(shared)] for part in parts], ignore_index=True)
        directions = old.attrs.get("directions", {}) | new.attrs.get("directions", {})
        calls.attrs = {"directions": directions, "arms": names}
        tables.append(paired(calls, names[0], level=level, **options))
    table = pd.concat([pd.DataFrame(each) for each in tables])
    table["p_adjusted"] = (table["p_adjusted"] * len(pairs)).clip(upper=1)
    runs = ComparedRun(first.name, first.grid, old), ComparedRun(second.name, second.grid, new)
    notes = [
        *unpaired(runs, pairs),
        *run_changes(*runs, pairs),
        *dict.fromkeys(note for each in tables for note in each.notes),
    ]
    return StatisticsFrame.of(table, " ".join(each.conclusion for each in tables), notes)


def _results(run: str | Results) -> Results:
    from ipyllm.experiment.opened_results import open_results
    from ipyllm.experiment.results import Results

    return run if isinstance(run, Results) else open_results(run)
