"""Base classes of the widgets: commands of the page, errors shown in the page, streamed state.

The browser never writes a trait. It sends commands, which are checked here, so only the kernel changes the state.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, ClassVar

import anywidget
import traitlets

from ipyllm.conversations.prompt_library import saved_prompts
from ipyllm.errors import LLMError, bad_request
from ipyllm.observability.logs import log_failure
from ipyllm.text.format import shorten
from ipyllm.text.redact import redact
from ipyllm.text.surrogates import replace_surrogates
from ipyllm_widgets.attachments.files import files_to_page, question_text
from ipyllm_widgets.beside import show_beside
from ipyllm_widgets.message_channel import MessageChannel

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from ipyllm.messages import Message
    from ipyllm_widgets.controller import Controller

__all__ = ["CommandWidget", "LiveWidget", "reply_on_subshell"]

_logger = logging.getLogger("ipyllm.widgets")
_EXCERPT_CHARS = 100  # of a prompt of one's own
_MOST_PROMPTS = 500
_ERROR_CHARS = 1_000  # of an error message, which may quote long input


class CommandWidget(anywidget.AnyWidget):
    """A widget whose page sends commands, each of which is acknowledged with an error message or none.

    Subclasses set ``_commands``: by command, its fields with their types. A field whose name ends with ``?`` is
    optional. A method ``_do_<command>(content, buffers, **fields)`` carries the command out.
    """

    _commands: ClassVar[Mapping[str, Mapping[str, type]]] = {}

    def __init__(self, **kwargs: Any) -> None:
        # Not `self.send`: a chat's `send` asks the model.
        self.channel = MessageChannel(lambda message, buffers: anywidget.AnyWidget.send(self, message, buffers))
        self._prepare()
        super().__init__(**kwargs)
        self.on_msg(self._on_command)
        reply_on_subshell(self.comm)

    def _prepare(self) -> None:
        """Create what the synced state is computed from: the widget sends its state as soon as it opens."""

    def _on_command(self, _widget: Any, content: Any, buffers: Sequence[Any]) -> None:
        """Carry out a command and acknowledge it. No cell would show an exception raised here."""
        content = replace_surrogates(content)
        nonce = content.get("nonce") if isinstance(content, dict) else None
        error = None
        try:
            self._run_command(*self._parse(content), content, buffers)
        except LLMError as exc:
            error = str(exc)
        except KeyboardInterrupt:  # meant for a cell; if it escaped, it would end the kernel's loop on some versions
            error = "The command was interrupted: try again."
        except Exception as exc:  # noqa: BLE001 - the user must see every error
            error = self._log_failure(exc)
        if error is not None:
            error = shorten(error, _ERROR_CHARS)
        self.channel.send("ack", nonce=nonce if isinstance(nonce, str | int) else None, error=error)

    def _parse(self, content: Any) -> tuple[str, dict[str, Any]]:
        """Return the name and fields of a command, or raise an LLMError that says what is wrong."""
        name = content.get("command") if isinstance(content, dict) else None
        if not isinstance(name, str) or name not in self._commands:
            raise bad_request("The page sent an unknown command: reload the page.")
        fields = {}
        for spec, kind in self._commands[name].items():
            field = spec.removesuffix("?")
            if field == spec or field in content:
                fields[field] = value = content.get(field)
                if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
                    raise bad_request(f"The page sent a command with a wrong {field!r}: reload the page.")
        return name, fields

    def _run_command(self, name: str, fields: dict[str, Any], content: dict[str, Any], buffers: Sequence[Any]) -> None:
        getattr(self, f"_do_{name}")(content, buffers, **fields)

    def _log_failure(self, exc: Exception) -> str:
        log_failure(_logger, "the widget failed in our own code", exc)
        return redact(f"ipyllm failed: {type(exc).__name__}: {exc}")


class LiveWidget(CommandWidget):
    """A widget that shows a controller's state: numbered messages, and a complete ``snapshot`` trait.

    The trait is computed on request: when the widget opens, a page reloads, or a notebook is saved. Sending it
    at each change would send the complete conversation again and again.

    A command without a ``_do_…`` method calls the controller's method of its name.
    """

    snapshot = traitlets.Dict(read_only=True).tag(sync=True)
    _controller: Controller[Any]

    def _prepare(self) -> None:
        self._controller = self._make_controller()

    def _make_controller(self) -> Controller[Any]:
        raise NotImplementedError

    def get_state(self, key: str | Iterable[str] | None = None, drop_defaults: bool = False) -> dict[str, Any]:
        """Return the synced state with a current snapshot."""
        state: dict[str, Any] = super().get_state(key, drop_defaults)
        if "snapshot" in state or (drop_defaults and key is None):
            state["snapshot"] = self._controller.snapshot()
        return state

    def close(self) -> None:
        """Stop running answers and remove the widget; a conversation stays."""
        if hasattr(self, "_controller"):  # Python also closes a widget whose arguments were refused
            self._controller.close()
        super().close()

    def sidecar(self, title: str | None = None, *, place: str = "right") -> Any:
        """Show the widget in a panel beside the notebook, where it stays in sight.

        Needs JupyterLab and the package ``sidecar`` (``ipyllm[sidecar]``). The widget can be shown in a cell as well.

        Parameters
        ----------
        title : str, optional
            Title of the panel.
        place : {"right", "left", "above", "below", "sidebar", "tab"}
            Where it opens.

        Returns
        -------
        sidecar.Sidecar
            The panel; ``.close()`` closes it, and leaves the widget.

        Raises
        ------
        LLMError
            The package is not installed, or there is no such place.
        """
        return show_beside(self, type(self).__name__.removesuffix("Widget") if title is None else title, place)

    def stop(self) -> None:
        """Stop the running answers that are shown, if any, and keep their text so far."""
        self._controller.stop()

    @property
    def running(self) -> bool:
        """Whether an answer that is shown is streaming."""
        return self._controller.running

    def _ipython_display_(self) -> None:
        self._controller.static_output.show_below(self)

    def _show_failure(self, exc: Exception) -> None:
        self.channel.send("notice", text=self._log_failure(exc))

    def _run_command(self, name: str, fields: dict[str, Any], content: dict[str, Any], buffers: Sequence[Any]) -> None:
        if hasattr(self, f"_do_{name}"):
            super()._run_command(name, fields, content, buffers)
        else:
            getattr(self._controller, name)(**fields)

    def _do_hello(self, content: dict[str, Any], _buffers: Sequence[Any]) -> None:
        """Send a snapshot to a view that missed messages or asks for one."""
        with self.channel.lock:
            if content.get("seq") != self.channel.seq:
                self.channel.send("snapshot", state=self._controller.snapshot())

    def _do_prompts(self, content: dict[str, Any], _buffers: Sequence[Any]) -> None:
        """Send the names of the prompts of one's own, with their beginnings."""
        found, problems = saved_prompts()
        items = [
            {"name": prompt.name, "source": prompt.source, "excerpt": shorten(prompt.text, _EXCERPT_CHARS)}
            for prompt in found[:_MOST_PROMPTS]
        ]
        self.channel.send(
            "prompts", nonce=content.get("nonce"), **replace_surrogates({"items": items, "problems": problems})
        )

    def _do_prompt(self, content: dict[str, Any], _buffers: Sequence[Any], *, name: str) -> None:
        """Send the text of one of them."""
        found = next((prompt for prompt in saved_prompts()[0] if prompt.name == name), None)
        if found is None:
            raise LLMError(f"The prompt {name!r} is no longer there.", category="not_found")
        self.channel.send("text", nonce=content.get("nonce"), text=replace_surrogates(found.text))

    def _do_text(self, content: dict[str, Any], _buffers: Sequence[Any], **fields: Any) -> None:
        """Send the full text of a question; the state has only its beginning."""
        text = replace_surrogates(self._controller.text(**fields))
        self.channel.send("text", nonce=content.get("nonce"), text=text, **fields)

    def _give_back(self, content: dict[str, Any], message: Message) -> None:
        """Send a question with its files back to the view whose command has this content."""
        files, buffers = files_to_page(message)
        text = question_text(message)
        self.channel.send("text", nonce=content.get("nonce"), text=text, files=files, buffers=buffers)


def reply_on_subshell(comm: Any) -> None:
    """Make ipykernel 7.4 answer clicks while a cell is running.

    That version handles messages of a widget made in a cell on the main shell, which the next cell may occupy for
    hours, although JupyterLab sends them over a subshell. The attribute is private. Kernels without it either reply on
    the subshell already or have no subshells.
    """
    if hasattr(comm, "_reply_subshell_for"):
        comm._reply_subshell_for = _sender_subshell  # noqa: SLF001 - see above


def _sender_subshell(_data: Any, subshell_id: str | None) -> str | None:
    return subshell_id
