"""One output of a cell, shown and shown again under the same display id."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ulid import ULID

from ipyllm.text.terminal import plain

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

__all__ = ["Output"]

_ENVELOPE = 600  # bytes of a display message without its data


class Output:
    """An output of the running cell; later calls update it, from whatever cell.

    Parameters
    ----------
    shell : InteractiveShell
        Whose display publisher is used.
    """

    def __init__(self, shell: InteractiveShell) -> None:
        self._publish = shell.display_pub.publish
        self._transient = {"display_id": f"ipyllm-{ULID()}"}
        self._there = False

    def show(self, html: str, text: str | None) -> int:
        """Show ``html``, with ``text`` for front ends that show none; return the bytes it took."""
        data: dict[str, Any] = {"text/html": html}
        if text is not None:
            data["text/plain"] = plain(text)
        there, self._there = self._there, True
        self._publish(data, metadata={}, transient=self._transient, update=there)
        return _ENVELOPE + sum(len(value.encode()) for value in data.values())
