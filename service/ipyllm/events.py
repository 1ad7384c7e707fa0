"""Events of a stream. Every consumer (renderer, widget, server, experiment) receives these and nothing else."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ipyllm.logprobs import TokenLogprob
    from ipyllm.response import ChatResponse

__all__ = ["Event", "Finished", "ReasoningDelta", "TextDelta", "ToolCallDelta"]


@dataclass(frozen=True, slots=True)
class TextDelta:
    """A piece of visible text. ``at_ns`` is ``perf_counter_ns`` at its arrival from the network.

    ``logprobs`` are those of its tokens, if the call asked for them and the server sent them with the text.
    ``refused`` says that with it the model declines to answer.
    """

    text: str
    at_ns: int
    logprobs: tuple[TokenLogprob, ...] = ()
    refused: bool = False


@dataclass(frozen=True, slots=True)
class ReasoningDelta:
    """A piece of the model's reasoning, from servers that send it."""

    text: str
    at_ns: int


@dataclass(frozen=True, slots=True)
class ToolCallDelta:
    """A piece of a function call: ``id`` and ``name`` come once, ``arguments`` in pieces of JSON text."""

    index: int
    id: str | None
    name: str | None
    arguments: str
    at_ns: int


@dataclass(frozen=True, slots=True)
class Finished:
    """The last event of every stream: the complete response, status included."""

    response: ChatResponse


Event = TextDelta | ReasoningDelta | ToolCallDelta | Finished
