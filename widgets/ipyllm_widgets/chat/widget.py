"""``ChatWidget``: a chat in the notebook, over the same service layer, conversations and ledger as the magics."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, ClassVar, cast

from ipyllm.conversations.history import conversation as conversation_named
from ipyllm.errors import LLMError
from ipyllm.registry.models import create_llm_service
from ipyllm.text.surrogates import replace_surrogates
from ipyllm_widgets import modules
from ipyllm_widgets.available_models import listed
from ipyllm_widgets.base import LiveWidget
from ipyllm_widgets.chat.chat_controller import ChatSession, Settings
from ipyllm_widgets.chat.export import export
from ipyllm_widgets.chat.transcript import transcript
from ipyllm_widgets.parameters import checked_params
from ipyllm_widgets.render_thread import Feed
from ipyllm_widgets.static_output import KeptOutput

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence

    from ipyllm.conversations.history import ConversationHistory
    from ipyllm.messages import Message
    from ipyllm.pipeline.call import Call
    from ipyllm_widgets.chat.export import Format

__all__ = ["ChatWidget"]

_MIME = {"md": "text/markdown", "json": "application/json", "ipynb": "application/x-ipynb+json", "html": "text/html"}


class ChatWidget(LiveWidget):
    """A chat with a model, in the notebook.

    Parameters
    ----------
    model : str, optional
        Whom to ask, as ``service/model`` or an alias; the default model if not given.
    models : sequence of str, optional
        What the picker offers; what is configured here if not given. Any other name may be typed.
    conversation : str
        Name of the conversation; ``%%llm -c NAME`` and other widgets share it.
    system : str, optional
        System prompt; what the conversation has if not given.
    tools : iterable of callable
        Python functions the model may call.
    **params
        Parameters for every question: ``temperature``, ``max_tokens``, …

    Raises
    ------
    LLMError
        For a model that does not exist or a parameter that cannot be right.

    Examples
    --------
    >>> chat = ChatWidget(model="ollama/llama3.2", conversation="doc-chat", temperature=0)
    >>> chat.messages
    []
    >>> chat.close()
    """

    _esm = modules.script("chat.js")
    _css = modules.styles("widget.css", "chat.css")
    _commands: ClassVar[frozenset[str]] = frozenset(
        {"hello", "send", "stop", "again", "edit", "select", "delete", "clear", "set", "text", "export"}
    )

    def __init__(
        self,
        model: str | None = None,
        *,
        models: Sequence[str] | None = None,
        conversation: str = "default",
        system: str | None = None,
        tools: Iterable[Any] = (),
        **params: Any,
    ) -> None:
        offers = listed(models) if models is not None else None
        if callable(tools) or not isinstance(tools, Iterable):
            raise LLMError("tools is a list of functions, also for one.", category="bad_request")
        # All that may be refused comes before the widget: the page would begin to show what is gone already.
        self._first = Settings(
            model or (offers[0] if offers else None), offers, checked_params(params, model or ""), list(tools)
        )
        if model is not None:
            create_llm_service(model)
        self._name = conversation
        self._history = conversation_named(conversation)
        if system is not None:
            self._history.set_system(replace_surrogates(system))
        super().__init__()

    def _begin(self) -> None:
        self._feed = Feed(self._draw, self._show_failure)
        self._transcript = KeptOutput(lambda: transcript(self._session.said(), f"Chat “{self._name}”"))
        self._session = ChatSession(
            self._name,
            self._history,
            self.outbox,
            self._first,
            wake=lambda urgent: self._feed.wake(urgent=urgent),
            keep=self._transcript.update,
        )

    def _draw(self) -> int:
        return self._session.draw()

    def _snapshot(self) -> dict[str, Any]:
        return self._session.snapshot()

    def close(self) -> None:
        """Stop what runs and take the widget away; the conversation stays."""
        if hasattr(self, "_session"):  # Python closes also what was refused before it had one
            self._session.close()
        super().close()

    def _ipython_display_(self) -> None:
        self._transcript.show_below(self)

    def __repr__(self) -> str:
        return f"ChatWidget(model={self.model!r}, conversation={self._name!r})"

    # ---- for Python ------------------------------------------------------------------------------

    @property
    def conversation(self) -> ConversationHistory:
        """The conversation that is shown."""
        return self._history

    @property
    def messages(self) -> list[Message]:
        """What was said, in the OpenAI shape: the branch that is shown, whatever fits a model's window."""
        return self._history.to_messages()

    @property
    def running(self) -> bool:
        """Whether an answer is coming."""
        return self._session.running

    @property
    def model(self) -> str | None:
        """Whom the next question goes to; None is the default model."""
        return self._session.settings.model

    @model.setter
    def model(self, name: str | None) -> None:
        self._session.set({"model": name})

    @property
    def models(self) -> list[str] | None:
        """What the picker offers; None is what is configured."""
        return self._session.settings.models

    @models.setter
    def models(self, names: Sequence[str] | None) -> None:
        self._session.offer(None if names is None else listed(names))

    @property
    def system(self) -> str | None:
        """System prompt of the conversation."""
        return self._history.system

    @system.setter
    def system(self, text: str | None) -> None:
        self._session.set({"system": text})

    @property
    def params(self) -> dict[str, Any]:
        """Parameters of the next question."""
        return dict(self._session.settings.params)

    @params.setter
    def params(self, params: dict[str, Any] | None) -> None:
        self._session.set({"params": params if params is not None else {}})

    def send(self, text: str, images: Iterable[Any] = ()) -> Call:
        """Ask, and return the call at once; the answer streams into the widget.

        Parameters
        ----------
        text : str
            The question.
        images : iterable
            Paths of files, or bytes.

        Returns
        -------
        Call
            ``.wait()`` waits for the answer and returns it as a :class:`~ipyllm.response.ChatResponse`.

        Raises
        ------
        LLMError
            It cannot be asked, or an answer is still coming.
        """
        return self._session.send(text, images)

    def stop(self) -> None:
        """Stop the answer that is coming, if any; what came is kept."""
        self._session.stop()

    def clear(self) -> None:
        """Forget the conversation and its branches; the system prompt stays."""
        self._session.clear()

    def export(self, format: Format = "md", path: str | os.PathLike[str] | None = None) -> str:  # noqa: A002 - the issue's word
        """Return the conversation as text, and write it to ``path`` if one is given.

        Parameters
        ----------
        format : {"md", "json", "ipynb", "html"}
            Markdown; the file that ``ConversationHistory.load`` reads; a notebook that asks again; a page by itself.
        path : path-like, optional
            Where to write it.
        """
        return export(self._history, format, path, title=self._name)

    # ---- for the browser -------------------------------------------------------------------------

    def _do_send(self, content: dict[str, Any], buffers: Sequence[Any]) -> None:
        self._session.send(self._ask_for(content, "text", str), [bytes(buffer) for buffer in buffers])

    def _do_stop(self, _content: dict[str, Any], _buffers: Sequence[Any]) -> None:
        self._session.stop()

    def _do_again(self, content: dict[str, Any], _buffers: Sequence[Any]) -> None:
        self._session.again(self._ask_for(content, "id", str))

    def _do_edit(self, content: dict[str, Any], _buffers: Sequence[Any]) -> None:
        self._session.edit(self._ask_for(content, "id", str), self._ask_for(content, "text", str))

    def _do_select(self, content: dict[str, Any], _buffers: Sequence[Any]) -> None:
        self._session.select(self._ask_for(content, "id", str), self._ask_for(content, "to", int))

    def _do_delete(self, content: dict[str, Any], _buffers: Sequence[Any]) -> None:
        self._session.delete(self._ask_for(content, "id", str))

    def _do_clear(self, _content: dict[str, Any], _buffers: Sequence[Any]) -> None:
        self._session.clear()

    def _do_set(self, content: dict[str, Any], _buffers: Sequence[Any]) -> None:
        changes = {}
        for name, kind in (("model", str), ("system", str), ("params", dict)):
            if name in content:
                changes[name] = self._ask_for(content, name, kind)
        self._session.set(changes)

    def _do_text(self, content: dict[str, Any], _buffers: Sequence[Any]) -> None:
        name = self._ask_for(content, "id", str)
        self.outbox.tell("text", id=name, nonce=content.get("nonce"), text=replace_surrogates(self._session.text(name)))

    def _do_export(self, content: dict[str, Any], _buffers: Sequence[Any]) -> None:
        form = self._ask_for(content, "format", str)
        text = self.export(cast("Format", form))  # if it is none, that says so
        self.outbox.tell(
            "file",
            nonce=content.get("nonce"),
            name=f"{self._name}.{form}",
            mime=_MIME[form],
            text=replace_surrogates(text),
        )
