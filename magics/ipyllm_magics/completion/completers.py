"""Candidates for the value of an option, or for a word of a command: models, conversations, variables, files.

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

__all__ = ["candidates", "word_candidates"]

_MAX_ENTRIES = 2_000  # of a folder
_TIMES = ("today", "yesterday", "1h", "24h", "7d", "30d")


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


def word_candidates(magic: str, before: tuple[str, ...], partial: str, variables: Mapping[str, Any]) -> list[str]:
    """Return the words that start with ``partial`` and may follow those ``before`` on the line of a magic.

    Examples
    --------
    >>> word_candidates("llm_models", (), "u", {}), word_candidates("llm_vote", ("A",), "t", {})
    (['use'], [])
    """
    found = _WORDS[magic](before, partial, variables) if magic in _WORDS else ()
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
    from ipyllm.images import SUFFIXES, is_image

    yield from matching_names(variables, is_image)
    yield from _files(partial, SUFFIXES)


def _files(partial: str, suffixes: str | tuple[str, ...] = "") -> Iterator[str]:
    folder, _, _ = partial.rpartition("/")
    prefix = f"{folder}/" if folder or partial.startswith("/") else ""
    try:
        with os.scandir(os.path.expanduser(prefix) or ".") as entries:  # noqa: PTH111 - a path as it is typed
            for _, entry in zip(range(_MAX_ENTRIES), entries, strict=False):
                if entry.is_dir() and not entry.name.startswith("."):
                    yield f"{prefix}{entry.name}/"
                elif entry.name.lower().endswith(suffixes):
                    yield f"{prefix}{entry.name}"
    except OSError:  # no such folder
        return


def _columns(partial: str, _variables: Mapping[str, Any]) -> Iterator[str]:
    from ipyllm.ledger.columns import COLUMNS, TEXT

    chosen, comma, _ = partial.rpartition(",")
    names = [name for name, kind in COLUMNS.items() if kind in {"text", "bool"} and name not in TEXT]
    yield from (f"{chosen}{comma}{name}" for name in ("day", *names, "params.", "tags."))


def _statuses(_partial: str, _variables: Mapping[str, Any]) -> Iterable[str]:
    from ipyllm.ledger.columns import FINAL

    return (*FINAL, "running")


def _model_words(before: tuple[str, ...], partial: str, variables: Mapping[str, Any]) -> Iterable[str]:
    from ipyllm_magics.commands.family import MODELS_VERBS

    if not before:
        return MODELS_VERBS
    if before == ("pull",):
        from ipyllm.embedded.catalogue import catalogue_names

        return catalogue_names()
    return _models(partial, variables) if before == ("use",) else ()


def _history_words(before: tuple[str, ...], partial: str, _variables: Mapping[str, Any]) -> Iterable[str]:
    from ipyllm_magics.commands.family import HISTORY_VERBS

    if not before:
        return HISTORY_VERBS
    return _files(partial) if len(before) == 1 and "FILE" in HISTORY_VERBS.get(before[0], "") else ()


def _config_words(before: tuple[str, ...], partial: str, variables: Mapping[str, Any]) -> Iterable[str]:
    from ipyllm.settings import Settings

    if not before:
        return Settings.model_fields
    if before == ("model",):
        return _models(partial, variables)
    field = Settings.model_fields.get(before[0]) if len(before) == 1 else None
    return ("true", "false") if field is not None and field.annotation is bool else ()


def _votes(before: tuple[str, ...], _partial: str, variables: Mapping[str, Any]) -> Iterable[str]:
    comparison = variables.get("_llm_compare")
    arms, has_vote = getattr(comparison, "arms", ()), getattr(comparison, "vote_cast", None) is not None
    return () if before else (*(arm.mark for arm in arms), "tie", "both_bad", *(["none"] if has_vote else []))


def _parameters(_partial: str, _variables: Mapping[str, Any]) -> Iterator[str]:
    from ipyllm.services.parameters import KNOWN
    from ipyllm_magics.prompt.request_builder import NOT_PARAMETERS

    yield from (f"{name}=" for name in KNOWN if name not in NOT_PARAMETERS)


def _varied(partial: str, variables: Mapping[str, Any]) -> Iterator[str]:
    yield from _parameters(partial, variables)
    yield from ("prompt=", "system=")


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
    "vary": _varied,
    "by": _columns,
    "status": _statuses,
    "since": lambda _partial, _variables: _TIMES,
    "until": lambda _partial, _variables: _TIMES,
    "csv": lambda partial, _variables: _files(partial, ".csv"),
    "parquet": lambda partial, _variables: _files(partial, ".parquet"),
}
_WORDS: dict[str, Callable[[tuple[str, ...], str, Mapping[str, Any]], Iterable[str]]] = {
    "llm_models": _model_words,
    "llm_history": _history_words,
    "llm_config": _config_words,
    "llm_vote": _votes,
}
