"""Makes the arms of a comparison or an experiment, with their labels, and checks them before anything is sent."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from ipyllm.errors import bad_request
from ipyllm.registry.models import create_llm_service
from ipyllm.routing.route import Route
from ipyllm.services.base import BaseLLMService
from ipyllm.services.given_messages import given_message
from ipyllm.services.local import LocalService
from ipyllm.text.format import count, shorten
from ipyllm.text.surrogates import replace_surrogates
from ipyllm.validate import refuse_table

if TYPE_CHECKING:
    from random import Random

    from ipyllm.messages import Message
    from ipyllm.request import ChatRequest

__all__ = ["Arm", "canonical_json", "make_arms", "named_variants", "with_histories"]

_MAX_VALUE_CHARS = 24
_SEPARATOR = " · "


@dataclass(frozen=True, slots=True)
class Arm:
    """One thing that is compared: a model with parameters, a system prompt and a template."""

    label: str  # short, readable, unique among the arms
    mark: str  # A, B, …: names the arm while its label is hidden
    model: str  # full name, service/model
    service: BaseLLMService
    given: str | BaseLLMService  # the model as the user gave it, which can be sent to another process
    request: ChatRequest  # shared by all its calls
    server: str = ""  # the model, with its address where another arm has the same model elsewhere
    variant: str = ""  # name of its template, if there are several

    @property
    def full_label(self) -> str:
        """The label with the model's full name, independent of the other arms. Votes are stored under it."""
        if self.label.startswith(self.model):
            return self.label
        return self.model + self.label.removeprefix(_without_service(self.model))

    @property
    def system(self) -> str | None:
        """The system prompt."""
        first = self.request.messages[0] if self.request.messages else {}
        return first["content"] if first.get("role") == "system" else None

    @property
    def params(self) -> Mapping[str, Any]:
        """The parameters, including the service's defaults."""
        return self.request.params

    def identity(self) -> dict[str, Any]:
        """Return all that may change its answers, as JSON's values: two arms with the same identity are one."""
        request = self.request
        parts = {
            "service": self.service.identity(),
            "params": _json_value(self.params),
            "messages": list(request.messages),
            "headers": request.headers.with_defaults(self.service.headers()).digest(),
            "tools": [tool.as_openai() for tool in request.tools.values()],
            "schema": request.schema and [request.schema.json_schema, request.repairs],
        }
        return {name: value for name, value in parts.items() if value}

    def earlier_identity(self) -> list[Any]:
        """Return the identity of versions before 5 of the ledger: of an address only the host, if the call gave it."""
        headers = self.request.headers.with_defaults(self.service.headers()).digest()
        given = None if isinstance(self.service, Route | LocalService) else self.service._base_url  # noqa: SLF001
        host = None if given is None else urlsplit(self.service.base_url()).netloc.rpartition("@")[2]
        return [self.model, host, _json_value(self.params), self.system, *filter(None, [headers])]

    @property
    def is_in_earlier_identity(self) -> bool:
        """Whether the earlier identity has all of it: it left out tools, schema and messages but the system prompt."""
        request = self.request
        return not request.tools and request.schema is None and len(request.messages) == (self.system is not None)

    def addresses(self) -> set[str | None]:
        """Return the addresses that may answer it; None among them stands for one that is known only in a call."""
        return _addresses_of(self.service)

    def with_history(self, messages: Iterable[Message]) -> Arm:
        """Return the arm with earlier messages of its own between its system prompt and its prompt."""
        own, n_system = self.request.messages, int(self.system is not None)
        earlier = (given_message(message, self.model) for message in messages)
        return replace(self, request=replace(self.request, messages=(*own[:n_system], *earlier, *own[n_system:])))

    def with_tags(self, **tags: str) -> Arm:
        """Return the arm with further tags of its calls."""
        provenance = self.request.provenance
        tagged = replace(provenance, tags={**provenance.tags, **tags})
        return replace(self, request=replace(self.request, provenance=tagged))

    def after(self, messages: Sequence[Message]) -> Arm:
        """Return the arm with further messages before each prompt."""
        return replace(self, request=replace(self.request, messages=(*self.request.messages, *messages)))


