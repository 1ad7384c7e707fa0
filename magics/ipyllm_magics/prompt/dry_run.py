"""Describes a request for ``--dry-run``: the receiver, the parameters, the messages, the tokens and the highest cost.

For ``%%llm_compare`` it describes a request for each arm; what they have in common is listed once.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from ipyllm.conversations.tokens import estimate, estimate_messages
from ipyllm.pipeline.tool_loop import first_request
from ipyllm.text.format import count, money
from ipyllm.text.redact import redact
from ipyllm.text.terminal import strip_control_sequences

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from ipyllm import Comparison
    from ipyllm.messages import Message
    from ipyllm.request import ChatRequest
    from ipyllm.services.base import BaseLLMService
    from ipyllm_magics.prompt.request_builder import PreparedRequest

__all__ = ["describe", "describe_comparison"]

_PER_ARM = {"to", "tokens", "cost"}


def describe(prepared: PreparedRequest, output_format: str, output: str | None, *, new: bool) -> str:
    """Return the page that ``--dry-run`` prints; ``new`` means that the conversation would be cleared first."""
    rows = [*_rows(prepared.service, prepared.request)]
    rows.append(("then", ", ".join(_next_steps(prepared, output_format, output, new=new))))
    rows.append(("note", prepared.note or ""))
    return _join("Nothing was sent. The request would be:", _table(rows), _messages(prepared.request))


def describe_comparison(
    comparison: Comparison, output_format: str, output: str | None, conversation: str | None, note: str | None
) -> str:
    """Return the page that ``--dry-run`` prints for a comparison; the note is about turns that do not fit."""
    arms = comparison.arms
    rows = [dict(_rows(arm.service, arm.request)) for arm in arms]
    common = [name for name in rows[0] if name not in _PER_ARM and all(row[name] == rows[0][name] for row in rows)]
    blocks = [
        f"{arm.mark} · {arm.label}\n{_table((name, value) for name, value in row.items() if name not in common)}"
        for arm, row in zip(arms, rows, strict=True)
    ]
    then = [f"the answers are shown side by side as {output_format}"]
    then += [f"stored in {output} and _llm_compare"] if output else []
    then += [] if conversation is None else [f"not added to the conversation {conversation!r}"]
    shared = [(name, rows[0][name]) for name in common]
    shared += [("total cost", _total_cost(comparison)), ("then", ", ".join(then)), ("note", note or "")]
    marks_by_text: dict[str, list[str]] = {}
    for arm in arms:
        marks_by_text.setdefault(_messages(arm.request), []).append(arm.mark)
    messages = [
        text if len(marks_by_text) == 1 else f"── to {', '.join(marks)} ──\n\n{text}"
        for text, marks in marks_by_text.items()
    ]
    first = f"Nothing was sent. The requests to {len(arms)} arms would be:"
    return _join(first, *blocks, f"for all\n{_table(shared)}", *messages)


def _join(*parts: str) -> str:
    return strip_control_sequences(redact("\n\n".join(parts)))


def _table(rows: Iterable[tuple[str, str]]) -> str:
    filled = [(name, value) for name, value in rows if value]
    width = max(len(name) for name, _ in filled) + 2
    return "\n".join(f"  {name:<{width}}{value}" for name, value in filled)


def _messages(request: ChatRequest) -> str:
    return "\n\n".join(f"{message['role']}: {_content(message)}" for message in request.messages)


def _rows(service: BaseLLMService, request: ChatRequest) -> Iterator[tuple[str, str]]:
    yield "to", f"{service.full_name}{_at_host(service)}"
    yield "parameters", ", ".join(f"{name} {_json(value)}" for name, value in request.params.items())
    yield "not applied", ", ".join(request.not_applied)
    tools = [f"{tool.name}({', '.join(tool.parameters.get('properties', {}))})" for tool in request.tools.values()]
    yield "tools", ", ".join(tools)
    yield "schema", _json(request.schema.json_schema) if request.schema is not None else ""
    yield "limits", _limits(request)
    yield "cache", "may answer" if _cache_may_answer(request) else ""
    # The tag of a comparison differs each time.
    tags = {key: value for key, value in request.provenance.tags.items() if key != "comparison"}
    yield "tags", ", ".join(f"{key}={value}" for key, value in tags.items())
    yield "tokens", _tokens(service, request)
    yield "cost", _cost(service, request)


def _at_host(service: BaseLLMService) -> str:
    try:
        return f" at {service.address().host}"
    except NotImplementedError:  # an embedded model that is not loaded, a route that has not chosen
        return ""


def _limits(request: ChatRequest) -> str:
    limit, cost = request.timeout, request.max_cost_usd
    waits = ((limit.first_token, "to the first token"), (limit.stall, "without new data"), (limit.total, "in total"))
    limits = [f"{seconds:g} s {what}" for seconds, what in waits if seconds is not None]
    limits.append(count(request.max_retries, "retry", "retries"))
    limits += [money(cost)] if cost is not None else []
    return ", ".join(limits)


def _cache_may_answer(request: ChatRequest) -> bool:
    from ipyllm.settings import get_settings

    return get_settings().cache if request.cache is None else request.cache


def _max_output_tokens(request: ChatRequest) -> int | None:
    found = request.params.get("max_completion_tokens", request.params.get("max_tokens"))
    return found if isinstance(found, int) else None


def _prompt_tokens(request: ChatRequest) -> int:
    tools = sum(estimate(_json(tool.as_openai())) for tool in request.tools.values())
    schema = estimate(_json(request.schema.json_schema)) if request.schema is not None else 0
    return estimate_messages(request.messages) + tools + schema


def _tokens(service: BaseLLMService, request: ChatRequest) -> str:
    window, longest = service.context_window(), _max_output_tokens(request)
    text = f"at most {_prompt_tokens(request):,} to send (upper estimate)"
    text += f", {longest:,} to receive" if longest is not None else ""
    return text + (f", context window {window:,}" if window is not None else ", context window unknown")


def _cost(service: BaseLLMService, request: ChatRequest) -> str:
    highest = _highest_cost(service, request)
    if isinstance(highest, str):
        return highest
    per = " per request" if request.tools or request.schema is not None else ""
    return f"at most {money(highest)}{per}" if highest else "free"


def _highest_cost(service: BaseLLMService, request: ChatRequest) -> float | str:
    """Return the highest cost of one request, in US dollars, or why it is not known."""
    try:
        address = service.address()
    except NotImplementedError:
        from ipyllm.services.local import LocalService

        return 0.0 if isinstance(service, LocalService) else "depends on the service that the route chooses"
    highest = service.max_cost(first_request(request), address, datetime.now(UTC))
    return "unknown" if highest is None else highest


def _total_cost(comparison: Comparison) -> str:
    highest = [_highest_cost(arm.service, arm.request) for arm in comparison.arms]
    known = [each for each in highest if not isinstance(each, str)]
    unknown = len(highest) - len(known)
    if not known:
        return "unknown"
    total = sum(known)
    if unknown and not total:
        return f"unknown for {unknown} of {len(highest)} arms, free for the others"
    repeated = any(arm.request.tools or arm.request.schema is not None for arm in comparison.arms)
    text = f"at most {money(total)}{' for one request to each arm' if repeated else ''}" if total else "free"
    return text + (f", plus the unknown cost of {unknown} of {len(highest)} arms" if unknown else "")


def _next_steps(prepared: PreparedRequest, output_format: str, output: str | None, *, new: bool) -> Iterator[str]:
    yield f"the answer is shown as {output_format}"
    if output:
        yield f"stored in {output}"
    if prepared.history is None:
        yield "not added to a conversation"
        return
    sent = prepared.request.messages
    earlier = len(sent) - 1 - (bool(sent) and sent[0]["role"] in {"system", "developer"})
    state = "cleared first" if new else count(earlier, "earlier message")
    yield f"added to the conversation {prepared.name!r} ({state})"


def _content(message: Message) -> str:
    content = message.get("content")
    if not isinstance(content, list):
        return str(content or _json(message.get("tool_calls")))
    return "\n".join(part["text"] if "text" in part else _image(part) for part in content)


def _image(part: dict[str, Any]) -> str:
    url = str(part.get("image_url", {}).get("url", ""))
    if not url.startswith("data:"):
        return f"[image at {url}]"
    header, _, body = url.partition(",")
    return f"[image: {header.removeprefix('data:').partition(';')[0]}, {len(body) * 3 / 4 / 1000:,.1f} kB]"


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)
