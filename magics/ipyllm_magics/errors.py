"""How a magic fails: one sentence in the cell and status *error*, so that Run All stops. No wall of traceback."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from IPython.core.error import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Interrupted", "MagicError", "one_sentence"]

_RED, _PLAIN = "\x1b[31m", "\x1b[39m"


class MagicError(UsageError):
    """What went wrong, as a sentence. ``kind`` is the category of an LLMError, or ``usage``."""

    def __init__(self, sentence: str, kind: str = "usage") -> None:
        super().__init__(" ".join(sentence.split()))  # what others raise may have several lines
        self.kind = kind

    def _render_traceback_(self) -> list[str]:
        return [f"{_RED}{self.kind.replace('_', ' ')}{_PLAIN}: {self}"]


class Interrupted(KeyboardInterrupt):
    """The user stopped it. What had arrived of an answer is shown and kept."""

    def _render_traceback_(self) -> list[str]:
        return [f"{_RED}interrupted{_PLAIN}: {self}"]


@contextmanager
def one_sentence() -> Iterator[None]:
    """Turn what the service layer raises into a sentence; a bug of ours keeps its traceback."""
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
