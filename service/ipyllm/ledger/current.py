"""The ledger that calls of this process are written to."""

from __future__ import annotations

import threading

from ipyllm.fork_safety import renewed_in_child
from ipyllm.ledger.ledger import Ledger

__all__ = ["current_ledger", "ledger_for_calls", "set_ledger"]

_lock = renewed_in_child(threading.RLock())
_current: Ledger | None = None
_settings_used: tuple[str, bool] | None = None


def current_ledger(*, reload_settings: bool = True) -> Ledger:
    """Return the ledger that calls are written to: the one set by :func:`set_ledger`, else that of the settings.

    When the settings change, the new ledger is opened, and the old one closes when its calls have ended. Use
    ``reload_settings=False`` right after another read of the settings.
    """
    global _current, _settings_used
    with _lock:
        if _current is not None and _settings_used is None:
            return _current
        from ipyllm.settings import cached_settings, get_settings

        settings = get_settings() if reload_settings else cached_settings()
        wanted = settings.ledger, settings.store_text
        if _current is None or wanted != _settings_used:
            set_ledger(None)
            _current, _settings_used = Ledger(settings.ledger, store_text=settings.store_text), wanted
        return _current


def ledger_for_calls(*, reload_settings: bool = True) -> Ledger:
    """Return :func:`current_ledger`; raise LLMError if the settings name something that is not a ledger."""
    ledger = current_ledger(reload_settings=reload_settings)
    ledger.check()
    return ledger


def set_ledger(ledger: Ledger | None) -> None:
    """Write calls to ``ledger`` from now on, or with None to the one that the settings name.

    The caller must close it.
    """
    global _current, _settings_used
    with _lock:
        if _current is not None and _settings_used is not None:
            _current.close_when_idle()
        _current, _settings_used = ledger, None
