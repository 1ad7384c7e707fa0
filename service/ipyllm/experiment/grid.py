"""What is compared: models × parameter sets × system prompts, each an arm with a short name; times prompts and repeats.

A cell of the grid has an identity of its own, a hash of what is sent: by it a run that was interrupted knows what it
has paid for already.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count, product
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from ipyllm.errors import LLMError
from ipyllm.registry.models import create_llm_service
from ipyllm.routing.route import Route
from ipyllm.services.base import BaseLLMService
from ipyllm.services.local import LocalService

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ipyllm.experiment.prompts import Prompt
    from ipyllm.messages import Message
    from ipyllm.request import ChatRequest

__all__ = ["Arm", "Cell", "Grid", "make_arms"]

_LONGEST_LABEL = 24


@dataclass(frozen=True, slots=True)
class Arm:
    """One way of asking.

    Attributes
    ----------
    label : str
        Short, readable, unique in its experiment.
    model : str
        Full name, ``service/model``.
    service : BaseLLMService
        Who is asked.
    given : str or BaseLLMService
        The model as the user gave it: what travels to another process.
    request : ChatRequest
        What all its calls share; messages are the system prompt's, if any.
    host : str or None
        The server, where the user gave the address of one: two servers are two arms.
    """

    label: str
    model: str
    service: BaseLLMService
    given: str | BaseLLMService
    request: ChatRequest
    host: str | None = None

    @property
    def system(self) -> str | None:
        """Its system prompt."""
        return self.request.messages[0]["content"] if self.request.messages else None

    @property
    def params(self) -> Mapping[str, Any]:
        """Its parameters, the service's own defaults included."""
        return self.request.params

    def identity(self) -> list[Any]:
        """Return what makes it this arm and no other."""
        return [self.model, self.host, _plain(self.params), self.system]


@dataclass(frozen=True, slots=True)
class Cell:
    """One question to one arm, for one of its repeats."""

    key: str
    arm: Arm
    prompt: Prompt
    repeat: int
    warmup: bool = False

    @property
    def messages(self) -> tuple[Message, ...]:
        """What is sent."""
        return (*self.arm.request.messages, {"role": "user", "content": self.prompt.text})


class Grid:
    """All cells of an experiment.

    Parameters
    ----------
    arms : sequence of Arm
        See :func:`make_arms`.
    prompts : sequence of Prompt
        See :func:`~ipyllm.experiment.prompts.read_prompts`.
    repeats : int
        How often each prompt is put to each arm.
    """

    def __init__(self, arms: Sequence[Arm], prompts: Sequence[Prompt], repeats: int) -> None:
        self.arms = tuple(arms)
        self.prompts = tuple(prompts)
        self.repeats = repeats
        self.cells = {cell.key: cell for cell in self._make()}

    def __len__(self) -> int:
        return len(self.arms) * len(self.prompts) * self.repeats

    def _make(self) -> Iterator[Cell]:
        for arm in self.arms:
            begun = hashlib.sha256(_dumps(arm.identity()).encode())
            for prompt in self.prompts:
                asked = begun.copy()
                asked.update(_dumps([prompt.text, prompt.nth]).encode())
                for repeat in range(self.repeats):
                    this = asked.copy()
                    this.update(str(repeat).encode())
                    yield Cell(this.hexdigest()[:24], arm, prompt, repeat)

    @property
    def name(self) -> str:
        """What an experiment is called that was not given a name: the same for the same arms and prompts."""
        what = [[arm.identity() for arm in self.arms], [[prompt.text, prompt.nth] for prompt in self.prompts]]
        return f"experiment-{hashlib.sha256(_dumps(what).encode()).hexdigest()[:8]}"

    @property
    def shape(self) -> str:
        """Its size in words."""
        sizes = {"arm": len(self.arms), "prompt": len(self.prompts), "repeat": self.repeats}
        return " × ".join(f"{n} {what}{'s' if n != 1 else ''}" for what, n in sizes.items())

    @property
    def signature(self) -> str:
        """Its size, and a hash of all its cells: another for every other grid."""
        return f"{self.shape}, {hashlib.sha256(''.join(sorted(self.cells)).encode()).hexdigest()[:12]}"


