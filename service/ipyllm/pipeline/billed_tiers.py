"""Remembers which service tier a server bills where a request leaves the choice to it, as an OpenAI project may set."""

from __future__ import annotations

from ipyllm.response import is_standard_tier

__all__ = ["expected_tier", "learn_tier"]

_billed: dict[tuple[str, str], str] = {}
"""The tier in the latest response to such a request, by address and model."""


def expected_tier(base_url: str, model: str, requested: str | None) -> str | None:
    """Return the tier that a request will probably be billed at: the requested one, or what the server chose before."""
    return _billed.get((base_url, model), requested) if is_standard_tier(requested) else requested


def learn_tier(base_url: str, model: str, requested: str | None, billed: str) -> None:
    """Remember the tier that the response to a request names."""
    if is_standard_tier(requested):
        _billed[base_url, model] = billed
