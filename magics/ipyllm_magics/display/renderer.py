"""Base class of the renderers, which show an answer while it grows."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ipyllm.events import Event
    from ipyllm.pipeline.waiting import Waiting
    from ipyllm.response import ChatResponse

__all__ = ["Renderer"]


class Renderer:
    """Interface of a renderer; it shows nothing itself, for ``--quiet``.

    Stages: ``waiting`` (any number of times) → ``feed`` and ``draw`` → ``finish``.
    """

    def waiting(self, elapsed_s: float, waiting: Waiting | None) -> None:
        """Show that no text has arrived yet, and what the call waits for; None if that is not known."""

    def feed(self, event: Event) -> None:
        """Take in an event without drawing it."""

    def draw(self) -> None:
        """Show what was taken in."""

    def pause(self) -> float:
        """Return the seconds to wait before the next ``draw``."""
        return 1.0

    def finish(self, response: ChatResponse) -> None:
        """Show the rest and the footer."""
