"""Writes the tables of options in the README and in docs/magics.md from the code.

``python docs/option_tables.py README.md docs/magics.md`` replaces what stands between ``<!-- options -->`` (or
``<!-- options of %llm_usage -->``) and ``<!-- /options -->``. A test fails when that was forgotten.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from ipyllm_magics.command_line.options import LLM, TABLES

if TYPE_CHECKING:
    from ipyllm_magics.command_line.parser import Option

__all__ = ["markdown_table", "replace_tables"]

_MARKED = re.compile(r"<!-- options(?: of %{1,2}(?P<magic>\w+))? -->.*?<!-- /options -->", re.DOTALL)


def markdown_table(magic: str = "llm") -> str:
    r"""Return the table of a magic; options that it shares with ``%%llm`` are listed in the last row.

    Examples
    --------
    >>> print("\n".join(markdown_table().splitlines()[:3]))
    | option of `%%llm` | example | does |
    | --- | --- | --- |
    | `-m`, `--model` | `-m ollama/llama3.2` | model, `service/model` or an alias |
    >>> print(markdown_table("llm_config").splitlines()[-1])
    | `-h`, `--help` | | as for `%%llm` |
    """
    table = TABLES[magic]
    shared = [option for option in table if magic != "llm" and option in LLM]
    written = f"%%{magic}" if magic in {"llm", "llm_compare"} else f"%{magic}"
    rows = [f"| option of `{written}` | example | does |", "| --- | --- | --- |"]
    for option in table:
        if option not in shared:
            example = f"`{option.example}`".replace("|", "\\|") if option.example else ""
            rows.append(f"| {_flags([option])} | {example} | {option.help.replace('|', chr(92) + '|')} |")
    if shared:
        rows.append(f"| {_flags(shared)} | | as for `%%llm` |")
    return "\n".join(row.replace("|  |", "| |") for row in rows)


def _flags(options: list[Option]) -> str:
    return ", ".join(f"`{flag}`" for option in options for flag in option.flags)


def replace_tables(page: str) -> str:
    """Return ``page`` with the tables between its marks replaced.

    Raises
    ------
    ValueError
        The page has no marks.
    """

    def replacement(found: re.Match[str]) -> str:
        mark = found[0].partition("-->")[0]
        return f"{mark}-->\n{markdown_table(found['magic'] or 'llm')}\n<!-- /options -->"

    page, tables = _MARKED.subn(replacement, page)
    if not tables:
        raise ValueError("There is no <!-- options --> … <!-- /options --> in it.")
    return page


if __name__ == "__main__":
    for name in sys.argv[1:]:
        path = Path(name)
        path.write_text(replace_tables(path.read_text(encoding="utf-8")), encoding="utf-8")
