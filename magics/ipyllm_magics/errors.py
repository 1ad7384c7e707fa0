"""Errors of the magics: one sentence in the cell instead of a traceback, and status *error*, so that Run All stops."""

from __future__ import annotations

import re
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

from IPython.core.error import UsageError

from ipyllm.text.redact import redact
from ipyllm.text.terminal import encodable

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Interrupted", "MagicError", "in_words_of_magics", "one_sentence"]

# Sentences of the service layer name what Python takes; the ellipsis shows that the words are ours.
_OPTION = re.compile(r"\b(timeout|max_tokens)=(?:Timeout\((?!total)\w+=…\)|…)")
_ONLY_IN_PYTHON = re.compile(r",?(?: or)? pass (?:api_key|base_url)=…")

_SAYS_SO = {"schema_mismatch": "not fit the schema", "truncated": "cut off"}
"""Words with which sentences of a kind say so, where they are not those of its name."""

_RED, _PLAIN = "\x1b[31m", "\x1b[39m"


def in_words_of_magics(sentence: str) -> str:
    """Return a sentence of the service layer with the options of magics in place of Python's arguments.

    Examples
    --------
    >>> in_words_of_magics("Allow more time with timeout=Timeout(first_token=…).")
    'Allow more time with --timeout.'
    >>> in_words_of_magics("Set OPENAI_API_KEY, or pass api_key=….")
    'Set OPENAI_API_KEY.'
    """
    sentence = _ONLY_IN_PYTHON.sub("", sentence)
    return _OPTION.sub(lambda found: "--" + found[1].replace("_", "-"), sentence)


class MagicError(UsageError):
    """An error as one sentence, after a word for its kind."""

    def __init__(self, sentence: str, kind: str = "usage") -> None:
        # Messages of other libraries may have several lines, and quote what they were given.
        super().__init__(redact(" ".join(sentence.split())))
        self.kind = kind

    def _render_traceback_(self) -> list[str]:
        return [_printable(f"{_RED}{_heading(self.kind, str(self))}{_PLAIN}: {self}")]


def _heading(kind: str, sentence: str) -> str:
    """Return the word before a sentence: its kind, or "error" where the sentence begins by saying so itself.

    Examples
    --------
    >>> _heading("not_found", "There is no service 'opnai'."), _heading("not_found", "openai/m was not found.")
    ('not found', 'error')
    """
    words = kind.replace("_", " ")
    said = _SAYS_SO.get(kind, words)
    return "error" if re.search(rf"\b{re.escape(said)}\b", sentence.partition(";")[0], re.IGNORECASE) else words


class Interrupted(KeyboardInterrupt):
    """The user interrupted the call. What text had come is shown and saved."""

    def _render_traceback_(self) -> list[str]:
        return [_printable(f"{_RED}interrupted{_PLAIN}: {self}")]


def _printable(sentence: str) -> str:
    """Return a sentence as standard output, where IPython prints it, can take it."""
    return encodable(sentence, getattr(sys.stdout, "encoding", None))


@contextmanager
def one_sentence() -> Iterator[None]:
    """Turn errors of the service layer into one sentence; other exceptions keep their traceback."""
    from ipyllm.errors import LLMError

    try:
        yield
    except LLMError as exc:
        from ipyllm.pipeline.candidates import category_of  # that of giving up is the one of the last attempt

        raise MagicError(in_words_of_magics(str(exc)), category_of(exc)) from None
    except ValueError as exc:
        from ipyllm.settings import SettingsError

        if not isinstance(exc, SettingsError):
            raise
        raise MagicError(str(exc), "settings") from None
