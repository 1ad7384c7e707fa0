"""Time limits of a call."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ipyllm.errors import bad_request
from ipyllm.plain_values import plain_number

__all__ = ["Timeout"]


@dataclass(frozen=True, slots=True)
class Timeout:
    """Limits of a call, in seconds; None is no limit.

    Attributes
    ----------
    connect : float or None
        To reach the server.
    first_token : float or None
        From the request to the first chunk with content, reasoning or a tool call.
    stall : float or None
        Between two such chunks.
    total : float or None
        For the whole call: queue, every attempt and every wait between them, tools and repairs.

    Examples
    --------
    >>> Timeout.of(5)
    Timeout(connect=5, first_token=5, stall=5, total=None)
    """

    connect: float | None = 60.0
    first_token: float | None = 60.0
    stall: float | None = 60.0
    total: float | None = None

    def __post_init__(self) -> None:
        for name in ("connect", "first_token", "stall", "total"):
            value = plain_number(getattr(self, name))
            object.__setattr__(self, name, value)
            if value is not None and (isinstance(value, bool) or not isinstance(value, int | float) or not value > 0):
                raise bad_request(f"The timeout {name} must be a number of seconds above 0, not {value!r}.")

    @classmethod
    def of(cls, given: Any) -> Timeout:
        """Return a Timeout; a number is the longest wait for new data at any stage."""
        if isinstance(given, Timeout):
            return given
        given = plain_number(given)
        if isinstance(given, bool) or not isinstance(given, int | float) or not given > 0:
            raise bad_request(f"timeout must be a number of seconds above 0, or a Timeout, not {given!r}.")
        return cls(connect=given, first_token=given, stall=given)
