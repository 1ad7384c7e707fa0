"""What is compared: the arms of a comparison, made and checked before anything is sent."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Any

from ipyllm.errors import LLMError
from ipyllm.registry.models import create_llm_service
from ipyllm.services.base import BaseLLMService

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from random import Random

    from ipyllm.messages import Message
    from ipyllm.request import ChatRequest

__all__ = ["Arm", "make_arms"]

_LONGEST_VALUE = 24  # characters of a parameter's value in a label


@dataclass(frozen=True, slots=True)
class Arm:
    """What is compared: ``label`` for people, ``mark`` (``A``, ``B``, …) for votes, and the call it stands for."""

    label: str
    mark: str
    service: BaseLLMService
    request: ChatRequest


def make_arms(
    prompt: str | Iterable[Message],
    models: Sequence[str | BaseLLMService],
    params: Sequence[Mapping[str, Any]],
    common: Mapping[str, Any],
    *,
    shuffled: Random | None = None,
) -> tuple[Arm, ...]:
    """Make an arm of every model with every parameter set.

    Parameters
    ----------
    prompt, models, params
        As for :class:`~ipyllm.comparison.comparison.Comparison`.
    common : mapping
        Arguments of ``service.request`` that all arms share; a set's own come before them.
    shuffled : Random, optional
        Puts the arms in a random order.

    Raises
    ------
    LLMError
        A model or parameter that cannot be right, fewer than two arms, the same arm twice.
    """
    asked = prompt if isinstance(prompt, str) else list(prompt)
    pairs = [(_service(model), dict(given)) for model, given in product(_models(models), _sets(params))]
    _check(pairs)
    made: list[tuple[str, BaseLLMService, ChatRequest]] = []
    for (service, given), label in zip(pairs, _labels(pairs), strict=True):
        service.check()
        made.append((label, service, service.request(asked, **{**common, **given})))
    if shuffled is not None:
        shuffled.shuffle(made)
    return tuple(Arm(label, _mark(place), service, request) for place, (label, service, request) in enumerate(made))


def _models(models: Sequence[str | BaseLLMService]) -> list[str | BaseLLMService | None]:
    if isinstance(models, str | BaseLLMService):
        return [models]
    return list(models) or [None]


def _service(model: str | BaseLLMService | None) -> BaseLLMService:
    if model is None or isinstance(model, str):
        return create_llm_service(model)
    if isinstance(model, BaseLLMService):
        return model
    raise LLMError(
        f"Models to compare are names like 'openai/gpt-5-mini' or services, not {model!r}.", category="bad_request"
    )


def _sets(params: Sequence[Mapping[str, Any]]) -> Sequence[Mapping[str, Any]]:
    given: list[Any] = [params] if isinstance(params, Mapping) else list(params)
    for one in given:
        if not isinstance(one, Mapping):
            raise LLMError(
                f'A parameter set looks like {{"temperature": 0}}, not like {one!r}.', category="bad_request"
            )
    return given or [{}]


def _check(pairs: Sequence[tuple[BaseLLMService, Mapping[str, Any]]]) -> None:
    if len(pairs) == 1:
        raise LLMError(
            f"There is nothing to compare {pairs[0][0].full_name} with: name a second model or parameter set.",
            category="bad_request",
        )
    seen: list[tuple[object, ...]] = []
    for service, given in pairs:
        # One service object given twice, or two that would ask the same server the same.
        same = (type(service), service.full_name, service.params, service._base_url, given)  # noqa: SLF001
        if same in seen:
            which = _described(given)
            raise LLMError(
                f"{service.full_name}{f' with {which}' if which else ''} is in the comparison twice; "
                "name each once, or let a parameter differ.",
                category="bad_request",
            )
        seen.append(same)


def _labels(pairs: Sequence[tuple[BaseLLMService, Mapping[str, Any]]]) -> list[str]:
    """Name each arm by its model, and by what it has that others have not."""
    sets = [given for _, given in pairs]
    varied = [name for name in dict.fromkeys(name for given in sets for name in given) if not _constant(name, sets)]
    labels = []
    for service, given in pairs:
        what = _described({name: given[name] for name in varied if name in given})
        labels.append(" · ".join([service.full_name, *([what] if what else ["defaults"] if varied else [])]))
    if len(set(labels)) < len(labels):  # two services of one name: their own parameters or addresses differ
        own = [_described(service.params) or _where(service) for service, _ in pairs]
        labels = [f"{label} · {extra}" if extra else label for label, extra in zip(labels, own, strict=True)]
    again = Counter(labels)
    return [f"{label} · {place + 1}" if again[label] > 1 else label for place, label in enumerate(labels)]


def _constant(name: str, sets: Sequence[Mapping[str, Any]]) -> bool:
    return all(name in given and given[name] == sets[0].get(name) for given in sets)


def _described(given: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={_short(value)}" for name, value in given.items())


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    text = " ".join(text.split())
    return text if len(text) <= _LONGEST_VALUE else text[: _LONGEST_VALUE - 1] + "…"


def _where(service: BaseLLMService) -> str:
    try:
        return f"at {service.address().host}"
    except (LLMError, NotImplementedError):
        return ""


def _mark(place: int) -> str:
    """Return A to Z, then AA, AB and so on.

    >>> [_mark(place) for place in (0, 25, 26, 53)]
    ['A', 'Z', 'AA', 'BB']
    """
    first, second = divmod(place, 26)
    return (_mark(first - 1) if first else "") + chr(ord("A") + second)
