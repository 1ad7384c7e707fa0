"""Builds requests to the Responses API from those of chat completions.

https://developers.openai.com/api/reference/resources/responses/methods/create
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from ipyllm.messages import text_of
from ipyllm.services.profiles.wire import merged, wire_fields
from ipyllm.services.responses_input import input_items

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ipyllm.messages import Message
    from ipyllm.services.profiles.profile import Profile

__all__ = ["responses_body"]

_ENCRYPTED_REASONING: Final = "reasoning.encrypted_content"
_LOGPROBS: Final = "message.output_text.logprobs"
_SYSTEM_ROLES: Final = ("system", "developer")


def responses_body(
    model: str, full_name: str, messages: Sequence[Message], params: Mapping[str, Any], profile: Profile
) -> dict[str, Any]:
    """Return the JSON body of a request, without ``extra_body``.

    Nothing is stored at the server; the reasoning comes back encrypted and is part of the conversation.

    Parameters
    ----------
    model : str
        Name of the model in the request.
    full_name : str
        ``service/model``: the messages' ``output_items`` are sent back to the model that wrote them only.
    messages : sequence of Message
        In the format of chat completions. System messages at the beginning become the ``instructions``.
    params : mapping
        As in :class:`~ipyllm.request.ChatRequest`.
    profile : Profile
        What the model takes.

    Examples
    --------
    >>> from ipyllm.services.profiles.profile import profile_of
    >>> luna, question = profile_of("openai/gpt-6-luna"), [{"role": "user", "content": "Hi"}]
    >>> body = responses_body("gpt-6-luna", "openai/gpt-6-luna", question, {"max_tokens": 9, "effort": "low"}, luna)
    >>> body["input"], body["max_output_tokens"], body["reasoning"], body["store"]
    ([{'role': 'user', 'content': 'Hi'}], 9, {'effort': 'low'}, False)
    """
    n_system = next((n for n, message in enumerate(messages) if message["role"] not in _SYSTEM_ROLES), 0)
    params = dict(params)
    given = params.pop("include", [_ENCRYPTED_REASONING])
    include = [*given] if isinstance(given, list | tuple) else [given]
    if params.pop("logprobs", None) or params.get("top_logprobs"):
        include.append(_LOGPROBS)
    for name, convert in _CONVERT.items():
        if name in params:
            params[name] = convert(params[name])
    body: dict[str, Any] = {
        "model": model,
        "input": input_items(messages[n_system:], full_name),
        "stream": True,
        "stream_options": {"include_obfuscation": False},
        "store": False,
    }
    if n_system:
        body["instructions"] = "\n\n".join(map(text_of, messages[:n_system]))
    if include:
        body["include"] = list(dict.fromkeys(include))
    return merged(body, wire_fields(profile, params))


def _flat_format(response_format: Any) -> Any:
    """Return ``response_format`` as ``text.format``, which has no object ``json_schema`` within."""
    if not isinstance(response_format, dict) or not isinstance(response_format.get("json_schema"), dict):
        return response_format
    outer = {name: value for name, value in response_format.items() if name != "json_schema"}
    return {**outer, **response_format["json_schema"]}


def _flat_tools(tools: Any) -> Any:
    return [_flat_tool(tool) for tool in tools] if isinstance(tools, list | tuple) else tools


def _flat_tool(tool: Any) -> Any:
    """Return a function without the object ``function``; not ``strict`` unless it says so, as in chat completions."""
    if not isinstance(tool, dict) or not isinstance(tool.get("function"), dict):
        return tool
    return {"type": "function", "strict": False, "parameters": {}, **tool["function"]}


def _flat_tool_choice(choice: Any) -> Any:
    if not isinstance(choice, dict) or not isinstance(choice.get("function"), dict):
        return choice
    return {"type": "function", **choice["function"]}


_CONVERT: Final = {"response_format": _flat_format, "tools": _flat_tools, "tool_choice": _flat_tool_choice}
