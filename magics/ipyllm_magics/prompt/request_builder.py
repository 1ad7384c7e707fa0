"""From the options of ``%%llm`` and a prompt to what is sent, and where it belongs in the conversation.

An option on the line comes first, then ``%config LLMMagics.…``, then the settings.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ipyllm_magics.command_line import resolve_names
from ipyllm_magics.errors import MagicError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ipyllm.conversations.history import ConversationHistory
    from ipyllm.messages import Message
    from ipyllm.request import ChatRequest, Provenance
    from ipyllm.services.base import BaseLLMService
    from ipyllm_magics.command_line.options import Parsed

__all__ = [
    "NOT_PARAMETERS",
    "Question",
    "check_together",
    "make",
    "message_of",
    "new_system",
    "options_for_all",
    "system_of",
]

_OWN_OPTION = {
    "temperature": "-t",
    "max_tokens": "--max-tokens",
    "top_p": "--top-p",
    "seed": "--seed",
    "stop": "--stop",
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
}
_STOPS = 4  # OpenAI takes no more


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked, of whom, and where it belongs.

    Attributes
    ----------
    service : BaseLLMService
        Whom to ask.
    request : ChatRequest
        What is sent.
    message : Message
        The question as the conversation keeps it.
    system : str or None
        What becomes the conversation's system message.
    name : str
        Of the conversation.
    history : ConversationHistory or None
        The conversation; None with ``--no-history``.
    key : str or None
        Of this turn in it.
    note : str or None
        What to say of older turns that do not fit the window.
    """

    service: BaseLLMService
    request: ChatRequest
    message: Message
    system: str | None
    name: str
    history: ConversationHistory | None
    key: str | None
    note: str | None


def check_together(asked: Parsed, magic: str) -> None:
    """Refuse options that make no sense together, instead of ignoring one.

    Raises
    ------
    MagicError
        One sentence that names both.
    """
    for other in ("new", "conversation"):
        if asked["history"] is False and asked[other] is not None:
            raise MagicError(f"{magic}: --no-history and --{other} contradict each other; give one of them.")
    if asked["system"] is not None and not asked["system"].strip():
        raise MagicError(f"{magic}: -s needs the text of a system message; --new begins without one.")
    if asked["conversation"] is not None and not asked["conversation"].strip():
        raise MagicError(f"{magic}: -c needs the name of a conversation.")
    _check_shown(asked, magic)
    if len(asked["stop"] or ()) > _STOPS:
        raise MagicError(f"{magic}: --stop can be given {_STOPS} times at most, not {len(asked['stop'])}.")
    _check_params(asked, magic)


def _check_shown(asked: Parsed, magic: str) -> None:
    if asked["quiet"] and asked["format"] in {"markdown", "text", "html"}:
        raise MagicError(f"{magic}: --quiet shows nothing, so -f {asked['format']} would have no effect.")
    if asked["quiet"] and asked["dry_run"]:
        raise MagicError(f"{magic}: --dry-run only shows, and --quiet shows nothing; give one of them.")
    if asked["schema"] and asked["format"] not in {None, "json"}:
        raise MagicError(f"{magic}: --schema answers in JSON, so -f {asked['format']} contradicts it.")


def _check_params(asked: Parsed, magic: str) -> None:
    _once("--tag", [key for key, _ in asked["tags"] or ()], magic)
    _once("-p", [name for name, _ in asked["params"] or ()], magic)
    for name, _ in asked["params"] or ():
        if name in NOT_PARAMETERS:
            raise MagicError(f"{magic}: {name} is no parameter of the model; write {NOT_PARAMETERS[name]}.")
        if asked[name] is not None and name in _OWN_OPTION:
            raise MagicError(f"{magic}: {_OWN_OPTION[name]} and -p {name} say the same; give one of them.")


def _once(flag: str, names: list[str], magic: str) -> None:
    for name in names:
        if names.count(name) > 1:
            raise MagicError(f"{magic} was given {flag} {name} twice.")


def make(
    asked: Parsed,
    defaults: Mapping[str, Any],
    prompt: str,
    variables: Mapping[str, Any],
    provenance: Provenance,
    key: str | None,
) -> Question:
    """Return the question; nothing is sent yet.

    Parameters
    ----------
    asked : Parsed
        The options of the line, checked by :func:`check_together`.
    defaults : mapping
        Those of the notebook, by the same names.
    prompt : str
        Its template filled in.
    variables : mapping
        The user's, for ``--schema``, ``--tools`` and ``--image``.
    provenance : Provenance
        Where the call comes from; its conversation is set here.
    key : str or None
        Of this turn in the conversation.

    Raises
    ------
    MagicError, LLMError
        One sentence: what is missing or wrong.
    """
    from dataclasses import replace

    from ipyllm.conversations.history import conversation
    from ipyllm.registry.models import create_llm_service

    name = asked["conversation"] or defaults.get("conversation") or "default"
    history = conversation(name) if asked["history"] is not False else None
    options = options_for_all(asked, defaults, variables)
    message = message_of(prompt, asked["image"] or (), variables)
    service = create_llm_service(asked["model"])
    system = new_system(asked, defaults, history)
    before: list[Message] = []
    note = None
    if history is not None and not asked["new"]:
        before, note = history.preceding(
            [*system_of(system), message],
            service.context_window,
            before=key,
            max_tokens=options.get("max_tokens"),
            model=service.full_name,
        )
    request = service.request(
        [message],
        conversation_history=before,
        system=system,
        provenance=replace(provenance, conversation=None if history is None else name),
        **options,
    )
    return Question(service, request, message, system, name, history, key, note)


def message_of(prompt: str, images: Any, variables: Mapping[str, Any]) -> Message:
    """Return the question as a message, with its pictures."""
    if not images:
        return {"role": "user", "content": prompt}
    from ipyllm_magics.prompt.images import image_part

    pictures = [image_part(image, variables) for image in images]
    return {"role": "user", "content": [{"type": "text", "text": prompt}, *pictures]}


def system_of(text: str | None) -> list[Message]:
    """Return a system message to be counted with a question; none where there is no new one."""
    return [] if text is None else [{"role": "system", "content": text}]


def options_for_all(asked: Parsed, defaults: Mapping[str, Any], variables: Mapping[str, Any]) -> dict[str, Any]:
    """Return what ``service.request`` takes besides the messages: of the line, then of the notebook."""
    return {
        "tags": {**defaults.get("tags", {}), **dict(asked["tags"] or ())},
        "timeout": asked["timeout"] or defaults.get("timeout"),
        "cache": asked["cache"] if asked["cache"] is not None else defaults.get("cache"),
        "tools": resolve_names.tools(asked["tools"] or (), variables),
        "schema": resolve_names.schema(asked["schema"], variables) if asked["schema"] else None,
        **_parameters(asked, defaults),
    }


def _parameters(asked: Parsed, defaults: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters of the model: of the line, then of the notebook; each by its own option or by -p."""
    given = dict(asked["params"] or ()) | {name: asked[name] for name in _OWN_OPTION if asked[name] is not None}
    own = {name: defaults[name] for name in _OWN_OPTION if defaults.get(name) is not None}
    return {**defaults.get("params", {}), **own, **given}


def new_system(asked: Parsed, defaults: Mapping[str, Any], history: ConversationHistory | None) -> str | None:
    """Return the system message that is new; the notebook's is only for conversations that have none."""
    if asked["system"] is not None:
        return str(asked["system"])
    has_one = history is not None and history.system is not None and not asked["new"]
    return None if has_one else defaults.get("system")
