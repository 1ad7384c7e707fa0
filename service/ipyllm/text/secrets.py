"""Tells keys from words, and holds keys in objects that no repr, log or traceback shows."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final, overload

if TYPE_CHECKING:
    from pydantic import SecretStr

__all__ = ["as_secret", "randomness_bits", "secret_options", "value_of"]

_RUN: Final = re.compile(r"[A-Z]?[a-z]+|[A-Z]+|[0-9]+|[^A-Za-z0-9\s._\-]")
_VOWEL: Final = re.compile(r"[aeiouy]", re.IGNORECASE)
_WORD_LENGTHS: Final = range(3, 16)
_BITS_OF_LETTER: Final = 4.7  # log2(26)
_BITS_OF_DIGIT: Final = 3.3  # log2(10)


def randomness_bits(text: str) -> float:
    """Return roughly how many bits it takes to guess ``text``, if words cost little.

    A run of letters that may be a word counts like one of some hundred words, more if it is long, and once. Other
    letters and digits count each.

    Examples
    --------
    >>> [round(randomness_bits(text)) for text in ("password", "no-key-needed", "r9Xq2LmT7vB4")]
    [10, 23, 51]
    """
    runs = _RUN.findall(text)
    words = {run for run in runs if len(run) in _WORD_LENGTHS and _VOWEL.search(run)}
    return sum(map(_bits_of_word, words)) + sum(_bits_of_run(run) for run in runs if run not in words)


def _bits_of_word(word: str) -> float:
    return 7.0 + 1.5 * max(0, len(word) - 6)


def _bits_of_run(run: str) -> float:
    n = 1 if len(set(run)) == 1 else len(run)  # "xxxxxxxx" is no key
    return n * (_BITS_OF_DIGIT if run.isdecimal() else _BITS_OF_LETTER)


@overload
def as_secret(key: None) -> None: ...
@overload
def as_secret(key: str | SecretStr) -> SecretStr: ...
@overload
def as_secret(key: str | SecretStr | None) -> SecretStr | None: ...


def as_secret(key: str | SecretStr | None) -> SecretStr | None:
    """Return a key in an object whose repr is masked, without white space around it.

    Tracebacks can show the variables of each frame: our frames hold keys in this form only.
    """
    if key is None or (not isinstance(key, str) and _is_stripped(key.get_secret_value())):
        return key
    from pydantic import SecretStr

    return SecretStr((key if isinstance(key, str) else key.get_secret_value()).strip())


def _is_stripped(text: str) -> bool:
    return text == text.strip()


def secret_options(options: dict[str, Any]) -> dict[str, Any]:
    """Return options with their ``api_key``, if there is one, as a secret."""
    return options | {"api_key": as_secret(options["api_key"])} if "api_key" in options else options


def value_of(key: SecretStr | None) -> str:
    """Return a key as it is sent; empty without one."""
    return "" if key is None else key.get_secret_value()
