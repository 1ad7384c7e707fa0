"""Notes about models that have stopped answering, or soon will."""

from __future__ import annotations

from datetime import date, timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ipyllm.services.profiles.profile import Profile

__all__ = ["SOON", "forget", "note_once", "retirement_note"]

SOON = timedelta(days=60)
"""How long before its retirement a model is worth a note."""

_noted: set[str] = set()


def retirement_note(profile: Profile, model: str, today: date | None = None) -> str | None:
    """Return a sentence about a model that is retired or soon will be; None for any other.

    Examples
    --------
    >>> from datetime import date
    >>> from ipyllm.services.profiles.profile import profile_of
    >>> model = "openai/gpt-4o-mini"
    >>> retirement_note(profile_of(model), model, date(2026, 12, 24))
    'openai/gpt-4o-mini stops answering on 2027-01-14; use openai/gpt-6-luna.'
    """
    retires, today = profile.retires, today or date.today()  # noqa: DTZ011 - a date without a time zone
    if retires is None or retires - today >= SOON:
        return None
    event = "stops answering" if today < retires else "was retired"
    return f"{model} {event} on {retires}" + (f"; use {profile.successor}." if profile.successor else ".")


def note_once(profile: Profile, model: str) -> str | None:
    """Return the note about a model the first time in this process that there is one, then None."""
    if profile.retires is None or model in _noted:
        return None
    note = retirement_note(profile, model)
    if note is not None:
        _noted.add(model)
    return note


def forget() -> None:
    """Note every model again."""
    _noted.clear()
