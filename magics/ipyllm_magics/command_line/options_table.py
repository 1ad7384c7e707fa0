"""The tables of options in the README and in docs/magics.md, written from the code.

``python -m ipyllm_magics.command_line.options_table README.md`` replaces what stands between ``<!-- options -->`` (or
``<!-- options of %llm_usage -->``) and ``<!-- /options -->``; a test says when that was forgotten.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from ipyllm_magics.command_line.family_options import TABLES
from ipyllm_magics.command_line.options import LLM

if TYPE_CHECKING:
    from ipyllm_magics.command_line.options import Option

__all__ = ["markdown", "replaced"]

_MARKED = re.compile(r"<!-- options(?: of %{1,2}(?P<magic>\w+))? -->.*?<!-- /options -->", re.DOTALL)
_EXPECTED_ARGUMENTS = 2


def markdown(magic: str = "llm") -> str:
    r"""Return the table of a magic; what it shares with ``%%llm`` stands in its last row, unexplained.

    Examples
    --------
    >>> print("\n".join(markdown().splitlines()[:3]))
    | option of `%%llm` | example | does |
    | --- | --- | --- |
    | `-m`, `--model` | `-m ollama/llama3.2` | model, `service/model` or an alias |
    >>> print(markdown("llm_config").splitlines()[-1])
    | `-h`, `--help` | | as for `%%llm` |
    """
    table = TABLES[magic]
    shared = [option for option in table if magic != "llm" and option in LLM]
    own = [option for option in table if option not in shared]
    rows = [f"| option of `{_written(magic)}` | example | does |", "| --- | --- | --- |"]
    for option in own:
        told = option.help.replace("|", "\\|")
        rows.append(f"| {_flags([option])} | {_example(option.example)} | {told} |")
    if shared:
        rows.append(f"| {_flags(shared)} | | as for `%%llm` |")
    return "\n".join(row.replace("|  |", "| |") for row in rows)


def _written(magic: str) -> str:
    return f"%%{magic}" if magic in {"llm", "llm_compare"} else f"%{magic}"


def _flags(options: list[Option]) -> str:
    return ", ".join(f"`{flag}`" for option in options for flag in option.flags)


def _example(text: str) -> str:
    return f"`{text}`".replace("|", "\\|") if text else ""


def replaced(page: str) -> str:
    """Return ``page`` with the tables between its marks replaced.

    Raises
    ------
    ValueError
        The marks are not there.
    """

    def again(found: re.Match[str]) -> str:
        mark = found[0].partition("\n")[0].partition("-->")[0]
        return f"{mark}-->\n{markdown(found['magic'] or 'llm')}\n<!-- /options -->"

    page, tables = _MARKED.subn(again, page)
    if not tables:
        raise ValueError("There is no <!-- options --> … <!-- /options --> in it.")
    return page


def _main() -> int:
    if len(sys.argv) != _EXPECTED_ARGUMENTS:
        print(markdown())  # noqa: T201 - a program's output
        return 0
    path = Path(sys.argv[1])
    path.write_text(replaced(path.read_text(encoding="utf-8")), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(_main())
