"""Errors of the magics: one sentence in the cell instead of a traceback, and status *error*, so that Run All stops."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

from IPython.core.error import UsageError

from ipyllm.text.redact import redact
from ipyllm.text.terminal import encodable

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Interrupted", "MagicError", "one_sentence"]

_RED, _PLAIN = "\x1b[31m", "\x1b[39m"


class MagicError(UsageError):
    """An error as one sentence."""

    def __init__(self, sentence: str, kind: str = "usage") -> None:
        # Messages of other libraries may have several lines, and quote what they were given.
        super().__init__(redact(" ".join(sentence.split())))
        self.kind = kind

    def _render_traceback_(self) -> list[str]:
        return [_printable(f"{_RED}{self.kind.replace('_', ' ')}{_PLAIN}: {self}")]


class Interrupted(KeyboardInterrupt):
    """The user interrupted the call. The text received so far is shown and saved."""

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
        raise MagicError(str(exc), exc.category) from None
    except ValueError as exc:
        from ipyllm.settings import SettingsError

        if not isinstance(exc, SettingsError):
            raise
        raise MagicError(str(exc), "settings") from None
