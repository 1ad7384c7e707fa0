"""Times are measured only while the machine lets us run: a test of times that fails while it did not is run again."""

from __future__ import annotations

import functools
import threading
from pathlib import Path
from time import perf_counter, sleep
from typing import TYPE_CHECKING, Any, Self

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Stalls", "again_if_stalled"]

_STEP_S = 0.002
_TASKS = Path("/proc/self/task")
_LONGEST_S = 60.0  # of all attempts
_MOST_ATTEMPTS = 5


class Stalls:
    """A context manager that tells for how long, in seconds, a thread of this process wanted to run and could not.

    On Linux the scheduler counts it; everywhere a thread looks how late it wakes.
    """

    def __enter__(self) -> Self:
        self._waited, self._late_s, self._ended = _waited_s(), 0.0, threading.Event()
        self._thread = threading.Thread(target=self._look)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()
        waited = (now - self._waited.get(task, 0.0) for task, now in _waited_s().items())
        self.worst_s = max([self._late_s, *waited])

    def _look(self) -> None:
        while not self._ended.is_set():
            due = perf_counter() + _STEP_S
            sleep(_STEP_S)
            self._late_s = max(self._late_s, perf_counter() - due)


def _waited_s() -> dict[str, float]:
    """Return for each thread how long it has waited for a processor."""
    waited = {}
    for task in _TASKS.glob("*/schedstat"):
        try:
            waited[task.parent.name] = int(task.read_text().split()[1]) / 1e9
        except (OSError, IndexError):  # it has just ended
            continue
    return waited


def again_if_stalled(limit_s: float) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Run a test again if it fails while a thread could not run for ``limit_s``: it measured what others took.

    What fails on a machine that runs evenly fails at once, and what fails five times fails in the end; a fault that
    shows now and then may be missed, so this is for times alone. It must be possible to repeat such a test with the
    same fixtures; the fake server's records and queue are emptied.
    """

    def decorate(test: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(test)
        def run(*args: Any, **fixtures: Any) -> None:
            end = perf_counter() + _LONGEST_S
            for attempt in range(1, _MOST_ATTEMPTS + 1):
                with Stalls() as stalls:
                    failure = _failure(test, *args, **fixtures)
                if failure is None:
                    return
                if stalls.worst_s < limit_s or perf_counter() > end or attempt == _MOST_ATTEMPTS:
                    failure.add_note(
                        f"At attempt {attempt}, during which a thread could not run for {stalls.worst_s:.3f} s."
                    )
                    raise failure
                sleep(0.1)

        return run

    return decorate


def _failure(test: Callable[..., None], *args: Any, **fixtures: Any) -> BaseException | None:
    try:
        test(*args, **fixtures)
    except (Exception, pytest.fail.Exception) as error:
        for name in {"fake", "server"} & fixtures.keys():
            fixtures[name].clear()
        return error
    return None
