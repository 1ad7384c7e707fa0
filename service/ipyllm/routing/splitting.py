"""Splits: each service gets a share of the calls, to compare services in real use (A/B test)."""

from __future__ import annotations

import json
import math
import random
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Literal

from ipyllm.errors import bad_request
from ipyllm.routing.route import Route

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from ipyllm.pipeline.candidates import Candidate
    from ipyllm.request import ChatRequest
    from ipyllm.services.base import BaseLLMService

__all__ = ["Split", "Sticky"]

Sticky = Literal["conversation", "call"] | None


class Split(Route):
    """Weighted services, see :func:`ipyllm.split`."""

    def __init__(
        self,
        weights: Mapping[str, float] | Mapping[BaseLLMService, float] | Mapping[str | BaseLLMService, float],
        *,
        seed: int | None = None,
        sticky: Sticky = "conversation",
        name: str = "split",
        **options: Any,
    ) -> None:
        super().__init__(name, **options)
        if not any(weight > 0 for weight in weights.values()) or not all(
            0 <= weight < math.inf for weight in weights.values()
        ):
            raise bad_request("The weights of a split must be numbers of 0 or more, and not all 0.", model=name)
        if sticky not in {"conversation", "call", None}:
            raise bad_request(f"sticky must be 'conversation', 'call' or None, not {sticky!r}.", model=name)
        self._weighted: dict[str, tuple[BaseLLMService, float]] = {}
        for arm, weight in weights.items():
            service = self._as_service(arm)
            # The same model twice, with other parameters: "openai/gpt-6-luna" and "openai/gpt-6-luna #2".
            same = sum(known.full_name == service.full_name for known, _ in self._weighted.values())
            label = f"{service.full_name} #{same + 1}" if same else service.full_name
            self._weighted[label] = service, weight
        self._seed = seed
        self._sticky = sticky
        self._random = random.Random(seed)  # noqa: S311 - a draw, not a secret

    def identity(self) -> list[Any]:
        """Return the identity of the route, with the weights and the seed."""
        return [*super().identity(), [weight for _, weight in self._weighted.values()], self._seed]

    def _arms(self) -> Iterable[BaseLLMService]:
        return [arm for arm, _ in self._weighted.values()]

    def _labels(self) -> Iterable[str]:
        return [f"{label}: {weight:g}" for label, (_, weight) in self._weighted.items()]

    def nested_candidates(self, request: ChatRequest, path: tuple[str, ...]) -> Iterator[Candidate]:
        """Yield the arm of this request and no other: a comparison must not mix its arms."""
        label = self.arm_of(self._key(request))
        yield from self._candidates_of(self._weighted[label][0], request, path, label)

    def arm_of(self, key: str) -> str:
        """Return the arm of ``key`` (for example a conversation's name).

        Weighted rendezvous hashing: the arm depends only on the key, the seed and the arms. It survives restarts, and
        a change of weights moves as few keys as possible.
        """
        return max(
            (label for label, (_, weight) in self._weighted.items() if weight > 0),
            key=lambda label: self._weighted[label][1] / -math.log(self._uniform(f"{label}|{key}")),
        )

    def _uniform(self, text: str) -> float:
        digest = blake2b(f"{self._seed}|{text}".encode("utf-8", "surrogatepass"), digest_size=8).digest()
        return (int.from_bytes(digest, "big") + 0.5) / 2**64

    def _key(self, request: ChatRequest) -> str:
        conversation = request.provenance.conversation
        if self._sticky == "conversation" and conversation is not None:
            return conversation
        if self._sticky == "call":
            return json.dumps([request.messages, dict(request.params)], sort_keys=True, default=str)
        return str(self._random.random())
