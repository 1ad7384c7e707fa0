"""Model names: resolves ``service/model``, aliases and endpoints, and creates the service."""

from __future__ import annotations

import re
from contextlib import suppress
from functools import cache
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any

from ipyllm.errors import LLMError, bad_request
from ipyllm.services.service_rows import service_rows
from ipyllm.settings import get_settings
from ipyllm.text.format import shorten
from ipyllm.text.secrets import secret_options
from ipyllm.text.suggest import closest

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ipyllm.services.base import BaseLLMService

__all__ = [
    "common_efforts",
    "create_llm_service",
    "default_model",
    "is_configured",
    "known_models",
    "resolve",
    "service_names",
    "service_without_model",
    "set_default_model",
]

_BUILT_IN = {
    "openai": "ipyllm.services.openai:OpenAIService",
    "deepseek": "ipyllm.services.deepseek:DeepSeekService",
    "ollama": "ipyllm.services.ollama:OllamaService",
    "local": "ipyllm.services.local:LocalService",
}

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]{1,40}")  # of TOML


_default_model: str | None = None


def set_default_model(name: str | None) -> None:
    """Set the default model of this process; None restores that of the settings."""
    global _default_model
    if name is not None:
        resolve(name)
    _default_model = name


def default_model() -> str | None:
    """Return the model set by :func:`set_default_model`; None if the settings decide."""
    return _default_model


@cache
def _registered() -> dict[str, Any]:
    """Return the services of other packages: the entry points of the group ``ipyllm.services``."""
    return {point.name: point for point in entry_points(group="ipyllm.services") if point.name not in _BUILT_IN}


def service_names() -> list[str]:
    """Return the names of all services: built-in ones, those of other packages, endpoints and routes."""
    settings = get_settings()
    return sorted({*_BUILT_IN, *service_rows(), *_registered(), *settings.endpoints, *settings.routes})


def is_configured(name: str) -> bool:
    """Return whether a service can be asked without further settings; only a key is looked for."""
    row = service_rows().get(name)
    if row is None or name in _registered() or name in get_settings().endpoints:
        return True
    return row.domain is None or row.key() is not None


def known_models(name: str) -> tuple[str, ...]:
    """Return some models of a service, without asking it."""
    if name in service_rows() and name not in _registered():
        return service_rows()[name].models
    return _service_class(name).known_models


def _service_class(name: str) -> type[BaseLLMService]:
    if name in _BUILT_IN:
        from importlib import import_module

        module, _, attribute = _BUILT_IN[name].partition(":")
        loaded: type[BaseLLMService] = getattr(import_module(module), attribute)
        return loaded
    point: type[BaseLLMService] = _registered()[name].load()
    return point


def resolve(name: str | None = None) -> tuple[str, str | None]:
    """Split a name into (service, model) with aliases resolved; the model is None for the service's default.

    Raises
    ------
    LLMError
        ``not_found``, with what exists and what was probably meant.

    Examples
    --------
    >>> resolve("ollama/llama3.2:1b")
    ('ollama', 'llama3.2:1b')
    >>> resolve("olama/llama3.2")
    Traceback (most recent call last):
        ...
    ipyllm.errors.LLMError: There is no service 'olama'; did you mean 'ollama/llama3.2'?
    """
    if name is not None and not isinstance(name, str):
        raise bad_request(f"A model's name is a string like 'openai/gpt-6-sol', not {type(name).__name__}.")
    settings = get_settings()
    wanted = (name if name is not None else _default_model or settings.model).strip()
    seen = [wanted]
    while wanted in settings.aliases:
        wanted = settings.aliases[wanted].strip()
        if wanted in seen:
            raise LLMError(
                f"Aliases refer to one another in a circle: {' → '.join([*seen, wanted])}.", category="not_found"
            )
        seen.append(wanted)
    if not wanted:
        raise LLMError("The model name is empty. Write service/model.", category="not_found")
    if wanted in settings.routes:
        return wanted, None
    if wanted.endswith(".gguf") and not wanted.startswith("local/"):
        return "local", wanted
    service, slash, model = wanted.partition("/")
    if service in service_names() and service not in settings.routes and (model or not slash):
        return service, model or None
    raise LLMError(_not_found(wanted), category="not_found", model=wanted)


