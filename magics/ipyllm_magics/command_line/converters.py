"""What the word after an option may be: one reader for each kind, which says what it expected instead."""

from __future__ import annotations

import difflib
import json
import keyword
import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

__all__ = [
    "FORMATS",
    "UnfitError",
    "did_you_mean",
    "names",
    "number",
    "one_of",
    "parameter",
    "seconds",
    "something",
    "tag",
    "variable",
]

FORMATS = ("markdown", "text", "code", "json", "html")
"""Values of ``--format``."""

_PARAMETER = re.compile(r"[A-Za-z_]\w*")


class UnfitError(ValueError):
    """A word that an option cannot use.

    Parameters
    ----------
    expected : str
        What it needs: ``a number``.
    hint : str
        A sentence of what was probably meant, after a space; or nothing.
    """

    def __init__(self, expected: str, hint: str = "") -> None:
        super().__init__(expected)
        self.expected = expected
        self.hint = hint


def number(word: str) -> float:
    """Read a number."""
    try:
        return float(word)
    except ValueError:
        raise UnfitError("a number") from None


def seconds(word: str) -> float:
    """Read a duration above 0."""
    expected = "a number of seconds above 0"
    try:
        value = float(word)
    except ValueError:
        raise UnfitError(expected) from None
    if not 0 < value < float("inf"):
        raise UnfitError(expected)
    return value


def variable(word: str) -> str:
    """Read the name of a variable that can be assigned."""
    if not word.isidentifier() or keyword.iskeyword(word):
        raise UnfitError("the name of a variable")
    return word


def names(word: str) -> list[str]:
    """Read names with commas between them; a dot reaches into an object.

    Examples
    --------
    >>> names("weather, shop.price")
    ['weather', 'shop.price']
    """
    found = [name.strip() for name in word.split(",")]
    if not all(part.isidentifier() for name in found for part in name.split(".")):
        raise UnfitError("names of functions with commas between them")
    return found


def something(word: str) -> str:
    r"""Read a text that is not empty; ``\n`` and ``\t`` in it stand for a line's end and a tab.

    Examples
    --------
    >>> something(r"END\n")
    'END\n'
    """
    if not word:
        raise UnfitError("a text that is not empty")
    return word.replace("\\n", "\n").replace("\\t", "\t")


def parameter(word: str) -> tuple[str, Any]:
    """Read ``name=value``; the value is JSON, or else a text.

    Examples
    --------
    >>> parameter("top_k=40"), parameter('logit_bias={"50256": -100}'), parameter("reasoning_effort=low")
    (('top_k', 40), ('logit_bias', {'50256': -100}), ('reasoning_effort', 'low'))
    """
    name, equals, value = word.partition("=")
    if not equals or not _PARAMETER.fullmatch(name) or not value:
        raise UnfitError("NAME=VALUE, such as top_k=40")
    try:
        return name, json.loads(value, parse_constant=_no_constant)
    except ValueError:
        hint = f" In JSON it is {word.lower()}." if value in {"True", "False"} else ""
        if hint:
            raise UnfitError("NAME=VALUE with a value in JSON", hint) from None
        return name, value


def tag(word: str) -> tuple[str, str]:
    """Read ``key=value``, both text.

    Examples
    --------
    >>> tag("arm=terse")
    ('arm', 'terse')
    """
    key, equals, value = word.partition("=")
    if not equals or not key.strip() or not value:
        raise UnfitError("KEY=VALUE, such as arm=terse")
    return key.strip(), value


def one_of(*choices: str) -> Callable[[str], str]:
    """Return a reader for one of ``choices``.

    Examples
    --------
    >>> one_of("text", "json")("jsn")
    Traceback (most recent call last):
        ...
    ipyllm_magics.command_line.converters.UnfitError: one of text, json
    """

    def read(word: str) -> str:
        if word not in choices:
            raise UnfitError(f"one of {', '.join(choices)}", did_you_mean(word, choices))
        return word

    return read


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return a sentence with the nearest of ``known``, after a space; or nothing.

    Examples
    --------
    >>> did_you_mean("jsn", ["json", "text"])
    " Did you mean 'json'?"
    """
    near = difflib.get_close_matches(word, list(known), n=1)
    return f" Did you mean {near[0]!r}?" if near else ""


def _no_constant(word: str) -> Any:
    """Refuse what Python reads and JSON does not have: NaN and infinities."""
    raise ValueError(word)
