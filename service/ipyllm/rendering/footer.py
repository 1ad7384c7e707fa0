"""The line under an answer: model, times, tokens, cost, and reasons for caution.

Unknown values are left out, never shown as 0, and estimates are marked with ~. Tokens and cost of an answer that took
several calls are those of all of them, and sums that are lower bounds say so.
"""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Final

from ipyllm.rendering.markdown_source import escape_markdown
from ipyllm.response import NOT_BILLED, NOT_SENT, name_failure
from ipyllm.text.format import money, seconds
from ipyllm.text.terminal import strip_control_sequences
from ipyllm.timing import MAX_READ_DELAY_S
from ipyllm.totals import CostTotal, TokenTotal

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ipyllm.response import ChatResponse, Usage
    from ipyllm.timing import Timing

__all__ = ["STOPPED_AT_LIMIT", "ending_text", "footer_html", "footer_markdown", "footer_text"]

_STATUS = {
    "cancelled": "cancelled",
    "truncated": "connection lost",
    "error": "error",
    "running": "still running",
    "interrupted": "interrupted: its process ended",
}
_MIN_SPAN_S = 0.01
_FAILED = {"error", "truncated"}
STOPPED_AT_LIMIT: Final = "stopped at max_tokens"
_STOPPED = {"length": STOPPED_AT_LIMIT, "content_filter": "stopped by the content filter"}


def footer_text(response: ChatResponse, *, error_shown: bool = False, likely_cost_usd: float | None = None) -> str:
    """Summarise a call in one line; without its failure, if that is said beside the line.

    ``likely_cost_usd`` is an estimate, which is shown as such where no cost is known.
    """
    parts = _parts(response, error_shown=error_shown, likely_cost_usd=likely_cost_usd)
    return " · ".join(strip_control_sequences(part).replace("\n", " ") for part in parts)


def ending_text(response: ChatResponse) -> str:
    """Return what is to be said of an answer that was cut off, stopped or failed; empty for one that ended well.

    Examples
    --------
    >>> from ipyllm import ChatResponse
    >>> ending_text(ChatResponse(content="Once upon", finish_reason="length"))
    'stopped at max_tokens'
    >>> ending_text(ChatResponse(content="Hello!"))
    ''
    """
    return " · ".join(_ending(response, error_shown=False))


def footer_html(response: ChatResponse, *, error_shown: bool = False) -> str:
    """Return :func:`footer_text` as HTML, for :data:`ipyllm.rendering.style.CSS` to draw small and grey."""
    text = escape(footer_text(response, error_shown=error_shown))
    return f'<div class="ipyllm-footer mathjax_ignore tex2jax_ignore">{text}</div>'


def footer_markdown(response: ChatResponse, *, error_shown: bool = False) -> str:
    """Return :func:`footer_text` as markdown, in italics."""
    return f"*{escape_markdown(footer_text(response, error_shown=error_shown))}*"


def _parts(response: ChatResponse, *, error_shown: bool, likely_cost_usd: float | None = None) -> Iterator[str]:
    yield from _ending(response, error_shown=error_shown)
    if response.model:
        yield response.model
    if response.cache_hit:
        yield "from the cache"
    yield from _times(response.timing, cold=response.cold)
    yield from _amounts(response, likely_cost_usd)
    if response.not_applied:
        yield f"{', '.join(response.not_applied)} not applied"


def _ending(response: ChatResponse, *, error_shown: bool) -> Iterator[str]:
    """Yield what is to be said of an answer that did not end well."""
    if response.status != "ok" and not (error_shown and response.status in _FAILED):
        status = _STATUS[response.status]
        category = response.error_category if response.status == "error" else None
        yield (
            f"{status} ({name_failure(category, response.cause, message=response.error_message)})"
            if category
            else status
        )
    if response.refused:
        yield "refused"
    if response.finish_reason in _STOPPED:
        is_empty = response.finish_reason == "length" and not (response.content or response.tool_calls)
        yield _STOPPED[response.finish_reason] + (" before the answer began" if is_empty else "")


