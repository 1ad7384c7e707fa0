"""An answer in OpenAI's shapes: a chat completion, or the chunks of one."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from secrets import token_hex
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ipyllm.events import ToolCallDelta
    from ipyllm.logprobs import TokenChoice, TokenLogprob
    from ipyllm.response import ChatResponse, ToolCall, Usage
    from ipyllm_server.answer_reader import Piece
    from ipyllm_server.completion_shapes import (
        ChunkChoice,
        Completion,
        CompletionChoice,
        CompletionChunk,
        CompletionMessage,
        CompletionUsage,
        Logprobs,
    )

__all__ = ["CompletionShape"]


_REASONS: Final = {"stop", "length", "tool_calls", "content_filter"}


@dataclass(frozen=True, slots=True)
class CompletionShape:
    """What all chunks of one completion have in common.

    Examples
    --------
    >>> from ipyllm_server.answer_reader import Piece
    >>> CompletionShape("fast").chunk(Piece("text", "Hello"))["choices"][0]["delta"]
    {'content': 'Hello'}
    """

    model: str
    id: str = field(default_factory=lambda: f"chatcmpl-{token_hex(12)}")
    created: int = field(default_factory=lambda: int(time.time()))

    def role_chunk(self) -> CompletionChunk:
        """Return the chunk before the first piece."""
        return self._chunk({"role": "assistant", "content": ""})

    def chunk(self, piece: Piece) -> CompletionChunk:
        """Return the chunk with a piece of the answer."""
        if piece.tool_call is not None:
            return self._chunk({"tool_calls": [_tool_delta(piece.tool_call)]})
        text = "refusal" if piece.refused else "content"
        name = text if piece.kind == "text" else "reasoning_content"
        return self._chunk({name: piece.text}, logprobs=_logprobs(piece.logprobs))

    def last_chunk(self, response: ChatResponse) -> CompletionChunk:
        """Return the chunk that says how the answer ended."""
        return self._chunk({}, _finish_reason(response))

    def usage_chunk(self, response: ChatResponse) -> CompletionChunk:
        """Return the chunk with the usage, which has no choices."""
        return {**self._chunk({}), "choices": [], "usage": _usage(response.usage)}

    def completion(self, response: ChatResponse) -> Completion:
        """Return the whole answer."""
        message: CompletionMessage = {"role": "assistant", "content": response.content, "refusal": None}
        if response.refused:
            message["content"], message["refusal"] = None, response.content
        if response.reasoning:
            message["reasoning_content"] = response.reasoning
        if response.tool_calls:
            message["content"] = response.content or None
            message["tool_calls"] = [_tool_call(call) for call in response.tool_calls]
        choice: CompletionChoice = {
            "index": 0,
            "message": message,
            "finish_reason": _finish_reason(response),
            "logprobs": _logprobs(response.logprobs),
        }
        return {
            "id": self.id,
            "object": "chat.completion",
            "created": self.created,
            "model": self.model,
            "choices": [choice],
            "usage": _usage(response.usage),
        }

    def _chunk(
        self, delta: dict[str, Any], finish_reason: str | None = None, logprobs: Logprobs | None = None
    ) -> CompletionChunk:
        choice: ChunkChoice = {"index": 0, "delta": delta, "finish_reason": finish_reason}
        if logprobs is not None:
            choice["logprobs"] = logprobs
        return {
            "id": self.id,
            "object": "chat.completion.chunk",
            "created": self.created,
            "model": self.model,
            "choices": [choice],
        }


def _finish_reason(response: ChatResponse) -> str:
    """Return one of OpenAI's reasons: typed clients cannot read the words of other servers."""
    if response.finish_reason in _REASONS:
        return response.finish_reason
    if response.status == "truncated":
        return "length"
    return "tool_calls" if response.tool_calls else "stop"


def _usage(usage: Usage) -> CompletionUsage | None:
    """Return the counts of the model's server; None where it counted nothing: an estimate is no count."""
    if usage.input_tokens is None or usage.output_tokens is None:
        return None
    return {
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.input_tokens + usage.output_tokens,
        "prompt_tokens_details": {"cached_tokens": usage.cached_tokens or 0},
        "completion_tokens_details": {"reasoning_tokens": usage.reasoning_tokens or 0},
    }


def _tool_call(call: ToolCall) -> dict[str, Any]:
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}


def _tool_delta(call: ToolCallDelta) -> dict[str, Any]:
    """Return a piece of a function call: id and name only where they begin."""
    function = {"arguments": call.arguments, **({} if call.name is None else {"name": call.name})}
    begin = {} if call.id is None else {"id": call.id, "type": "function"}
    return {"index": call.index, **begin, "function": function}


def _logprobs(tokens: Iterable[TokenLogprob]) -> Logprobs | None:
    content = [{**_choice(token), "top_logprobs": [_choice(each) for each in token.alternatives]} for token in tokens]
    return {"content": content, "refusal": None} if content else None


def _choice(token: TokenChoice) -> dict[str, Any]:
    return {"token": token.text, "logprob": token.logprob, "bytes": None if token.bytes is None else [*token.bytes]}
