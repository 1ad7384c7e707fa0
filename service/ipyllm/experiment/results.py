"""Experiment results, re-read from the ledger on each access."""

from __future__ import annotations

from functools import partial
from html import escape
from typing import TYPE_CHECKING, Any

from ipyllm.dataframes.conditions import CONDITIONS
from ipyllm.experiment.conditions import with_conditions
from ipyllm.experiment.input_columns import InputTable, in_order
from ipyllm.experiment.ledger_progress import LedgerProgress, cost_sentence
from ipyllm.experiment.state_in_words import state_in_words
from ipyllm.experiment.trial_outcomes import trial_outcomes

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterable, Mapping
    from collections.abc import Set as AbstractSet
    from pathlib import Path

    import pandas as pd

    from ipyllm.experiment.answer_matrix import AnswerMatrix
    from ipyllm.experiment.conditions import LatestRun
    from ipyllm.experiment.grid import Grid
    from ipyllm.experiment.parsed_answers import ParsedAnswers
    from ipyllm.experiment.remote_run import RemoteRun
    from ipyllm.experiment.row_judgements import RowJudgements
    from ipyllm.experiment.run import Run
    from ipyllm.experiment.scores import Scores
    from ipyllm.ledger import Ledger
    from ipyllm.statistics.table import StatisticsFrame
    from ipyllm_widgets.explorer.page import ExplorerPart
    from ipyllm_widgets.explorer.results_explorer import ResultsExplorer

__all__ = ["Results"]

_OUTCOME = frozenset({*CONDITIONS, "status", "error_category", "cause", "response"})
"""Columns that say how calls ended, in :meth:`Results._calls`."""