def _not_found(wanted: str) -> str:
    services, aliases = service_names(), sorted(get_settings().aliases)
    service, slash, model = wanted.partition("/")
    if not slash:
        full_names = {
            known: f"{name}/{known}" for name in (*service_rows(), *_BUILT_IN) for known in known_models(name)
        }
        full_names |= {name: name for name in [*aliases, *services]}
        near = closest(wanted, full_names)
        hint = (
            f"did you mean {full_names[near]!r}?"
            if near is not None
            else f"write service/model, with a service of: {', '.join(services)}."
        )
        return f"There is no model or alias {shorten(repr(wanted), 120)}; {hint}"
    if service in services:
        return f"{wanted!r} names a service but no model; write {service}/<model>."
    near = closest(service, services)
    if near is not None:
        return f"There is no service {service!r}; did you mean {f'{near}/{model}'!r}?"
    table = f"endpoints.{service}" if _BARE_KEY.fullmatch(service) else "endpoints.NAME"
    return (
        f"There is no service {service!r}; there are: {', '.join(services)}. To add a server, write [{table}] with its "
        "base_url into config.toml."
    )


def create_llm_service(name: str | None = None, **options: Any) -> BaseLLMService:
    """Create the service for a model name.

    Parameters
    ----------
    name : str, optional
        ``service/model``, an alias, or the name of a service for its default model. Without one, the settings' model.
    **options
        ``base_url``, ``api_key``, ``default_headers``, ``timeout``, ``max_retries`` and default parameters.

    Raises
    ------
    LLMError
        ``not_found``, with what exists and what was probably meant.

    Examples
    --------
    >>> create_llm_service("ollama/llama3.2", temperature=0)
    OllamaService(model='llama3.2')
    """
    options = secret_options(options)
    service, model = resolve(name)
    settings = get_settings()
    if service in settings.routes:
        from ipyllm.routing.named import named_route

        route = named_route(
            service, settings.routes, create_llm_service, made_from=(settings.endpoints, settings.aliases)
        )
        return route.with_defaults(**options) if options else route
    if service in settings.endpoints:
        from ipyllm.services.endpoint import EndpointService

        return EndpointService(service, model, **options)
    if service in service_rows() and service not in _registered():
        from ipyllm.services.named import NamedService

        return NamedService(service, model, **options)
    if model is not None and model.startswith(f"{service}/") and options.get("base_url") is None:
        model = f"{service}/{model}"  # a service removes its own name once, at its own address
    return _service_class(service)(model, **options)


def service_without_model(name: str) -> BaseLLMService:
    """Return a service to ask for its models: any model's name stands for those without a default."""
    endpoint, row = get_settings().endpoints.get(name), service_rows().get(name)
    if endpoint is not None:
        return create_llm_service(f"{name}/{endpoint.model or 'model'}")
    return create_llm_service(name if row is None else f"{name}/{row.model or 'model'}")


def common_efforts(names: Iterable[str | None]) -> list[str]:
    """Return the values of ``effort`` that all of these models take; none if those of one are not known.

    Examples
    --------
    >>> common_efforts(["openai/gpt-6.1-sol", "deepseek/deepseek-flash"])
    ['low', 'high', 'max']
    >>> common_efforts(["openai/gpt-6.1-sol", "lab/any-model"])
    []
    """
    common: list[str] | None = None
    for name in names:
        efforts: tuple[str, ...] = ()
        with suppress(LLMError):  # no such model, which a call reports
            efforts = create_llm_service(name).profile.efforts or ()
        common = [effort for effort in (efforts if common is None else common) if effort in efforts]
    return common or []
