"""What came of an experiment: its calls, and what statistics, plots and reports make of them; always as of now."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    import pandas as pd

    from ipyllm.experiment.experiment import Experiment

__all__ = ["Results"]

_MOST_NAMED = 3


class Results:
    """The results of an experiment: those in the ledger now, of this run and of earlier ones.

    Parameters
    ----------
    experiment : Experiment
        Whose.
    """

    def __init__(self, experiment: Experiment) -> None:
        self._experiment = experiment

    def __repr__(self) -> str:
        return f"Results of {self._experiment.name!r}: {self.state}"

    def __len__(self) -> int:
        return len(self._calls())

    @property
    def calls(self) -> pd.DataFrame:
        """One row per call that was made, earliest first, warm-ups included and flagged.

        ``experiment``, ``arm``, ``model``, ``params``, ``system``, ``prompt_id``, ``repeat``, ``row`` (place in the
        input), ``prompt``, ``response``, ``status``, then the columns of ``usage()``, and for each scorer
        ``score_<name>`` and ``score_<name>_error``. What has no score yet is scored now, in this thread.
        """
        return self._experiment.scores.added_to(self._calls(), self._experiment.ledger)

    @property
    def undone(self) -> int:
        """How many calls of the grid have neither an answer nor a final refusal."""
        return len(self._experiment.grid) - len(self._experiment.record().done())

    @property
    def state(self) -> str:
        """How far it has come, and what went wrong, in plain words."""
        calls = self._calls()
        calls = calls[~calls["warmup"]]
        total = len(self._experiment.grid)
        failed = calls[calls["status"].isin(["error", "truncated"])]
        answered = int((calls["status"] == "ok").sum())
        if len(failed) and len(failed) == total:
            said = [f"All {total} calls failed ({_kinds(failed)}): {failed['error_message'].iloc[0]}"]
        else:
            said = [f"{answered} of {total} calls have an answer."]
            if len(failed):
                said.append(f"{len(failed)} failed ({_kinds(failed)}).")
        left = total - answered - len(failed)
        if self._experiment.is_running:
            said.append(f"{left} are to come: it is running.")
        elif left:
            stopped = self._experiment.progress.stopped if self._experiment.progress is not None else None
            said.append(f"{left} are left undone{f': {stopped}' if stopped else '.'} run() goes on from there.")
        return " ".join(said)

    def rescore(self, scorers: Iterable[Any]) -> Results:
        """Score all answers anew, with these scorers in place of those before. No model is asked again.

        A scorer that asks a model itself does so, and what it paid for before is not used.
        """
        self._experiment.rescore(scorers)
        return self

    # ---- what others make of it -------------------------------------------------------------------

    def summary(self, **options: Any) -> pd.DataFrame:
        """Return a row per arm: calls, errors, times, tokens per second, cost and scores, with their intervals.

        Options are those of :func:`ipyllm.statistics.summarise_arms`.
        """
        from ipyllm.statistics import summarise_arms

        return summarise_arms(self.calls, **options)

    def paired(self, baseline: str | None = None, **options: Any) -> pd.DataFrame:
        """Return how each arm differs from ``baseline`` on the same prompts, and how sure that is.

        Options are those of :func:`ipyllm.statistics.paired`.
        """
        from ipyllm.statistics import paired

        return paired(self.calls, baseline=baseline, **options)

    def ranking(self, votes: Any = None, **options: Any) -> pd.DataFrame:
        """Return the arms by strength, from votes: those given, or those in the ledger on this experiment's prompts.

        Options are those of :func:`ipyllm.statistics.ranking`.
        """
        from ipyllm.statistics import ranking

        return ranking(self._votes() if votes is None else votes, **options)

    def plot(self, **options: Any) -> Any:
        """Draw the overview, and return its figure. Options are those of :func:`ipyllm.plots.overview`."""
        from ipyllm.plots import overview

        return overview(self.calls, **options)

    def report(self, path: str | Path, **options: Any) -> Path:
        """Write one self-contained HTML file, and return its path. Options are those of :func:`ipyllm.comparison.report.write`."""
        from ipyllm.comparison.report import write

        votes = self._votes()
        own: dict[str, Any] = {"title": self._experiment.name, "votes": votes if len(votes) else None}
        return write(self, path, **own | options)

    def _repr_html_(self) -> str:
        head = f"<p><strong>{escape(self._experiment.name)}</strong>: {escape(self.state)}</p>"
        calls = self._calls()
        if not (calls["status"] == "ok").any():
            return head
        return f"{head}{self.summary()._repr_html_()}"  # type: ignore[operator]

    def _calls(self) -> pd.DataFrame:
        return self._experiment.record().calls()

    def _votes(self) -> pd.DataFrame:
        """Votes between arms of this experiment, by the arms' labels: a vote knows calls, or the names of models."""
        from ipyllm.comparison.votes import votes

        calls = self.calls
        by_call = dict(zip(calls["call_id"], calls["arm"], strict=True))
        arms = set(calls["arm"])
        models = calls.groupby("model")["arm"].agg(["nunique", "first"])
        by_model = models.loc[models["nunique"] == 1, "first"].to_dict()
        found = votes(kernel=None, ledger=self._experiment.ledger)
        asked = {prompt.text for prompt in self._experiment.grid.prompts}
        rows = []
        for vote in found[found["prompt"].isin(asked)].to_dict("records"):
            ours = {
                label: by_call.get(call_id) or (label if label in arms else by_model.get(label))
                for label, call_id in vote["arms"].items()
            }
            if None not in ours.values() and len(set(ours.values())) == len(ours):
                renamed = {ours[label]: call_id for label, call_id in vote["arms"].items()}
                rows.append({**vote, "arms": renamed, "outcome": ours.get(vote["outcome"], vote["outcome"])})
        return found.iloc[:0] if not rows else type(found)(rows, columns=found.columns)


def _kinds(failed: pd.DataFrame) -> str:
    counts = failed["error_category"].fillna("unknown").value_counts()
    shown = [f"{category} {n}" for category, n in counts.head(_MOST_NAMED).items()]
    return ", ".join([*shown, "…"] if len(counts) > _MOST_NAMED else shown)
