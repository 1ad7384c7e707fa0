"""``ChatWidget``: a chat in the notebook, over the same service layer, conversations and ledger as the magics."""

from __future__ import annotations

from collections.abc import Iterable
from inspect import signature
from typing import TYPE_CHECKING, Any, ClassVar, cast

from ipyllm.conversations.history import conversation as conversation_named
from ipyllm.errors import bad_request
from ipyllm.services.base import BaseLLMService
from ipyllm.services.parameters import refuse_misspelt_options
from ipyllm.text.surrogates import replace_surrogates
from ipyllm_widgets import modules
from ipyllm_widgets.attachments.files import received_files
from ipyllm_widgets.chat.chat_controller import ChatController
from ipyllm_widgets.chat.chat_conversations import ChatConversations, last_conversation
from ipyllm_widgets.chat.chat_export import export_chat
from ipyllm_widgets.chat.chat_settings import ChatSettings
from ipyllm_widgets.chat.conversation_record import rename_with_record
from ipyllm_widgets.given_models import name_models
from ipyllm_widgets.live_widget import LiveWidget
from ipyllm_widgets.notebook_cell import keep_conversations_of_notebook
from ipyllm_widgets.widget_parameters import validate_params

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping, Sequence

    from ipyllm.conversations.history import ConversationHistory
    from ipyllm.ledger.feedback import Feedback
    from ipyllm.messages import Message
    from ipyllm.pipeline.call import Call
    from ipyllm_widgets.chat.chat_export import ExportFormat

__all__ = ["ChatWidget"]

_MIME = {"md": "text/markdown", "json": "application/json", "ipynb": "application/x-ipynb+json", "html": "text/html"}


