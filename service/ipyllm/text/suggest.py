"""Builds the "did you mean …?" part of error messages."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["closest", "suggest"]

_MAX_COMPARED = 1_000  # characters


def closest(name: object, known: Iterable[str], *, cutoff: float = 0.6) -> str | None:
    """Return the known name most similar to ``name``; None below the similarity ``cutoff`` (0 to 1, as in difflib)."""
    if len(str(name)) > _MAX_COMPARED:  # a text, not a name: difflib would take seconds
        return None
    return next(iter(difflib.get_close_matches(str(name), list(known), n=1, cutoff=cutoff)), None)


def suggest(name: object, known: Iterable[str], *, otherwise: str | None = None, cutoff: float = 0.6) -> str:
    """Return a sentence that names the closest known name, else ``otherwise``, which by default lists them all."""
    names = list(known)
    near = closest(name, names, cutoff=cutoff)
    if near is not None:
        return f"Did you mean {near!r}?"
    return f"Choose one of: {', '.join(sorted(names))}." if otherwise is None else otherwise