def make_arms(
    models: Any,
    params: Any = None,
    system: Any = None,
    *,
    prompt: str | Iterable[Message] | Mapping[str, str | Iterable[Message]] | None = None,
    variants: Iterable[str] = ("",),
    shuffle: Random | None = None,
    **options: Any,
) -> tuple[Arm, ...]:
    """Make and check an arm for each model with each parameter set, system prompt and template; labels are unique.

    ``params`` and ``system`` are one value, a list, or a mapping of names, which become part of the labels, to values.
    ``prompt`` is given if all calls of an arm have the same one: for all arms, or by name of the variant. Without it,
    ``variants`` are the names of the templates. ``shuffle`` puts the arms in a random order. ``options`` are those of
    ``chat``, for every call; a parameter set overrides them.

    Raises
    ------
    LLMError
        An invalid model, parameter or system prompt, or two arms that are the same.
    """
    refuse_table(prompt)
    given = _model_list(models)
    services = [_service(model) for model in given]
    questions = [(variant, "?") for variant in variants] if prompt is None else _questions(prompt)
    arms: list[Arm] = []
    seen: set[str] = set()
    for (model, service, name, server), (param_set, set_label), (text, system_label), (variant, question) in product(
        zip(given, services, _model_labels(services), _servers(services), strict=True),
        _with_labels(params, "params", Mapping),
        _with_labels(system, "system", str),
        questions,
    ):
        request = service.request(question, **{"system": text, **options, **(param_set or {})})
        if prompt is None:
            request = replace(request, messages=request.messages[:-1])
        if variant:
            request = replace(request, provenance=replace(request.provenance, variant=variant))
        label = _SEPARATOR.join(part for part in (name, set_label, system_label, variant) if part)
        arm = Arm(label, "", service.full_name, service, model, request, server, variant)
        # An experiment recognizes its calls by the identity alone.
        other_options = {} if prompt is None else {n: v for n, v in (param_set or {}).items() if n not in arm.params}
        key = canonical_json([arm.identity(), _json_value(other_options), variant])
        if key in seen:
            advice = (
                "use repeats=… to send the same prompt several times"
                if prompt is None
                else "give them different parameters"
            )
            raise bad_request(
                f"Two arms are the same: {arm.model} with {dict(arm.params) or 'no parameters'}; "
                f"name each model once, or {advice}."
            )
        seen.add(key)
        arms.append(arm)
    labels = _unique([arm.label for arm in arms])
    arms = [replace(arm, label=label) for arm, label in zip(arms, labels, strict=True)]
    if shuffle is not None:
        shuffle.shuffle(arms)
    return tuple(replace(arm, mark=_mark(index)) for index, arm in enumerate(arms))


def with_histories(
    arms: Iterable[Arm], models: Sequence[str | BaseLLMService], histories: Sequence[Iterable[Message]]
) -> tuple[Arm, ...]:
    """Return the arms, each with the earlier messages of its model, which ``histories`` has in the order of ``models``.

    Raises
    ------
    LLMError
        There are not as many histories as models.
    """
    if len(histories) != len(models):
        raise bad_request(f"histories has those of {count(len(histories), 'model')}, but there are {len(models)}.")
    places = {id(model): place for place, model in enumerate(models)}
    return tuple(arm.with_history(histories[places[id(arm.given)]]) for arm in arms)