class ChatWidget(LiveWidget):
    """A chat with a model, in the notebook.

    Parameters
    ----------
    model : str or BaseLLMService, optional
        The model, as ``service/model``, an alias or a service, whose key stays in the kernel; by default the default
        model.
    models : sequence of str or BaseLLMService, optional
        Models of the picker; by default all that are configured. Any other name may be typed.
    conversation : str, optional
        Name of the conversation, shared with ``%%llm -c NAME`` and other widgets. By default the one of this notebook
        that changed last, or ``default``.
    system : str, optional
        System prompt; by default that of the conversation.
    tools : iterable of callable
        Python functions the model may call.
    **params
        Parameters of each question: ``temperature``, ``max_tokens``, …

    Raises
    ------
    LLMError
        The model does not exist, or a parameter is invalid.

    Examples
    --------
    >>> chat = ChatWidget(model="ollama/llama3.2", conversation="doc-chat", temperature=0)
    >>> chat.messages
    []
    >>> chat.close()
    """

    _esm = modules.script("chat/chat.js")
    _css = modules.styles("widget.css", "composer.css", "chat/chat.css")
    _commands: ClassVar[Mapping[str, Mapping[str, type]]] = {
        "hello": {},
        "send": {"text": str, "files?": list},
        "stop": {},
        "regenerate": {"turn": str},
        "edit": {"turn": str, "text": str},
        "select": {"turn": str, "branch": int},
        "delete": {"turn": str},
        "clear": {},
        "undo_clear": {},
        "set": {"model?": str, "system?": str, "params?": dict},
        "undo_delete": {"turn": str},
        "rate": {"turn": str, "feedback": str},
        "text": {"turn": str, "part?": str, "file?": int},
        "resume": {"turn": str},
        "unqueue": {"question": str},
        "send_next": {},
        "draft": {"text": str, "file_bytes?": int, "images?": int, "uncounted?": int, "view?": str},
        "prompts": {},
        "prompt": {"name": str},
        "conversations": {"query": str},
        "switch": {"conversation?": str},
        "rename": {"conversation": str, "to": str},
        "forget": {"conversation": str},
        "undo_forget": {"conversation": str},
        "export": {"format": str},
    }
    _controller: ChatController

    def __init__(
        self,
        model: str | BaseLLMService | None = None,
        *,
        models: Sequence[str | BaseLLMService] | None = None,
        conversation: str | None = None,
        system: str | None = None,
        tools: Iterable[Any] = (),
        **params: Any,
    ) -> None:
        refuse_misspelt_options(params, signature(ChatWidget.__init__).parameters, caller="A chat")
        names, services = (None, {}) if models is None else name_models(models)
        if isinstance(model, BaseLLMService):
            (model,), services = name_models([model], services)
        if callable(tools) or not isinstance(tools, Iterable):
            raise bad_request("tools must be a list of functions, even for a single one.")
        # Everything that may raise comes before `super().__init__()`, which makes the page show the widget.
        self._initial_settings = ChatSettings(
            model or (names[0] if names else None), names, validate_params(params, model or ""), list(tools), services
        )
        if model is not None:
            self._initial_settings.service()
        keep_conversations_of_notebook()
        name = last_conversation() if conversation is None else conversation
        self._first = conversation_named(name, tell=False)  # the widget shows it
        self._conversations = ChatConversations()
        if system is not None:
            self._first.set_system(replace_surrogates(system))
        super().__init__()

    def _make_controller(self) -> ChatController:
        return ChatController(self._first, self._initial_settings, self.channel, self._show_failure)

    def __repr__(self) -> str:
        return f"ChatWidget(model={self.model!r}, conversation={self._name!r})"

    @property
    def _name(self) -> str:
        return self._controller.name

    @property
    def _history(self) -> ConversationHistory:
        return self._controller.history

    @property
    def conversation(self) -> ConversationHistory:
        """The conversation that is shown."""
        return self._history

    @property
    def messages(self) -> list[Message]:
        """Messages of the shown branch in the OpenAI format, including those that no longer fit a model's window."""
        return self._history.to_messages()

    @property
    def model(self) -> str | None:
        """Name of the model of the next question, None for the default model; a service may be set, too."""
        return self._controller.settings.model

    @model.setter
    def model(self, model: str | BaseLLMService | None) -> None:
        if isinstance(model, BaseLLMService):
            (name,), services = name_models([model], self._controller.settings.services)
            self._controller.set(model=name, services=services)
        else:
            self._controller.set(model=model)

    @property
    def models(self) -> list[str] | None:
        """Names of the models of the picker, None for all that are configured; services may be set, too."""
        return self._controller.settings.models

    @models.setter
    def models(self, models: Sequence[str | BaseLLMService] | None) -> None:
        known = self._controller.settings.services
        self._controller.set_models(*((None, known) if models is None else name_models(models, known)))

    @property
    def system(self) -> str | None:
        """System prompt of the conversation."""
        return self._history.system

    @system.setter
    def system(self, text: str | None) -> None:
        self._controller.set(system=text)

    @property
    def params(self) -> dict[str, Any]:
        """Parameters of the next question."""
        return dict(self._controller.settings.params)

    @params.setter
    def params(self, params: dict[str, Any] | None) -> None:
        self._controller.set(params=params if params is not None else {})

    def send(self, text: str, images: Iterable[Any] = (), files: Iterable[Any] = ()) -> Call:
        """Ask a question, and return the call at once; the answer streams into the widget.

        Parameters
        ----------
        text : str
            The question.
        images : iterable
            Paths of files, or bytes.
        files : iterable
            Paths of text, CSV, code or PDF files, or pairs of a name and bytes; up to 8 MB together. They are sent as
            text.

        Returns
        -------
        Call
            ``.wait()`` waits for the answer and returns it as a :class:`~ipyllm.response.ChatResponse`.

        Raises
        ------
        LLMError
            The question cannot be asked, or an answer is still streaming.
        """
        return self._controller.send(text, images, files)

    def switch(self, conversation: str | None = None) -> None:
        """Show another conversation. An answer that streams in the one that is left goes on.

        Parameters
        ----------
        conversation : str, optional
            Its name; by default a new one is begun.

        Raises
        ------
        LLMError
            The name is not text.
        """
        if conversation is None:
            opened = self._controller.open_messages()
            conversation = self._conversations.new_name(name for name, messages in opened.items() if messages)
        self._controller.show(conversation_named(conversation, tell=False))

    def rate(self, feedback: Feedback | None) -> None:
        """Say that the last answer is good or bad, as the thumbs below it do.

        It is in the column ``feedback`` of :func:`ipyllm.usage`.

        Parameters
        ----------
        feedback : {"good", "bad"} or None
            What you think; None withdraws it.

        Raises
        ------
        LLMError
            There is no answer yet, its call is no longer in the ledger, or the value does not exist.
        """
        self._controller.rate(feedback=feedback or "")

    def clear(self) -> None:
        """Delete the conversation and its branches; the system prompt stays."""
        self._controller.clear()

    def export(self, format: ExportFormat = "md", path: str | os.PathLike[str] | None = None) -> str:  # noqa: A002 - the usual name
        """Return the conversation as text, and write it to ``path`` if one is given.

        Parameters
        ----------
        format : {"md", "json", "ipynb", "html"}
            Markdown; a file for ``ConversationHistory.load``; a notebook that asks again; a self-contained page.
        path : path-like, optional
            File to write.
        """
        return export_chat(self._history, format, path, title=self._name)

    def _do_send(
        self, _content: dict[str, Any], buffers: Sequence[Any], *, text: str, files: list[Any] | None = None
    ) -> None:
        self._controller.draft("")
        self._controller.queue(text, *received_files(buffers, files))

    def _do_conversations(self, content: dict[str, Any], _buffers: Sequence[Any], *, query: str) -> None:
        found = self._conversations.find(query, self._controller.open_messages())
        self.channel.send("conversations", nonce=content.get("nonce"), items=[item._asdict() for item in found])

    def _do_switch(self, _content: dict[str, Any], _buffers: Sequence[Any], conversation: str | None = None) -> None:
        self.switch(conversation)

    def _do_rename(self, _content: dict[str, Any], _buffers: Sequence[Any], *, conversation: str, to: str) -> None:
        rename_with_record(conversation, to)
        self._controller.refresh()

    def _do_forget(self, _content: dict[str, Any], _buffers: Sequence[Any], *, conversation: str) -> None:
        history = conversation_named(conversation, tell=False)
        self._controller.end_answer(history)
        self._conversations.remove(conversation)
        if history is self._history:
            self.switch()
        self._controller.put_away(history)

    def _do_undo_forget(self, _content: dict[str, Any], _buffers: Sequence[Any], *, conversation: str) -> None:
        self._conversations.restore(conversation)
        self._controller.bring_back(conversation_named(conversation, tell=False))
        self.switch(conversation)

    def _do_unqueue(self, content: dict[str, Any], _buffers: Sequence[Any], *, question: str) -> None:
        self._controller.unqueue(question, lambda message: self._give_back(content, message))

    def _do_export(self, content: dict[str, Any], _buffers: Sequence[Any], *, format: str) -> None:  # noqa: A002 - as in `export`
        text = self.export(cast("ExportFormat", format))  # raises for another format
        self.channel.send(
            "file",
            nonce=content.get("nonce"),
            name=f"{self._name}.{format}",
            mime=_MIME[format],
            text=replace_surrogates(text),
        )
