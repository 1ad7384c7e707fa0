"""The public class ``Experiment``: plans, runs and resumes calls of many prompts to many arms."""

from __future__ import annotations

import warnings
from dataclasses import replace
from functools import partial
from inspect import signature
from typing import TYPE_CHECKING, Any

from ipyllm.comparison.arms import make_arms, named_variants
from ipyllm.errors import LLMError, bad_request
from ipyllm.experiment.call_options import check_call_options
from ipyllm.experiment.conditions import LatestRun
from ipyllm.experiment.examples import Examples
from ipyllm.experiment.failure_limit import MAX_FAILURES
from ipyllm.experiment.grid import Grid, check_content
from ipyllm.experiment.ledger_progress import START_COLUMNS, LedgerProgress
from ipyllm.experiment.parsed_answers import ParsedAnswers
from ipyllm.experiment.progress_bar import show_done, watch
from ipyllm.experiment.prompts import input_table, read_prompts
from ipyllm.experiment.records import checked_name, checked_tags, keep_record, keep_scores
from ipyllm.experiment.results import Results
from ipyllm.experiment.run_config import RunConfig
from ipyllm.experiment.run_start import make_run, start_run, starting_alone
from ipyllm.experiment.schedule import ORDERS, schedule_trials
from ipyllm.experiment.scores import Scores
from ipyllm.experiment.spending_limit import LedgerFunds, SpendingLimit
from ipyllm.experiment.written_rows import WrittenRows
from ipyllm.ledger import ledger_for_calls
from ipyllm.pipeline.budget import set_budget_of_experiment
from ipyllm.settings import get_settings
from ipyllm.validate import validate_int, validate_usd

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterable, Mapping
    from collections.abc import Set as AbstractSet
    from concurrent.futures import Executor

    import pandas as pd

    from ipyllm.experiment.grid import Trial
    from ipyllm.experiment.remote_run import RemoteRun
    from ipyllm.experiment.run import Run
    from ipyllm.experiment.run_progress import RunProgress
    from ipyllm.experiment.schedule import Order
    from ipyllm.services.base import BaseLLMService
    from ipyllm.timeout import Timeout

__all__ = ["Experiment"]


