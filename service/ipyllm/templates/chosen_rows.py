"""Rows of a table that a template chose by ``head``, ``tail`` or ``sample``: they are inserted all, however many."""

from __future__ import annotations

from typing import Any, NamedTuple

__all__ = ["CHOICES", "ChosenRows"]

CHOICES = {"head": "first", "tail": "last", "sample": "random"}
"""The methods that choose rows, and which rows these are."""


class ChosenRows(NamedTuple):
    """The chosen ``rows``, the ``table`` that they are of, and ``which`` they are: first, last or random."""

    rows: Any
    table: Any
    which: str

    def __str__(self) -> str:
        return str(self.rows)
