"""The ledger of this process, as the settings have it."""

from __future__ import annotations

import threading

from ipyllm.fork_safety import in_forked_child
from ipyllm.ledger.writer import Ledger

__all__ = ["current_ledger", "set_ledger"]

_lock = threading.RLock()
_current: Ledger | None = None
_made_from: tuple[str, bool] | None = None


def current_ledger(*, look: bool = True) -> Ledger:
    """Return the ledger that calls are written to: the one that was set, else the one the settings name.

    When the settings come to name another, that one is opened, and the one before finishes in its own time.

    Parameters
    ----------
    look : bool
        Whether to look at the settings anew; not for who comes right after one who did.
    """
    global _current, _made_from
    with _lock:
        if _current is not None and _made_from is None:
            return _current
        from ipyllm.settings import cached_settings, get_settings

        settings = get_settings() if look else cached_settings()
        wanted = settings.ledger, settings.store_text
        if _current is None or wanted != _made_from:
            set_ledger(None)
            _current, _made_from = Ledger(settings.ledger, store_text=settings.store_text), wanted
        return _current


def set_ledger(ledger: Ledger | None) -> None:
    """Write calls to ``ledger`` from now on, or with None to the one that the settings name.

    A ledger that was set is its owner's to close.
    """
    global _current, _made_from
    with _lock:
        if _current is not None and _made_from is not None:
            _current.leave()
        _current, _made_from = ledger, None


@in_forked_child
def _renew_lock() -> None:
    global _lock
    _lock = threading.RLock()  # another thread may have held it at that moment