def named_variants(given: Any, parameter: str) -> dict[str, Any]:
    """Return the variants of a prompt by name; of a single one without a name, the name is empty.

    ``given`` is a text or None, a list of these, named ``v1``, ``v2`` and so on, or a mapping of names to these.

    Raises
    ------
    LLMError
        ``bad_request``: no text, a name that is empty or given twice, or two variants that are the same.

    Examples
    --------
    >>> named_variants(["Classify: {{ text }}", "Positive or negative? {{ text }}"], "template")
    {'v1': 'Classify: {{ text }}', 'v2': 'Positive or negative? {{ text }}'}
    """
    items = _with_labels(given, parameter, str)
    names = [name for _, name in items]
    if isinstance(given, Mapping) and not all(name.strip() and name.isprintable() for name in names):
        raise bad_request(f"The name of a {parameter} must be a line of text, not {next(iter(given))!r}.")
    if repeated := [name for name, n in Counter(names).items() if n > 1]:
        raise bad_request(f"There are two {parameter}s with the name {repeated[0]!r}: rename one.")
    name_of: dict[Any, str] = {}
    for text, name in items:
        if text in name_of:
            raise bad_request(
                f"The {parameter}s {name_of[text]!r} and {name!r} are the same: remove one. For several answers to "
                "each prompt, use repeats=…."
            )
        name_of[text] = name
    return {name: text for text, name in items}


def _questions(prompt: str | Iterable[Message] | Mapping[str, str | Iterable[Message]]) -> list[tuple[str, Any]]:
    """Return the prompts with the names of their variants; of a single one, the name is empty."""
    if not isinstance(prompt, Mapping):
        return [("", _question(prompt))]
    if {"role", "content"} <= prompt.keys():
        raise bad_request("prompt is one message: give a list of messages, or a mapping of names to prompts.")
    asked = {name: _question(text) for name, text in prompt.items()}
    as_text = {name: text if isinstance(text, str) else canonical_json(text) for name, text in asked.items()}
    return [(name, asked[name]) for name in named_variants(as_text, "prompt")]


def _question(prompt: Any) -> Any:
    if isinstance(prompt, bytes) or not isinstance(prompt, Iterable):
        kind = type(prompt).__name__
        raise bad_request(f"A prompt is text, or a list of messages; prompt may have some by name. {kind} is neither.")
    return prompt if isinstance(prompt, str) else list(prompt)


def _model_list(models: Any) -> list[Any]:
    given = [models] if isinstance(models, str | BaseLLMService) else models
    if not isinstance(given, Iterable) or not (given := list(given)):
        raise bad_request("There is no model to ask: models is a list of names such as 'ollama/llama3.2', or services.")
    return given


def _service(model: Any) -> BaseLLMService:
    if isinstance(model, BaseLLMService):
        return model
    if not isinstance(model, str):
        raise bad_request(f"A model is a name like 'openai/gpt-6-luna' or a service, not {type(model).__name__}.")
    return create_llm_service(model)


def _servers(services: Sequence[BaseLLMService]) -> list[str]:
    """Return the model of each service, with the address where the same model is at several."""
    known = {(service.full_name, service.public_address()) for service in services}
    n_addresses = Counter(name for name, _ in known)
    return [
        f"{service.full_name} at {service.public_address()}"
        if n_addresses[service.full_name] > 1
        else service.full_name
        for service in services
    ]


def _addresses_of(service: BaseLLMService) -> set[str | None]:
    """Return the addresses that may answer; None among them stands for one that is known only in a call."""
    if isinstance(service, Route):
        return {address for member in service._arms() for address in _addresses_of(member)}  # noqa: SLF001 - ours
    return {service.public_address()}


def _shown_addresses(services: Sequence[BaseLLMService]) -> list[str]:
    """Return of each address as much as tells it from those of the same model: nothing, host, path, or all of it."""
    shown = []
    for service in services:
        own = service.public_address() or ""
        others = {other.public_address() or "" for other in services if other.full_name == service.full_name} - {own}
        lengths = (_host_of, _without_scheme) if own else ()
        shown.append(next((cut(own) for cut in lengths if cut(own) not in map(cut, others)), own) if others else "")
    return shown


def _host_of(address: str) -> str:
    return urlsplit(address).netloc


def _without_scheme(address: str) -> str:
    return address.partition("://")[2].partition("?")[0]


