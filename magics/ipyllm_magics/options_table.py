"""The README's table of options, written from the code: ``python -m ipyllm_magics.options_table README.md``.

What stands between ``<!-- options -->`` and ``<!-- /options -->`` is replaced; a test says when that was forgotten.
"""

from __future__ import annotations

import sys
from pathlib import Path

from ipyllm_magics.options import LLM

__all__ = ["markdown", "replaced"]

_BEGIN, _END = "<!-- options -->", "<!-- /options -->"
_EXPECTED_ARGUMENTS = 2


def markdown() -> str:
    r"""Return the table.

    Examples
    --------
    >>> print("\n".join(markdown().splitlines()[:3]))
    | option of `%%llm` | example | does |
    | --- | --- | --- |
    | `-m`, `--model` | `-m ollama/llama3.2` | model, `service/model` or an alias |
    """
    rows = ["| option of `%%llm` | example | does |", "| --- | --- | --- |"]
    for option in LLM:
        flags = ", ".join(f"`{flag}`" for flag in option.flags)
        example, told = (text.replace("|", "\\|") for text in (option.example, option.help))
        rows.append(f"| {flags} | `{example}` | {told} |")
    return "\n".join(rows)


def replaced(page: str) -> str:
    """Return ``page`` with the table between its marks replaced.

    Raises
    ------
    ValueError
        The marks are not there.
    """
    before, begin, rest = page.partition(_BEGIN)
    _, end, after = rest.partition(_END)
    if not (begin and end):
        raise ValueError(f"There is no {_BEGIN} … {_END} in it.")
    return f"{before}{_BEGIN}\n{markdown()}\n{_END}{after}"


def _main() -> int:
    if len(sys.argv) != _EXPECTED_ARGUMENTS:
        print(markdown())  # noqa: T201 - a program's output
        return 0
    path = Path(sys.argv[1])
    path.write_text(replaced(path.read_text(encoding="utf-8")), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(_main())
