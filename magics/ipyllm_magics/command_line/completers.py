"""What the word after an option could be: models, conversations, variables, files. Asked at each Tab: be quick.

Nothing is fetched: models are those that the settings, the services and this kernel's conversations name.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from ipyllm_magics.command_line.converters import FORMATS
from ipyllm_magics.command_line.resolve_names import is_schema, is_tool, offers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

__all__ = ["candidates"]

_MAX_ENTRIES = 2_000  # of a folder


def candidates(kind: str, partial: str, variables: Mapping[str, Any]) -> list[str]:
    """Return the words of that kind that begin with ``partial``.

    Parameters
    ----------
    kind : str
        ``Option.completes``: model, conversation, variable, format, schema, tools, image or parameter.
    partial : str
        What stands before the cursor.
    variables : mapping
        The user's.

    Examples
    --------
    >>> candidates("format", "m", {}), candidates("variable", "a", {"answer": 1, "b": 2})
    (['markdown'], ['answer'])
    """
    found = _BY_KIND[kind](partial, variables) if kind in _BY_KIND else ()
    return sorted({word for word in found if word.startswith(partial)})


def _models(_partial: str, _variables: Mapping[str, Any]) -> Iterator[str]:
    from ipyllm.conversations.history import conversations
    from ipyllm.errors import LLMError
    from ipyllm.registry import models
    from ipyllm.settings import SettingsError, get_settings

    try:
        settings, services = get_settings(), models.service_names()
    except SettingsError:  # each call will say so; a Tab is no place for it
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
        for known in models.service_class(service).known_models or ("",):
            yield f"{service}/{known}"
    try:
        yield "/".join(part for part in models.resolve() if part)
    except LLMError:  # the default does not exist
        return
    for history in conversations().values():
        yield from (turn.model for turn in history.turns if turn.model)


def _conversations(_partial: str, _variables: Mapping[str, Any]) -> Iterator[str]:
    from ipyllm.conversations.history import conversations

    yield "default"
    yield from conversations()


def _variables(_partial: str, variables: Mapping[str, Any]) -> list[str]:
    return offers(variables, lambda value: not callable(value) and type(value).__name__ != "module")


def _schemas(_partial: str, variables: Mapping[str, Any]) -> list[str]:
    return offers(variables, is_schema)


def _tools(_partial: str, variables: Mapping[str, Any]) -> list[str]:
    return offers(variables, is_tool)


def _images(partial: str, variables: Mapping[str, Any]) -> Iterator[str]:
    from ipyllm_magics.prompt.images import SUFFIXES, is_image

    yield from offers(variables, is_image)
    folder, _, _ = partial.rpartition("/")
    lead = f"{folder}/" if folder or partial.startswith("/") else ""
    try:
        with os.scandir(os.path.expanduser(lead) or ".") as entries:  # noqa: PTH111 - a path as it is typed
            for _, entry in zip(range(_MAX_ENTRIES), entries, strict=False):
                if entry.is_dir() and not entry.name.startswith("."):
                    yield f"{lead}{entry.name}/"
                elif entry.name.lower().endswith(SUFFIXES):
                    yield f"{lead}{entry.name}"
    except OSError:  # no such folder
        return


def _parameters(_partial: str, _variables: Mapping[str, Any]) -> Iterator[str]:
    from ipyllm.services.parameters import KNOWN
    from ipyllm_magics.prompt.request_builder import NOT_PARAMETERS

    yield from (f"{name}=" for name in KNOWN if name not in NOT_PARAMETERS)


def _formats(_partial: str, _variables: Mapping[str, Any]) -> tuple[str, ...]:
    return FORMATS


_BY_KIND: dict[str, Callable[..., Any]] = {
    "model": _models,
    "conversation": _conversations,
    "variable": _variables,
    "format": _formats,
    "schema": _schemas,
    "tools": _tools,
    "image": _images,
    "parameter": _parameters,
}
