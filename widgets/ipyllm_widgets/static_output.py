"""A second output beside a widget: static HTML and markdown that a notebook shows without a kernel."""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from ulid import ULID

from ipyllm.rendering import styled
from ipyllm.text.terminal import strip_control_sequences

if TYPE_CHECKING:
    from collections.abc import Callable

    from anywidget import AnyWidget

__all__ = ["STREAMING_INTERVAL_S", "StaticContent", "StaticOutput"]

STREAMING_INTERVAL_S: Final = 10.0
"""Seconds between updates while an answer streams. A kernel that dies loses at most that much of the output."""


class StaticContent(NamedTuple):
    """What the output shows: sanitised HTML without styles, plain text, and markdown, if there is any."""

    html: str = ""
    text: str = ""
    markdown: str = ""


_EMPTY = '<span class="ipyllm-empty"></span>'


class StaticOutput:
    """Output in the cell of a widget, hidden by CSS while it is empty or the widget is alive.

    Parameters
    ----------
    content : callable
        Returns what is shown; all empty for nothing.
    """

    def __init__(self, content: Callable[[], StaticContent]) -> None:
        self._content = content
        self._transient = {"display_id": f"ipyllm-{ULID()}"}
        self._shell: Any = None
        self._published_at = 0.0

    @property
    def is_shown(self) -> bool:
        """Whether the output exists."""
        return self._shell is not None

    def show_below(self, widget: AnyWidget) -> None:
        """Display the widget in the running cell, and this output below it."""
        from IPython import get_ipython
        from IPython.display import display

        bundle = widget._repr_mimebundle_()
        if bundle is not None:
            data, metadata = bundle
            display(data, metadata=metadata, raw=True)  # type: ignore[no-untyped-call]
        self._shell = get_ipython()
        if self._shell is not None:
            self._publish(update=False)

    def update(self, older_than_s: float = 0.0) -> bool:
        """Publish the current content, unless it was published within the last ``older_than_s`` seconds.

        Returns
        -------
        bool
            Whether it was published.
        """
        if self._shell is None or monotonic() - self._published_at < older_than_s:
            return False
        if self._shell.history_manager is None:  # the shell has ended, and a widget was left to the interpreter's end
            return False
        self._publish(update=True)
        return True

    def _publish(self, *, update: bool) -> None:
        self._published_at = monotonic()
        html, text, markdown = self._content()
        data = {
            "text/html": styled(html or _EMPTY),
            **({"text/markdown": markdown} if markdown else {}),
            "text/plain": strip_control_sequences(text),
        }
        self._shell.display_pub.publish(data, metadata={}, transient=self._transient, update=update)
