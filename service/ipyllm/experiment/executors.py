"""What the executors of others tell about themselves: their workers, and how to make another one."""

from __future__ import annotations

from concurrent.futures import Executor, ProcessPoolExecutor
from typing import TYPE_CHECKING, Any, Final

from ipyllm.errors import bad_request

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["executor_and_factory", "worker_count"]

_DEFAULT_WORKERS: Final = 4
"""Assumed number of workers if the executor does not tell."""


def executor_and_factory(
    executor: Executor | Callable[[], Executor],
) -> tuple[Executor, Callable[[], Executor] | None]:
    """Return an executor, and a function that makes another like it."""
    if callable(getattr(executor, "submit", None)):
        assert not callable(executor) or isinstance(executor, Executor)
        return executor, _pool_factory(executor)
    if not callable(executor):
        raise bad_request(
            f"executor must be a concurrent.futures.Executor or a function that creates one, not {executor!r}."
        )
    made = executor()
    return made, executor


def _pool_factory(executor: Any) -> Callable[[], Executor] | None:
    """Return a function that makes a process pool like this one, which does not survive the death of a worker."""
    if not isinstance(executor, ProcessPoolExecutor):
        return None
    own = vars(executor)
    return lambda: ProcessPoolExecutor(
        own.get("_max_workers"), own.get("_mp_context"), own.get("_initializer"), own.get("_initargs", ())
    )


def worker_count(executor: Any) -> int:
    """Return how many workers an executor has, or an assumed number if it does not tell."""
    workers = getattr(executor, "_max_workers", None)
    if not isinstance(workers, int):
        client = getattr(executor, "_client", None)  # Dask's
        workers = sum(client.ncores().values()) if client is not None else None
    return workers or _DEFAULT_WORKERS
