"""Reads the token counts in a server's response, whatever their shape. What cannot be read is unknown, never wrong.

Sources of the shapes: the types of the ``openai`` and ``anthropic`` clients, ``genai-prices``, and the providers' own
pages. ``tests/service/transport/test_usage.py`` has a table of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from ipyllm.response import Usage

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["counts_output", "merge_usage", "read_usage", "usage_in_chunk"]

_INPUT: Final = ("prompt_tokens", "input_tokens")
_OUTPUT: Final = ("completion_tokens", "output_tokens")
_INPUT_DETAILS: Final = ("prompt_tokens_details", "input_tokens_details")
_OUTPUT_DETAILS: Final = ("completion_tokens_details", "output_tokens_details")
_REASONING: Final = ("reasoning_tokens", "thinking_tokens")  # Anthropic calls it thinking
_BESIDE_INPUT: Final = ("cache_read_input_tokens", "cache_creation_input_tokens")  # Anthropic
_CACHED: Final = ("prompt_cache_hit_tokens", "cached_tokens", _BESIDE_INPUT[0])  # DeepSeek; Moonshot; Anthropic

_LARGEST: Final = 2**53
"""Largest integer that every JSON parser reads exactly. A larger number is not a count of tokens."""

_LARGEST_DIGITS: Final = len(str(_LARGEST))


def usage_in_chunk(chunk: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the usage that a chunk carries, if any.

    It is beside ``choices``, or within ``x_groq`` (Groq) or the first choice (Moonshot).

    Examples
    --------
    >>> usage_in_chunk({"choices": [], "usage": None, "x_groq": {"usage": {"prompt_tokens": 3}}})
    {'prompt_tokens': 3}
    """
    choices = chunk.get("choices")
    first_choice = choices[0] if isinstance(choices, list) and choices else None
    for place in (chunk, chunk.get("x_groq"), first_choice):
        if isinstance(place, dict):
            usage = place.get("usage")
            if usage and isinstance(usage, dict):
                return usage
    return None


def counts_output(usage: Mapping[str, Any]) -> bool:
    """Return whether a usage has a count of output, or is of a shape that only its service knows.

    Examples
    --------
    >>> counts_output({"completion_tokens": 3}), counts_output({"prompt_tokens": 9, "completion_tokens": 0})
    (True, False)
    """
    return bool(_first(usage, _OUTPUT)) or not any(name in usage for name in (*_INPUT, *_OUTPUT))


def merge_usage(earlier: dict[str, Any] | None, later: dict[str, Any]) -> dict[str, Any]:
    """Return what two usages of one response say together.

    The later counts hold, because servers that send several send totals so far. But a later usage in which a count is
    missing, unreadable or 0 does not erase what an earlier one said.

    Examples
    --------
    >>> merge_usage({"prompt_tokens": 9, "completion_tokens": 2}, {"prompt_tokens": 0, "completion_tokens": 3})
    {'prompt_tokens': 9, 'completion_tokens': 3}
    """
    return later if earlier is None else {**earlier, **{name: _merge(earlier.get(name), later[name]) for name in later}}


def _merge(earlier: Any, later: Any) -> Any:
    if isinstance(earlier, dict) and isinstance(later, dict):
        return merge_usage(earlier, later)
    return later if _count(later) or not (isinstance(earlier, dict) or _count(earlier)) else earlier


