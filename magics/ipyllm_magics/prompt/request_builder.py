"""Builds a request from the options of ``%%llm`` and a prompt, and finds its turn in the conversation.

Options on the line take precedence over those of the model's service, these over ``%config LLMMagics.…``, and these
over the settings.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ipyllm_magics.errors import MagicError
from ipyllm_magics.prompt.resolve_names import resolve_schema, resolve_tools

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ipyllm.conversations.history import ConversationHistory
    from ipyllm.messages import Message
    from ipyllm.request import CallOptions, ChatRequest, Provenance
    from ipyllm.services.base import BaseLLMService
    from ipyllm_magics.command_line.parser import Parsed

__all__ = [
    "NOT_PARAMETERS", "PreparedRequest", "build_request", "check_options", "max_answer_tokens", "new_system",
    "request_options", "system_messages", "user_message",
]  # fmt: skip

_FLAG_OF = {
    "effort": "--effort",
    "verbosity": "--verbosity",
    "temperature": "-t",
    "max_tokens": "--max-tokens",
    "top_p": "--top-p",
    "seed": "--seed",
    "stop": "--stop",
    "logprobs": "--logprobs",
}
NOT_PARAMETERS = {
    "system": "-s",
    "timeout": "--timeout",
    "cache": "--cache or --no-cache",
    "tags": "--tag",
    "tools": "--tools",
    "schema": "--schema",
    "conversation_history": "-c",
    "prompt": "the prompt itself",
    "provenance": "--tag",
    "notebook_options": "%config LLMMagics",
}
_ALTERNATIVES = 5  # of each token with `-f tokens`
_MAX_STOPS = 4  # of OpenAI


@dataclass(frozen=True, slots=True)
class PreparedRequest:
    """A request, its service, and its place in a conversation."""

    service: BaseLLMService
    request: ChatRequest
    message: Message
    system: str | None
    name: str
    history: ConversationHistory | None
    key: str | None
    note: str | None


def check_options(parsed: Parsed, magic: str) -> None:
    """Raise an error for options that exclude each other."""
    for other in ("new", "conversation"):
        if parsed["history"] is False and parsed[other] is not None:
            raise MagicError(f"{magic}: --no-history and --{other} contradict each other; give one of them.")
    if parsed["system"] is not None and not parsed["system"].strip():
        raise MagicError(f"{magic}: -s needs the text of a system message; use --new to start without one.")
    if parsed["conversation"] is not None and not parsed["conversation"].strip():
        raise MagicError(f"{magic}: -c needs the name of a conversation.")
    _check_display(parsed, magic)
    if len(parsed["stop"] or ()) > _MAX_STOPS:
        raise MagicError(f"{magic}: --stop can be given {_MAX_STOPS} times at most, not {len(parsed['stop'])}.")
    _check_params(parsed, magic)


def _check_display(parsed: Parsed, magic: str) -> None:
    if parsed["quiet"] and parsed["format"] in {"markdown", "text", "html", "tokens"}:
        raise MagicError(f"{magic}: --quiet shows nothing, so -f {parsed['format']} would have no effect.")
    if parsed["quiet"] and parsed["dry_run"]:
        raise MagicError(f"{magic}: --dry-run only shows, and --quiet shows nothing; give one of them.")
    if parsed["schema"] and parsed["format"] not in {None, "json"}:
        raise MagicError(f"{magic}: --schema answers in JSON, so -f {parsed['format']} contradicts it.")


def _check_params(parsed: Parsed, magic: str) -> None:
    _refuse_duplicates("--tag", [key for key, _ in parsed["tags"] or ()], magic)
    _refuse_duplicates("-p", [name for name, _ in parsed["params"] or ()], magic)
    for name, _ in parsed["params"] or ():
        if name in NOT_PARAMETERS:
            raise MagicError(f"{magic}: {name} is not a parameter of the model; use {NOT_PARAMETERS[name]}.")
        if parsed[name] is not None and name in _FLAG_OF:
            raise MagicError(f"{magic}: {_FLAG_OF[name]} and -p {name} set the same parameter; give one of them.")


def _refuse_duplicates(flag: str, names: list[str], magic: str) -> None:
    for name in names:
        if names.count(name) > 1:
            raise MagicError(f"{magic} was given {flag} {name} twice.")


def build_request(
    parsed: Parsed,
    defaults: Mapping[str, Any],
    prompt: str,
    variables: Mapping[str, Any],
    provenance: Provenance,
    key: str | None,
) -> PreparedRequest:
    """Return the request; nothing is sent yet."""
    from dataclasses import replace

    from ipyllm.conversations.history import conversation
    from ipyllm.registry.models import create_llm_service

    name = parsed["conversation"] or defaults.get("conversation") or "default"
    history = conversation(name, tell=not parsed["new"]) if parsed["history"] is not False else None
    options = request_options(parsed, defaults, variables)
    message = user_message(prompt, parsed["image"] or (), variables)
    service = create_llm_service(parsed["model"])
    retirement = service.retirement_note()
    system = new_system(parsed, defaults, history)
    before: list[Message] = []
    note = None
    if history is not None and not parsed["new"]:
        before, note = history.preceding(
            [*system_messages(system), message],
            service.context_window,
            before=key,
            max_tokens=max_answer_tokens(options),
            model=service.full_name,
        )
    request = service.request(
        [message],
        conversation_history=before,
        system=system,
        provenance=replace(provenance, conversation=None if history is None else name),
        **options,
    )
    notes = " ".join(text for text in (retirement, note) if text)
    return PreparedRequest(service, request, message, system, name, history, key, notes or None)


def user_message(prompt: str, images: Any, variables: Mapping[str, Any]) -> Message:
    """Return the prompt as a message, with its images."""
    if not images:
        return {"role": "user", "content": prompt}
    from ipyllm_magics.prompt.images import image_part

    parts = [image_part(image, variables) for image in images]
    return {"role": "user", "content": [{"type": "text", "text": prompt}, *parts]}


def system_messages(text: str | None) -> list[Message]:
    """Return a list with the system message, empty if there is none."""
    return [] if text is None else [{"role": "system", "content": text}]


def request_options(parsed: Parsed, defaults: Mapping[str, Any], variables: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of ``service.request`` besides the messages: those of the line and of the notebook."""
    return {
        "tags": {**defaults.get("tags", {}), **dict(parsed["tags"] or ())},
        "timeout": parsed["timeout"],
        "cache": parsed["cache"],
        "retry_after_text": True if parsed["quiet"] else None,  # where nobody sees the answer before its end
        "tools": resolve_tools(parsed["tools"] or (), variables),
        "schema": resolve_schema(parsed["schema"], variables) if parsed["schema"] else None,
        **({"logprobs": _ALTERNATIVES} if parsed["format"] == "tokens" else {}),
        **dict(parsed["params"] or ()),
        **{name: parsed[name] for name in _FLAG_OF if parsed[name] is not None},
        "notebook_options": _notebook_options(defaults),
    }


def _notebook_options(defaults: Mapping[str, Any]) -> CallOptions:
    from ipyllm.request import CallOptions
    from ipyllm.timeout import Timeout

    sampling = {name: defaults[name] for name in _FLAG_OF if defaults.get(name) is not None}
    if defaults.get("format") == "tokens":
        sampling = {"logprobs": _ALTERNATIVES, **sampling}
    timeout = defaults.get("timeout")
    return CallOptions(
        {**defaults.get("params", {}), **sampling},
        None if timeout is None else Timeout.of(timeout),
        cache=defaults.get("cache"),
    )


def max_answer_tokens(options: Mapping[str, Any]) -> int | None:
    """Return ``max_tokens`` of the line, else of the notebook."""
    tokens = options.get("max_tokens", options["notebook_options"].params.get("max_tokens"))
    return tokens if isinstance(tokens, int) else None


def new_system(parsed: Parsed, defaults: Mapping[str, Any], history: ConversationHistory | None) -> str | None:
    """Return the new system message; the notebook's default is only for conversations without one."""
    if parsed["system"] is not None:
        return str(parsed["system"])
    has_one = history is not None and history.system is not None and not parsed["new"]
    return None if has_one else defaults.get("system")
