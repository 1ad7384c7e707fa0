"""Converters of option values: each turns a word into a value or says what it expected."""

from __future__ import annotations

import json
import keyword
import re
from typing import TYPE_CHECKING, Any

from ipyllm.text.suggest import suggest

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "FORMATS", "ConversionError", "non_empty_text", "number", "one_of", "parameter", "positive", "qualified_names",
    "seconds", "tag", "variable_name", "variation",
]  # fmt: skip

FORMATS = ("markdown", "text", "code", "json", "html", "tokens")
"""Values of ``--format``."""

_PARAMETER_NAME = re.compile(r"[A-Za-z_]\w*")


class ConversionError(ValueError):
    """Raised for a word that an option cannot use."""

    def __init__(self, expected: str, hint: str = "") -> None:
        super().__init__(expected)
        self.expected = expected
        self.hint = hint


def number(word: str) -> float:
    """Convert a number."""
    try:
        return float(word)
    except ValueError:
        raise ConversionError("a number") from None


def positive(word: str) -> int:
    """Convert a whole number above 0."""
    if not word.isdecimal() or int(word) < 1:
        raise ConversionError("a whole number, 1 or more")
    return int(word)


def seconds(word: str) -> float:
    """Convert a finite duration above 0, in seconds."""
    try:
        value = float(word)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise ConversionError("a number of seconds above 0")
    return value


def variable_name(word: str) -> str:
    """Check the name of a variable that can be assigned."""
    if not word.isidentifier() or keyword.iskeyword(word):
        raise ConversionError("the name of a variable")
    return word


def qualified_names(word: str) -> list[str]:
    """Split comma-separated names; a dot names an attribute.

    Examples
    --------
    >>> qualified_names("weather, shop.price")
    ['weather', 'shop.price']
    """
    found = [name.strip() for name in word.split(",")]
    if not all(part.isidentifier() for name in found for part in name.split(".")):
        raise ConversionError("function names separated by commas")
    return found


def non_empty_text(word: str) -> str:
    r"""Check that text is not empty; ``\n`` and ``\t`` in it stand for a line feed and a tab.

    Examples
    --------
    >>> non_empty_text(r"END\n")
    'END\n'
    """
    if not word:
        raise ConversionError("text that is not empty")
    return word.replace("\\n", "\n").replace("\\t", "\t")


def parameter(word: str) -> tuple[str, Any]:
    """Split ``name=value``; the value is JSON, or else a text.

    Examples
    --------
    >>> parameter("top_k=40"), parameter('logit_bias={"50256": -100}'), parameter("reasoning_effort=low")
    (('top_k', 40), ('logit_bias', {'50256': -100}), ('reasoning_effort', 'low'))
    """
    name, equals, value = word.partition("=")
    if not equals or not _PARAMETER_NAME.fullmatch(name) or not value:
        raise ConversionError("NAME=VALUE, such as top_k=40")
    try:
        return name, json.loads(value, parse_constant=_refuse_constant)
    except ValueError:
        if value in {"True", "False"}:
            raise ConversionError("NAME=VALUE with a value in JSON", f"In JSON it is {word.lower()}.") from None
        if value.startswith(("{", "[")):
            raise ConversionError(
                "NAME=VALUE with a value in JSON", "In JSON texts are in double quotes: '{\"name\": 1}'."
            ) from None
        return name, value


def variation(word: str) -> tuple[str, list[Any]]:
    """Split ``name=value,value``; each value is JSON, or else a text.

    Examples
    --------
    >>> variation("temperature=0,1"), variation('system="Be brief.","Be kind."'), variation("effort=low,high")
    (('temperature', [0, 1]), ('system', ['Be brief.', 'Be kind.']), ('effort', ['low', 'high']))
    """
    expected = "NAME=VALUE,VALUE, such as temperature=0,1"
    name, equals, text = word.partition("=")
    if not equals or not name.isidentifier():
        raise ConversionError(expected)
    try:
        values: list[Any] = json.loads(f"[{text}]", parse_constant=_refuse_constant)
    except ValueError:
        values = [parameter(f"{name}={value.strip()}")[1] for value in text.split(",")]
    if len(values) < 2:  # noqa: PLR2004 - one value is not a variation
        raise ConversionError(expected, f"For one value use -p {name}=….")
    if any(value in values[:index] for index, value in enumerate(values)):
        raise ConversionError(f"different values for {name}")
    return name, values


def tag(word: str) -> tuple[str, str]:
    """Split ``key=value``, both text.

    Examples
    --------
    >>> tag("arm=terse")
    ('arm', 'terse')
    """
    key, equals, value = word.partition("=")
    if not equals or not key.strip() or not value:
        raise ConversionError("KEY=VALUE, such as arm=terse")
    return key.strip(), value


def one_of(*choices: str) -> Callable[[str], str]:
    """Return a converter that accepts one of ``choices``.

    Examples
    --------
    >>> one_of("text", "json")("jsn")
    Traceback (most recent call last):
        ...
    ipyllm_magics.command_line.converters.ConversionError: one of text, json
    """

    def convert(word: str) -> str:
        if word not in choices:
            raise ConversionError(f"one of {', '.join(choices)}", suggest(word, choices, otherwise=""))
        return word

    return convert


def _refuse_constant(word: str) -> Any:
    """Refuse NaN and the infinities, which Python reads and JSON does not have."""
    raise ValueError(word)