def make_arms(models: Any, params: Any = None, system: Any = None, **options: Any) -> list[Arm]:
    """Make the arms: every model with every parameter set and every system prompt.

    Parameters
    ----------
    models : str, BaseLLMService, or list of these
        Whom to ask.
    params : mapping, list of mappings, or mapping of names to mappings, optional
        Parameter sets; names become part of the arms' labels.
    system : str or None, list of these, or mapping of names to these, optional
        System prompts.
    **options
        For every call, as in :meth:`BaseLLMService.chat`: ``timeout``, ``max_retries``, ``cache``.

    Raises
    ------
    LLMError
        A model, parameter or system prompt that cannot be right, or two arms that are the same.

    Examples
    --------
    >>> models = ["openai/gpt-5-mini", "ollama/llama3.2"]
    >>> [arm.label for arm in make_arms(models, params=[{"temperature": 0}, {"temperature": 1}])]
    ['gpt-5-mini · temperature=0', 'gpt-5-mini · temperature=1', 'llama3.2 · temperature=0', 'llama3.2 · temperature=1']
    """
    services = [(_service(given), given) for given in _models(models)]
    sets = _named(params, "params", Mapping)
    systems = _named(system, "system", str)
    arms = []
    for ((service, given), model), ((chosen, its), (said, whose)) in product(
        zip(services, _model_labels(services), strict=True), product(sets, systems)
    ):
        asked = service.request("?", system=said, **options, **(chosen or {}))
        asked = replace(asked, messages=asked.messages[:-1])
        label = " · ".join(part for part in (model, its, whose) if part)
        arms.append(Arm(label, service.full_name, service, given, asked, _host(service)))
    return _all_different(arms)


def _all_different(arms: list[Arm]) -> list[Arm]:
    seen: dict[str, Arm] = {}
    labels: dict[str, int] = {}
    found = []
    for arm in arms:
        if seen.setdefault(_dumps(arm.identity()), arm) is not arm:
            raise LLMError(
                f"Two arms are the same: {arm.model} with {dict(arm.params) or 'no parameters'}; "
                "use repeats=… to ask the same thing several times.",
                category="bad_request",
            )
        labels[arm.label] = labels.get(arm.label, 0) + 1
        again = labels[arm.label]
        found.append(arm if again == 1 else replace(arm, label=f"{arm.label} #{again}"))
    return found


def _models(models: Any) -> list[Any]:
    given = [models] if isinstance(models, str | BaseLLMService) else models
    if not isinstance(given, Iterable) or not (given := list(given)):
        raise LLMError(
            "There is no model to ask: models is a list of names such as 'ollama/llama3.2', or services.",
            category="bad_request",
        )
    return given


def _service(given: Any) -> BaseLLMService:
    if isinstance(given, BaseLLMService):
        return given
    if not isinstance(given, str):
        raise LLMError(
            f"A model is a name like 'openai/gpt-5-mini' or a service, not {type(given).__name__}.",
            category="bad_request",
        )
    return create_llm_service(given)


def _host(service: BaseLLMService) -> str | None:
    """Return the server's address where the user gave one with the service."""
    if isinstance(service, Route | LocalService) or service._base_url is None:  # noqa: SLF001 - a service's own state
        return None
    return urlsplit(service.base_url()).netloc.rpartition("@")[2]


def _named(given: Any, what: str, kind: type) -> list[tuple[Any, str]]:
    """Return each of ``given`` with the words that tell it from the others; no words where there is only one."""
    if given is None or isinstance(given, kind):
        named = isinstance(given, Mapping) and bool(given) and all(isinstance(v, Mapping) for v in given.values())
        if not named:
            return [(given, "")]
    if isinstance(given, Mapping):
        items = [(value, str(name)) for name, value in given.items()]
    elif isinstance(given, Sequence) and not isinstance(given, str):
        items = list(zip(given, _labels_of(given, what), strict=True))
    else:
        items = []
    if not items or not all(value is None or isinstance(value, kind) for value, _ in items):
        wanted = "a dict of parameters, or a list of them" if kind is Mapping else "a text, or a list of them"
        raise LLMError(f"{what} must be {wanted}, not {str(given)[:80]!r}.", category="bad_request")
    return items if len(items) > 1 or isinstance(given, Mapping) else [(items[0][0], "")]


def _labels_of(given: Sequence[Any], what: str) -> list[str]:
    if what == "system":
        numbers = count(1)
        return ["no system" if value is None else f"system {next(numbers)}" for value in given]
    sets = [dict(value) if isinstance(value, Mapping) else {} for value in given]
    names = list(dict.fromkeys(name for one in sets for name in one))
    differing = [name for name in names if len({_dumps(_plain(one.get(name))) for one in sets}) > 1]
    return [", ".join(f"{name}={_short(one[name])}" for name in differing if name in one) or "default" for one in sets]


def _model_labels(services: Sequence[tuple[BaseLLMService, Any]]) -> list[str]:
    """Return the models' names, without their service where that tells nothing."""
    full = [service.full_name for service, _ in services]
    tails = [name.partition("/")[2] or name for name in full]
    named = tails if len(set(tails)) == len(set(full)) else full
    if len(set(full)) == len(full):
        return named
    # One model at several addresses.
    return [
        f"{name} @ {host}" if (host := _host(service)) and full.count(service.full_name) > 1 else name
        for name, (service, _) in zip(named, services, strict=True)
    ]


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else _dumps(_plain(value))
    return text if len(text) <= _LONGEST_LABEL else f"{text[: _LONGEST_LABEL - 1]}…"


def _plain(value: Any) -> Any:
    """Return a parameter as JSON has it."""
    if isinstance(value, Mapping):
        return {str(name): _plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value if value is None or isinstance(value, str | int | float | bool) else str(value)


def _dumps(value: Any) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=False)
