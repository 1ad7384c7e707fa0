"""Builds the "did you mean …?" part of error messages."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["closest", "suggest"]


def closest(name: object, known: Iterable[str], *, cutoff: float = 0.6) -> str | None:
    """Return the known name most similar to ``name``, or None when none is similar enough.

    Parameters
    ----------
    cutoff : float
        Required similarity from 0 to 1, as in :func:`difflib.get_close_matches`.
    """
    return next(iter(difflib.get_close_matches(str(name), list(known), n=1, cutoff=cutoff)), None)


def suggest(name: object, known: Iterable[str], *, otherwise: str | None = None, cutoff: float = 0.6) -> str:
    """Return a sentence that names the closest known name, or else lists them all.

    Parameters
    ----------
    otherwise : str, optional
        The sentence when no name is similar enough, instead of the list.

    Examples
    --------
    >>> suggest("eror", ["ok", "error"])
    "Did you mean 'error'?"
    >>> suggest("x", ["ok", "error"])
    'Choose one of: error, ok.'
    """
    names = list(known)
    near = closest(name, names, cutoff=cutoff)
    if near is not None:
        return f"Did you mean {near!r}?"
    return f"Choose one of: {', '.join(sorted(names))}." if otherwise is None else otherwise
