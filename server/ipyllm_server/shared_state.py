"""What all handlers of a server share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from ipyllm_server.running_calls import RunningCalls

__all__ = ["STATE", "SharedState"]

STATE: Final = "ipyllm_server_state"
"""Its name in the settings of the web application."""


@dataclass(frozen=True, slots=True)
class SharedState:
    """The options that handlers need, and the objects that they share.

    Attributes
    ----------
    calls : RunningCalls
        Starts calls.
    models : tuple of str
        The models that users may ask; empty: all that are configured.
    max_body_bytes : int
        Largest body.
    """

    calls: RunningCalls
    models: tuple[str, ...] = ()
    max_body_bytes: int = 10_000_000