class Results:
    """Experiment results of this run and of earlier ones, re-read from the ledger on each access.

    Made by :meth:`Experiment.results`; ``texts`` has answers that the ledger does not store.
    """

    def __init__(
        self,
        name: str,
        grid: Grid,
        ledger: Ledger,
        scores: Scores,
        parsed: ParsedAnswers,
        *,
        texts: Mapping[str, str] | None,
        table: pd.DataFrame | None,
        current_run: Callable[[], Run | RemoteRun | None],
        latest_run: Callable[[], LatestRun | None],
        concurrency: Callable[[], Mapping[str, int] | None],
    ) -> None:
        self._name = name
        self._grid = grid
        self._ledger = ledger
        self._scores = scores
        self._parsed = parsed
        self._texts = texts
        self._input = InputTable(grid, table)
        self._current_run = current_run
        self._latest_run = latest_run
        self._concurrency = concurrency

    @property
    def name(self) -> str:
        """Name of the experiment."""
        return self._name

    @property
    def grid(self) -> Grid:
        """The arms, prompts and repeats."""
        return self._grid

    @property
    def arms(self) -> tuple[str, ...]:
        """Labels of the arms, in their order."""
        return tuple(arm.label for arm in self._grid.arms)

    def annotate(self, note: str | None = None, tags: Mapping[str, str] | None = None) -> Results:
        """Keep a note or tags with the experiment, for :func:`ipyllm.experiments`; None leaves them as they are."""
        from ipyllm.experiment.records import checked_tags, keep_note

        keep_note(self._ledger, self._name, note, checked_tags(tags))
        return self

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the experiment to a ``.zip`` file, for :meth:`ipyllm.Experiment.load`, and return its path.

        ``calls.parquet`` is :attr:`calls`, which DuckDB, pandas and Polars read; ``ledger.parquet`` has the rows of the
        ledger, failed attempts and judges included; ``experiment.json`` the arms, the input, the scores,
        and people's votes and notes. Only the owner may read the file.

        Raises
        ------
        LLMError
            ``bad_request``: the name does not end in ``.zip``, pyarrow is missing, or the file cannot be written.
        """
        from ipyllm.comparison.votes import votes
        from ipyllm.experiment.archive import write_archive
        from ipyllm.experiment.stored_grid import document_of
        from ipyllm.experiment.stored_judgements import stored_judgements
        from ipyllm.ledger.query import Query

        calls, read_texts = self._calls_for_file()
        cast = votes(kernel=None, ledger=self._ledger)
        document = {
            "name": self._name,
            "grid": document_of(self._grid, self._input.table),
            "scores": self._scores.stored(),
            **stored_judgements(cast, self._votes()["vote_id"], self.notes),
        }
        return write_archive(path, document, calls, read_texts, Query(experiments=(self._name,)), self._ledger)

    def __repr__(self) -> str:
        return f"Results of {self._name!r}: {self.state}"

    def __len__(self) -> int:
        return len(self._calls())

    @property
    def calls(self) -> pd.DataFrame:
        """One row per call that was made, in the order of the input, its arms and repeats; warm-ups last, flagged.

        ``experiment``, ``arm`` (a categorical, in the order of the experiment), ``model``, ``variant`` (the name of the
        template, if there are several), ``params``, ``system``, ``prompt_id``, ``repeat``, ``row`` (the input's index),
        ``n_rows`` (equal rows of the input, which share the answer), the input's columns, ``prompt``, ``response``,
        ``status``, then the columns of ``usage()``. ``exchanges`` is the number of requests: a call with tools or a
        repaired answer takes several; its ``cost_usd`` and ``total_s`` are those of all, the rest is that of the last.
        ``reused`` says whether the call was made before the latest run in this kernel, ``other_conditions`` whether it
        was made under others than that run or, if that asked its arm nothing, at another concurrency: its times are
        then null. With a schema, ``parsed`` is the value in the answer, and ``parsed_<field>`` its fields. For each
        scorer there are ``score_<name>`` and ``score_<name>_error``. A column of the input whose name is taken, or
        begins with ``score_`` or ``parsed_``, is ``input_<name>``. Calls without a score are scored now, in this
        thread; what a scorer's calls cost is paid from the budget of the experiment.
        """
        return self._with_input(self._scored())

    @property
    def rows(self) -> pd.DataFrame:
        """The rows of the input, with their index and columns, and the answers to each.

        One row for each row of the input, arm and repeat, in the order of the input, so that equal rows, which are
        asked about once, all have the answer; for an input without an index, it is numbered from 0. After the input's
        columns stand ``arm``, ``repeat``, ``call_id``, ``response``, ``status``, ``error_message`` and the scores,
        which are null without a call; a column of the input with such a name is renamed to ``input_<name>``.
        """
        calls = self._scored()
        return self._input.answered(calls[~calls["warmup"]])

    @property
    def notes(self) -> pd.DataFrame:
        """The notes on rows that were written in :meth:`explore`, earliest first.

        Columns ``prompt_id``, ``note``, ``written_at`` (UTC).
        """
        from ipyllm.experiment.row_judgements import read_notes

        return read_notes(self._name, self._ledger)

    @property
    def directions(self) -> dict[str, bool | None]:
        """Whether higher is better, by the column of each score: ``{"score_exact": True}``.

        As each scorer declares it (:attr:`ipyllm.scorers.Scorer.higher_is_better`); None where neither is better, or
        where it is not known. Calls without a score are scored now, as in :attr:`calls`.
        """
        return dict(self._scored().attrs.get("directions", {}))

    @property
    def undone(self) -> int:
        """Number of trials that have neither an answer nor a final error."""
        return len(self._grid) - len(self._ledger_progress(frozenset()).done())

    @property
    def state(self) -> str:
        """Sentences about the progress and the errors of the experiment."""
        return state_in_words(self._outcomes(), len(self._grid), self._current_run(), self._ledger)

    @property
    def costs(self) -> pd.DataFrame:
        """What the experiment cost so far, in US dollars, all its runs included.

        Index: ``calls``, ``warm-ups``, ``judges`` (calls of scorers that ask a model), ``total``. Columns: ``n``, calls
        that ended; ``cost_usd``, the sum of the known costs, null if none is; ``cost_unknown``, calls whose cost is
        unknown; and ``cost_bound_usd``, the most that it can have been, unknown costs included (null if one has no
        known bound).

        :meth:`summary` sums one call for each trial; this also has the failed calls of trials that were answered later,
        and the calls of earlier grids.
        """
        return self._ledger_progress().costs()

    def rescore(self, scorers: Iterable[Any]) -> Results:
        """Score all answers again, with these scorers instead of the earlier ones. No arm is called again.

        A judge asks its model again, even if an earlier score was paid for.
        """
        self._scores.reset(scorers)
        return self

    # ---- statistics, plots, reports ----------------------------------------------------------------

    def summary(self, **options: Any) -> StatisticsFrame:
        """Return a row per arm: calls, errors, times, tokens per second, cost and scores, with their intervals.

        Options are those of :func:`ipyllm.statistics.summarise_arms`.
        """
        from ipyllm.statistics import summarise_arms

        return summarise_arms(self.calls, **options)

    def paired(self, baseline: str | None = None, **options: Any) -> StatisticsFrame:
        """Return each arm's difference from ``baseline`` on the same prompts, with intervals and p-values.

        Options are those of :func:`ipyllm.statistics.paired`.
        """
        from ipyllm.statistics import paired

        return paired(self.calls, baseline=baseline, **options)

    def ranking(self, votes: Any = None, **options: Any) -> StatisticsFrame:
        """Return the arms by strength, from ``votes`` or those in the ledger on this experiment's prompts.

        Arms whose call failed or was cancelled are not part of a vote.

        Options are those of :func:`ipyllm.statistics.ranking`.
        """
        import pandas as pd

        from ipyllm.comparison.votes import without_failed_arms
        from ipyllm.statistics import ranking

        if isinstance(votes, pd.DataFrame) and {"arms", "outcome"} <= set(votes.columns):
            calls = self._calls()
            votes = without_failed_arms(votes, set(calls["call_id"][calls["status"] != "ok"]))
        return ranking(self._votes() if votes is None else votes, **options)

    def plot(self, **options: Any) -> Any:
        """Draw the overview, and return its figure. Options are those of :func:`ipyllm.plots.overview`."""
        from ipyllm.plots import overview

        return overview(self.calls, **options)

    def report(self, path: str | Path, **options: Any) -> Path:
        """Write one self-contained HTML file and return its path.

        Options are those of :func:`ipyllm.comparison.report.write`.
        """
        from ipyllm.comparison.report import write

        votes = self._votes()
        own: dict[str, Any] = {"title": self._name, "votes": votes if len(votes) else None}
        return write(self, path, explorer=self.explorer_part(), **own | options)

    def matrix(self) -> AnswerMatrix:
        """Return the answers as a matrix: a row for each prompt and repeat, a cell for each arm.

        It has the scores and their reasons, and flags what :meth:`explore` can filter by. Calls without a score are
        scored now, as in :attr:`calls`.
        """
        from ipyllm.experiment.answer_matrix import COLUMNS, answer_matrix

        scored = self._scores.join_known(self._parsed.join(self._calls(COLUMNS)))
        if scored is None:
            scored = self._scored()
        return answer_matrix(self._name, self._grid, scored, self._scores.scorers, lambda: self.calls)

    def first_rows(self, n: int) -> AnswerMatrix | None:
        """Return :meth:`matrix` of the first ``n`` prompts alone, in a small part of the time.

        None if one of their trials has not ended, or is not scored yet. A score whose direction depends on all scores
        flags nothing.
        """
        from ipyllm.experiment.answer_matrix import COLUMNS, answer_matrix

        grid = self._grid.first(n)
        ids = tuple(prompt.prompt_id for prompt in grid.prompts)
        calls = LedgerProgress(self._name, grid, self._ledger, self._texts, only=COLUMNS, prompt_ids=ids).calls()
        scored = self._scores.join_known(self._parsed.join(self._parsed.checked(calls)))
        if scored is None:
            return None
        scored.attrs["directions"] = self._scores.declared_directions
        matrix = answer_matrix(self._name, grid, scored, self._scores.scorers, lambda: self.calls)
        return matrix if matrix.has_ended else None

    def judgements(self, matrix: AnswerMatrix) -> RowJudgements:
        """Return the votes and notes on the rows of a matrix, and the means to add some."""
        from ipyllm.experiment.row_judgements import RowJudgements

        return RowJudgements(matrix, self._ledger)

    def explore(self, *, most_rows: int = 20_000) -> ResultsExplorer:
        """Return a widget with all answers, prompts × arms: filters, search, word diffs, votes and notes.

        Parameters
        ----------
        most_rows : int
            Maximum number of rows (prompts × repeats) to show, the first ones of the input.

        Returns
        -------
        ResultsExplorer
            ``explorer.selection`` has the calls of the rows that it shows, or of those that were marked.
        """
        from ipyllm_widgets.explorer.results_explorer import ResultsExplorer

        return ResultsExplorer(self, most_rows=most_rows)

    def explorer_part(self, **bounds: int) -> ExplorerPart:
        """Return the explorer as a part of a page without a kernel, for a report.

        ``bounds`` are those of :func:`ipyllm_widgets.explorer.page.explorer_part`.
        """
        from ipyllm_widgets.explorer.page import explorer_part

        matrix = self.matrix()
        return explorer_part(matrix, self.judgements(matrix), **bounds)

    def _repr_html_(self) -> str:
        head = f"<p><strong>{escape(self._name)}</strong>: {escape(self.state)}</p>"
        calls = self._calls()
        if not (calls["status"] == "ok").any():
            return head
        costs = cost_sentence(self.costs)
        return f"{head}{f'<p>{escape(costs)}</p>' if costs else ''}{self.summary()._repr_html_()}"

    def _ledger_progress(self, only: AbstractSet[str] | None = None) -> LedgerProgress:
        return LedgerProgress(self._name, self._grid, self._ledger, self._texts, only=only)

    def _scored(self) -> pd.DataFrame:
        return self._scores.join(self._parsed.join(self._calls()), self._ledger)

    def _calls_for_file(self) -> tuple[pd.DataFrame, Callable[[pd.DataFrame], pd.DataFrame] | None]:
        """Return :attr:`calls`, if possible without the texts of answers, and what adds them to some of the rows."""
        from ipyllm.experiment.answer_texts import WITHOUT_TEXTS, with_texts

        if self._parsed or self._texts is not None:  # both need the texts
            return self.calls, None
        scored = self._scores.join_known(self._calls(WITHOUT_TEXTS))
        if scored is None:
            return self.calls, None
        return self._with_input(scored), partial(with_texts, ledger=self._ledger)

    def _with_input(self, scored: pd.DataFrame) -> pd.DataFrame:
        """Return scored calls as :attr:`calls` has them."""
        scored = scored.assign(arm=in_order(scored["arm"], self._grid))
        scored = scored.sort_values(["warmup", "row", "arm", "repeat"], kind="stable", ignore_index=True)
        calls = self._input.beside(scored)
        run = self._current_run()
        calls.attrs = {
            **scored.attrs,
            "arms": [arm.label for arm in self._grid.arms],
            "problems": [] if run is None else run.progress.problems(),
        }
        return calls

    def _calls(self, only: AbstractSet[str] | None = None) -> pd.DataFrame:
        """Return the calls, with the number of their row, from 0, and these columns of the ledger, or else all."""
        latest = self._latest_run()
        calls = self._ledger_progress(only).calls(frozenset() if latest is None else latest.done_before)
        return self._parsed.checked(with_conditions(calls, latest, self._concurrency()))

    def _outcomes(self) -> pd.DataFrame:
        """Return how the trials ended, without warm-ups: few columns, fast."""
        latest = self._latest_run()
        done_before = frozenset() if latest is None else latest.done_before
        outcomes = trial_outcomes(self._name, self._grid, self._ledger, self._parsed, self._texts, done_before)
        if outcomes is None:
            calls = self._calls(_OUTCOME)
            return calls[~calls["warmup"]]
        return with_conditions(outcomes, latest, self._concurrency()) if outcomes["reused"].any() else outcomes

    def _votes(self) -> pd.DataFrame:
        from ipyllm.experiment.votes_on_arms import votes_on_arms

        only = {*_OUTCOME, "model"} - (set() if self._parsed else {"response"})
        return votes_on_arms(self._grid, self._calls(only), self._ledger)
