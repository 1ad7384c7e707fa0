"""Where an answer is drawn while it grows: the interface of the renderers, and the one that shows nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from ipyllm.response import ChatResponse

__all__ = ["Drawing", "Nothing"]


class Drawing(Protocol):
    """Stages: ``waiting`` (any number of times) → ``text`` / ``reasoning`` and ``draw`` → ``finish``."""

    def waiting(self, elapsed_s: float) -> None:
        """Nothing has come yet."""

    def text(self, piece: str) -> None:
        """Take in visible text; costs next to nothing."""

    def reasoning(self, piece: str) -> None:
        """Take in reasoning; costs next to nothing."""

    def tool(self, name: str) -> None:
        """Take in that a function is called."""

    def arguments(self, piece: str) -> None:
        """Take in a piece of that call's arguments, as JSON text."""

    def draw(self) -> None:
        """Show what was taken in."""

    def pause(self) -> float:
        """Seconds to wait before ``draw`` is worth calling again."""

    def finish(self, response: ChatResponse) -> None:
        """Show the rest, and the line under the answer."""


class Nothing:
    """``--quiet``."""

    def waiting(self, elapsed_s: float) -> None:
        """Show nothing."""

    def text(self, piece: str) -> None:
        """Show nothing."""

    def reasoning(self, piece: str) -> None:
        """Show nothing."""

    def tool(self, name: str) -> None:
        """Show nothing."""

    def arguments(self, piece: str) -> None:
        """Show nothing."""

    def draw(self) -> None:
        """Show nothing."""

    def pause(self) -> float:
        """Return a second: only the end matters."""
        return 1.0

    def finish(self, response: ChatResponse) -> None:
        """Show nothing."""
