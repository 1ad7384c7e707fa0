"""Bodies of requests, and questions over a socket. A field that is not listed here is refused."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Final, Literal
from unicodedata import category

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

__all__ = [
    "MOST_TAGS", "AskMessage", "ChatBody", "ConversationChange", "ModelParameters", "Name", "ShowMessage",
    "is_conversation_name",
]  # fmt: skip

_NAME_CHARS: Final = 200
MOST_TAGS: Final = 16
_NO_LINE: Final = {"Cc", "Cs", "Zl", "Zp"}

_QUESTION: Final[dict[str, Any]] = {
    "oneOf": [
        {"required": [name], "properties": {name: {"type": kind}}}
        for name, kind in {"message": "string", "messages": "array"}.items()
    ],
    "dependentSchemas": {
        "conversation": {
            "anyOf": [
                {"properties": {"conversation": {"type": "null"}}},
                {"required": ["message"], "properties": {"message": {"type": "string"}}},
            ]
        },
        "replaces": {
            "anyOf": [
                {"properties": {"replaces": {"type": "null"}}},
                {"required": ["conversation"], "properties": {"conversation": {"type": "string"}}},
            ]
        },
    },
}
"""What `ChatBody` checks of several fields, as a schema."""

Name = Annotated[str, Field(min_length=1, max_length=_NAME_CHARS)]


def is_conversation_name(name: str) -> bool:
    r"""Return whether a conversation may have a name: a line of text that stands in an address, too.

    Examples
    --------
    >>> is_conversation_name("lesson 1"), is_conversation_name("lesson 1 "), is_conversation_name("1\n2")
    (True, False, False)
    """
    return (
        0 < len(name) <= _NAME_CHARS
        and name == name.strip()
        and name not in {".", ".."}  # which browsers take for folders in an address
        and not any(category(character) in _NO_LINE for character in name)
    )


def _checked(name: str) -> str:
    if not is_conversation_name(name):
        raise ValueError("a name is a line of 1 to 200 characters, without spaces around it")
    return name


ConversationName = Annotated[Name, AfterValidator(_checked)]


class ModelParameters(BaseModel):
    """Parameters of a model, as in the chat-completions protocol. Which of them a model takes, its profile says."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)

    parameters: ClassVar[tuple[str, ...]]
    """Names of the fields that are sent to the model's server."""

    temperature: float | None = Field(None, ge=0, le=2)
    top_p: float | None = Field(None, ge=0, le=1)
    top_k: int | None = Field(None, ge=-1)
    min_p: float | None = Field(None, ge=0, le=1)
    max_tokens: int | None = Field(None, ge=1)
    max_completion_tokens: int | None = Field(None, ge=1)
    stop: str | list[str] | None = None
    seed: int | None = Field(None, ge=-(2**63), lt=2**63)
    presence_penalty: float | None = Field(None, ge=-2, le=2)
    frequency_penalty: float | None = Field(None, ge=-2, le=2)
    logprobs: bool | None = None
    top_logprobs: int | None = Field(None, ge=0, le=20)
    logit_bias: dict[str, int | float] | None = None
    reasoning_effort: Name | None = None
    verbosity: Name | None = None
    response_format: dict[str, Any] | None = None
    tools: list[dict[str, Any]] | None = None
    tool_choice: str | dict[str, Any] | None = None
    parallel_tool_calls: bool | None = None
    service_tier: Name | None = None

    def params(self) -> dict[str, Any]:
        """Return the parameters that are set."""
        given_names = self.model_fields_set
        given = {name: getattr(self, name) for name in self.parameters if name in given_names}
        return {name: value for name, value in given.items() if value is not None}


ModelParameters.parameters = tuple(ModelParameters.model_fields)


class ChatBody(ModelParameters):
    """Body of ``POST /ipyllm/api/chat``: a ``message`` with what surrounds it, or all ``messages``.

    Attributes
    ----------
    model : str or None
        ``service/model`` or an alias; without one, the server's default.
    message : str or None
        The question.
    messages : list of dict or None
        A conversation in OpenAI's shape, instead.
    conversation : str or None
        Name of a conversation of the user: the ``message`` is asked in it, and kept with its answer.
    replaces : str or None
        The `call_id` of an answer of the conversation: the message takes the place of its question, edited or the same.
        What stood there is kept as another version, with all that followed.
    system : str or None
        System message; that of the conversation from now on.
    stream : bool
        Whether the answer comes as server-sent events.
    tags : dict
        Marks of the call in the ledger.
    max_cost_usd : float or None
        Refuse the call if it may cost more.
    """

    model_config = ConfigDict(json_schema_extra=_QUESTION)

    model: Name | None = None
    message: str | None = None
    messages: list[dict[str, Any]] | None = None
    conversation: ConversationName | None = None
    replaces: Name | None = None
    system: str | None = None
    stream: bool = False
    tags: dict[Name, Name] = Field(default_factory=dict, max_length=MOST_TAGS)
    max_cost_usd: float | None = Field(None, gt=0)

    @model_validator(mode="after")
    def _has_one_question(self) -> ChatBody:
        if (self.message is None) == (self.messages is None):
            raise ValueError("Give either 'message', a text, or 'messages', a list of messages.")
        if self.conversation is not None and self.message is None:
            raise ValueError(
                "In a 'conversation' a 'message' is asked: 'messages' would be a conversation of their own."
            )
        if self.replaces is not None and self.conversation is None:
            raise ValueError("'replaces' names an answer of a 'conversation': give its name, too.")
        return self

    @property
    def prompt(self) -> str | list[dict[str, Any]]:
        """What is asked."""
        return self.message if self.message is not None else self.messages or []


class ConversationChange(BaseModel):
    """Body of ``PATCH /ipyllm/api/conversations/<name>``: one of its fields.

    Attributes
    ----------
    name : str or None
        The new name, which no other conversation of the user has.
    version : str or None
        The `call_id` of a version of an answer, which is shown from now on with what followed it.
    """

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        json_schema_extra={
            "oneOf": [{"required": [field], "properties": {field: {"type": "string"}}} for field in ("name", "version")]
        },
    )

    name: ConversationName | None = None
    version: Name | None = None

    @model_validator(mode="after")
    def _has_one_change(self) -> ConversationChange:
        if (self.name is None) == (self.version is None):
            raise ValueError("Give either 'name', the new one, or 'version', the call_id of one to show.")
        return self


class AskMessage(ModelParameters):
    """A question over a socket.

    Attributes
    ----------
    type : str
        What is asked for: an answer.
    id : str or None
        The client's name for the question: sent again with the same one, it is answered once.
    model : str or None
        ``service/model`` or an alias; without one, the server's default.
    message : str
        The question.
    replaces : str or None
        The `call_id` of an answer: the message takes the place of its question, edited or the same. What stood there is
        kept as another version, with all that followed.
    system : str or None
        System message of the session from now on.
    """

    type: Literal["ask"] = "ask"
    id: Name | None = None
    model: Name | None = None
    message: str
    replaces: Name | None = None
    system: str | None = None


class ShowMessage(BaseModel):
    """A wish, over a socket, to see another version of an answer that is shown.

    Attributes
    ----------
    call_id : str
        The call of that version; what followed it is shown, too.
    """

    model_config = ConfigDict(extra="forbid", strict=True)

    call_id: Name