def _with_labels(given: Any, parameter: str, kind: type) -> list[tuple[Any, str]]:
    """Return each value of ``given`` with its part of the label, which is empty for a single value."""
    if given is None or isinstance(given, kind):
        named = isinstance(given, Mapping) and bool(given) and all(isinstance(v, Mapping) for v in given.values())
        if not named:
            return [(given, "")]
    if isinstance(given, Mapping):
        items = [(value, str(name)) for name, value in given.items()]
    elif isinstance(given, Iterable) and not isinstance(given, str):
        values = list(given)
        items = list(zip(values, _value_labels(values, parameter), strict=True))
    else:
        items = []
    if not items or not all(value is None or isinstance(value, kind) for value, _ in items):
        wanted = "a dict of parameters, or a list of them" if kind is Mapping else "a string, or a list of strings"
        raise bad_request(f"{parameter} must be {wanted}, not {shorten(str(given), 80)!r}.")
    return items if len(items) > 1 or isinstance(given, Mapping) else [(items[0][0], "")]


def _value_labels(given: Sequence[Any], parameter: str) -> list[str]:
    if parameter not in {"params", "system"}:
        return [f"v{number}" for number in range(1, len(given) + 1)]
    if parameter == "system":
        numbers = iter(range(1, len(given) + 1))
        return ["no system" if value is None else f"system {next(numbers)}" for value in given]
    sets = [dict(value) if isinstance(value, Mapping) else {} for value in given]
    names = list(dict.fromkeys(name for one in sets for name in one))
    differing = [name for name in names if len({canonical_json(_json_value(one.get(name))) for one in sets}) > 1]
    return [", ".join(f"{name}={_value(name, one)}" for name in differing if name in one) or "default" for one in sets]


def _value(name: str, params: Mapping[str, Any]) -> str:
    """Return a value as it is shown; of headers, whose values may be keys, and of tools, only the names."""
    value = params[name]
    if name == "tools" and isinstance(value, Iterable):
        from ipyllm.tools import tools_by_name

        return _short(", ".join(tools_by_name(value)) or "none")
    if name == "schema" and value is not None:
        from ipyllm.structured import Schema

        return _short(Schema.of(value).name)
    if name == "conversation_history" and isinstance(value, Iterable):
        return count(len(list(value)), "message")
    return _short(", ".join(map(str, value)) if name == "extra_headers" and isinstance(value, Mapping) else value)


def _model_labels(services: Sequence[BaseLLMService]) -> list[str]:
    """Return the models' names, with service, host and own parameters where these are needed to distinguish them."""
    full = [service.full_name for service in services]
    short = [_without_service(name) for name in full]
    labels = short if len(set(short)) == len(set(full)) else full
    if len(set(full)) < len(full):
        shown = _shown_addresses(services)
        labels = [f"{label} @ {address}" if address else label for label, address in zip(labels, shown, strict=True)]
        param_labels = _value_labels([service.params for service in services], "params")
        label_counts = Counter(labels)
        labels = [
            f"{label}{_SEPARATOR}{params}" if label_counts[label] > 1 else label
            for label, params in zip(labels, param_labels, strict=True)
        ]
    return labels


def _without_service(name: str) -> str:
    return name.partition("/")[2] or name


def _unique(labels: Sequence[str]) -> list[str]:
    seen: Counter[str] = Counter()
    found = []
    for label in labels:
        seen[label] += 1
        found.append(label if seen[label] == 1 else f"{label} #{seen[label]}")
    return found


def _short(value: Any) -> str:
    return shorten(value if isinstance(value, str) else canonical_json(_json_value(value)), _MAX_VALUE_CHARS)


def _json_value(value: Any) -> Any:
    """Return a parameter as a JSON value."""
    if isinstance(value, Mapping):
        return {str(name): _json_value(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_json_value(item) for item in value]
    return value if value is None or isinstance(value, str | int | float | bool) else str(value)


def canonical_json(value: Any) -> str:
    """Return JSON that is the same for equal values."""
    text: str = replace_surrogates(json.dumps(value, sort_keys=True, ensure_ascii=False))
    return text


def _mark(index: int) -> str:
    """Return A to Z, then AA, AB and so on.

    >>> [_mark(index) for index in (0, 25, 26, 53)]
    ['A', 'Z', 'AA', 'BB']
    """
    first, second = divmod(index, 26)
    return (_mark(first - 1) if first else "") + chr(ord("A") + second)
