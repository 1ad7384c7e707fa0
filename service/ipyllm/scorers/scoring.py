"""Applies scorers to a table of calls, without calling the models again.

The user's scorers run in the caller's thread or loop (:mod:`ipyllm.tools.caller_executor`): coroutines several at a
time, plain functions one after the other in a thread that can be abandoned. A failing scorer does not stop the others.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from ipyllm.errors import LLMError, bad_request
from ipyllm.pipeline.call_scope import CallScope
from ipyllm.runtime.interruptible import CANCEL_GRACE_S, InterruptibleEvent
from ipyllm.runtime.liveness import wait_for_future
from ipyllm.runtime.service_thread import service_thread
from ipyllm.scorers.scored_answer import answers
from ipyllm.scorers.scorer import Score, ScoreFailure, Scorer, as_scorers, validate_score
from ipyllm.tools import CallerExecutor, ToolTimeout
from ipyllm.tools.caller_executor import UserCode
from ipyllm.tools.result_text import describe_error, truncate
from ipyllm.validate import validate_int

if TYPE_CHECKING:
    from concurrent.futures import Future

    import pandas as pd

__all__ = ["CONCURRENCY", "Scoring", "apply"]

CONCURRENCY = 16
"""Default number of async scores of one scorer in flight at once."""

_MAX_TIMEOUTS = 3
"""Time-outs in a row after which a scorer is skipped, since each may leave a thread behind."""

_MAX_ERROR_CHARS = 500
_NOT_STORED = "The text of this answer was not stored (IPYLLM_STORE_TEXT=0)."


def apply(
    scorers: Iterable[Any],
    calls: pd.DataFrame,
    rows: pd.DataFrame | Sequence[Mapping[str, Any]] | None = None,
    *,
    on: str = "prompt_id",
    concurrency: int = CONCURRENCY,
) -> pd.DataFrame:
    """Score the answers in a table of calls, without calling the models again.

    Parameters
    ----------
    scorers : iterable
        Scorers, or anything that :meth:`Scorer.of` takes.
    calls : DataFrame
        As returned by ``usage()`` or ``results.calls``. Only calls with status ``ok`` are scored.
    rows : DataFrame or sequence of mapping, optional
        The data with the right answers: a table whose index holds the values of ``calls[on]``, or one mapping for each
        call, in order. By default scorers get an empty row.
    on : str
        Column of ``calls`` with the index of the row.
    concurrency : int
        Async scores of one scorer in flight at once.

    Returns
    -------
    DataFrame
        A copy of ``calls`` with ``score_<name>`` (``float64``, null if there is none) and ``score_<name>_error`` (the
        reason, else null); and ``score_<name>_reason`` and ``cost_usd_<name>`` for scorers that return a
        :class:`Score` with these, the cost also for scorers that ask a model. Earlier scores of the same name are
        replaced. ``attrs["directions"]`` of the table says by column whether higher scores are better, for
        :mod:`ipyllm.statistics`.

    Raises
    ------
    LLMError
        ``bad_request``: an invalid scorer, two of the same name, or tables that do not match.

    Examples
    --------
    >>> import pandas as pd
    >>> from ipyllm import scorers
    >>> calls = pd.DataFrame({"prompt_id": [0, 1], "status": ["ok", "ok"], "response": ["Bern", "I do not know."]})
    >>> cities = pd.DataFrame({"capital": ["Bern", "Rome"]})
    >>> def right(response, row):
    ...     return response.content == row["capital"]
    >>> scorers.apply([right], calls, cities)[["response", "score_right", "score_right_error"]]
             response  score_right score_right_error
    0            Bern          1.0              None
    1  I do not know.          0.0              None
    """
    scoring = Scoring(scorers, calls, rows, on=on, concurrency=concurrency)
    scoring.run()
    return scoring.frame()


class Scoring:
    """Scores a table of calls, with access to the scores so far.

    Stages: created, arguments checked → :meth:`run` or :meth:`arun`, once → :meth:`frame`, at any time and
    also after an interrupt.

    Parameters
    ----------
    scorers, calls, rows, on, concurrency
        As for :func:`apply`.
    """

    def __init__(
        self,
        scorers: Iterable[Any],
        calls: pd.DataFrame,
        rows: pd.DataFrame | Sequence[Mapping[str, Any]] | None = None,
        *,
        on: str = "prompt_id",
        concurrency: int = CONCURRENCY,
    ) -> None:
        self._scorers = as_scorers(scorers)
        self._concurrency = validate_int("concurrency", concurrency, 1)
        missing = [name for name in ("status", "response") if name not in calls.columns]
        if missing:
            raise bad_request(f"These calls cannot be scored: the table has no column {' and '.join(missing)}.")
        self._calls = calls
        self._rows = match_rows(calls, rows, on)
        self._answers = answers(calls)
        self._has_text = calls["response"].notna().tolist()
        self._indices = [index for index, answer in enumerate(self._answers) if answer.status == "ok"]
        self._results: dict[str, dict[int, Score | ScoreFailure]] = {scorer.name: {} for scorer in self._scorers}

    def run(self) -> None:
        """Score and wait. Async scorers run on the event loop of the notebook cell, if there is one.

        Raises
        ------
        KeyboardInterrupt
            When the user interrupts; running scorers are cancelled first, and scores so far are kept.
        """
        if service_thread().is_current:
            raise RuntimeError("Scoring in the service thread would wait for itself; use `await scoring.arun()`.")
        self._prepare_scorers()
        self._run_inline()
        caller_executor, done = CallerExecutor(waits=True), InterruptibleEvent()
        done.set_by = service_thread().liveness
        future = self._start(caller_executor, done)
        if future is None:
            return
        try:
            caller_executor.wait(done)
        except BaseException:
            future.cancel()
            with suppress(LLMError):  # the service thread cannot end it
                done.wait(CANCEL_GRACE_S)
            raise
        future.result()

    async def arun(self) -> None:
        """Like :meth:`run`, for a coroutine: async scorers run on its loop, plain ones in a thread."""
        self._prepare_scorers()
        self._run_inline()
        future = self._start(CallerExecutor(waits=False), InterruptibleEvent())
        if future is not None:
            try:
                await wait_for_future(future, service_thread().liveness)
            except asyncio.CancelledError:
                future.cancel()
                raise

    def frame(self) -> pd.DataFrame:
        """Return the calls with the scores so far, as :func:`apply` does."""
        new_columns = {name: column for scorer in self._scorers for name, column in self._columns(scorer).items()}
        earlier = {name for scorer in self._scorers for name in scorer.columns}
        scored = self._calls.drop(columns=[n for n in self._calls.columns if n in earlier]).assign(**new_columns)
        return with_directions(scored, self._scorers)

    def _columns(self, scorer: Scorer) -> dict[str, pd.Series[Any]]:
        import pandas as pd

        results = dict(self._results[scorer.name])  # a copy, because the service thread may be adding to it
        scores = [results.get(index) for index in range(len(self._answers))]

        def column(values: Iterable[Any], dtype: str) -> pd.Series[Any]:
            return pd.Series(list(values), index=self._calls.index, dtype=dtype)

        name, error, reason, cost = scorer.columns
        reasons = [score.reason if isinstance(score, Score) else None for score in scores]
        costs = [None if score is None else score.cost_usd for score in scores]
        columns = {
            name: column((score.value if isinstance(score, Score) else None for score in scores), "float64"),
            error: column((str(score) if isinstance(score, ScoreFailure) else None for score in scores), "object"),
        }
        if "reason" in scorer.gives or any(text is not None for text in reasons):
            columns[reason] = column(reasons, "object")
        if "cost_usd" in scorer.gives or any(dollars is not None for dollars in costs):
            columns[cost] = column(costs, "float64")
        return columns

    def _prepare_scorers(self) -> None:
        if self._indices:
            self._scorers = tuple(scorer.prepared() for scorer in self._scorers)

    def _run_inline(self) -> None:
        for scorer in self._scorers:
            if scorer.inline:
                for index in self._indices:
                    scope = self._scope(scorer, index)
                    result: Score | ScoreFailure
                    try:
                        result = validate_score(scope.run(self._call(scorer, index)))
                    except Exception as exc:  # noqa: BLE001 - any error of a scorer is that score's error
                        result = _failure(exc)
                    self._add_result(scorer, index, _with_cost(result, scope))

    def _call(self, scorer: Scorer, index: int) -> Callable[[], Any]:
        if not self._has_text[index]:
            raise ScoreFailure(_NOT_STORED)
        return functools.partial(scorer.call, self._answers[index], self._rows[index])

    def _scope(self, scorer: Scorer, index: int) -> CallScope:
        answer = self._answers[index]
        return CallScope(answer.experiment, judge_tags(scorer.name, answer.call_id, answer.experiment))

    def _add_result(self, scorer: Scorer, index: int, result: Score | ScoreFailure) -> None:
        self._results[scorer.name][index] = result

    def _start(self, caller_executor: CallerExecutor, done: InterruptibleEvent) -> Future[None] | None:
        if all(scorer.inline for scorer in self._scorers) or not self._indices:
            return None
        return service_thread().submit(self._run_on_service_thread(caller_executor, done))

    async def _run_on_service_thread(self, caller_executor: CallerExecutor, done: InterruptibleEvent) -> None:
        try:
            async with asyncio.TaskGroup() as group:
                for scorer in self._scorers:
                    if not scorer.inline:
                        worker = Worker(scorer, iter(self._indices))
                        # Plain functions run one by one: while one hangs, a second would only wait for it in the queue.
                        for _ in range(self._concurrency if scorer.is_async else 1):
                            group.create_task(self._run_worker(worker, caller_executor))
        finally:
            caller_executor.close()
            done.set()

    async def _run_worker(self, worker: Worker, caller_executor: CallerExecutor) -> None:
        for index in worker.indices:
            if worker.timeouts >= _MAX_TIMEOUTS:
                reason = f"Skipped: {worker.scorer.name} had timed out {_MAX_TIMEOUTS} times in a row."
                self._add_result(worker.scorer, index, ScoreFailure(reason))
            else:
                self._add_result(worker.scorer, index, await self._score(worker, index, caller_executor))

    async def _score(self, worker: Worker, index: int, caller_executor: CallerExecutor) -> Score | ScoreFailure:
        scorer, scope = worker.scorer, self._scope(worker.scorer, index)
        result: Score | ScoreFailure
        try:
            function = functools.partial(scope.run, self._call(scorer, index))
            code = UserCode(scorer.name, function, scorer.is_async, scorer.timeout)
            result = await caller_executor.run(code, convert=validate_score, describe=_failure)
        except ScoreFailure as exc:
            result = exc
        except ToolTimeout as exc:
            worker.timeouts += 1
            return _with_cost(ScoreFailure(f"{exc}."), scope)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if caller_executor.is_abandoned or (task is not None and task.cancelling()):
                raise
            result = ScoreFailure("It was cancelled.")
        worker.timeouts = 0
        return _with_cost(result, scope)


@dataclass(slots=True)
class Worker:
    """The pending answers of one scorer, shared by its tasks on the service thread."""

    scorer: Scorer
    indices: Iterator[int]
    timeouts: int = 0  # in a row


def match_rows(
    calls: pd.DataFrame, rows: pd.DataFrame | Sequence[Mapping[str, Any]] | None, on: str
) -> Sequence[Mapping[str, Any]]:
    """Return the row of each call, as :func:`apply` describes; raise ``bad_request`` if the tables do not match."""
    import pandas as pd

    if rows is None:
        return [{}] * len(calls)
    if not isinstance(rows, pd.DataFrame):
        mappings = list(rows)
        if len(mappings) != len(calls) or not all(isinstance(row, Mapping) for row in mappings):
            raise bad_request(
                f"rows must be a table, or one dict for each of the {len(calls)} calls; these are {len(mappings)}."
            )
        return mappings
    if on not in calls.columns:
        raise bad_request(f"The calls have no column {on!r} that names their row; choose another with on=….")
    if not rows.index.is_unique:
        raise bad_request("The index of the rows has duplicates, so calls cannot be matched to rows.")
    by_key = dict(zip(rows.index.tolist(), rows.to_dict("records"), strict=True))
    keys = calls[on].tolist()
    unknown = next((key for key in keys if key not in by_key), None)
    if unknown is not None:
        raise bad_request(f"The calls have a row {unknown!r} that is not among these {len(rows)} rows.")
    return [by_key[key] for key in keys]


def with_directions(calls: pd.DataFrame, scorers: Iterable[Scorer]) -> pd.DataFrame:
    """Return the table with the directions of these scorers in its ``attrs``, by column of the score."""
    from ipyllm.statistics.observations import infer_direction

    directions = dict(calls.attrs.get("directions", {}))
    for scorer in scorers:
        column, direction = scorer.columns[0], scorer.higher_is_better
        directions[column] = infer_direction(calls[column]) if direction == "infer" else direction
    calls.attrs["directions"] = directions
    return calls


def judge_tags(name: str, judge_of: str, experiment: str | None) -> dict[str, str]:
    """Return the tags of a call that the scorer of this name makes."""
    return {"judge": name, "judge_of": judge_of} | ({"judge_for": experiment} if experiment else {})


def _with_cost(result: Score | ScoreFailure, scope: CallScope) -> Score | ScoreFailure:
    """Return a result with the cost of the calls that were made for it, unless the scorer says another."""
    cost = scope.cost_usd
    if cost is None or result.cost_usd is not None:
        return result
    return replace(result, cost_usd=cost) if isinstance(result, Score) else ScoreFailure(str(result), cost_usd=cost)


def _failure(exc: Exception) -> ScoreFailure:
    """Return an exception of a scorer as its failure. Call it where the scorer ran."""
    if type(exc) is ScoreFailure:
        return exc
    error = describe_error(exc)
    if isinstance(exc, ScoreFailure):  # of a class of the user's
        return ScoreFailure(error.removeprefix(f"{type(exc).__name__}: "), cost_usd=exc.cost_usd)
    return ScoreFailure(truncate(" ".join(error.split()), _MAX_ERROR_CHARS))
