"""Base class of the widgets for a class: sliders over data that the page has, so that moving one asks for nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import traitlets

from ipyllm.errors import bad_request
from ipyllm.text.suggest import suggest
from ipyllm_widgets.live_widget import CommandWidget
from ipyllm_widgets.packed import packed
from ipyllm_widgets.static_output import StaticContent, StaticOutput
from ipyllm_widgets.teaching.bar_picture import plain_lines

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from ipyllm_widgets.teaching.bar_picture import BarPicture

__all__ = ["TeachingWidget"]


class TeachingWidget(CommandWidget):
    """Data that are sent once, and settings that the page's controls change.

    The page computes and draws by itself. It tells the kernel where the controls are, for the static output, which is
    a picture with a table, and for Python. Subclasses implement ``_payload``, ``_checked``, ``_picture`` and
    ``_table``.
    """

    _commands: ClassVar[Mapping[str, Mapping[str, type]]] = {"adjust": {"settings": dict}}

    data = traitlets.Bytes(read_only=True).tag(sync=True)
    settings = traitlets.Dict(read_only=True).tag(sync=True)

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self._settings: dict[str, Any] = self._checked(dict(settings))
        self._static_output = StaticOutput(self._static_content)
        super().__init__()

    def adjust(self, **settings: Any) -> None:
        """Move the controls, in all pages that show the widget, and draw the picture anew.

        Raises
        ------
        LLMError
            ``bad_request``: there is no such control, or it has no such value.
        """
        self._change(settings)
        self.channel.send("settings", settings=dict(self._settings))

    def get_state(self, key: str | Iterable[str] | None = None, drop_defaults: bool = False) -> dict[str, Any]:
        """Return the synced state with the current settings."""
        state: dict[str, Any] = super().get_state(key, drop_defaults)
        if "settings" in state or (drop_defaults and key is None):
            state["settings"] = dict(self._settings)
        return state

    def close(self) -> None:
        """Remove the widget; the notebook keeps its picture."""
        if getattr(self, "_static_output", None) is not None and self._static_output.is_shown:
            self._static_output.update()
        super().close()

    def _repr_html_(self) -> str:
        return self._static_content().html

    def _ipython_display_(self) -> None:
        self._static_output.show_below(self)

    @traitlets.default("data")
    def _default_data(self) -> bytes:
        return packed(self._payload())

    def _static_content(self) -> StaticContent:
        picture = self._picture()
        html = f'<div class="ipyllm-tstill mathjax_ignore tex2jax_ignore">{picture.image()}{self._table()}</div>'
        return StaticContent(html, "\n".join(plain_lines(picture)))

    def _do_adjust(self, _content: dict[str, Any], _buffers: Sequence[Any], *, settings: dict[str, Any]) -> None:
        self._change(settings)

    def _change(self, settings: Mapping[str, Any]) -> None:
        for name in settings:
            if name not in self._settings:
                raise bad_request(f"There is no control {str(name)[:40]!r}. {suggest(name, self._settings)}")
        self._settings = self._checked(self._settings | dict(settings))
        self._static_output.update()

    # ---- what a widget is made of -----------------------------------------------------------------

    def _payload(self) -> dict[str, Any]:
        """Return what the page computes with."""
        raise NotImplementedError

    def _checked(self, settings: dict[str, Any]) -> dict[str, Any]:
        """Return valid settings, or raise ``bad_request``."""
        raise NotImplementedError

    def _picture(self) -> BarPicture:
        raise NotImplementedError

    def _table(self) -> str:
        """Return the figures of the picture as an HTML table."""
        raise NotImplementedError
