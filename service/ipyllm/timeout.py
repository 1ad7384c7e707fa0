"""Time limits of a call."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

from ipyllm.errors import bad_request
from ipyllm.plain_values import plain_number

__all__ = ["DEFAULT_FIRST_TOKEN_S", "TimeLimits", "Timeout"]

_Auto: TypeAlias = Literal["auto"]
_AUTO: Final = "auto"

DEFAULT_FIRST_TOKEN_S: Final = 300.0
"""Limit of the first token, in seconds, of a model of which nothing is known."""

_CONNECT_S: Final = 60.0
_SHORTEST_PAUSE_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class TimeLimits:
    """The limits that hold for one request, in seconds; None is no limit. Their meaning is that in :class:`Timeout`.

    Attributes
    ----------
    connect, silence, first_token, stall, total : float or None
        As in :class:`Timeout`.
    first_byte : float or None
        What ``silence`` is until the response begins.
    """

    connect: float | None = _CONNECT_S
    silence: float | None = DEFAULT_FIRST_TOKEN_S / 2
    first_token: float | None = DEFAULT_FIRST_TOKEN_S
    stall: float | None = DEFAULT_FIRST_TOKEN_S / 2
    total: float | None = None
    first_byte: float | None = None


@dataclass(frozen=True, slots=True)
class Timeout:
    """Limits of a call, in seconds; None is no limit.

    ``"auto"`` is a limit that fits the model, by its profile (``first_token_s``) and the effort: for the first token
    two minutes if it does not reason, ten at medium effort, half an hour at the highest, five if nothing is known.

    Attributes
    ----------
    connect : float or None
        To reach the server.
    first_token : float, "auto" or None
        From the request to the first chunk with content, reasoning or a tool call.
    stall : float, "auto" or None
        Between two such chunks. ``"auto"`` is half of the automatic ``first_token``, at least a minute.
    total : float or None
        For the whole call: queue, every attempt and every wait between them, tools and repairs.
    silence : float, "auto" or None
        Without a single byte from the server. Whatever it sends ends the silence, also what is no token: a comment
        that keeps the connection open, a chunk with only a role, an event of hidden reasoning. ``"auto"`` is as long as
        that of ``stall``, but not shorter than a ``first_token`` that is given. It begins with the response: until then
        a model may think without a byte, for instance if the server does not stream.

    Notes
    -----
    A request that the server visibly works on is not sent again when a limit ends it, because it may be billed.

    Examples
    --------
    >>> Timeout(total=900)
    Timeout(connect=60.0, first_token='auto', stall='auto', total=900, silence='auto')
    >>> Timeout.of(5)
    Timeout(connect=5, first_token=5, stall=5, total=None, silence=5)
    """

    connect: float | None = _CONNECT_S
    first_token: float | _Auto | None = _AUTO
    stall: float | _Auto | None = _AUTO
    total: float | None = None
    silence: float | _Auto | None = _AUTO

    def __post_init__(self) -> None:
        for name in ("connect", "first_token", "stall", "total", "silence"):
            value = plain_number(getattr(self, name))
            object.__setattr__(self, name, value)
            has_auto = name in {"first_token", "stall", "silence"}
            if not (value is None or _is_time(value) or (has_auto and value == _AUTO)):
                or_auto = ', "auto" or None' if has_auto else " or None"
                raise bad_request(f"The timeout {name} must be a number of seconds above 0{or_auto}, not {value!r}.")

    @classmethod
    def of(cls, given: Any) -> Timeout:
        """Return a Timeout; a number is the longest wait for new data at any stage.

        It limits the wait for the connection, for the first token, and between tokens. Comments of the server are not
        new data, so the limit of its silence, which is the same number, never ends a wait earlier.
        """
        if isinstance(given, Timeout):
            return given
        given = plain_number(given)
        if not _is_time(given):
            raise bad_request(f"timeout must be a number of seconds above 0, or a Timeout, not {given!r}.")
        return cls(connect=given, first_token=given, stall=given, silence=given)

    def limits(self, first_token_s: float) -> TimeLimits:
        """Return the limits for a model whose first token is waited for so many seconds, where that is not given.

        Examples
        --------
        >>> Timeout().limits(600)
        TimeLimits(connect=60.0, silence=300.0, first_token=600, stall=300.0, total=None, first_byte=None)
        >>> Timeout(first_token=900).limits(120).silence, Timeout(silence=20).limits(600).first_byte
        (900, 20)
        """
        pause_s = max(first_token_s / 2, _SHORTEST_PAUSE_S)
        if self.silence != _AUTO:
            silence = first_byte = self.silence
        else:
            first_byte = None
            given = pause_s if self.first_token == _AUTO else self.first_token
            silence = None if given is None else max(pause_s, given)
        return TimeLimits(
            connect=self.connect,
            silence=silence,
            first_token=first_token_s if self.first_token == _AUTO else self.first_token,
            stall=pause_s if self.stall == _AUTO else self.stall,
            total=self.total,
            first_byte=first_byte,
        )


def _is_time(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value > 0
