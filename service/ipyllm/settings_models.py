"""Parts of the settings: an endpoint, a route, a price, a profile, as ``config.toml`` describes them."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass, field
from datetime import date
from functools import lru_cache
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator

from ipyllm.headers import Headers
from ipyllm.response import is_standard_tier
from ipyllm.text.secrets import as_secret
from ipyllm.text.text_file import is_decoded, read_dotenv, unresolved

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ipyllm.response import Usage

__all__ = [
    "Api",
    "EndpointSettings",
    "Price",
    "ProfileSettings",
    "RouteSettings",
    "Source",
    "variable_source",
    "variable_value",
]

_Seconds = Annotated[float, Field(gt=0)]

Api = Literal["chat", "responses"]
"""The API of a server that a model is asked through: chat completions or Responses."""


@dataclass(frozen=True, slots=True)
class Price:
    """A price in US dollars per million tokens.

    Parameters
    ----------
    input_usd_per_mtok, output_usd_per_mtok : float
        For the input, and for the output with its reasoning.
    cached_usd_per_mtok : float or None
        For cached input; None if it costs the same as other input.
    tier_factors : mapping
        What the other service tiers cost as a multiple of this price, such as ``{"flex": 0.5}``.

    Examples
    --------
    >>> from ipyllm.response import Usage
    >>> Price(2.0, 8.0).cost(Usage(1_000, 500, source="server"))
    0.006
    """

    input_usd_per_mtok: float
    output_usd_per_mtok: float
    cached_usd_per_mtok: float | None = None
    tier_factors: dict[str, float] = field(default_factory=dict)

    # Read from the settings: a misspelt name must be an error.
    __pydantic_config__: ClassVar = {"extra": "forbid"}

    def __post_init__(self) -> None:
        for name in ("input_usd_per_mtok", "output_usd_per_mtok", "cached_usd_per_mtok"):
            value = getattr(self, name)
            if value is not None and not (math.isfinite(value) and value >= 0):
                raise ValueError(f"{name} must be dollars per million tokens, 0 or more, not {value!r}")
        for tier, factor in self.tier_factors.items():
            if not (math.isfinite(factor) and factor >= 0):
                raise ValueError(f"tier_factors.{tier} must be a number, 0 or more, not {factor!r}")

    def factor_of(self, service_tier: str | None) -> float | None:
        """Return the factor of a service tier: 1 for the usual one; None if it is unknown."""
        return self.tier_factors.get(service_tier or "default", 1.0 if is_standard_tier(service_tier) else None)

    def cost(self, usage: Usage) -> float | None:
        """Return the cost; None if the server's counts are missing or inconsistent, or the service tier is unknown."""
        factor = self.factor_of(usage.service_tier)
        if factor is None or not usage.is_consistent or usage.input_tokens is None or usage.output_tokens is None:
            return None
        cached = usage.cached_tokens or 0
        cached_rate = self.input_usd_per_mtok if self.cached_usd_per_mtok is None else self.cached_usd_per_mtok
        micro_usd = (
            (usage.input_tokens - cached) * self.input_usd_per_mtok
            + cached * cached_rate
            + usage.output_tokens * self.output_usd_per_mtok
        )
        return micro_usd * factor / 1_000_000

    def estimate(self, input_tokens: int, max_output_tokens: int, service_tier: str | None = None) -> float | None:
        """Return the most a call may cost: nothing cached, the longest answer; None for an unknown service tier."""
        factor = self.factor_of(service_tier)
        if factor is None:
            return None
        highest_input_rate = max(self.input_usd_per_mtok, self.cached_usd_per_mtok or 0.0)
        return (input_tokens * highest_input_rate + max_output_tokens * self.output_usd_per_mtok) * factor / 1_000_000


Source = Literal["an argument", "the environment", ".env", "config.toml"]
"""Where a value comes from."""


