"""Says in sentences how far an experiment is, and what failed: ``results.state``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ipyllm.dataframes.conditions import TIMES_LEFT_OUT, in_words
from ipyllm.experiment.trial_outcomes import error_message, failure_categories

if TYPE_CHECKING:
    import pandas as pd

    from ipyllm.experiment.remote_run import RemoteRun
    from ipyllm.experiment.run import Run
    from ipyllm.ledger import Ledger

__all__ = ["state_in_words"]


def state_in_words(outcomes: pd.DataFrame, total: int, run: Run | RemoteRun | None, ledger: Ledger) -> str:
    """Return the sentences for the outcomes of an experiment of ``total`` trials; ``run`` is the latest one here."""
    failed = outcomes[outcomes["status"].isin(["error", "truncated"])]
    answered = int((outcomes["status"] == "ok").sum())
    earlier = outcomes[outcomes["reused"]]
    if len(failed) and len(failed) == total:
        message = error_message(ledger, failed["call_id"].iloc[0])
        sentences = [f"All {total} calls failed ({failure_categories(failed)}): {message}"]
    else:
        from_earlier = f" ({len(earlier)} of {total} from an earlier run {in_words(earlier)})" if len(earlier) else ""
        sentences = [f"{answered} of {total} calls have an answer{from_earlier}."]
        if len(earlier) and earlier["other_conditions"].any():
            sentences.append(TIMES_LEFT_OUT)
        if len(failed):
            sentences.append(f"{len(failed)} failed ({failure_categories(failed)}).")
    left = total - answered - len(failed)
    if run is not None and not run.done.is_set():
        alone = "; embedded models are asked one call at a time" if run.progress.one_at_a_time else ""
        sentences.append(f"It is running; {left} of the calls have not ended{alone}.")
    elif left:
        reason = f": {run.progress.stopped}" if run is not None and run.progress.stopped else "."
        sentences += [] if run is None else run.progress.problems()
        sentences.append(f"{left} were not made{reason} Call run() again to continue.")
    return " ".join(sentences)
