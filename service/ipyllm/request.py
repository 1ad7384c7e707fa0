"""A question on its way to a model: immutable, so that whoever holds it (cache, retry, ledger) sees the same."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from ipyllm.pipeline.timeouts import Timeout

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ipyllm.structured import Schema
    from ipyllm.tools import Tool

__all__ = ["ChatRequest", "Message", "Origin", "Provenance"]

Message = dict[str, Any]
"""A message in the OpenAI shape: ``{"role": "user", "content": "…"}``."""

Origin = Literal["api", "magic", "widget", "experiment", "server"]


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where a call came from: the columns of the ledger that say who asked.

    Attributes
    ----------
    experiment, arm, prompt_id : str or None
        The experiment that the call is part of, what is compared in it, and which of its prompts was asked.
    repeat : int or None
        How often this arm was asked this prompt before.
    warmup : bool or None
        Whether the call only warms up a model: left out of statistics.
    """

    origin: Origin = "api"
    conversation: str | None = None
    cell_id: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    experiment: str | None = None
    arm: str | None = None
    prompt_id: str | None = None
    repeat: int | None = None
    warmup: bool | None = None


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """One call, completely described.

    Attributes
    ----------
    model : str
        Full name, ``service/model``.
    messages : tuple of Message
        The whole conversation as the model will see it, the new question last.
    params : mapping
        What shapes the answer, by its name in the chat-completions protocol: ``temperature``, ``max_tokens``, …
    timeout : Timeout
        How long it may take.
    max_retries : int
        Further attempts after the first.
    retry_after_text : bool
        Whether to try again even when text was shown, which then appears twice.
    cache : bool or None
        Whether our own cache may answer; None as the settings say.
    max_cost_usd : float or None
        Refuse before sending if it may cost more, all exchanges of the turn together.
    tools : mapping
        Functions the model may call, by name.
    tool_rounds : int
        How often it may ask for tools before it must answer.
    schema : Schema or None
        What the answer must fit.
    repairs : int
        How often it is asked again when it does not.
    provenance : Provenance
        For the ledger.
    """

    model: str
    messages: tuple[Message, ...]
    params: Mapping[str, Any] = field(default_factory=dict)
    timeout: Timeout = field(default_factory=Timeout)
    max_retries: int = 2
    retry_after_text: bool = False
    cache: bool | None = None
    max_cost_usd: float | None = None
    tools: Mapping[str, Tool] = field(default_factory=dict)
    tool_rounds: int = 8
    schema: Schema | None = None
    repairs: int = 1
    provenance: Provenance = field(default_factory=Provenance)

    @property
    def prompt(self) -> str:
        """Text of the last user message: what the ledger stores as the prompt."""
        for message in reversed(self.messages):
            if message.get("role") == "user":
                return text_of(message)
        return ""


def text_of(message: Message) -> str:
    """Text of a message whose content is a string, a list of parts, or nothing.

    Examples
    --------
    >>> text_of({"role": "user", "content": [{"type": "text", "text": "What is this?"}, {"type": "image_url"}]})
    'What is this?'
    """
    content = message.get("content")
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        return "\n".join(part["text"] for part in content if isinstance(part, dict) and "text" in part)
    return ""
