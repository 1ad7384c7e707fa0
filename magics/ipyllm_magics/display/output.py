"""One output of a cell, updated in place under its display id."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ulid import ULID

from ipyllm.text.terminal import strip_control_sequences

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

__all__ = ["Output"]

_MESSAGE_OVERHEAD = 600  # bytes of a display message without its data


class Output:
    """An output of the running cell; later calls update it, even from other cells."""

    def __init__(self, shell: InteractiveShell) -> None:
        self._publish = shell.display_pub.publish
        self._transient = {"display_id": f"ipyllm-{ULID()}"}
        self._published = False

    def show(self, html: str, text: str | None, markdown: str | None = None) -> int:
        """Show ``html``, with ``text`` and ``markdown`` for front ends without HTML; return the bytes sent."""
        data: dict[str, Any] = {"text/html": html}
        if markdown is not None:
            data["text/markdown"] = markdown
        if text is not None:
            data["text/plain"] = strip_control_sequences(text)
        update, self._published = self._published, True
        self._publish(data, metadata={}, transient=self._transient, update=update)
        return _MESSAGE_OVERHEAD + sum(len(value.encode()) for value in data.values())