def _amounts(response: ChatResponse, likely_cost_usd: float | None) -> Iterator[str]:
    """Yield tokens, their rate, and the cost."""
    steps = response.steps or (response,)
    if len(steps) > 1:
        yield f"{len(steps)} calls"
        yield str(TokenTotal.of_response(response))
    elif tokens := _tokens(response.usage):
        yield tokens
    if (rate := response.timing.output_tps) and not _came_at_once(response.timing):
        yield f"{rate:.{0 if rate >= 10 else 1}f} tokens/s"  # noqa: PLR2004
    cost, sources = CostTotal.of_response(response), {step.price_source for step in steps}
    if sources == {NOT_SENT}:
        yield "not sent"
    elif cost.n_unknown < cost.n and not sources <= NOT_BILLED:
        yield str(cost)
    elif likely_cost_usd:
        yield f"~{money(float(f'{likely_cost_usd:.2g}'))}"


def _came_at_once(timing: Timing) -> bool:
    """Return whether all tokens came so close together that a rate would be that of the network, not of the model."""
    return timing.ttft_s is not None and timing.e2e_s is not None and timing.e2e_s - timing.ttft_s < _MIN_SPAN_S


def _times(timing: Timing, *, cold: bool) -> Iterator[str]:
    if timing.ttft_s is not None:
        yield from _first_times(timing, timing.ttft_s)
    if timing.total_s:
        yield seconds(timing.total_s)
    if cold:
        yield "model load included"
    if timing.attempts > 1:
        yield f"{timing.attempts} attempts"


def _first_times(timing: Timing, ttft_s: float) -> Iterator[str]:
    """Yield the time to the first token, of reasoning, and to the first visible text, as far as they differ.

    The clock starts when the answered request is sent: what the user waited before is said beside the first time.
    """
    waited = _waited(timing)
    # The kernel's stamps are right however late they are read, and no latency contains how late a request was sent.
    read_delay_s = timing.client_lag_s - (timing.send_delay_s or 0.0)
    is_late = timing.arrival_clock == "process" and read_delay_s > MAX_READ_DELAY_S
    doubt = f" ±{seconds(read_delay_s)}" if is_late else ""
    if timing.streamed is False:
        yield f"whole answer {seconds(ttft_s)}{doubt}{waited}"
    elif timing.ttfo_s is not None and timing.ttfo_s > ttft_s:
        yield f"first token {seconds(ttft_s)}{doubt}{waited}"
        if timing.thinking_s is not None:
            yield f"thought {seconds(timing.thinking_s)}"
        yield f"first text {seconds(timing.ttfo_s)}{doubt}"
    else:
        after = " after hidden reasoning" if timing.thinking_s is not None else ""
        yield f"first token {seconds(ttft_s)}{doubt}{after}{waited}"


def _waited(timing: Timing) -> str:
    """Return how long a call of several attempts waited before the request that was answered."""
    if timing.stream_end_s is None or timing.attempts < 2:  # noqa: PLR2004
        return ""
    waited_s = timing.total_s - timing.stream_end_s - (timing.connect_s or 0.0)
    return f" after {seconds(waited_s)} of waiting" if waited_s > 0 else ""


def _tokens(usage: Usage) -> str:
    input_, output = _count(usage, "input_tokens"), _count(usage, "output_tokens")
    if input_ and output:
        return f"{input_} → {output} tokens"
    return f"{output} tokens out" if output else f"{input_} tokens in" if input_ else ""


def _count(usage: Usage, name: str) -> str:
    """Return a count, an estimate marked as such, or an empty text."""
    count, estimate = getattr(usage, name), getattr(usage, f"{name}_estimated")
    return f"{count:,}" if count is not None else f"~{estimate:,}" if estimate is not None else ""
