"""How the trials of an experiment ended, from as few columns of the ledger as that takes.

The state of a run of 100,000 trials is looked at again and again; to read all of its columns takes seconds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from ipyllm.dataframes.conditions import CONDITIONS
from ipyllm.dataframes.failures import root_categories
from ipyllm.experiment.grid import TRIAL_TAG
from ipyllm.ledger.query import Query

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from collections.abc import Set as AbstractSet

    import pandas as pd

    from ipyllm.experiment.grid import Grid, Trial
    from ipyllm.experiment.parsed_answers import ParsedAnswers
    from ipyllm.ledger import Ledger

__all__ = ["error_message", "failure_categories", "trial_outcomes"]

_OUTCOME: Final = ("status", "error_category", "cause", *CONDITIONS)
_READ: Final = ("warmup", "step", "address", *_OUTCOME)

_MAX_CATEGORIES: Final = 3  # in a sentence

_AT_ONCE: Final = 1_000
"""Answers that are read at once, by their ids."""


def trial_outcomes(
    name: str,
    grid: Grid,
    ledger: Ledger,
    parsed: ParsedAnswers,
    texts: Mapping[str, str] | None,
    done_before: AbstractSet[str] = frozenset(),
) -> pd.DataFrame | None:
    """Return a row for each trial that has a call, with the columns of ``Results.calls`` that tell its outcome.

    Columns: ``arm``, ``warmup`` (False), ``reused`` (whether ``done_before`` has the trial), ``started_at`` (a number,
    in the order of the calls), ``call_id`` (of a failure: that of the earliest one like it), ``status``,
    ``error_category``, ``cause``, ``concurrency``, ``executor`` and ``machine``. None where only a whole read can tell:
    a value is damaged, or a row is from a version that did not note the address.
    """
    # The others first: one that ends in the meantime is then among both, and its answer counts.
    rows = ledger.read_by_tag(name, TRIAL_TAG, _READ, without_status=None if parsed else "ok")
    answers = [] if parsed else ledger.tags_of_answers(name, TRIAL_TAG, CONDITIONS)
    if rows is None or answers is None:
        return None
    trials = grid.trials
    best = _best(rows, answers, trials)
    if best is None:
        return None
    answered = {rows[at][0]: trials[key].arm.label for key, at in best.items() if rows[at][5] == "ok"} if parsed else {}
    misfits = _misfits(answered, ledger, parsed, texts or {})
    outcomes = [("error", "schema_mismatch", *row[7:]) if row[0] in misfits else row[5:] for row in rows]
    outcomes += [("ok", None, None, *answer[:-2]) for answer in answers]
    groups: dict[tuple[Any, ...], list[int]] = {}
    for key, position in best.items():
        groups.setdefault((trials[key].arm.label, key in done_before, *outcomes[position]), []).append(position)
    return _frame(groups, [row[0] for row in rows])


def _best(
    rows: Sequence[tuple[Any, ...]], answers: Sequence[tuple[Any, ...]], trials: Mapping[str, Trial]
) -> dict[str, int] | None:
    """Return the position of each trial's row, or, behind the rows, of its group of answers.

    None if a row of an earlier version is among them.
    """
    best: dict[str, int] = {}
    for position, (_, key, is_warmup, step, address, status, *_) in enumerate(rows):
        if key not in trials:
            if key is not None and address is None:
                return None
        elif not is_warmup and step is None and (status == "ok" or key not in best or rows[best[key]][5] != "ok"):
            best[key] = position
    for position, (*_, has_address, keys) in enumerate(answers, len(rows)):
        for key in (keys or "").split(","):
            if key in trials:
                best[key] = position
            elif key and not has_address:
                return None
    return best


def error_message(ledger: Ledger, call_id: str) -> str:
    """Return the error message of a call."""
    query = Query(call_ids=(call_id,), only=frozenset({"error_message"}))
    index = query.columns.index("error_message")
    return str(next((row[index] for row in ledger.read(query)), ""))


def _misfits(answered: Mapping[str, str], ledger: Ledger, parsed: ParsedAnswers, texts: Mapping[str, str]) -> set[str]:
    """Return the calls whose answers do not fit the schema of their arm, of these calls with their arms."""
    unread = [call_id for call_id, label in answered.items() if parsed.is_unread(call_id, label)]
    for call_id, text in (*texts.items(), *_answers([each for each in unread if each not in texts], ledger)):
        if call_id in answered and isinstance(text, str):
            parsed.read(call_id, answered[call_id], text)
    return {call_id for call_id in answered if parsed.is_misfit(call_id)}


def _answers(call_ids: list[str], ledger: Ledger) -> Iterable[tuple[str, Any]]:
    of_columns = Query(only=frozenset({"response"})).columns
    index, key = of_columns.index("response"), of_columns.index("call_id")
    for start in range(0, len(call_ids), _AT_ONCE):
        query = Query(call_ids=tuple(call_ids[start : start + _AT_ONCE]), only=frozenset({"response"}))
        yield from ((row[key], row[index]) for row in ledger.read(query))


def _frame(groups: Mapping[tuple[Any, ...], list[int]], call_ids: Sequence[str]) -> pd.DataFrame:
    """Return a row for each position of the groups; positions behind the ``call_ids`` have none."""
    import pandas as pd

    names = ("arm", "reused", *_OUTCOME)
    first = [min(positions) for positions in groups.values()]
    found = pd.DataFrame(
        {name: pd.Series([group[index] for group in groups], dtype=object) for index, name in enumerate(names)}
        | {
            "call_id": pd.Series([call_ids[at] if at < len(call_ids) else None for at in first], dtype=object),
            "started_at": pd.Series([max(positions) for positions in groups.values()], dtype="int64"),
            "first": pd.Series(first, dtype="int64"),
            "size": pd.Series([len(positions) for positions in groups.values()], dtype="int64"),
        }
    ).sort_values("first", kind="stable")
    found = found.assign(warmup=False, reused=found["reused"].astype(bool))
    return found.loc[found.index.repeat(found["size"])].drop(columns=["first", "size"]).reset_index(drop=True)


def failure_categories(failed: pd.DataFrame) -> str:
    """Return how many of these calls failed for which reason, the most frequent first: ``timeout 3, quota 1``."""
    counts = root_categories(failed).fillna("unknown").value_counts()
    shown = [f"{category} {n}" for category, n in counts.head(_MAX_CATEGORIES).items()]
    return ", ".join([*shown, "…"] if len(counts) > _MAX_CATEGORIES else shown)
