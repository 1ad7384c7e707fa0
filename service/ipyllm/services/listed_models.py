"""What servers told about their models, by address: context windows and retirement dates."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from ipyllm.errors import LLMError
from ipyllm.fork_safety import renewed_in_child
from ipyllm.runtime.interruptible import InterruptibleEvent
from ipyllm.runtime.service_thread import service_thread

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterable
    from typing import Any

    from ipyllm.transport.model_list import ListedModel

__all__ = ["ask_once", "forget", "has_date", "listed_model", "names", "remember"]

_ASK_S = 3.0
_lists: dict[str, dict[str, ListedModel]] = {}
_with_date: set[str] = set()
_lock = renewed_in_child(threading.Lock())


def remember(base_url: str, models: Iterable[ListedModel]) -> None:
    """Remember the list of one server; it replaces an earlier one."""
    _lists[base_url] = {model.name: model for model in models}
    _with_date.update(model.name for model in _lists[base_url].values() if model.retires is not None)


def has_date(name: str) -> bool:
    """Return whether any server told a retirement date for a model of this name; each call asks, so it is quick."""
    return name in _with_date


def listed_model(base_url: str, name: str) -> ListedModel | None:
    """Return what the server told about a model; None if it told nothing."""
    return _lists.get(base_url, {}).get(name)


def names(base_url: str) -> list[str]:
    """Return the names of the models that a server listed."""
    return list(_lists.get(base_url, ()))


def ask_once(base_url: str, ask: Coroutine[Any, Any, object]) -> None:
    """Ask a server for its list by ``ask``, and wait at most three seconds, if it was never asked.

    The service thread itself cannot wait for the answer, so it asks nobody.
    """
    thread = service_thread()
    if thread.is_current:
        ask.close()
        return
    with _lock:
        if base_url in _lists:
            ask.close()
            return
        _lists[base_url] = {}
        done = InterruptibleEvent()
        future = thread.submit(ask)
        future.add_done_callback(lambda _: done.set())
        try:
            if done.wait(_ASK_S) and isinstance(error := future.exception(), Exception) and not _is_silence(error):
                raise error
        finally:
            future.cancel()


def _is_silence(error: Exception) -> bool:
    """Return whether the server did not answer, or has no list, which a call does not need."""
    return isinstance(error, LLMError | TimeoutError)


def forget() -> None:
    """Forget all lists."""
    _lists.clear()
    _with_date.clear()
