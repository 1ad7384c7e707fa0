"""``Experiment``: what a researcher writes down, and how it is set going: dry, waiting, in the background, far away."""

from __future__ import annotations

import threading
import warnings
import weakref
from typing import TYPE_CHECKING, Any

from ipyllm.errors import LLMError
from ipyllm.experiment.budget import Bounds, Spending, longest_answer
from ipyllm.experiment.checkpoint import Record
from ipyllm.experiment.grid import Grid, make_arms
from ipyllm.experiment.progress_bar import watch
from ipyllm.experiment.prompts import read_prompts
from ipyllm.experiment.results import Results
from ipyllm.experiment.run import Progress, Run, RunConfig
from ipyllm.experiment.schedule import ORDERS, ordered
from ipyllm.experiment.scores import Scores
from ipyllm.ledger import current_ledger
from ipyllm.settings import get_settings
from ipyllm.validate import validate_int, validate_usd

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from concurrent.futures import Executor

    import pandas as pd

    from ipyllm.experiment.executors import RemoteRun
    from ipyllm.experiment.grid import Cell
    from ipyllm.experiment.schedule import Order
    from ipyllm.services.base import BaseLLMService
    from ipyllm.timeout import Timeout

__all__ = ["Experiment"]

_GRACE_S = 10.0
"""How long an interrupt waits for the rows of the calls it cancelled."""

_running: weakref.WeakValueDictionary[str, Run | RemoteRun] = weakref.WeakValueDictionary()
_starting = threading.Lock()


