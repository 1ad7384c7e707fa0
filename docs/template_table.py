"""Writes what templates may read into docs/security.md, from ``readable.toml``.

``python docs/template_table.py docs/security.md`` replaces what stands between ``<!-- readable -->`` and
``<!-- /readable -->``. A test fails when that was forgotten.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from ipyllm.templates.readable import name_list, readable_rows
from ipyllm.templates.tables import CHOICES

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["markdown_table", "replace_table"]

_MARKED = re.compile(r"<!-- readable -->.*?<!-- /readable -->", re.DOTALL)


def markdown_table() -> str:
    """Return the table of types with their attributes and methods, and the lists below it.

    Examples
    --------
    >>> print(markdown_table().splitlines()[3])
    | numbers, truth values, slices and None | `is_integer` |
    """
    rows = ["| values | attributes and methods |", "| --- | --- |"]
    rows += [f"| {row.title} | {_names(map(_written, row.members.items())) or 'none'} |" for row in readable_rows()]
    rows += [f"| the variable `loop` of Jinja | {_names(name_list('loop'))} |"]
    return "\n".join([*rows, f"\nFilters: {_names([*name_list('filters'), *CHOICES, 'describe', 'format'])}."])


def _written(member: tuple[str, list[str] | None]) -> str:
    name, parameters = member
    return name if parameters is None else f"{name}({', '.join(parameters)})"


def _names(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in sorted(names))


def replace_table(page: str) -> str:
    """Return ``page`` with what stands between the marks replaced."""
    return _MARKED.sub(lambda _: f"<!-- readable -->\n{markdown_table()}\n<!-- /readable -->", page)


if __name__ == "__main__":
    for name in sys.argv[1:]:
        path = Path(name)
        path.write_text(replace_table(path.read_text(encoding="utf-8")), encoding="utf-8")
