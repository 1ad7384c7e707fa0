"""The two APIs of model servers, chat completions and Responses: where a request goes, and how its stream ends."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from ipyllm.transport.error_body import ServerFault, parse_error

if TYPE_CHECKING:
    from collections.abc import Callable

    from ipyllm.settings_models import Api

__all__ = ["API_PATHS", "Signal", "signal_reader"]

API_PATHS: Final[dict[Api, str]] = {"chat": "/chat/completions", "responses": "/responses"}
"""Path of each API below the base URL."""

_HTTP_ERRORS: Final = range(400, 600)
_ENDS: Final = frozenset({"response.completed", "response.incomplete", "response.failed"})


class Signal(NamedTuple):
    """What a chunk says about the state of its stream, besides its content.

    Attributes
    ----------
    is_last : bool
        Whether nothing of the response follows. If not, the answer is complete, and its usage may follow.
    fault : ServerFault or None
        The error that the server reports; nothing follows.
    """

    is_last: bool = False
    fault: ServerFault | None = None


_COMPLETE = Signal()
_LAST = Signal(is_last=True)
_UNKNOWN: Final = object()


def signal_reader(api: Api) -> Callable[[bytes, dict[str, Any]], Signal | None]:
    """Return the function that reads the signal of a chunk, from the name of its event and its content.

    Examples
    --------
    >>> signal_reader("responses")(b"", {"type": "response.completed", "response": {}})
    Signal(is_last=True, fault=None)
    >>> signal_reader("chat")(b"", {"choices": [{"delta": {"content": "Hi"}}]}) is None
    True
    """
    return _responses_signal if api == "responses" else _ChatSignals().read


class _ChatSignals:
    """Reads the signals of one answer. Of several answers in a stream, the one whose index came first counts."""

    __slots__ = ("_index",)

    def __init__(self) -> None:
        self._index: Any = _UNKNOWN

    def read(self, event: bytes, chunk: dict[str, Any]) -> Signal | None:
        if chunk.get("error") or event == b"error":
            return Signal(fault=parse_error(chunk))
        choices = chunk.get("choices")
        if not (isinstance(choices, list) and choices and isinstance(choices[0], dict)):
            return Signal(fault=parse_error(chunk)) if _is_flat_error(chunk) else None
        choice = choices[0]
        if self._index is _UNKNOWN:
            self._index = choice.get("index")
        elif choice.get("index", self._index) != self._index:
            others = (other for other in choices[1:] if isinstance(other, dict))
            choice = next((other for other in others if other.get("index", self._index) == self._index), {})
        if choice.get("error"):  # OpenRouter
            return Signal(fault=parse_error(choice))
        is_whole = choice.get("message") and not choice.get("delta")
        return _COMPLETE if is_whole or choice.get("finish_reason") else None


def _is_flat_error(chunk: dict[str, Any]) -> bool:
    """Whether a chunk without choices says in one of several ways that it is an error."""
    if chunk.get("object") == "error" or chunk.get("type") == "error":
        return True
    if "choices" in chunk or "usage" in chunk:
        return False
    codes = (chunk.get(name) for name in ("code", "status", "statusCode"))
    return any(isinstance(code, int) and code in _HTTP_ERRORS for code in codes)


def _responses_signal(event: bytes, chunk: dict[str, Any]) -> Signal | None:
    kind = chunk.get("type")
    if kind == "error" or event == b"error" or chunk.get("error"):
        # OpenAI documents a flat form, and sends a nested one.
        said = chunk.get("error") or {name: value for name, value in chunk.items() if name != "type"}
        return Signal(fault=parse_error(said))
    if kind == "response.failed":
        response = chunk.get("response")
        said = response.get("error") if isinstance(response, dict) else None
        return Signal(fault=parse_error(said))
    is_end = isinstance(kind, str) and kind in _ENDS
    return _LAST if is_end or chunk.get("object") == "response" else None
