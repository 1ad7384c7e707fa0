"""Writes the table of services in docs/service.md from ``named.toml``.

``python docs/service_table.py docs/service.md`` replaces what stands between ``<!-- services -->`` and
``<!-- /services -->``. A test fails when that was forgotten.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from ipyllm.services.service_rows import service_rows

__all__ = ["markdown_table", "replace_table"]

_MARKED = re.compile(r"<!-- services -->.*?<!-- /services -->", re.DOTALL)


def markdown_table() -> str:
    """Return the table of the services by name.

    Examples
    --------
    >>> print(markdown_table().splitlines()[2])
    | `anthropic` | Anthropic | `ANTHROPIC_API_KEY` | `claude-haiku-5-5` | https://api.anthropic.com/v1 |
    """
    rows = ["| name | service | key | default model | address |", "| --- | --- | --- | --- | --- |"]
    for name, row in service_rows().items():
        keys = " or ".join(f"`{key}`" for key in row.keys) + (" if it has one" if row.keys and not row.domain else "")
        model = f"`{row.model}`" if row.model else ""
        address = row.url or f"`{row.url_variable}` and {row.path}"
        rows.append(re.sub(r"\|  (?=\|)", "| ", f"| `{name}` | {row.title} | {keys} | {model} | {address} |"))
    return "\n".join(rows)


def replace_table(page: str) -> str:
    """Return ``page`` with the table between its marks replaced."""
    return _MARKED.sub(f"<!-- services -->\n{markdown_table()}\n<!-- /services -->", page)


if __name__ == "__main__":
    for name in sys.argv[1:]:
        path = Path(name)
        path.write_text(replace_table(path.read_text(encoding="utf-8")), encoding="utf-8")
