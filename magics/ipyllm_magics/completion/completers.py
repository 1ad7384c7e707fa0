"""Candidates for the value of an option: models, conversations, variables, files.

They are computed at each Tab, so nothing is fetched: models are those that the settings, the services and this
kernel's conversations name.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from ipyllm_magics.command_line.converters import FORMATS
from ipyllm_magics.prompt.resolve_names import is_schema, is_tool, matching_names

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

__all__ = ["candidates"]

_MAX_ENTRIES = 2_000  # of a folder


def candidates(option: str, partial: str, variables: Mapping[str, Any], models: Sequence[str] = ()) -> list[str]:
    """Return the values of an option that start with ``partial``; ``models`` are those that the line names.

    Examples
    --------
    >>> candidates("format", "m", {}), candidates("output", "a", {"answer": 1, "b": 2})
    (['markdown'], ['answer'])
    >>> candidates("effort", "m", {}, ["openai/gpt-6-luna"])
    ['max', 'medium']
    """
    if option in {"effort", "verbosity"}:
        found: Iterable[str] = _levels(option, models)
    else:
        found = _COMPLETERS[option](partial, variables) if option in _COMPLETERS else ()
    return sorted({word for word in found if word.startswith(partial)})


def _models(_partial: str, _variables: Mapping[str, Any]) -> Iterator[str]:
    from ipyllm.conversations.history import conversations
    from ipyllm.errors import LLMError
    from ipyllm.registry import models
    from ipyllm.settings import SettingsError, get_settings

    try:
        settings, services = get_settings(), models.service_names()
    except SettingsError:  # each call reports it
        return
    yield from settings.aliases
    yield from settings.routes
    for service in services:
        if service in settings.routes:
            continue
        endpoint = settings.endpoints.get(service)
        if endpoint is not None:
            yield f"{service}/{endpoint.model or ''}"
            continue
        if models.is_configured(service):
            yield from (f"{service}/{known}" for known in models.known_models(service) or ("",))
    try:
        yield "/".join(part for part in models.resolve() if part)
    except LLMError:  # the default does not exist
        return
    for history in conversations().values():
        yield from (turn.model for turn in history.turns if turn.model)


def _levels(option: str, names: Sequence[str]) -> Iterable[str]:
    """Return the values of ``effort`` or ``verbosity`` that the models of the line take, or the default model."""
    from ipyllm.errors import LLMError
    from ipyllm.registry.models import common_efforts, create_llm_service

    if option == "effort":
        return common_efforts(names or [None])
    try:
        return create_llm_service(names[0] if names else None).profile.verbosities or ()
    except LLMError:  # no such model, which a call reports
        return ()


def _conversations(_partial: str, _variables: Mapping[str, Any]) -> Iterator[str]:
    from ipyllm.conversations.history import conversations

    yield "default"
    yield from conversations()


def _images(partial: str, variables: Mapping[str, Any]) -> Iterator[str]:
    from ipyllm_magics.prompt.images import SUFFIXES, is_image

    yield from matching_names(variables, is_image)
    folder, _, _ = partial.rpartition("/")
    prefix = f"{folder}/" if folder or partial.startswith("/") else ""
    try:
        with os.scandir(os.path.expanduser(prefix) or ".") as entries:  # noqa: PTH111 - a path as it is typed
            for _, entry in zip(range(_MAX_ENTRIES), entries, strict=False):
                if entry.is_dir() and not entry.name.startswith("."):
                    yield f"{prefix}{entry.name}/"
                elif entry.name.lower().endswith(SUFFIXES):
                    yield f"{prefix}{entry.name}"
    except OSError:  # no such folder
        return


def _parameters(_partial: str, _variables: Mapping[str, Any]) -> Iterator[str]:
    from ipyllm.services.parameters import KNOWN
    from ipyllm_magics.prompt.request_builder import NOT_PARAMETERS

    yield from (f"{name}=" for name in KNOWN if name not in NOT_PARAMETERS)


def _variables_that(fits: Callable[[Any], bool]) -> Callable[[str, Mapping[str, Any]], Iterable[str]]:
    return lambda _partial, variables: matching_names(variables, fits)


_COMPLETERS: dict[str, Callable[[str, Mapping[str, Any]], Iterable[str]]] = {
    "model": _models,
    "models": _models,
    "conversation": _conversations,
    "output": _variables_that(lambda value: not callable(value) and type(value).__name__ != "module"),
    "format": lambda _partial, _variables: FORMATS,
    "schema": _variables_that(is_schema),
    "tools": _variables_that(is_tool),
    "image": _images,
    "params": _parameters,
    "vary": _parameters,
}
