"""What our widgets share: state that outlives a page, commands from the browser, errors that are seen, busy kernels.

The browser never writes a trait: it sends commands, which are checked here. So no state is ever changed by two sides.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, ClassVar

import anywidget
import traitlets

from ipyllm.errors import LLMError
from ipyllm.text.redact import redact
from ipyllm.text.surrogates import replace_surrogates
from ipyllm_widgets.message_channel import Outbox

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

__all__ = ["LiveWidget", "take_messages_where_they_come"]

_logger = logging.getLogger("ipyllm.widgets")
_LONGEST = 1_000  # characters of a sentence that says what was wrong, which may repeat what it is about


class LiveWidget(anywidget.AnyWidget):
    """A widget whose state is told in numbered messages, and whole in the trait ``snapshot``.

    The trait is made when somebody asks: when the widget opens, when a page is loaded again, when a notebook is saved.
    It is not sent at each change, which would be the whole conversation again and again.

    Subclasses set ``_commands``, the names of the methods that the browser may call as ``method(content, buffers)``.
    """

    snapshot = traitlets.Dict(read_only=True).tag(sync=True)
    _commands: ClassVar[frozenset[str]] = frozenset()

    def __init__(self, **kwargs: Any) -> None:
        # Not `self.send`: in a chat that is the word for asking.
        self.outbox = Outbox(lambda message: anywidget.AnyWidget.send(self, message))
        self._begin()
        super().__init__(**kwargs)
        self.on_msg(self._on_command)
        take_messages_where_they_come(self.comm)

    def _begin(self) -> None:
        """Make what :meth:`_snapshot` reads: the widget tells its state as soon as it opens."""

    def _snapshot(self) -> dict[str, Any]:
        raise NotImplementedError

    def get_state(self, key: str | Iterable[str] | None = None, drop_defaults: bool = False) -> dict[str, Any]:
        """Return the synced state, the snapshot as it is now."""
        state: dict[str, Any] = super().get_state(key, drop_defaults)
        if "snapshot" in state or (drop_defaults and key is None):
            state["snapshot"] = self._snapshot()
        return state

    def _on_command(self, _widget: Any, content: Any, buffers: Sequence[Any]) -> None:
        """Do what the browser asks, and answer: an exception here would show in no cell."""
        content = replace_surrogates(content)
        command = content.get("command") if isinstance(content, dict) else None
        nonce = content.get("nonce") if isinstance(content, dict) else None
        error = None
        try:
            self._command(command)(content, buffers)
        except LLMError as exc:
            error = str(exc)
        except KeyboardInterrupt:  # meant for a cell; raised on, it would end the kernel's loop on some versions
            error = "Interrupted before it was done: try again."
        except Exception as exc:  # noqa: BLE001 - the person must see it, whatever it is
            error = self._failed(exc)
        if error is not None and len(error) > _LONGEST:
            error = f"{error[:_LONGEST]} …"
        self.outbox.tell("ack", nonce=nonce if isinstance(nonce, str | int) else None, error=error)

    def _command(self, name: Any) -> Callable[[dict[str, Any], Sequence[Any]], None]:
        if not isinstance(name, str) or name not in self._commands:
            raise LLMError("The page sent what this version does not know: reload it.", category="bad_request")
        method: Callable[[dict[str, Any], Sequence[Any]], None] = getattr(self, f"_do_{name}")
        return method

    def _failed(self, exc: Exception) -> str:
        _logger.error("the widget failed in our own code", exc_info=exc)
        return redact(f"ipyllm failed: {type(exc).__name__}: {exc}")

    def _show_failure(self, exc: Exception) -> None:
        self.outbox.tell("notice", text=self._failed(exc))

    def _do_hello(self, content: dict[str, Any], _buffers: Sequence[Any]) -> None:
        """Send a snapshot to a view that has seen less than there is, or asks for one."""
        with self.outbox.lock:
            if content.get("seq") != self.outbox.seq:
                self.outbox.tell("snapshot", state=self._snapshot())

    def _ask_for(self, content: dict[str, Any], name: str, kind: type | tuple[type, ...]) -> Any:
        """Return a field of a command, or say that it is not what it should be."""
        value = content.get(name)
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            raise LLMError(f"The page sent a command with a wrong {name!r}: reload it.", category="bad_request")
        return value


def take_messages_where_they_come(comm: Any) -> None:
    """Let a busy cell not hold up clicks on ipykernel 7.4.

    From that version on a widget made in a cell gets its messages on the main shell, which the next cell may hold for
    hours, although JupyterLab sends them over a subshell. The name is private: where it is missing, older kernels do
    what this does or have no subshells at all.
    """
    if hasattr(comm, "_reply_subshell_for"):
        comm._reply_subshell_for = _as_sent  # noqa: SLF001 - see above


def _as_sent(_data: Any, subshell_id: str | None) -> str | None:
    return subshell_id
