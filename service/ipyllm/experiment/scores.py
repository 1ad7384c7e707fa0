"""Scores the answers of an experiment, once for each call.

A judge's score, which cost something, is stored in the call's tags, so that another kernel that opens the
same experiment does not pay for it again.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from ipyllm.dataframes.convert import plain_list

if TYPE_CHECKING:
    from collections.abc import Callable

    import pandas as pd

    from ipyllm.experiment.grid import Grid
    from ipyllm.experiment.parsed_answers import ParsedAnswers
    from ipyllm.ledger import Ledger

__all__ = ["Scores"]

_ALWAYS_SHOWN = 2  # of a scorer's columns: its score and its error


class Scores:
    """Scores of the answers, by call. Scorers get the rows of the grid's prompts."""

    def __init__(self, scorers: Iterable[Any] | None, grid: Grid, parsed: ParsedAnswers) -> None:
        self._data = {prompt.prompt_id: prompt.data for prompt in grid.prompts}
        self._parsed = parsed
        self.on_scored: Callable[[Mapping[str, Any]], None] = lambda _: None
        self.reset(scorers)
        self._reads_stored = True

    @property
    def scorers(self) -> tuple[Any, ...]:
        """The scorers in use, as :class:`~ipyllm.scorers.Scorer`."""
        return self._scorers

    @property
    def declared_directions(self) -> dict[str, bool | None]:
        """By the column of each score, whether higher is better; None where that is not declared."""
        directions = {scorer.columns[0]: scorer.higher_is_better for scorer in self._scorers}
        return {column: None if direction == "infer" else direction for column, direction in directions.items()}

    def reset(self, scorers: Iterable[Any] | None) -> None:
        """Use these scorers from now on, and forget all scores, stored ones included."""
        given = list(scorers) if isinstance(scorers, Iterable) and not isinstance(scorers, str | Mapping) else scorers
        valid: tuple[Any, ...] = ()
        if given is not None and given != []:
            from ipyllm.scorers.scorer import as_scorers

            valid = as_scorers(given)
        self._scorers = valid
        self._by_call: dict[str, dict[str, dict[str, Any]]] = {}  # by call, then by scorer: its columns
        self._reads_stored = False

    def stored(self) -> dict[str, Any]:
        """Return the scores as JSON's values, for :meth:`restore`."""
        return {
            "scorers": [[scorer.name, list(scorer.gives), scorer.higher_is_better] for scorer in self._scorers],
            "by_call": self._by_call,
        }

    def restore(self, stored: Mapping[str, Any]) -> None:
        """Use scores that were stored. Those that were not given then cannot be given now."""
        from ipyllm.scorers.scorer import Scorer

        self.reset(
            Scorer(name, _not_stored, takes_row=False, inline=True, gives=tuple(gives), higher_is_better=direction)
            for name, gives, direction in stored["scorers"]
        )
        self._by_call = {call_id: dict(scores) for call_id, scores in stored["by_call"].items()}

    def join(self, calls: pd.DataFrame, ledger: Ledger) -> pd.DataFrame:
        """Return ``calls`` with their scores. Those without one are scored first; an interrupt keeps scores so far."""
        if not self._scorers:
            return calls
        self._read_stored(calls)
        for scorer in self._scorers:
            if scorer.begin is not None:  # it reads what may have changed since, such as votes
                for known in self._by_call.values():
                    known.pop(scorer.name, None)
        answered = calls[_is_answered(calls)]
        for names, indices in self._missing(answered["call_id"]).items():
            self._score([scorer for scorer in self._scorers if scorer.name in names], answered.iloc[indices], ledger)
        return self._with_columns(calls)

    def join_known(self, calls: pd.DataFrame) -> pd.DataFrame | None:
        """Return what :meth:`join` does; None if there is something to score, which may need any column of a call."""
        if not self._scorers:
            return calls
        self._read_stored(calls)
        if any(scorer.begin is not None for scorer in self._scorers):
            return None
        if self._missing(calls.loc[_is_answered(calls), "call_id"]):
            return None
        return self._with_columns(calls)

    def _missing(self, call_ids: pd.Series[Any]) -> dict[tuple[str, ...], list[int]]:
        """Return the places of calls without all scores, by the names of the scorers that are missing."""
        names = tuple(scorer.name for scorer in self._scorers)
        all_names = frozenset(names)
        missing: dict[tuple[str, ...], list[int]] = {}
        for index, call_id in enumerate(plain_list(call_ids)):
            known = self._by_call.get(call_id, {})
            if not known.keys() >= all_names:
                missing.setdefault(tuple([name for name in names if name not in known]), []).append(index)
        return missing

    def _score(self, scorers: list[Any], calls: pd.DataFrame, ledger: Ledger) -> None:
        from ipyllm.scorers.scoring import Scoring

        rows = [
            {"prompt": prompt} | dict(self._data[prompt_id])
            for prompt_id, prompt in zip(calls["prompt_id"], calls["prompt"], strict=True)
        ]
        answers = calls.assign(parsed=self._parsed.values(calls)) if self._parsed else calls
        scoring = Scoring(scorers, answers, rows)
        complete = False
        try:
            scoring.run()
            complete = True
        finally:
            scored = scoring.frame()
            for scorer in scorers:
                columns = [name for name in scorer.columns if name in scored.columns]
                values = [scored[name].astype("object").where(scored[name].notna(), None).tolist() for name in columns]
                for call_id, *found in zip(scored["call_id"], *values, strict=True):
                    # After an interrupt, a missing score may only be pending.
                    if complete or any(value is not None for value in found):
                        self._by_call.setdefault(call_id, {})[scorer.name] = dict(zip(columns, found, strict=True))
            self._store(scored, scorers, ledger)
            self.on_scored(self.stored())

    def _store(self, calls: pd.DataFrame, scorers: list[Any], ledger: Ledger) -> None:
        for call_id, tags in zip(calls["call_id"], calls["tags"], strict=True):
            known = self._by_call.get(call_id, {})
            paid = {
                scorer.columns[0]: json.dumps(known[scorer.name])
                for scorer in scorers
                if _is_paid(known.get(scorer.name, {}), scorer)
            }
            if paid:
                ledger.put({"call_id": call_id, "tags": {**(tags or {}), **paid}})

    def _read_stored(self, calls: pd.DataFrame) -> None:
        """Use the scores that another kernel paid for."""
        if not self._reads_stored:
            return
        names = {scorer.columns[0]: scorer.name for scorer in self._scorers}
        for call_id, tags in zip(plain_list(calls["call_id"]), calls["tags"].tolist(), strict=True):
            if not tags or names.keys().isdisjoint(tags):
                continue
            for column in names.keys() & tags.keys():
                known = self._by_call.setdefault(call_id, {})
                if names[column] not in known:
                    known[names[column]] = json.loads(tags[column])

    def _with_columns(self, calls: pd.DataFrame) -> pd.DataFrame:
        """Return ``calls`` with the columns to show: scores and errors always, others if any call has one."""
        import pandas as pd

        from ipyllm.scorers.scoring import with_directions

        none: dict[str, Any] = {}
        known = [self._by_call.get(call_id, none) for call_id in plain_list(calls["call_id"])]
        columns: dict[str, pd.Series[Any]] = {}
        for scorer in self._scorers:
            scored = [each.get(scorer.name, none) for each in known]
            given = set().union(*scored)
            for nth, name in enumerate(scorer.columns):
                if nth < _ALWAYS_SHOWN or name in given:
                    is_text = name.endswith(("_error", "_reason"))
                    values = [found.get(name) for found in scored]
                    columns[name] = pd.Series(values, index=calls.index, dtype="object" if is_text else "float64")
        return with_directions(calls.assign(**columns), self._scorers)


def _is_answered(calls: pd.DataFrame) -> pd.Series[bool]:
    return (calls["status"] == "ok") & ~calls["warmup"]


def _not_stored(_response: Any) -> None:
    from ipyllm.scorers.scorer import ScoreFailure

    raise ScoreFailure("It was not scored when the experiment was stored: give scorers=… to score it now.")


def _is_paid(known: dict[str, Any], scorer: Any) -> bool:
    """Return whether a score cost something, or came from a cache; not if its judge was never asked."""
    score, _, _, cost = (known.get(name) for name in scorer.columns)
    return cost is not None and (cost > 0 or score is not None)