class Experiment:
    """Sends the same prompts to several models in random order, and measures quality, time and cost.

    All calls are rows of the ledger. After an interrupt or a killed kernel, another run continues where the last one
    stopped: no answer is paid for twice.

    Parameters
    ----------
    prompts : DataFrame, list of str, dict or messages, path, or Ledger
        The prompts: a table of pandas, polars, Arrow or Hugging Face; a list; a ``.csv``, ``.jsonl``, ``.json`` or
        ``.parquet`` file, or one for OpenAI's Batch API; or earlier calls to repeat (``usage()``, a ledger or its
        ``.sqlite`` file). Equal rows are asked about once, and each has the answer: see :attr:`Results.rows`. A column
        ``prompt_id`` names the rows, by which arms and runs are paired; without it, a row's name is a hash of its
        fields.
    template : str or None, list of these, or mapping of names to these, optional
        Jinja2 with the columns as variables, ``"Classify: {{ text }}"``. By default, the column ``prompt`` (or
        ``messages``, or the only one) has texts, or lists of messages in OpenAI's shape. Several templates are arms,
        named ``v1``, ``v2`` and so on, or by the mapping.
    images : str or list of str, optional
        Columns of images, sent with the prompt: paths, addresses, bytes, pictures of Pillow, figures, arrays, or lists.
    examples : DataFrame, list of (str, str), or list of Message, optional
        Few-shot examples, sent as messages before each prompt: rows, with ``example_answer``; questions with answers;
        or messages. Rows of ``prompts`` that are examples are not asked about.
    example_answer : str, optional
        Column of the examples with their answers, or a template of it.
    models : str, BaseLLMService, or list of these
        The models.
    params : mapping, list of mappings, or mapping of names to mappings, optional
        Parameter sets.
    system : str or None, list of these, or mapping of names to these, optional
        System prompts.
    repeats : int
        How many times each prompt is sent to each arm. Repeats are never answered from a cache.
    scorers : sequence
        Anything that :meth:`ipyllm.scorers.Scorer.of` accepts.
    max_cost_usd : float, optional
        Limit for the experiment in US dollars: for all its runs in all kernels together, with their retries, and with
        the calls of its scorers. The highest cost of a call is reserved before it is sent.
    concurrency : int, optional
        Maximum number of calls in flight to one endpoint; fewer if the endpoint answers 429. By default 32, but 1 for
        all embedded models together: they share this machine's processor cores, and calls at the same time would
        slow one another down.
    seed : int
        Seed of the random order.
    order : {"interleaved", "by_model"}
        All arms of a prompt together, or one model after the other, for a server that can load only one.
    name : str, optional
        Name in the ledger. By default a hash of arms and prompts, so that the same experiment continues; give another
        name to repeat all calls.
    warmup : int
        Calls to each model before the others, flagged and left out of statistics; none while its last answers here are
        fresh. A model that cannot be reached then is skipped.
    timeout, max_retries
        As for every service.
    max_failures : int or None
        Failed calls in a row, by default 20, after which an arm is left, and its other calls are not made; also once
        half of its latest ``2.5 × max_failures`` calls failed. After as many in a row over all arms of a model at one
        address, all of them are left. Running again tries them again. None: nothing is left.
    note, tags : str, dict, optional
        Kept with the experiment, for :func:`ipyllm.experiments`. By default they stay as they are.
    cache : bool
        Whether ipyllm's cache may answer the first of the repeats.
    **options
        Further options of ``chat``, for all calls: ``schema`` (answers that do not fit are failures), ``tools``
        (they run in threads, several at a time), ``effort``, … To compare several values, put them into ``params``.

    Raises
    ------
    LLMError
        ``bad_request`` or ``not_found``, one sentence, before anything is sent.

    Examples
    --------
    >>> experiment = Experiment(["What is 2 + 2?", "What is 3 + 3?"], models=["ollama/llama3.2", "ollama/qwen3"],
    ...                         params=[{"temperature": 0}, {"temperature": 1}], repeats=3, name="sums")
    >>> experiment
    Experiment('sums': 4 arms × 2 prompts × 3 repeats = 24 calls)
    """

    def __init__(
        self,
        prompts: Any,
        template: str | Iterable[str | None] | Mapping[str, str | None] | None = None,
        *,
        images: str | Iterable[str] | None = None,
        examples: Any = None,
        example_answer: str | None = None,
        models: str | BaseLLMService | Iterable[str | BaseLLMService],
        params: Any = None,
        system: Any = None,
        repeats: int = 1,
        scorers: Iterable[Any] | None = (),
        max_cost_usd: float | None = None,
        concurrency: int | None = None,
        seed: int = 0,
        order: Order = "interleaved",
        name: str | None = None,
        warmup: int = 1,
        timeout: float | Timeout | None = None,
        max_retries: int | None = None,
        max_failures: int | None = MAX_FAILURES,
        note: str | None = None,
        tags: Mapping[str, str] | None = None,
        cache: bool = False,
        **options: Any,
    ) -> None:
        if order not in ORDERS:
            raise bad_request(f"order must be 'interleaved' or 'by_model', not {order!r}.")
        check_call_options(options, signature(Experiment).parameters, caller="An experiment")
        variants = named_variants(template, "template")
        shown = Examples.of(examples, example_answer)
        prompt_list, notes = read_prompts(prompts, variants, images=images, examples=shown.rows)
        options |= {"timeout": timeout, "max_retries": max_retries, "cache": bool(cache)}
        arms = make_arms(models, params, system, variants=variants, **options)
        arms = shown.before(arms, variants, images)
        check_content(arms, prompt_list)
        self._table = input_table(prompts)
        self.grid = Grid(arms, prompt_list, validate_int("repeats", repeats, 1))
        self.name = checked_name(name) if name is not None else self.grid.name
        self._parsed = ParsedAnswers(self.grid)
        self._scores = Scores(scorers, self.grid, self._parsed)
        self.max_cost_usd = validate_usd(max_cost_usd)
        self._concurrency = None if concurrency is None else validate_int("concurrency", concurrency, 1)
        self._warmup = validate_int("warmup", warmup, 0)
        self._max_failures = None if max_failures is None else validate_int("max_failures", max_failures, 1)
        self._order: Order = order
        self._seed = validate_int("seed", seed, None)
        self._run: Run | RemoteRun | None = None
        self._latest: LatestRun | None = None
        self.ledger = ledger_for_calls()
        self._spending = SpendingLimit(rows=WrittenRows(self.ledger.flush))
        if self.max_cost_usd is not None:
            self._spending = SpendingLimit(self.max_cost_usd, LedgerFunds(self.ledger, self.name, self.max_cost_usd))
        set_budget_of_experiment(self.name, self._spending.account if self._spending.limited else None)
        self._scores.on_scored = partial(keep_scores, self.ledger, self.name)
        self._note, self._tags = note, checked_tags(tags)
        self._texts: dict[str, str] | None = None if get_settings().store_text else {}
        for remark in notes:
            warnings.warn(remark, stacklevel=2)

    def __repr__(self) -> str:
        return f"Experiment({self.name!r}: {self.grid.shape} = {len(self.grid)} calls)"

    @staticmethod
    def open(name: str, *, scorers: Iterable[Any] | None = ()) -> Results:
        """Return the results of an experiment of the ledger, without its prompts and models at hand.

        Parameters
        ----------
        name : str
            Its name, as in :func:`ipyllm.experiments`.
        scorers : sequence
            Score its answers anew; by default the scores are those that were stored.

        Raises
        ------
        LLMError
            ``not_found``: there is no such experiment.
        """
        from ipyllm.experiment.opened_results import open_results

        return open_results(name, scorers)

    @staticmethod
    def load(path: str | os.PathLike[str]) -> Results:
        """Return the results in a file that ``results.save("run.zip")`` wrote, perhaps on another machine.

        Raises
        ------
        LLMError
            ``bad_request``: the file cannot be read, or is no saved experiment.
        """
        from ipyllm.experiment.opened_results import load_results

        return load_results(path)

    @property
    def progress(self) -> RunProgress | None:
        """Progress of the latest run in this kernel, if there was one."""
        return self._run.progress if self._run is not None else None

    @property
    def is_running(self) -> bool:
        """Whether it is making calls."""
        return self._run is not None and not self._run.done.is_set()

    def _ledger_progress(self) -> LedgerProgress:
        return LedgerProgress(self.name, self.grid, self.ledger, self._texts, only=START_COLUMNS)

    # ---- before -----------------------------------------------------------------------------------

    def dry_run(self) -> pd.DataFrame:
        """Return the calls that a run would make and their highest cost, by arm; nothing is sent.

        Returns
        -------
        DataFrame
            Index ``arm``, the last row ``total``. ``calls``; ``done``, the calls answered before; ``to_do``, the
            others; for these ``input_tokens`` (upper estimate), ``max_output_tokens`` (null if nothing limits the
            answers) and ``max_cost_usd`` (highest cost, null if the price is unknown). Warm-ups are not included.
        """
        from ipyllm.experiment.planned_calls import planned_calls

        return planned_calls(self.grid, self._ledger_progress().done())

    # ---- running ----------------------------------------------------------------------------------

    def run(
        self,
        executor: Executor | Callable[[], Executor] | None = None,
        *,
        progress: bool = True,
        chunk_size: int | None = None,
    ) -> Results:
        """Make all calls that have no answer yet, and wait for them.

        Parameters
        ----------
        executor : Executor or callable, optional
            Runs the calls in other processes: any :class:`concurrent.futures.Executor`, such as a
            ``ProcessPoolExecutor`` or Dask's ``client.get_executor()``; or a function that makes one.
        progress : bool
            Whether to show a progress bar.
        chunk_size : int, optional
            Number of calls that a worker gets at a time, and that are repeated if it dies.

        Returns
        -------
        Results

        Raises
        ------
        LLMError
            Before anything is paid: no model can be reached, or the budget is too small for any call.
        KeyboardInterrupt
            When the user interrupts: nothing more is sent, and the calls in flight have five seconds to end; a second
            interrupt cancels them. Answers that arrived are in :meth:`results`; :meth:`run` continues from there.
        """
        n_done = self._begin(executor, chunk_size)
        run, latest = self._run, self._latest
        earlier = latest.in_words if latest is not None else ""
        if run is None:
            if progress:
                show_done(name=self.name, total=n_done, earlier=earlier)
            return self._scored_results()
        try:
            watch(run, name=self.name, n_done=n_done, show=progress, earlier=earlier)
        except KeyboardInterrupt:
            raise KeyboardInterrupt(self.results().state) from None
        run.progress.report_problems()
        if run.progress.stopped is not None:
            warnings.warn(self.results().state, stacklevel=2)
        return self._scored_results()

    def start(
        self, executor: Executor | Callable[[], Executor] | None = None, *, chunk_size: int | None = None
    ) -> Results:
        """Like :meth:`run`, but return at once: the results grow in the background."""
        self._begin(executor, chunk_size)
        return self.results()

    def cancel(self) -> None:
        """Cancel the calls in flight; answers that arrived are kept."""
        if self._run is not None:
            self._run.cancel()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until the run ends; return whether it has ended."""
        return self._run is None or self._run.done.wait(timeout)

    def results(self) -> Results:
        """Return the results so far, also during a run, including those of other kernels."""
        return Results(
            self.name,
            self.grid,
            self.ledger,
            self._scores,
            self._parsed,
            texts=self._texts,
            table=self._table,
            current_run=lambda: self._run,
            latest_run=lambda: self._latest,
            concurrency=self._wanted_concurrency,
        )

    def _wanted_concurrency(self) -> dict[str, int] | None:
        """Return the concurrency of each arm, if the user chose one, or let a run choose it."""
        if self._latest is not None:
            return {label: conditions.concurrency for label, conditions in self._latest.conditions.items()}
        if self._concurrency is None:
            return None
        config = self._config()
        return {arm.label: config.in_flight_at(arm.service) for arm in self.grid.arms}

    def _config(self) -> RunConfig:
        return RunConfig(
            self.name,
            self.grid.signature,
            self._warmup,
            self._concurrency,
            self.ledger,
            self._spending,
            self._texts,
            max_failures=self._max_failures,
        )

    def _scored_results(self) -> Results:
        results = self.results()
        results.calls  # noqa: B018 - runs the user's scorers in the user's thread
        return results

    def _begin(self, executor: Any, chunk_size: int | None) -> int:
        """Start a run if there is anything to do, and return the number of trials that are done."""
        size = None if chunk_size is None else validate_int("chunk_size", chunk_size, 1)
        with starting_alone(self.ledger, self.name) as claims:
            self._run = None
            recorded = self._ledger_progress()
            done = recorded.done()
            if unknown := self.ledger.read_error if self.ledger.is_held else self.ledger.recovering:
                raise LLMError(
                    f"{unknown}, so it is not known which calls of {self.name!r} are done. Run it again in a while.",
                    category="bad_request",
                )
            if changes := recorded.changes():
                warnings.warn(changes, stacklevel=3)
            to_do = [trial for key, trial in self.grid.trials.items() if key not in done]
            keep_record(self.ledger, self.name, self.grid, self._table, self._note, self._tags)
            config, run = replace(self._config(), claims=claims, warm=recorded.warm_servers()), None
            if to_do:
                run = make_run(schedule_trials(to_do, self._seed, self._order), config, executor, size)
                config = run.config
            self._note_run(config, recorded, done, to_do)
            if run is None:
                claims.leave()
            else:
                start_run(run)
            self._run = run
            return len(done)

    def _note_run(
        self, config: RunConfig, recorded: LedgerProgress, done: AbstractSet[str], to_do: Iterable[Trial]
    ) -> None:
        conditions = {arm.label: config.conditions(arm.service) for arm in self.grid.arms}
        asked = frozenset(trial.arm.label for trial in to_do)
        self._latest = LatestRun(frozenset(done), asked, conditions, recorded.done_in_words())
