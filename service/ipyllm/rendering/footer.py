"""The line under an answer: model, times, tokens, cost, and reasons for caution.

Unknown values are left out, never shown as 0, and estimates are marked with ≈.
"""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from ipyllm.text.format import money, seconds
from ipyllm.text.terminal import strip_control_sequences
from ipyllm.timing import LARGEST_LAG

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ipyllm.response import ChatResponse, Usage
    from ipyllm.timing import Timing

__all__ = ["footer_html", "footer_text"]

_STATUS = {
    "cancelled": "cancelled",
    "truncated": "connection lost",
    "error": "error",
    "running": "still running",
    "interrupted": "interrupted: its process ended",
}
_STOPPED = {"length": "stopped at max_tokens", "content_filter": "stopped by the content filter"}


def footer_text(response: ChatResponse) -> str:
    """Summarise a call in one line."""
    return " · ".join(strip_control_sequences(part).replace("\n", " ") for part in _parts(response))


def footer_html(response: ChatResponse) -> str:
    """Return :func:`footer_text` as HTML, for :data:`ipyllm.rendering.style.CSS` to draw small and grey."""
    text = escape(footer_text(response))
    return f'<div class="ipyllm-footer mathjax_ignore tex2jax_ignore">{text}</div>'


def _parts(response: ChatResponse) -> Iterator[str]:
    if response.status != "ok":
        status = _STATUS[response.status]
        category = response.error_category if response.status == "error" else None
        yield f"{status} ({category.replace('_', ' ')})" if category else status
    if response.refused:
        yield "refused"
    if response.finish_reason == "length" and not (response.content or response.tool_calls):
        yield (
            "stopped at max_tokens before it wrote anything"
            if not response.reasoning
            else ("stopped at max_tokens while it reasoned")
        )
    elif response.finish_reason in _STOPPED:
        yield _STOPPED[response.finish_reason]
    if response.model:
        yield response.model
    if response.cache_hit:
        yield "from the cache"
    yield from _times(response.timing, cold=response.cold)
    about = "≈" if response.usage.source == "estimated" else ""
    if tokens := _tokens(response.usage):
        yield about + tokens
    if rate := response.timing.output_tps:
        yield f"{about}{rate:.{0 if rate >= 10 else 1}f} tokens/s"  # noqa: PLR2004
    if response.cost_usd is not None:
        yield about + money(response.cost_usd) if response.cost_usd else "free"
    if response.not_applied:
        yield f"{', '.join(response.not_applied)} not applied"


def _times(timing: Timing, *, cold: bool) -> Iterator[str]:
    if timing.ttft_s is not None:
        # The kernel's stamps are exact however late they are read, and how late the request was sent is known.
        lag = 0.0 if timing.arrival_clock == "kernel" else timing.client_lag_s - (timing.send_delay_s or 0.0)
        doubt = f" ±{seconds(lag)}" if lag > LARGEST_LAG * timing.ttft_s else ""
        yield f"{'whole answer' if timing.streamed is False else 'first token'} {seconds(timing.ttft_s)}{doubt}"
    if timing.total_s:
        yield seconds(timing.total_s)
    if cold:
        yield "model load included"
    if timing.attempts > 1:
        yield f"{timing.attempts} attempts"


def _tokens(usage: Usage) -> str:
    if usage.input_tokens is not None and usage.output_tokens is not None:
        return f"{usage.input_tokens:,} → {usage.output_tokens:,} tokens"
    if usage.output_tokens is not None:
        return f"{usage.output_tokens:,} tokens out"
    return f"{usage.input_tokens:,} tokens in" if usage.input_tokens is not None else ""
