"""Scorers applied to a table of calls, new or old: nothing is asked again, and no scorer can stop the others.

The user's scorers run on the user's side (:mod:`ipyllm.tools.caller_executor`): coroutines on the user's loop, several at a
time, plain functions one after the other in a thread where they can be given up.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ipyllm.errors import LLMError
from ipyllm.runtime.interruptible import InterruptibleEvent
from ipyllm.runtime.service_thread import service_thread
from ipyllm.scorers.answer import Answer, answers
from ipyllm.scorers.scorer import Score, ScoreFailure, Scorer, checked, distinct
from ipyllm.tools import CallerExecutor, ToolTimeout
from ipyllm.tools.result_text import cut, told

if TYPE_CHECKING:
    from concurrent.futures import Future

    import pandas as pd

__all__ = ["CONCURRENCY", "Scoring", "apply"]

CONCURRENCY = 16
"""Async scores of one scorer in flight at once, unless told otherwise."""

_GIVE_UP_AFTER = 3
"""Time-outs in a row after which a scorer is not tried again: each may leave a thread behind."""

_CANCEL_GRACE_S = 5.0
_MAX_ERROR = 500
_NEEDED = ("status", "response")
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
        What :meth:`Scorer.of` takes.
    calls : DataFrame
        As ``usage()`` or ``results.calls`` returns it. Only calls with status ``ok`` are scored: of one that failed
        there is nothing to score, and its own columns say why.
    rows : DataFrame or sequence of mapping, optional
        What the calls were made from, with the right answers in it: a table whose index holds the values of
        ``calls[on]``, or one mapping for each call, in their order. Without it scorers see an empty row.
    on : str
        Column of ``calls`` that names the row.
    concurrency : int
        Async scores of one scorer in flight at once.

    Returns
    -------
    DataFrame
        A copy of ``calls`` with ``score_<name>`` (``float64``, null where there is none) and ``score_<name>_error``
        (why there is none, null where all is well); and with ``score_<name>_reason`` and ``cost_usd_<name>``
        for a scorer that returns a :class:`Score` with these. Earlier scores of the same name are replaced.

    Raises
    ------
    LLMError
        ``bad_request``: something cannot be a scorer, two have the same name, or the tables do not fit together.

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
    """Scores on their way, for those who want to see them before all are there.

    Stages: made, when all that can be wrong with the tables is said → :meth:`run` or :meth:`arun`, once →
    :meth:`frame`, at any time, also after an interrupt: what was scored by then is in it.

    Parameters
    ----------
    scorers, calls, rows, on, concurrency
        As :func:`apply` takes them.
    on_score : callable, optional
        Called after each score, on any thread: for a progress bar of ``total`` steps. Must return at once.
    """

    def __init__(
        self,
        scorers: Iterable[Any],
        calls: pd.DataFrame,
        rows: pd.DataFrame | Sequence[Mapping[str, Any]] | None = None,
        *,
        on: str = "prompt_id",
        concurrency: int = CONCURRENCY,
        on_score: Callable[[], None] | None = None,
    ) -> None:
        self._scorers = distinct(scorers)
        if isinstance(concurrency, bool) or not isinstance(concurrency, int) or concurrency < 1:
            raise _refused(f"concurrency must be a whole number, 1 or more, not {concurrency!r}.")
        missing = [name for name in _NEEDED if name not in calls.columns]
        if missing:
            raise _refused(f"These are no calls that can be scored: the table lacks {' and '.join(missing)}.")
        self._calls = calls
        self._rows = rows_of(calls, rows, on)
        self._answers = answers(calls)
        self._given = calls["response"].notna().tolist()
        self._places = [place for place, answer in enumerate(self._answers) if answer.status == "ok"]
        self._concurrency = concurrency
        self._on_score = on_score or _nothing
        self._results: dict[str, dict[int, Score | ScoreFailure]] = {scorer.name: {} for scorer in self._scorers}
        self._future: Future[None] | None = None
        self.total = len(self._places) * len(self._scorers)

    # ---- from the user's side --------------------------------------------------------------------

    def run(self) -> None:
        """Score, and wait until it is done. Async scorers run on the loop of the cell, if there is one.

        Raises
        ------
        KeyboardInterrupt
            When the user interrupts; what is running is cancelled first, what is scored is kept.
        """
        if service_thread().is_current:
            raise RuntimeError("Scoring from the service thread would wait for itself; use `await scoring.arun()`.")
        self._begin()
        self._run_inline()
        caller_executor, done = CallerExecutor(waits=True), InterruptibleEvent()
        future = self._start(caller_executor, done)
        if future is None:
            return
        try:
            caller_executor.wait(done)
        except BaseException:
            future.cancel()
            done.wait(_CANCEL_GRACE_S)
            raise
        future.result()

    async def arun(self) -> None:
        """Like :meth:`run`, for a coroutine: async scorers run on its loop, plain ones in a thread."""
        self._begin()
        self._run_inline()
        future = self._start(CallerExecutor(waits=False), InterruptibleEvent())
        if future is not None:
            await asyncio.wrap_future(future)

    def frame(self) -> pd.DataFrame:
        """Return the calls with what is scored so far: see :func:`apply`."""
        made = {name: column for scorer in self._scorers for name, column in self._columns(scorer).items()}
        earlier = {name for scorer in self._scorers for name in scorer.columns}
        return self._calls.drop(columns=[n for n in self._calls.columns if n in earlier]).assign(**made)

    def _columns(self, scorer: Scorer) -> dict[str, pd.Series[Any]]:
        import pandas as pd

        results = dict(self._results[scorer.name])  # a copy, because the service thread may be adding to it
        scores = [results.get(place) for place in range(len(self._answers))]

        def column(values: Iterable[Any], dtype: str) -> pd.Series[Any]:
            return pd.Series(list(values), index=self._calls.index, dtype=dtype)

        name, error, reason, cost = scorer.columns
        reasons = [score.reason if isinstance(score, Score) else None for score in scores]
        costs = [None if score is None else score.cost_usd for score in scores]
        made = {
            name: column((score.value if isinstance(score, Score) else None for score in scores), "float64"),
            error: column((str(score) if isinstance(score, ScoreFailure) else None for score in scores), "object"),
        }
        if "reason" in scorer.gives or any(text is not None for text in reasons):
            made[reason] = column(reasons, "object")
        if "cost_usd" in scorer.gives or any(dollars is not None for dollars in costs):
            made[cost] = column(costs, "float64")
        return made

    def _begin(self) -> None:
        if self._places:
            self._scorers = tuple(scorer.begun() for scorer in self._scorers)

    # ---- one score -------------------------------------------------------------------------------

    def _run_inline(self) -> None:
        for scorer in self._scorers:
            if scorer.inline:
                for place in self._places:
                    try:
                        self._keep(scorer, place, checked(scorer.call(*self._arguments(place))))
                    except Exception as exc:  # noqa: BLE001 - whatever it is, it costs this score and no other
                        self._keep(scorer, place, _failure(exc))

    def _arguments(self, place: int) -> tuple[Answer, Mapping[str, Any]]:
        if not self._given[place]:
            raise ScoreFailure(_NOT_STORED)
        return self._answers[place], self._rows[place]

    def _keep(self, scorer: Scorer, place: int, result: Score | ScoreFailure) -> None:
        self._results[scorer.name][place] = result
        self._on_score()

    # ---- on the service thread -------------------------------------------------------------------

    def _start(self, caller_executor: CallerExecutor, done: InterruptibleEvent) -> Future[None] | None:
        if all(scorer.inline for scorer in self._scorers) or not self._places:
            return None
        return service_thread().submit(self._run_posted(caller_executor, done))

    async def _run_posted(self, caller_executor: CallerExecutor, done: InterruptibleEvent) -> None:
        try:
            async with asyncio.TaskGroup() as group:
                for scorer in self._scorers:
                    if not scorer.inline:
                        lane = Worker(scorer, iter(self._places))
                        # Plain functions run one after the other anyway: a second in the queue would only miss the
                        # news that the first one hangs.
                        for _ in range(self._concurrency if scorer.is_async else 1):
                            group.create_task(self._serve(lane, caller_executor))
        finally:
            caller_executor.close()
            done.set()

    async def _serve(self, lane: Worker, caller_executor: CallerExecutor) -> None:
        for place in lane.places:
            if lane.timeouts >= _GIVE_UP_AFTER:
                reason = f"Not tried: {lane.scorer.name} had timed out {_GIVE_UP_AFTER} times in a row."
                self._keep(lane.scorer, place, ScoreFailure(reason))
            else:
                self._keep(lane.scorer, place, await self._score(lane, place, caller_executor))

    async def _score(self, lane: Worker, place: int, caller_executor: CallerExecutor) -> Score | ScoreFailure:
        scorer = lane.scorer
        result: Score | ScoreFailure
        try:
            call = functools.partial(scorer.call, *self._arguments(place))
            code = _Code(scorer.name, call, scorer.is_async, scorer.timeout)
            result = await caller_executor.run(code, {}, then=checked)
        except ToolTimeout as exc:
            lane.timeouts += 1
            return ScoreFailure(f"{exc}.")
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if caller_executor.is_left or (task is not None and task.cancelling()):
                raise
            result = ScoreFailure("It was cancelled.")
        except Exception as exc:  # noqa: BLE001 - whatever it is, it costs this score and no other
            result = _failure(exc)
        lane.timeouts = 0
        return result


@dataclass(slots=True)
class Worker:
    """What one scorer has still to do. Shared by those who serve it, all on the service thread."""

    scorer: Scorer
    places: Iterator[int]
    timeouts: int = 0  # in a row


@dataclass(frozen=True, slots=True)
class _Code:
    """A call of a scorer, as the user's side runs it."""

    name: str
    function: Callable[..., Any]
    is_async: bool
    timeout: float | None