class EndpointSettings(BaseModel):
    """A named OpenAI-compatible server: ``[endpoints.lab]`` in ``config.toml``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    base_url: str
    api_key: SecretStr | None = None
    api_key_env: str | None = None
    model: str | None = None
    api: Api | None = None
    headers: dict[str, SecretStr] = Field(default_factory=dict)
    ca_file: str | None = None
    input_usd_per_mtok: Annotated[float, Field(ge=0)] | None = None
    output_usd_per_mtok: Annotated[float, Field(ge=0)] | None = None
    cached_usd_per_mtok: Annotated[float, Field(ge=0)] | None = None

    @model_validator(mode="after")
    def _price_is_complete(self) -> Self:
        if (self.input_usd_per_mtok is None) != (self.output_usd_per_mtok is None):
            raise ValueError("a price needs both input_usd_per_mtok and output_usd_per_mtok")
        return self

    @field_validator("headers")
    @classmethod
    def _headers_can_be_sent(cls, headers: dict[str, SecretStr]) -> dict[str, SecretStr]:
        Headers.of(headers)
        return headers

    @property
    def price(self) -> Price | None:
        """The price of its models, if set."""
        if self.input_usd_per_mtok is None or self.output_usd_per_mtok is None:
            return None
        return Price(self.input_usd_per_mtok, self.output_usd_per_mtok, self.cached_usd_per_mtok)

    def key(self) -> SecretStr | None:
        """Return the key, from ``api_key`` or the variable that ``api_key_env`` names."""
        return _key(self.api_key, self.api_key_env)


class RouteSettings(BaseModel):
    """A named route: one of ``fallback``, ``split`` and ``pool``, with its options.

    .. code-block:: toml

        [routes.fast]
        fallback = ["openai/gpt-6-luna", "deepseek/deepseek-flash"]

        [routes.ab]
        split = { "openai/gpt-6-luna" = 0.9, "deepseek/deepseek-flash" = 0.1 }
        seed = 7

        [routes.gpus]
        pool = ["http://h1:8000/v1", "http://h2:8000/v1"]
        model = "llama-3.1-8b"
        api_key_env = "LAB_KEY"
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    fallback: tuple[str, ...] | None = None
    split: dict[str, float] | None = None
    pool: tuple[str, ...] | None = None

    seed: int | None = None
    sticky: Literal["conversation", "call", "none"] = "conversation"

    model: str | None = None
    api_key: SecretStr | None = None
    api_key_env: str | None = None

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        given = [kind for kind in ("fallback", "split", "pool") if getattr(self, kind) is not None]
        if len(given) != 1:
            raise ValueError("a route needs exactly one of fallback, split and pool")
        belongs = {"split": {"seed", "sticky"}, "pool": {"model", "api_key", "api_key_env"}}.get(given[0], set())
        for name in sorted(self.model_fields_set - belongs - {given[0]}):
            raise ValueError(f"{name} is not an option of a {given[0]}")
        return self

    def key(self) -> SecretStr | None:
        """Return the key of a pool, from ``api_key`` or the variable that ``api_key_env`` names."""
        return _key(self.api_key, self.api_key_env)


class ProfileSettings(BaseModel):
    """What the models of a pattern take: ``[profiles."lab/*"]`` in ``config.toml``. What is not set is inherited.

    :class:`~ipyllm.services.profiles.profile.Profile` explains the fields.

    .. code-block:: toml

        [profiles."lab/qwen*"]
        efforts = ["none", "high"]
        default_effort = "high"
        effort_body = { none = { chat_template_kwargs = { enable_thinking = false } }, high = {} }
        refused = ["logprobs"]
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    api: Api = "chat"
    efforts: tuple[str, ...] = ()
    default_effort: str | None = None
    effort_body: dict[str, dict[str, Any]] = Field(default_factory=dict)
    verbosities: tuple[str, ...] = ()
    max_tokens_field: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    renamed: dict[str, str] = Field(default_factory=dict)
    refused: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()
    refused_while_reasoning: tuple[str, ...] = ()
    ignored_while_reasoning: tuple[str, ...] = ()
    max_temperature: Annotated[float, Field(gt=0)] | None = None
    tools: Literal["always", "without effort", "at effort none", "never"] = "always"
    images: bool | None = None
    schema_mode: Literal["native", "json", "prompt"] = "native"
    keeps_reasoning: bool = False
    unsigned_call: dict[str, Any] = Field(default_factory=dict)
    first_token_s: _Seconds | dict[str, _Seconds] = Field(default_factory=dict)
    reasoning_tag: Annotated[str, Field(pattern=r"^[\w-]*$")] = "think"
    reasoning_tag_opened: bool = False
    context_window: Annotated[int, Field(gt=0)] | None = None
    price_model: str | None = None
    retires: date | None = None
    successor: str | None = None

    @model_validator(mode="after")
    def _default_effort_is_an_effort(self) -> Self:
        if {"efforts", "default_effort"} <= self.model_fields_set and self.default_effort not in self.efforts:
            raise ValueError(f"default_effort must be one of the efforts, not {self.default_effort!r}")
        return self


def _key(key: SecretStr | None, variable: str | None) -> SecretStr | None:
    if key is not None or not variable:
        return key
    return as_secret(variable_value(variable))


def variable_value(name: str) -> str | None:
    """Return the value of an environment variable, or of a line of ``.env``."""
    return os.environ.get(name) or _dotenv().get(name)


def variable_source(name: str) -> Source:
    """Return where :func:`variable_value` finds a value."""
    return "the environment" if os.environ.get(name) else ".env"


def _dotenv() -> Mapping[str, str | None]:
    try:
        status = os.stat(".env")  # noqa: PTH116 - half the cost of Path.stat
    except OSError:
        return {}
    return _parsed_dotenv(status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size)


@lru_cache(maxsize=1)
def _parsed_dotenv(*_state: int) -> Mapping[str, str | None]:
    return {name: value for name, value in read_dotenv().items() if is_decoded(value) and not unresolved(value)}
