"""The body of ``POST /ipyllm/v1/chat/completions``, with every parameter that OpenAI's clients know."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from ipyllm_server.chat_body import MOST_TAGS, ModelParameters, Name

__all__ = ["CompletionBody", "StreamOptions"]


def _only(*allowed: Any, otherwise: str) -> BeforeValidator:
    """Return a validator that refuses all but some values, and null, with what to do."""

    def check(value: Any) -> Any:
        if value is not None and not any(value == each and type(value) is type(each) for each in allowed):
            raise ValueError(otherwise)
        return value

    return BeforeValidator(check)


NoAudio = Annotated[None, _only(otherwise="answers are texts; leave it out")]
NoFunctions = Annotated[None, _only(otherwise="it is of an older protocol; give 'tools' and 'tool_choice'")]
NoModeration = Annotated[None, _only(otherwise="this server does not pass its results on; leave it out")]
TextOnly = Annotated[list[Literal["text"]] | None, _only(["text"], otherwise="answers are texts; give ['text']")]
OneAnswer = Annotated[Literal[1] | None, _only(1, otherwise="a request has one answer; send it once for each")]
NoPadding = Annotated[Literal[False] | None, _only(False, otherwise="nothing is padded here; leave it out")]
Tag = Annotated[str, Field(max_length=512)]


class StreamOptions(BaseModel):
    """How an answer is streamed.

    Attributes
    ----------
    include_usage : bool or None
        Whether the usage comes last.
    include_obfuscation : False or None
        Whether chunks are padded: they are not.
    """

    model_config = ConfigDict(extra="forbid", strict=True)

    include_usage: bool | None = False
    include_obfuscation: NoPadding = None


class CompletionBody(ModelParameters):
    """Body of ``POST /ipyllm/v1/chat/completions``, as OpenAI's clients send it.

    Attributes
    ----------
    model : str
        ``service/model`` or an alias.
    messages : list of dict
        The conversation.
    stream, stream_options
        Whether the answer comes as server-sent events, and whether its usage comes last.
    n : int
        Number of answers: one.
    user, metadata
        Tags of the call in the ledger: ``end_user``, and those of ``metadata``.
    store, prediction, web_search_options, safety_identifier
        Sent to the model's server as they are.
    prompt_cache_key, prompt_cache_retention, prompt_cache_options
        Likewise.
    audio, functions, function_call, moderation, modalities
        Refused, but for the modality ``text``.
    """

    model: Name
    messages: list[dict[str, Any]] = Field(min_length=1)
    stream: bool | None = False
    stream_options: StreamOptions | None = None
    n: OneAnswer = 1
    user: Annotated[str, Field(max_length=200)] | None = None
    metadata: dict[Name, Tag] | None = Field(None, max_length=MOST_TAGS)
    store: bool | None = None
    prediction: dict[str, Any] | None = None
    web_search_options: dict[str, Any] | None = None
    safety_identifier: Name | None = None
    prompt_cache_key: Name | None = None
    prompt_cache_retention: Name | None = None
    prompt_cache_options: dict[str, Any] | None = None
    modalities: TextOnly = None
    audio: NoAudio = None
    functions: NoFunctions = None
    function_call: NoFunctions = None
    moderation: NoModeration = None

    parameters: ClassVar[tuple[str, ...]] = (
        *ModelParameters.parameters,
        *("store", "prediction", "web_search_options", "safety_identifier"),
        *("prompt_cache_key", "prompt_cache_retention", "prompt_cache_options"),
    )

    @property
    def tags(self) -> dict[str, str]:
        """Tags of the call."""
        return {**(self.metadata or {}), **({"end_user": self.user} if self.user else {})}

    @property
    def wants_usage(self) -> bool:
        """Whether a stream ends with the usage."""
        return self.stream_options is not None and bool(self.stream_options.include_usage)
