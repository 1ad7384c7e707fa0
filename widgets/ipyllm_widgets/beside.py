"""Shows a widget beside the notebook, in a panel of JupyterLab that stays in sight, by the package ``sidecar``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ipyllm.errors import bad_request
from ipyllm.text.suggest import suggest

if TYPE_CHECKING:
    from anywidget import AnyWidget

__all__ = ["show_beside"]

_PLACES = {
    "right": "split-right",
    "left": "split-left",
    "above": "split-top",
    "below": "split-bottom",
    "sidebar": "right",
    "tab": "tab-after",
}


def show_beside(widget: AnyWidget, title: str, place: str) -> Any:
    """Show ``widget`` in a panel, and return the panel.

    Raises
    ------
    LLMError
        The package is not installed, or there is no such place.

    Examples
    --------
    >>> panel = show_beside(None, "Chat", "nowhere")
    Traceback (most recent call last):
        ...
    ipyllm.errors.LLMError: There is no place 'nowhere'. Choose one of: above, below, left, right, sidebar, tab.
    """
    if place not in _PLACES:
        raise bad_request(f"There is no place {place!r}. {suggest(str(place), list(_PLACES))}")
    try:
        from sidecar import Sidecar
    except ImportError:
        raise bad_request(
            "A panel beside the notebook needs the package sidecar: pip install 'ipyllm[sidecar]', then reload "
            "JupyterLab. Without it, show the widget in a cell, and choose Create New View for Cell Output there."
        ) from None
    from IPython.display import display

    panel = Sidecar(title=title, anchor=_PLACES[place])
    bundle = widget._repr_mimebundle_()
    with panel:  # without the static output below: a panel is not part of the saved notebook
        if bundle is not None:
            display(bundle[0], metadata=bundle[1], raw=True)  # type: ignore[no-untyped-call]
    return panel
