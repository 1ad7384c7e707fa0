"""Finds ``{x}`` and ``$x``, as IPython expands them in other magics, where ``{{ x }}`` was probably meant."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Container

__all__ = ["Expansion", "find_expansion"]

_NOT_PROSE = re.compile(
    r"""(?P<fence>`+).{0,20000}?(?P=fence)  # code
    |\b[rR]?[fF](?:"[^"\n]*"|'[^'\n]*')    # an f-string
    |\{\{.{0,1000}?\}\}|\{%.{0,1000}?%\}    # ours
    |\$(?=\S)[^$\n]*?(?<=\S)\$(?!\d)      # a formula in TeX, as Pandoc tells it from amounts of money
    """,
    re.DOTALL | re.VERBOSE,
)
_EXPRESSION = re.compile(
    r"""(?<![\w^\\}{$])\{(?P<braces>(?P<first>[A-Za-z]\w*)(?:\.\w+|\[[^\]{}]*\])*)(?:![rsa])?(?::[^{}]*)?\}(?!\})
    |(?<![\w\\$])\$(?P<dollar>[A-Za-z]\w*)
    """,
    re.VERBOSE,
)


class Expansion(NamedTuple):
    """An expression as written, and as ipyllm fills it in."""

    written: str
    meant: str


def find_expansion(text: str, names: Container[str]) -> Expansion | None:
    r"""Return the first expression of IPython whose name is one of ``names``; code and formulas have none.

    Examples
    --------
    >>> find_expansion("Summarise {text[:100]}, please", {"text"})
    Expansion(written='{text[:100]}', meant='{{ text[:100] }}')
    >>> find_expansion(r"Does $x$ fit \frac{x}{2}, `{x}` or {y}?", {"x"}) is None
    True
    """
    for match in _EXPRESSION.finditer(_NOT_PROSE.sub(lambda code: " " * len(code[0]), text)):
        name = match["first"] or match["dollar"]
        if name in names:
            return Expansion(match[0], f"{{{{ {match['braces'] or name} }}}}")
    return None