def rows_of(
    calls: pd.DataFrame, rows: pd.DataFrame | Sequence[Mapping[str, Any]] | None, on: str
) -> Sequence[Mapping[str, Any]]:
    """Return one row for each call: see :func:`apply`.

    Raises
    ------
    LLMError
        ``bad_request``: the tables do not fit together.
    """
    import pandas as pd

    if rows is None:
        return [{}] * len(calls)
    if not isinstance(rows, pd.DataFrame):
        made = list(rows)
        if len(made) != len(calls) or not all(isinstance(row, Mapping) for row in made):
            raise _refused(
                f"Give the rows as a table, or as one dict for each of the {len(calls)} calls; these are {len(made)}."
            )
        return made
    if on not in calls.columns:
        raise _refused(f"The calls have no column {on!r} that says which row they were made from; name it with on=….")
    if not rows.index.is_unique:
        raise _refused("The index of the rows names some of them twice, so that no call can be told its row.")
    by_key = dict(zip(rows.index.tolist(), rows.to_dict("records"), strict=True))
    keys = calls[on].tolist()
    strange = next((key for key in keys if key not in by_key), None)
    if strange is not None:
        raise _refused(f"The calls were made from a row {strange!r} that is not among these {len(rows)} rows.")
    return [by_key[key] for key in keys]


def _failure(exc: Exception) -> ScoreFailure:
    """Say what went wrong in a scorer: its own words, or the exception's."""
    if isinstance(exc, ScoreFailure):
        return exc
    return ScoreFailure(cut(" ".join(told(exc).split()), _MAX_ERROR))


def _nothing() -> None:
    """Nobody wants to know."""


def _refused(sentence: str) -> LLMError:
    return LLMError(sentence, category="bad_request")
