"""The start of a run: one at a time for an experiment in this kernel, within its budget, here or by an executor."""

from __future__ import annotations

import threading
import warnings
import weakref
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ipyllm.errors import bad_request
from ipyllm.experiment.run import Run
from ipyllm.experiment.run_config import request_of
from ipyllm.experiment.trial_claims import TrialClaims
from ipyllm.fork_safety import in_forked_child, renewed_in_child

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from concurrent.futures import Executor

    from ipyllm.experiment.grid import Trial
    from ipyllm.experiment.remote_run import RemoteRun
    from ipyllm.experiment.run_config import RunConfig
    from ipyllm.ledger import Ledger

__all__ = ["make_run", "start_run", "starting_alone"]

_running: weakref.WeakValueDictionary[str, Run | RemoteRun] = weakref.WeakValueDictionary()
_start_lock = renewed_in_child(threading.Lock())


@in_forked_child
def _forget_runs() -> None:
    _running.clear()  # they run in the parent


@contextmanager
def starting_alone(ledger: Ledger, name: str) -> Iterator[TrialClaims]:
    """Let no other run begin in a block, and yield the claims of one that may; raise ``bad_request`` if one runs."""
    with _start_lock:
        other = _running.get(name)
        if other is not None and not other.done.is_set():
            raise bad_request(
                f"{name!r} is already running: .results() returns its results so far, .cancel() stops it."
            )
        claims = TrialClaims(ledger, name)
        claims.join()  # before the ledger is read: what others end from now on is not asked again
        try:
            yield claims
        except BaseException:
            claims.leave()
            raise


def make_run(
    trials: Sequence[Trial],
    config: RunConfig,
    executor: Executor | Callable[[], Executor] | None,
    chunk_size: int | None,
) -> Run | RemoteRun:
    """Return a run of trials; raise ``quota`` if the budget is too small for a call of some arm."""
    one_of_each_arm = {trial.arm.label: trial for trial in trials}.values()
    uncounted = config.spending.check((trial.arm.service, request_of(trial, config)) for trial in one_of_each_arm)
    if uncounted:
        warnings.warn(uncounted, stacklevel=4)
    if executor is None:
        return Run(trials, config)
    from ipyllm.experiment.remote_run import RemoteRun

    return RemoteRun(trials, config, executor, chunk_size=chunk_size)


def start_run(run: Run | RemoteRun) -> None:
    """Start a run in a block of :func:`starting_alone`."""
    run.start()
    _running[run.config.experiment] = run
