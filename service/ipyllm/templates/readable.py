"""The types that a template may read, and of each the attributes and methods: the table ``readable.toml``.

Libraries are not imported: a value of one exists only if somebody else has.
"""

from __future__ import annotations

import re
import sys
import tomllib
from functools import cache
from importlib import resources
from typing import Any, NamedTuple

__all__ = ["Readable", "TemplateObject", "name_list", "readable", "readable_rows"]

_MEMBER = re.compile(r"(\w+)(?:\(([^)]*)\))?")


class TemplateObject:
    """An object of ipyllm's own that a template may read: its ``members``, its items and its text."""

    members: frozenset[str] = frozenset()


class Readable(NamedTuple):
    """One row of the table; ``members`` are names, those of a table's methods with their parameters."""

    title: str
    types: list[str]
    members: dict[str, list[str] | None]
    leaf: bool = False
    table: bool = False


@cache
def _file() -> dict[str, Any]:
    return tomllib.loads(resources.files("ipyllm.templates").joinpath("readable.toml").read_text(encoding="utf-8"))


@cache
def readable_rows() -> tuple[Readable, ...]:
    """Return the rows of the table."""
    return tuple(Readable(**{**row, "members": _parsed(row["members"])}) for row in _file()["type"])


def _parsed(members: str) -> dict[str, list[str] | None]:
    """Return names with their parameters: ``{"shape": None, "head": ["n"]}`` for ``"shape head(n)"``."""
    found = _MEMBER.finditer(members)
    return {match[1]: None if match[2] is None else match[2].replace(",", "").split() for match in found}


@cache
def name_list(which: str) -> frozenset[str]:
    """Return the names of one of the lists: ``filters`` or ``loop``."""
    return frozenset(_file()[which].split())


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
