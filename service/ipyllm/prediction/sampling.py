"""What temperature, top-k, top-p and min-p make of a distribution of the next token. Pure functions.

``widgets/ipyllm_widgets/static/teaching/sampling.js`` computes the same in the browser; both are tested with the same
cases, and this one against llama.cpp's own server.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING, Any, Final

from ipyllm.errors import bad_request
from ipyllm.validate import validate_int

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["MOST_TOP_K", "SamplingSettings", "draw", "sample_distribution", "uniform"]

HIGHEST_TEMPERATURE: Final = 2.0
MOST_TOP_K: Final = 100
MOST_DRAWS: Final = 1_000
_WORD: Final = 0xFFFFFFFF


@dataclass(frozen=True, slots=True)
class SamplingSettings:
    """How a token is chosen from a distribution.

    Attributes
    ----------
    temperature : float
        From 0 (the most likely token has all) to 2; 1 leaves the probabilities as they are.
    top_k : int
        Only the ``top_k`` most likely tokens, at most 100; 0 for no limit.
    top_p : float
        Only the most likely tokens that together reach this probability; 1 for no limit.
    min_p : float
        Only tokens at least this fraction as likely as the most likely one; 0 for no limit.
    temperature_first : bool
        Whether the temperature acts before the filters, as in Transformers, or on what they leave, as in
        llama.cpp.
    draws : int
        Tokens that are drawn, at most 1,000.
    seed : int
        Of the draws: equal seeds draw equal tokens.

    Raises
    ------
    LLMError
        ``bad_request``: a value out of its range.

    Examples
    --------
    >>> SamplingSettings(temperature=0.7, top_p=0.9).top_k
    0
    """

    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0
    temperature_first: bool = False
    draws: int = 100
    seed: int = 1

    def __post_init__(self) -> None:
        _validate_fraction("temperature", self.temperature, HIGHEST_TEMPERATURE)
        _validate_fraction("top_p", self.top_p, 1)
        _validate_fraction("min_p", self.min_p, 1)
        _validate_count("top_k", self.top_k, MOST_TOP_K)
        _validate_count("draws", self.draws, MOST_DRAWS)
        _validate_count("seed", self.seed, _WORD)
        if not isinstance(self.temperature_first, bool):
            raise bad_request(f"temperature_first must be True or False, not {self.temperature_first!r}.")


def sample_distribution(logprobs: Sequence[float], settings: SamplingSettings) -> list[float]:
    """Return the probabilities of the tokens that remain, most likely first.

    Parameters
    ----------
    logprobs : sequence of float
        Natural logarithms of the probabilities of all tokens, the most likely first. They need not add up to 1.
    settings : SamplingSettings
        The filters act in the order top-k, top-p, min-p, each on what the one before leaves.

    Returns
    -------
    list of float
        Of the first tokens, at least one; the others are left out. They add up to 1.

    Notes
    -----
    The order is that of llama.cpp (``llama_sampler``): top_k, top_p, min_p, temperature. Top-p keeps the tokens up to
    the one that reaches it (Holtzman et al., 2020); min-p compares with the most likely token (Nguyen et al., 2024).

    Examples
    --------
    >>> import math
    >>> logprobs = [math.log(0.5), math.log(0.3), math.log(0.2)]
    >>> [round(p, 3) for p in sample_distribution(logprobs, SamplingSettings(top_p=0.7))]
    [0.625, 0.375]
    >>> sample_distribution(logprobs, SamplingSettings(temperature=0))
    [1.0]
    """
    if not logprobs or settings.temperature == 0:
        return [1.0][: len(logprobs)]
    temperature = settings.temperature
    known = [value / temperature for value in logprobs] if settings.temperature_first else list(logprobs)
    if settings.top_k:
        known = known[: settings.top_k]
    if settings.top_p < 1:
        sums = list(accumulate(_softmax(known)))
        known = known[: bisect_left(sums, settings.top_p) + 1]
    if settings.min_p > 0:
        least = known[0] + math.log(settings.min_p)
        known = known[: max(1, sum(value >= least for value in known))]
    return _softmax(known if settings.temperature_first else [value / temperature for value in known])


def draw(probabilities: Sequence[float], n: int, seed: int) -> list[int]:
    """Draw ``n`` tokens; return how often each was drawn.

    Examples
    --------
    >>> draw([0.75, 0.25], 8, seed=3)
    [7, 1]
    """
    sums = list(accumulate(probabilities))
    counts = [0] * len(sums)
    for index in range(n if sums else 0):
        place = uniform(seed, index) * sums[-1]
        counts[min(bisect_left(sums, place), len(sums) - 1)] += 1
    return counts


def uniform(seed: int, index: int) -> float:
    """Return the random number ``index`` of a seed, from 0 up to 1: the same in the browser.

    Notes
    -----
    A counter that MurmurHash3's finaliser mixes, on 32 bits.
    """
    word = (seed * 0x9E3779B1 + index * 0x85EBCA77 + 1) & _WORD
    for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35)):
        word = ((word ^ word >> shift) * factor) & _WORD
    return (word ^ word >> 16) / 2**32


def _softmax(logits: Sequence[float]) -> list[float]:
    weights = [math.exp(value - logits[0]) for value in logits]
    total = math.fsum(weights)
    return [weight / total for weight in weights]


def _validate_fraction(name: str, value: Any, most: float) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= most:
        raise bad_request(f"{name} must be a number between 0 and {most:g}, not {value!r}.")


def _validate_count(name: str, value: Any, most: int) -> None:
    if validate_int(name, value, 0) > most:
        raise bad_request(f"{name} must be at most {most:,}, not {value!r}.")
