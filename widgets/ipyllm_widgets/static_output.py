"""An output of its own beside a widget: what a notebook shows of it when there is no kernel any more."""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING, Any, Final

from ulid import ULID

from ipyllm.rendering import STYLE
from ipyllm.text.terminal import plain

if TYPE_CHECKING:
    from collections.abc import Callable

    from anywidget import AnyWidget

__all__ = ["WHILE_IT_COMES_S", "KeptOutput"]

WHILE_IT_COMES_S: Final = 10.0
"""How often an answer is kept that still comes: so much of it is lost at most with its kernel, beside the ledger."""


class KeptOutput:
    """Shown in the cell beside the widget, and updated when there is something to keep.

    It hides itself where it stands beside the living widget, and while there is nothing to keep.

    Parameters
    ----------
    shown : callable
        Returns sanitised HTML and plain text; two empty strings for nothing.
    """

    def __init__(self, shown: Callable[[], tuple[str, str]]) -> None:
        self._shown = shown
        self._transient = {"display_id": f"ipyllm-{ULID()}"}
        self._shell: Any = None
        self._shown_at = 0.0

    @property
    def is_shown(self) -> bool:
        """Whether there is an output to update."""
        return self._shell is not None

    def show_below(self, widget: AnyWidget) -> None:
        """Show the widget in the cell that is running, and this below."""
        from IPython.display import display

        bundle = widget._repr_mimebundle_()
        if bundle is not None:
            data, metadata = bundle
            display(data, metadata=metadata, raw=True)  # type: ignore[no-untyped-call]
        self.show()

    def show(self) -> None:
        """Show it in the cell that is running."""
        from IPython import get_ipython

        self._shell = get_ipython()
        self._publish(update=False)

    def update(self, older_than_s: float = 0.0) -> bool:
        """Show it as it is now, wherever it was shown; not if it was shown within the last ``older_than_s`` seconds.

        Returns
        -------
        bool
            Whether it was.
        """
        if self._shell is None or monotonic() - self._shown_at < older_than_s:
            return False
        self._publish(update=True)
        return True

    def _publish(self, *, update: bool) -> None:
        if self._shell is None:
            return
        self._shown_at = monotonic()
        html, text = self._shown()
        data = {"text/html": html or STYLE + '<span class="ipyllm-empty"></span>', "text/plain": plain(text)}
        self._shell.display_pub.publish(data, metadata={}, transient=self._transient, update=update)
