"""The error of a call: one exception type with a category.

The text of an :class:`LLMError` is a sentence for the person at the notebook: what happened, to which model,
what to do. It never contains a key: every text passes :func:`ipyllm.text.redact.redact`.
"""

from __future__ import annotations

import sys
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from ipyllm.text.redact import redact
from ipyllm.text.terminal import strip_control_sequences

if TYPE_CHECKING:
    from collections.abc import Callable

    from ipyllm.response import Category, ChatResponse

__all__ = ["LLMError", "LimitName", "bad_request"]

_OWN_PACKAGES: Final = frozenset({"ipyllm", "ipyllm_magics", "ipyllm_widgets"})

LimitName: TypeAlias = Literal["connect", "silence", "first_token", "stall", "total"]
"""Name of a time limit, as in :class:`~ipyllm.timeout.Timeout`."""


class LLMError(Exception):
    """A call to a model that failed.

    Parameters
    ----------
    message : str
        One sentence: what happened and what to do.
    category : Category
        Kind of failure.
    model : str
        Full name of the model, ``service/model``; empty if none was chosen yet.
    status_code : int or None
        HTTP status, if any.
    attempts : int
        Requests sent.
    retry_after : float or None
        Seconds that the server asked to wait.
    partial : ChatResponse or None
        The response so far.
    reached_server : bool
        False if no connection was made, so that nothing can have been charged for.
    is_lasting : bool
        True if the same request will fail again until somebody does what the message says.
    cause : Category or None
        Why the last attempt failed, where ``category`` does not say it: of ``max_retries_exceeded``, and of a ``quota``
        that does not allow another attempt.
    limit : LimitName or None
        The time limit of ours that ended the call, if one did.
    may_be_at_work : bool
        Whether the server may have been at work on the request when a limit ended it. It is then not sent again.

    Examples
    --------
    >>> raise LLMError("The server is gone.", category="connection", model="ollama/llama3.2")
    Traceback (most recent call last):
        ...
    ipyllm.errors.LLMError: The server is gone.
    """

    def __init__(
        self,
        message: str,
        *,
        category: Category,
        model: str = "",
        status_code: int | None = None,
        attempts: int = 0,
        retry_after: float | None = None,
        partial: ChatResponse | None = None,
        reached_server: bool = True,
        is_lasting: bool = False,
        cause: Category | None = None,
        limit: LimitName | None = None,
        may_be_at_work: bool = False,
    ) -> None:
        # Stripped first: a control sequence directly before a key would hide it from `redact`.
        super().__init__(redact(strip_control_sequences(message)))
        self.category: Category = category
        self.model = model
        self.status_code = status_code
        self.attempts = attempts
        self.retry_after = retry_after
        self.partial = partial
        self.reached_server = reached_server
        self.is_lasting = is_lasting
        self.cause: Category | None = cause
        self.limit: LimitName | None = limit
        self.may_be_at_work = may_be_at_work

    def hide(self, mask: Callable[[str], str]) -> None:
        """Replace the message by what ``mask`` makes of it."""
        self.args = (mask(str(self)),)

    def _render_traceback_(self) -> list[str]:
        """Return what IPython shows: the user's code and the sentence, and all frames in ``%xmode Verbose``."""
        tracebacks: Any = sys.modules["IPython"].get_ipython().InteractiveTB
        error, trace = self, self.__traceback__
        if tracebacks.mode != "Verbose":
            trace = _without_own_frames(trace)
            if isinstance(self.__cause__, LLMError):  # whose sentence is in this one
                error = _rebuild(str(self), self.__dict__)
        rendered: list[str] = tracebacks.structured_traceback(type(self), error, trace, tb_offset=1)
        return rendered

    def __reduce__(self) -> tuple[object, ...]:
        # Keyword-only arguments do not survive the default pickling, which process pools and Dask rely on.
        return (_rebuild, (str(self), self.__dict__))


def _rebuild(message: str, state: dict[str, object]) -> LLMError:
    error = LLMError(message, category="unknown_error")
    error.__dict__.update(state)
    return error


def _without_own_frames(trace: TracebackType | None) -> TracebackType | None:
    """Return a traceback without the frames of ipyllm, which say nothing that the error does not say."""
    frames = []
    while trace is not None:
        if str(trace.tb_frame.f_globals.get("__name__")).partition(".")[0] not in _OWN_PACKAGES:
            frames.append(trace)
        trace = trace.tb_next
    shown = None
    for each in reversed(frames):
        shown = TracebackType(shown, each.tb_frame, each.tb_lasti, each.tb_lineno)
    return shown


def bad_request(message: str, model: str = "") -> LLMError:
    """Return the error for an invalid argument: one sentence that says what is wrong and what to do."""
    return LLMError(message, category="bad_request", model=model)
