"""The protocol between the pipeline and a service: what a call needs to know about the server it is sent to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from ipyllm.errors import LLMError
    from ipyllm.headers import Headers
    from ipyllm.request import ChatRequest
    from ipyllm.response import Usage
    from ipyllm.settings_models import Api
    from ipyllm.structured import SchemaMode
    from ipyllm.transport.address import Address

__all__ = ["PLAIN_REASONING", "Limits", "Provider", "ReasoningFormat"]


class Limits(NamedTuple):
    """Limits that the user sets for one address. None: learned from the server's rejections."""

    requests_per_minute: float | None = None
    tokens_per_minute: float | None = None
    max_in_flight: int | None = None


class ReasoningFormat(NamedTuple):
    """How a model sends its reasoning on the chat-completions API, and what it wants back of it.

    Attributes
    ----------
    tag : str or None
        Name of the tag around reasoning in the text, as in ``<think>…</think>``; None to leave the text as it is.
    is_opened : bool
        Whether the answer begins within the tag, because the prompt that the server makes ends with the opening one.
    goes_back : bool
        Whether later requests must have the reasoning of earlier answers.
    """

    tag: str | None = None
    is_opened: bool = False
    goes_back: bool = False


PLAIN_REASONING: Final = ReasoningFormat()
"""Reasoning in a field of its own, which nobody wants back."""


class Provider(Protocol):
    """An endpoint with its quirks and prices, as the pipeline sees it. Services implement it."""

    limits: Limits

    @property
    def full_name(self) -> str:
        """Name of the model as users write it, ``service/model``."""

    def resolve(self, request: ChatRequest) -> ChatRequest:
        """Return the request with every option resolved for this service."""

    async def prepare(self) -> tuple[Address, bool]:
        """Return the address, and whether a model had to be loaded first (``cold``)."""

    def check_headers(self, headers: Headers, address: Address) -> None:
        """Raise if the headers of one call must not be sent to the address."""

    @property
    def api(self) -> Api:
        """The API through which the model is asked."""

    def reasons(self, request: ChatRequest) -> bool:
        """Return whether the model is known to reason before it answers this request."""

    def reasoning_format(self, params: Mapping[str, Any]) -> ReasoningFormat:
        """Return how the model sends its reasoning in a response to a request with these parameters."""

    def body(self, request: ChatRequest) -> dict[str, Any]:
        """Return the JSON body of a request to this API."""

    @property
    def schema_mode(self) -> SchemaMode:
        """The most that the server enforces of a schema."""

    def explain(self, error: LLMError, request: ChatRequest) -> LLMError:
        """Return the error of a request, in better words where the service knows more than its server said."""

    def cache_scope(self, address: Address) -> str:
        """Return the part of a response cache key that identifies the server."""

    def read_usage(self, raw: Mapping[str, Any]) -> Usage:
        """Read the server's token counts."""

    async def load_prices(self, address: Address) -> None:
        """Import the price tables before the clock starts."""

    def cost_and_source(
        self, usage: Usage, response_model: str | None, address: Address, at: datetime
    ) -> tuple[float | None, str | None]:
        """Return the cost in US dollars and the source of the price; (None, None) when unknown."""

    def told_cost(self, raw_usage: Mapping[str, Any]) -> float | None:
        """Return the cost in US dollars that the usage of a response states, if it does."""

    def max_cost(self, request: ChatRequest, address: Address, at: datetime) -> float | None:
        """Return the most that sending a request once may cost, in US dollars; None when unknown."""
