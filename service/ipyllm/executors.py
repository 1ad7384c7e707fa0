"""Executors for :meth:`ipyllm.Experiment.run` over programs that run Python functions on other machines."""

from __future__ import annotations

from concurrent.futures import Executor, Future
from importlib import import_module
from typing import TYPE_CHECKING, Any

from ipyllm.errors import bad_request

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["RayExecutor", "ray"]


class RayExecutor(Executor):
    """What :func:`ray` returns."""

    def __init__(self, remote: Callable[..., Any], n_workers: int) -> None:
        self._remote = remote
        self._max_workers = n_workers

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Run a function as a task."""
        future: Future[Any] = self._remote(fn).remote(*args, **kwargs).future()
        return future


def ray(**options: Any) -> Executor:
    """Return an executor whose functions run as tasks of Ray, in the cluster that this process is connected to.

    Without one, ``ray.init()`` connects to it or starts Ray on this machine.

    Parameters
    ----------
    **options
        Those of ``ray.remote``, such as ``num_cpus`` or ``runtime_env``. ``max_retries`` is 0 unless it is given: the
        run itself submits again what a worker did not finish, and knows then what it may have cost.

    Raises
    ------
    LLMError
        ``bad_request``: Ray is not installed.
    """
    try:
        library = import_module("ray")
    except ImportError:
        raise bad_request("Ray is not installed: pip install ray, here and on the workers.") from None
    if not library.is_initialized():
        library.init()
    n_workers = max(1, int(library.cluster_resources().get("CPU", 1) / (options.get("num_cpus") or 1)))
    return RayExecutor(library.remote(**{"max_retries": 0} | options), n_workers)