class Experiment:
    """The same questions to several models, in random order, with what it cost and how sure we are.

    The ledger is its memory. A run that was interrupted, or whose kernel was killed, goes on where it stopped when it
    is run again: what was answered is not paid for twice.

    Parameters
    ----------
    prompts : DataFrame, list of str or dict, path, or Ledger
        The questions: a table, a list, a ``.csv``, ``.jsonl`` or ``.parquet`` file; or calls made before, to replay
        them (``usage()``, a ledger or its ``.sqlite`` file).
    template : str, optional
        Jinja2 over the columns, ``"Classify: {{ text }}"``. Without one the column ``prompt`` is the text.
    models : str, BaseLLMService, or list of these
        Whom to ask.
    params : mapping, list of mappings, or mapping of names to mappings, optional
        Parameter sets.
    system : str or None, list of these, or mapping of names to these, optional
        System prompts.
    repeats : int
        How often each prompt is put to each arm. Repeats are never answered from a cache.
    scorers : sequence
        What :mod:`ipyllm.scorers` takes. Applied beside the calls, never in their way.
    max_cost_usd : float, optional
        What all its runs may cost together. The most that a call can cost is set aside before it is sent.
    concurrency : int
        Calls to one endpoint at the same time, at most; how many really are is learnt from what the endpoint admits.
    seed : int
        Of the lot that decides the order.
    order : {"interleaved", "by_model"}
        Arms by turns, or one model after the other, for a server that holds one at a time.
    name : str, optional
        Under which its calls stand in the ledger. Without one a hash of arms and prompts, so that the same experiment
        goes on; name it otherwise to ask everything anew.
    warmup : int
        Calls to each model before the others, flagged and left out of statistics. A model that cannot be reached is
        given up here.
    timeout, max_retries
        As for every service.
    cache : bool
        Whether our own cache may answer the first of the repeats.

    Raises
    ------
    LLMError
        ``bad_request`` or ``not_found``, one sentence, before anything is sent.

    Examples
    --------
    >>> experiment = Experiment(["What is 2 + 2?", "What is 3 + 3?"], models=["ollama/llama3.2", "openai/gpt-5-mini"],
    ...                         params=[{"temperature": 0}, {"temperature": 1}], repeats=3, name="sums")
    >>> experiment
    Experiment('sums': 4 arms × 2 prompts × 3 repeats = 24 calls)
    """

    def __init__(
        self,
        prompts: Any,
        template: str | None = None,
        *,
        models: str | BaseLLMService | Iterable[str | BaseLLMService],
        params: Any = None,
        system: Any = None,
        repeats: int = 1,
        scorers: Iterable[Any] = (),
        max_cost_usd: float | None = None,
        concurrency: int = 32,
        seed: int = 0,
        order: Order = "interleaved",
        name: str | None = None,
        warmup: int = 1,
        timeout: float | Timeout | None = None,
        max_retries: int | None = None,
        cache: bool = False,
    ) -> None:
        if order not in ORDERS:
            raise LLMError(f"order is 'interleaved' or 'by_model', not {order!r}.", category="bad_request")
        read, self._notes = read_prompts(prompts, template)
        arms = make_arms(models, params, system, timeout=timeout, max_retries=max_retries, cache=bool(cache))
        self.grid = Grid(arms, read, validate_int("repeats", repeats, 1))
        self.name = _checked_name(name) if name is not None else self.grid.name
        self.scores = Scores(scorers, self.grid)
        self.max_cost_usd = validate_usd(max_cost_usd)
        self._concurrency = validate_int("concurrency", concurrency, 1)
        self._warmup = validate_int("warmup", warmup, 0)
        self._order: Order = order
        self._seed = validate_int("seed", seed, None)
        self._run: Run | RemoteRun | None = None
        self.ledger = current_ledger()
        self._texts: dict[str, str] | None = None if get_settings().store_text else {}
        for note in self._notes:
            warnings.warn(note, stacklevel=2)

    def __repr__(self) -> str:
        return f"Experiment({self.name!r}: {self.grid.shape} = {len(self.grid)} calls)"

    @property
    def progress(self) -> Progress | None:
        """How far its run has come; None before the first in this kernel."""
        return self._run.progress if self._run is not None else None

    @property
    def is_running(self) -> bool:
        """Whether calls are being made."""
        return self._run is not None and not self._run.done.is_set()

    def record(self) -> Record:
        """Return what the ledger has of it now."""
        return Record(self.name, self.grid, self.ledger, self._texts)

    # ---- before -----------------------------------------------------------------------------------

    def dry_run(self) -> pd.DataFrame:
        """Return what a run would send and could cost, by arm; nothing is sent.

        Returns
        -------
        DataFrame
            Index ``arm``, the last row ``total``. ``calls``; ``done``, of them there already; ``to_do``; and for these
            ``input_tokens``, estimated from above, ``max_output_tokens``, null where nothing limits the answers, and
            ``max_cost_usd``, the most they can cost, null where the price is unknown. Warm-ups come on top.
        """
        import pandas as pd

        from ipyllm.conversations.tokens import estimate_messages

        done, bounds = self.record().done(), Bounds()
        lines = {}
        for arm in self.grid.arms:
            cells = [cell for cell in self.grid.cells.values() if cell.arm is arm]
            to_do = [cell.messages for cell in cells if cell.key not in done]
            costs = [bounds.of(arm, messages) for messages in to_do]
            longest = longest_answer(arm)
            lines[arm.label] = {
                "model": arm.model,
                "calls": len(cells),
                "done": len(cells) - len(to_do),
                "to_do": len(to_do),
                "input_tokens": sum(map(estimate_messages, to_do)),
                "max_output_tokens": None if longest is None else longest * len(to_do),
                "max_cost_usd": None if None in costs else sum(cost for cost in costs if cost is not None),
            }
        frame = pd.DataFrame.from_dict(lines, orient="index")
        frame.index.name = "arm"
        frame["max_output_tokens"] = frame["max_output_tokens"].astype("Int64")
        frame["max_cost_usd"] = frame["max_cost_usd"].astype("float64")
        total: dict[str, Any] = {name: frame[name].sum(skipna=False) for name in frame.columns if name != "model"}
        frame.loc["total"] = {"model": "", **total}
        return frame.astype({"calls": "int64", "done": "int64", "to_do": "int64", "input_tokens": "int64"})

    # ---- running ----------------------------------------------------------------------------------

    def run(
        self,
        executor: Executor | Callable[[], Executor] | None = None,
        *,
        progress: bool = True,
        chunk_size: int | None = None,
    ) -> Results:
        """Ask whatever has not been answered yet, and wait for it.

        Parameters
        ----------
        executor : Executor or callable, optional
            Where calls are made instead of here: any :class:`concurrent.futures.Executor`, such as a
            ``ProcessPoolExecutor`` or Dask's ``client.get_executor()``; or a function that makes one.
        progress : bool
            Whether to show a bar.
        chunk_size : int, optional
            Calls that a worker is given at a time: what is made again when it dies.

        Returns
        -------
        Results

        Raises
        ------
        LLMError
            Before anything was paid: no model can be reached, or the budget does not allow a single call.
        KeyboardInterrupt
            When the user interrupts. What was answered by then is in :meth:`results`; :meth:`run` goes on from there.
        """
        already = self._begin(executor, chunk_size)
        run = self._run
        if run is None:
            return self._looked_at()
        try:
            watch(
                run.done,
                run.progress,
                name=self.name,
                already=already,
                total=already + run.progress.to_do,
                show=progress,
            )
        except KeyboardInterrupt:
            run.cancel()
            run.done.wait(_GRACE_S)
            raise KeyboardInterrupt(self.results().state) from None
        self._complain(run.progress)
        return self._looked_at()

    def start(
        self, executor: Executor | Callable[[], Executor] | None = None, *, chunk_size: int | None = None
    ) -> Results:
        """Like :meth:`run`, but return at once: the results grow while you look at them."""
        self._begin(executor, chunk_size)
        return self.results()

    def cancel(self) -> None:
        """Stop a run: calls in flight are cancelled, what was answered is kept."""
        if self._run is not None:
            self._run.cancel()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until a run that was started is over; return whether it is."""
        return self._run is None or self._run.done.wait(timeout)

    def results(self) -> Results:
        """Return what there is by now, also while it runs, also of runs in other kernels."""
        return Results(self)

    def rescore(self, scorers: Iterable[Any]) -> None:
        """Use these scorers from now on, and forget all scores."""
        self.scores = Scores(scorers, self.grid, recalls=False)

    def _looked_at(self) -> Results:
        """Return the results, scored."""
        results = self.results()
        results.calls  # noqa: B018 - scores what is new, in this thread, where the user's code belongs
        return results

    def _begin(self, executor: Any, chunk_size: int | None) -> int:
        """Start a run if there is anything to do, and return how many calls are there already."""
        size = None if chunk_size is None else validate_int("chunk_size", chunk_size, 1)
        with _starting:
            other = _running.get(self.name)
            if other is not None and not other.done.is_set():
                raise LLMError(
                    f"{self.name!r} is running already: .results() shows what there is, .cancel() stops it.",
                    category="bad_request",
                )
            record = self.record()
            changes = record.changes()
            if changes:
                warnings.warn(changes, stacklevel=4)
            done, elsewhere = record.done(), record.running()
            to_do = [cell for key, cell in self.grid.cells.items() if key not in done and key not in elsewhere]
            self._run = None
            if not to_do:
                return len(done)
            spending = Spending(self.max_cost_usd, record.spent_usd)
            cells = ordered(to_do, self._seed, self._order)
            self._check_budget(spending, cells)
            terms = RunConfig(
                self.name, self.grid.signature, self._warmup, self._concurrency, self.ledger, spending, self._texts
            )
            if executor is None:
                self._run = Run(cells, terms)
            else:
                from ipyllm.experiment.executors import RemoteRun

                self._run = RemoteRun(cells, terms, executor, chunk_size=size, times_asked=record.times_asked())
            _running[self.name] = self._run
            self._run.start()
            return len(done)

    def _check_budget(self, spending: Spending, cells: list[Cell]) -> None:
        """Say before anything is sent that not one call can be paid, or that a price is unknown."""
        if spending.limited:
            for cell in {cell.arm.label: cell for cell in cells}.values():
                spending.settle(spending.reserve_now(cell.arm, cell.messages), 0.0)

    def _complain(self, progress: Progress) -> None:
        if progress.unreachable and not progress.asked:
            told = "; ".join(str(error).rstrip(".") for error in progress.unreachable.values())
            first = next(iter(progress.unreachable.values()))
            raise LLMError(
                f"No model could be asked: {told}.", category=first.category, status_code=first.status_code
            ) from None
        for model, error in progress.unreachable.items():
            warnings.warn(f"{model} was given up, and its other calls are left undone: {error}", stacklevel=3)
        if progress.stopped is not None:
            warnings.warn(self.results().state, stacklevel=3)


def _checked_name(name: Any) -> str:
    if not isinstance(name, str) or not name.strip() or not name.isprintable():
        raise LLMError(f"The name of an experiment is a line of text, not {name!r}.", category="bad_request")
    return name