def read_usage(raw: Mapping[str, Any]) -> Usage:
    """Return the server's token counts; None for those that are missing or cannot be right.

    Parameters
    ----------
    raw : mapping
        ``usage`` as the server sent it: in the shape of chat completions (``prompt_tokens``), of the Responses API or
        of Anthropic (``input_tokens``), with the additions of DeepSeek, Moonshot, Gemini and xAI.

    Returns
    -------
    Usage
        With the source ``"server"`` if it has any count.

    Notes
    -----
    A count is an integer from 0, also when written as ``12.0`` or ``"12"``. No prompt has 0 tokens, so that 0 is not
    a count of input.

    Cached tokens are part of the input here. Anthropic counts ``cache_read_input_tokens`` and
    ``cache_creation_input_tokens`` beside ``input_tokens``, and xAI may count more cached tokens than
    ``prompt_tokens``; both are added to the input.

    Reasoning tokens are part of the output here. Where ``total_tokens`` exceeds the sum of input and output (Gemini,
    xAI), or reasoning exceeds the output (xAI), the output was counted without reasoning, which is added.

    Examples
    --------
    >>> usage = read_usage({"input_tokens": 5, "cache_read_input_tokens": 95, "output_tokens": 7})
    >>> usage.input_tokens, usage.cached_tokens, usage.output_tokens
    (100, 95, 7)
    >>> usage = read_usage({"prompt_tokens": 10, "completion_tokens": 4, "total_tokens": 50})
    >>> usage.output_tokens, usage.reasoning_tokens
    (40, 36)
    >>> read_usage({"prompt_tokens": -1, "completion_tokens": 2.5}).source is None
    True
    """
    details = _details(raw, _INPUT_DETAILS)
    input_, cached = _read_input(raw, details)
    output, reasoning = _read_output(raw, input_)
    is_counted = input_ is not None or output is not None
    written = _first_positive([_count(each.get("cache_write_tokens")) for each in details])
    return Usage(
        input_,
        output,
        cached,
        reasoning,
        source="server" if is_counted else None,
        cache_write_tokens=_count(raw.get(_BESIDE_INPUT[1])) if written is None else written,
    )


def _read_input(raw: Mapping[str, Any], details: list[dict[str, Any]]) -> tuple[int | None, int | None]:
    input_ = _first(raw, _INPUT)
    cached = _first_positive([*(_count(each.get("cached_tokens")) for each in details), _first(raw, _CACHED)])
    if input_ is not None and not details and not _count(raw.get("prompt_tokens")):
        input_ += sum(_count(raw.get(name)) or 0 for name in _BESIDE_INPUT)
    if not input_:
        return None, None
    return input_ + cached if cached is not None and cached > input_ else input_, cached


def _read_output(raw: Mapping[str, Any], input_: int | None) -> tuple[int | None, int | None]:
    output, total = _first(raw, _OUTPUT), _count(raw.get("total_tokens"))
    reasoning = _first_positive([_first(details, _REASONING) for details in _details(raw, _OUTPUT_DETAILS)])
    if output is None:
        return None, None
    beside = total - input_ - output if total and input_ is not None else None
    if beside is not None and beside > 0:
        hidden = reasoning or beside
        return (output + hidden, hidden) if hidden <= beside else _if_part(output, reasoning)
    if reasoning is not None and reasoning > output and beside != 0:
        return output + reasoning, reasoning
    return _if_part(output, reasoning)


def _if_part(output: int, reasoning: int | None) -> tuple[int, int | None]:
    """Return the counts, without a count of reasoning that is more than the output of which it is part."""
    return output, reasoning if reasoning is None or reasoning <= output else None


def _details(raw: Mapping[str, Any], names: tuple[str, ...]) -> list[dict[str, Any]]:
    return [details for name in names if isinstance(details := raw.get(name), dict)]


def _first(raw: Mapping[str, Any], names: tuple[str, ...]) -> int | None:
    found = None
    for name in names:
        count = _count(raw[name]) if name in raw else None
        if count:
            return count
        found = count if found is None else found
    return found


def _first_positive(counts: Iterable[int | None]) -> int | None:
    """Return the first count above 0, else 0 if there is one: relays fill the names that a server does not use by 0."""
    found = None
    for count in counts:
        if count:
            return count
        found = count if found is None else found
    return found


def _count(value: Any) -> int | None:
    """Return a count of tokens, or None for what is not one."""
    if type(value) is int:
        return value if 0 <= value < _LARGEST else None
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    elif isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < _LARGEST_DIGITS:
        value = int(value)  # as JSON of protobuf writes 64-bit integers
    return value if type(value) is int and 0 <= value < _LARGEST else None
