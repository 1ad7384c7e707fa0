"""Models that a widget is given: names, or services, which get names: the page and the saved notebook have no more."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from ipyllm.errors import bad_request
from ipyllm.services.base import BaseLLMService

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["name_models"]


def name_models(
    models: Any, known: Mapping[str, BaseLLMService] | None = None
) -> tuple[list[str], dict[str, BaseLLMService]]:
    """Return the names of ``models``, and the services among them by their names, with those ``known`` before.

    A service has the name of its model, and its address or a number where another has that name.

    Raises
    ------
    LLMError
        ``models`` is not a list of names and services. A string is refused: Python would iterate over its letters.

    Examples
    --------
    >>> from ipyllm import OllamaService
    >>> names, services = name_models(["openai/gpt-6-sol", OllamaService("qwen3")])
    >>> names, list(services)
    (['openai/gpt-6-sol', 'ollama/qwen3'], ['ollama/qwen3'])
    """
    if isinstance(models, str | bytes | BaseLLMService) or not isinstance(models, Iterable):
        raise _not_a_list(models)
    given = list(models)
    if not all(isinstance(model, str | BaseLLMService) for model in given):
        raise _not_a_list(given)
    services = dict(known or {})
    taken = {model for model in given if isinstance(model, str)} - services.keys()
    names = []
    for model in given:
        if isinstance(model, str):
            names.append(model)
            continue
        name = next((name for name, service in services.items() if service is model), None)
        if name is None:
            name = next(name for name in _possible_names(model) if name not in services and name not in taken)
            services[name] = model
        names.append(name)
    return names, services


def _possible_names(service: BaseLLMService) -> Iterable[str]:
    yield service.full_name
    address = service.public_address()
    name = f"{service.full_name} at {address}" if address else service.full_name
    if address:
        yield name
    number = 2
    while True:
        yield f"{name} ({number})"
        number += 1


def _not_a_list(models: Any) -> Exception:
    shown = f"[{models!r}, …]." if isinstance(models, str) else f"['ollama/qwen3', …], not {models!r}."
    return bad_request(f"models must be a list of names or services, such as {shown}")
