"""``--dry-run``: what would be sent, to whom, how long it is and what it may cost, as a person reads it.

For ``%%llm`` it is one request, for ``%%llm_compare`` one for every arm; what they have in common is said once.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from ipyllm.conversations.tokens import estimate, estimate_messages
from ipyllm.text.redact import redact
from ipyllm.text.terminal import plain

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from ipyllm import Comparison
    from ipyllm.messages import Message
    from ipyllm.request import ChatRequest
    from ipyllm.services.base import BaseLLMService
    from ipyllm_magics.prompt.request_builder import Question

__all__ = ["describe", "describe_comparison"]

_EACH_ARMS_OWN = {"to", "tokens", "cost"}


def describe(made: Question, form: str, output: str | None, *, anew: bool) -> str:
    """Return the page that ``--dry-run`` prints.

    Parameters
    ----------
    made : Question
        What would be asked.
    form : str
        How the answer would be shown.
    output : str or None
        Variable that would take it.
    anew : bool
        Whether the conversation would be begun anew.
    """
    rows = [*_rows(made.service, made.request), ("then", ", ".join(_then(made, form, output, anew=anew)))]
    rows.append(("note", made.note or ""))
    return _page("Nothing was sent. This would be:", _listed(rows), _messages(made.request))


def describe_comparison(
    comparison: Comparison, form: str, output: str | None, conversation: str | None, note: str | None
) -> str:
    """Return the page that ``--dry-run`` prints for a comparison that was made and not started.

    Parameters
    ----------
    comparison : Comparison
        What would be asked.
    form : str
        How the answers would be shown.
    output : str or None
        Variable that would take the table.
    conversation : str or None
        Name of the conversation that all arms go on from.
    note : str or None
        What to say of its turns that do not fit.
    """
    arms = comparison.arms
    rows = [dict(_rows(arm.service, arm.request)) for arm in arms]
    common = [
        name for name in rows[0] if name not in _EACH_ARMS_OWN and all(row[name] == rows[0][name] for row in rows)
    ]
    blocks = [
        f"{arm.mark} · {arm.label}\n{_listed((name, value) for name, value in row.items() if name not in common)}"
        for arm, row in zip(arms, rows, strict=True)
    ]
    then = [f"the answers are shown side by side as {form}", f"kept in {output} and _llm_compare" if output else ""]
    then.append("" if conversation is None else f"not added to the conversation {conversation!r}")
    shared = [(name, rows[0][name]) for name in common]
    shared += [("cost in all", _in_all(comparison)), ("then", ", ".join(filter(None, then))), ("note", note or "")]
    told: dict[str, list[str]] = {}
    for arm in arms:
        told.setdefault(_messages(arm.request), []).append(arm.mark)
    messages = [text if len(told) == 1 else f"── to {', '.join(marks)} ──\n\n{text}" for text, marks in told.items()]
    first = f"Nothing was sent. This would be, to {len(arms)} arms:"
    return _page(first, *blocks, f"for all\n{_listed(shared)}", *messages)


def _page(*parts: str) -> str:
    return plain(redact("\n\n".join(parts)))


def _listed(rows: Iterable[tuple[str, str]]) -> str:
    told = [(name, value) for name, value in rows if value]
    width = max(len(name) for name, _ in told) + 2
    return "\n".join(f"  {name:<{width}}{value}" for name, value in told)


def _messages(request: ChatRequest) -> str:
    return "\n\n".join(f"{message['role']}: {_content(message)}" for message in request.messages)


def _rows(service: BaseLLMService, request: ChatRequest) -> Iterator[tuple[str, str]]:
    yield "to", f"{service.full_name}{_where(service)}"
    yield "parameters", ", ".join(f"{name} {_json(value)}" for name, value in request.params.items())
    yield "tools", ", ".join(_signature(tool) for tool in request.tools.values())
    yield "schema", _json(request.schema.json_schema) if request.schema is not None else ""
    yield "limits", _limits(request)
    yield "cache", "may answer" if _cache_may_answer(request) else ""
    # A comparison's own tag is another one each time it is made.
    tags = {key: value for key, value in request.provenance.tags.items() if key != "comparison"}
    yield "tags", ", ".join(f"{key}={value}" for key, value in tags.items())
    yield "tokens", _tokens(service, request)
    yield "cost", _cost(service, request)


def _where(service: BaseLLMService) -> str:
    try:
        return f" at {service.address().host}"
    except NotImplementedError:  # an embedded model before it is loaded, a route before it has chosen
        return ""


def _signature(tool: Any) -> str:
    return f"{tool.name}({', '.join(tool.parameters.get('properties', {}))})"


def _limits(request: ChatRequest) -> str:
    limit = request.timeout
    told = [f"{limit.stall:g} s of silence"] if limit.stall is not None else []
    told += [f"{limit.total:g} s in all"] if limit.total is not None else []
    told.append(f"{request.max_retries} {'retry' if request.max_retries == 1 else 'retries'}")
    told += [f"${request.max_cost_usd:g}"] if request.max_cost_usd is not None else []
    return ", ".join(told)


def _cache_may_answer(request: ChatRequest) -> bool:
    from ipyllm.settings import get_settings

    return get_settings().cache if request.cache is None else request.cache


def _longest_answer(request: ChatRequest) -> int | None:
    found = request.params.get("max_completion_tokens", request.params.get("max_tokens"))
    return found if isinstance(found, int) else None


def _question_tokens(request: ChatRequest) -> int:
    tools = sum(estimate(_json(tool.as_openai())) for tool in request.tools.values())
    schema = estimate(_json(request.schema.json_schema)) if request.schema is not None else 0
    return estimate_messages(request.messages) + tools + schema


def _tokens(service: BaseLLMService, request: ChatRequest) -> str:
    window, longest = service.context_window(), _longest_answer(request)
    told = f"at most {_question_tokens(request):,} to send (estimated from above)"
    told += f", {longest:,} to receive" if longest is not None else ""
    return told + (f", of a window of {window:,}" if window is not None else ", window unknown")


def _cost(service: BaseLLMService, request: ChatRequest) -> str:
    most = _most(service, request)
    if isinstance(most, str):
        return most
    per = " each time the model is asked" if request.tools or request.schema is not None else ""
    return f"at most ${most:.2g}{per}" if most else "free"


def _most(service: BaseLLMService, request: ChatRequest) -> float | str:
    """Return the highest cost of one request, in US dollars; or why that is not known."""
    try:
        address = service.address()
    except NotImplementedError:
        from ipyllm.services.local import LocalService

        return 0.0 if isinstance(service, LocalService) else "that of whom the route chooses"
    most = service.estimate_cost(address, _question_tokens(request), _longest_answer(request), datetime.now(UTC))
    return "unknown" if most is None else most


def _in_all(comparison: Comparison) -> str:
    most = [_most(arm.service, arm.request) for arm in comparison.arms]
    known = [each for each in most if not isinstance(each, str)]
    unknown = len(most) - len(known)
    if not known:
        return "unknown"
    told = f"at most ${sum(known):.2g}" if sum(known) else "free"
    several = any(arm.request.tools or arm.request.schema is not None for arm in comparison.arms)
    told += " each time the models are asked" if sum(known) and several else ""
    return told + (f", and what {unknown} of the {len(most)} arms cost, which is unknown" if unknown else "")


def _then(made: Question, form: str, output: str | None, *, anew: bool) -> Iterator[str]:
    yield f"the answer is shown as {form}"
    if output:
        yield f"kept in {output}"
    if made.history is None:
        yield "not remembered"
        return
    asked = made.request.messages
    earlier = len(asked) - 1 - (bool(asked) and asked[0]["role"] in {"system", "developer"})
    how = "begun anew" if anew else f"{earlier} earlier {'message' if earlier == 1 else 'messages'}"
    yield f"remembered in the conversation {made.name!r} ({how})"


def _content(message: Message) -> str:
    content = message.get("content")
    if not isinstance(content, list):
        return str(content or _json(message.get("tool_calls")))
    return "\n".join(part["text"] if "text" in part else _picture(part) for part in content)


def _picture(part: dict[str, Any]) -> str:
    url = str(part.get("image_url", {}).get("url", ""))
    if not url.startswith("data:"):
        return f"[picture at {url}]"
    header, _, body = url.partition(",")
    return f"[picture: {header.removeprefix('data:').partition(';')[0]}, {len(body) * 3 / 4 / 1000:,.1f} kB]"


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)
