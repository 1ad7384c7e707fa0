"""The profile of a model: the rows of ``profiles.toml`` and of the settings that match its name, one over the other."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any, Final, Literal

from ipyllm.services.parameters import KNOWN
from ipyllm.services.profiles.pattern import Pattern
from ipyllm.settings import SettingsError, get_settings
from ipyllm.settings_models import Api, ProfileSettings
from ipyllm.text.suggest import suggest
from ipyllm.timeout import DEFAULT_FIRST_TOKEN_S

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from datetime import date

__all__ = ["SAMPLING", "Profile", "profile_of"]

SAMPLING: Final = (
    "temperature",
    "top_p",
    "presence_penalty",
    "frequency_penalty",
    "logit_bias",
    "logprobs",
    "top_logprobs",
)
"""The parameters that ``"sampling"`` stands for in a row."""

_FIRST_TOKEN_S: Final[Mapping[str, float]] = {
    "*": DEFAULT_FIRST_TOKEN_S,
    "none": 120.0,
    "medium": 600.0,
    "high": 1200.0,
    "xhigh": 1800.0,
    "max": 1800.0,
}
"""How long a first token is waited for, in seconds, by effort. Ten minutes is what the clients of OpenAI and Anthropic
wait for a byte, and DeepSeek for the start of an answer; half an hour is what the longest research of a model takes."""

_LISTS: Final = ("refused", "ignored", "refused_while_reasoning", "ignored_while_reasoning")
_MAX_CACHED: Final = 10_000  # names; a user may type any

ToolUse = Literal["always", "without effort", "at effort none", "never"]


@dataclass(frozen=True, slots=True)
class Profile:
    """What one model takes. None: nothing is known, so everything is sent and the server decides.

    Attributes
    ----------
    api : {"chat", "responses"}
        The API that serves all of the model's functions.
    efforts, default_effort
        Values of ``effort``, empty if it takes none; and the one that holds where none is given.
    effort_body : mapping
        JSON fields that stand for an effort in the request, by value; ``"*"`` for the others, with ``"$effort"`` where
        the value goes.
    verbosities : tuple of str or None
        Values of ``verbosity``, empty if it takes none.
    max_tokens_field : str or None
        Name of ``max_tokens`` in the request; None: as given.
    renamed : mapping
        Other names of parameters in the request.
    refused, ignored : frozenset of str
        Parameters that the server always refuses, or accepts without effect.
    refused_while_reasoning, ignored_while_reasoning : frozenset of str
        Those that it takes at effort ``none`` only.
    max_temperature : float or None
        Highest temperature; the server would replace a higher one by it.
    tools : {"always", "without effort", "at effort none", "never"}
        When it can call functions on the chat-completions API.
    images : bool or None
        Whether it reads images.
    schema_mode : {"native", "json", "prompt"}
        The most that the server enforces of a schema.
    keeps_reasoning : bool
        Whether the reasoning of earlier turns must be sent back with tools.
    unsigned_call : mapping
        The ``extra_content`` of function calls that another model made, where the server requires a signature.
    first_token_s : mapping
        How long the first token is waited for by default, in seconds, by effort; ``"*"`` for the others.
    reasoning_tag : str
        Name of the tag around reasoning at the beginning of the text, as in ``<think>…</think>``; empty to leave the
        text as it is.
    reasoning_tag_opened : bool
        Whether an answer begins within the tag, because the model's template has opened it.
    context_window : int or None
        Tokens, where the price tables do not know them.
    price_model : str or None
        Name in the price tables; empty if a price there would be wrong.
    retires, successor
        The day on which the model stops answering, and the full name of the one that replaces it.
    """

    api: Api = "chat"
    efforts: tuple[str, ...] | None = None
    default_effort: str | None = None
    effort_body: Mapping[str, Mapping[str, Any]] = field(default_factory=lambda: {"*": {"reasoning_effort": "$effort"}})
    verbosities: tuple[str, ...] | None = None
    max_tokens_field: str | None = None
    renamed: Mapping[str, str] = field(default_factory=dict)
    refused: frozenset[str] = frozenset()
    ignored: frozenset[str] = frozenset()
    refused_while_reasoning: frozenset[str] = frozenset()
    ignored_while_reasoning: frozenset[str] = frozenset()
    max_temperature: float | None = None
    tools: ToolUse = "always"
    images: bool | None = None
    schema_mode: Literal["native", "json", "prompt"] = "native"
    keeps_reasoning: bool = False
    unsigned_call: Mapping[str, Any] = field(default_factory=dict)
    first_token_s: Mapping[str, float] = field(default_factory=lambda: _FIRST_TOKEN_S)
    reasoning_tag: str = "think"
    reasoning_tag_opened: bool = False
    context_window: int | None = None
    price_model: str | None = None
    retires: date | None = None
    successor: str | None = None

    def effort(self, params: Mapping[str, Any]) -> str | None:
        """Return the effort that holds with these parameters; None if it is not known."""
        given: str | None = params.get("effort")
        return self.default_effort if given is None else given

    def reasons(self, params: Mapping[str, Any]) -> bool:
        """Return whether the model is known to reason with these parameters before it answers."""
        effort = self.effort(params)
        if effort is None:
            return bool(self.efforts and "none" not in self.efforts)
        return effort != "none"

    def first_token_limit_s(self, params: Mapping[str, Any]) -> float:
        """Return how long the first token is waited for with these parameters by default, in seconds."""
        return self.first_token_s.get(self.effort(params) or "*", self.first_token_s["*"])


def profile_of(name: str, profiles: Mapping[str, ProfileSettings] | None = None) -> Profile:
    """Return the profile of a full model name, ``service/model``; ``profiles`` are those of the settings.

    Raises
    ------
    SettingsError
        A profile in the settings is invalid.

    Examples
    --------
    >>> profile_of("openai/gpt-6-luna").efforts
    ('none', 'low', 'medium', 'high', 'xhigh', 'max')
    >>> profile_of("lab/my-model").efforts is None
    True
    """
    global _overrides
    if profiles is None:
        profiles = get_settings().profiles
    if profiles is not _overrides or len(_profiles) > _MAX_CACHED:
        _profiles.clear()
        _overrides = profiles
    profile = _profiles.get(name)
    if profile is None:
        values: dict[str, Any] = {}
        for patterns, row in (*_built_in_rows(), *_rows_of(profiles)):
            if any(pattern.matches(name) for pattern in patterns):
                values |= row
        profile = _profiles[name] = Profile(**values)
    return profile


_overrides: Mapping[str, ProfileSettings] | None = None
_profiles: dict[str, Profile] = {}

_Row = tuple[tuple[Pattern, ...], dict[str, Any]]


@cache
def _built_in_rows() -> tuple[_Row, ...]:
    text = resources.files("ipyllm.services.profiles").joinpath("profiles.toml").read_text(encoding="utf-8")
    return tuple(map(_built_in_row, tomllib.loads(text)["profile"]))


def _built_in_row(row: dict[str, Any]) -> _Row:
    services, models = row.pop("services"), row.pop("models")
    patterns = tuple(Pattern(f"{service}/{model}") for service in services for model in models)
    return patterns, _values(ProfileSettings.model_validate(row))


def _rows_of(profiles: Mapping[str, ProfileSettings]) -> Iterator[_Row]:
    for name, profile in profiles.items():
        try:
            yield (Pattern(name),), _values(profile)
        except ValueError as exc:
            raise SettingsError(f'Invalid value for the setting profiles."{name}": {exc}.') from None


def _values(row: ProfileSettings) -> dict[str, Any]:
    """Return the fields that a row sets, with lists of parameters as sets."""
    values = {name: getattr(row, name) for name in row.model_fields_set}
    for name in _LISTS:
        if name in values:
            values[name] = frozenset(_parameters(values[name]))
    seconds = values.get("first_token_s")
    if seconds is not None:
        values["first_token_s"] = {**_FIRST_TOKEN_S, **seconds} if isinstance(seconds, dict) else {"*": seconds}
    return values


def _parameters(names: Iterable[str]) -> Iterator[str]:
    for name in names:
        if name == "sampling":
            yield from SAMPLING
        elif name in KNOWN:
            yield name
        else:
            raise ValueError(f"there is no parameter {name!r}. {suggest(name, KNOWN)}".rstrip(" ."))
