"""The types that a template may read, and of each the attributes and methods: the table ``readable.toml``.

Libraries are not imported: a value of one exists only if somebody else has.
"""

from __future__ import annotations

import sys
import tomllib
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

__all__ = [
    "Readable",
    "TemplateObject",
    "aggregations",
    "filter_names",
    "parameters",
    "readable",
    "readable_rows",
]


class TemplateObject:
    """An object of ipyllm's own that a template may read: its ``members``, its items and its text."""

    members: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Readable:
    """One row of the table."""

    title: str
    types: tuple[str, ...]
    members: frozenset[str]
    items: bool = False
    made: bool = False


@cache
def _table() -> dict[str, Any]:
    return tomllib.loads(resources.files("ipyllm.templates").joinpath("readable.toml").read_text(encoding="utf-8"))


@cache
def readable_rows() -> tuple[Readable, ...]:
    """Return the rows of the table."""
    return tuple(
        Readable(
            row["title"],
            tuple(row["types"]),
            frozenset(row["members"].split()),
            row.get("items", False),
            row.get("made", False),
        )
        for row in _table()["type"]
    )


@cache
def parameters() -> frozenset[str]:
    """Return the names of the parameters that methods of libraries may be given."""
    return frozenset(_table()["parameters"].split())


@cache
def filter_names() -> tuple[str, ...]:
    """Return the names of the filters that a template may use."""
    return tuple(_table()["filters"].split())


@cache
def aggregations() -> frozenset[str]:
    """Return the names of the aggregations that ``agg()`` may be given."""
    return frozenset(_table()["aggregations"].split())


_found: dict[type, Readable] = {}


def readable(kind: type) -> Readable | None:
    """Return what a template may read of values of exactly this type; None if nothing.

    >>> "upper" in readable(str).members, readable(type(sys))
    (True, None)
    """
    if kind not in _found:
        for row in readable_rows():
            _found.update({loaded: row for loaded in map(_loaded, row.types) if loaded is not None})
    return _found.get(kind)


def _loaded(name: str) -> type | None:
    module, _, own = name.rpartition(".")
    # Not getattr: modules that import on demand would import.
    found = vars(sys.modules.get(module or "builtins", object)).get(own)
    return found if isinstance(found, type) else None
