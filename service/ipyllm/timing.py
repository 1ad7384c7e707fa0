"""Latency figures of one call and their definitions.

All instants are ``time.perf_counter_ns`` on the service thread. The latency figures are those of the last attempt;
waiting in our own queue and between attempts has its own columns. ``docs/ledger.md`` lists all of them.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["LARGEST_LAG", "Timing", "output_tokens_per_second", "time_per_output_token"]

LARGEST_LAG = 0.1
"""Largest ``client_lag_s`` for a reliable time to first token, as a share of that time."""


@dataclass(frozen=True, slots=True)
class Timing:
    """Latency of one call, in seconds; None for an event that did not happen.

    Attributes
    ----------
    ttft_s : float or None
        Time to first token: first chunk with content, reasoning or a tool call.
    ttfo_s : float or None
        Time to first output: first *visible* text.
    e2e_s : float or None
        Until the last token chunk.
    stream_end_s : float or None
        Until the end of the stream.
    tpot_s : float or None
        Time per output token after the first, see :func:`time_per_output_token`.
    output_tps : float or None
        Output tokens per second after the first, see :func:`output_tokens_per_second`.
    max_gap_s : float or None
        The longest gap between two token chunks. A chunk may carry several tokens.
    n_chunks : int
        Token chunks received.
    client_lag_s : float
        Longest delay of our own event loop during the call: the possible error of the figures.
    queue_s : float
        Waiting for our own concurrency or rate limit, or for the embedded model to load.
    retry_wait_s : float
        Waiting between attempts.
    attempts : int
        Requests sent.
    total_s : float
        Total as the user waited, queue and retries included.
    """

    ttft_s: float | None = None
    ttfo_s: float | None = None
    e2e_s: float | None = None
    stream_end_s: float | None = None
    tpot_s: float | None = None
    output_tps: float | None = None
    max_gap_s: float | None = None
    n_chunks: int = 0
    client_lag_s: float = 0.0
    queue_s: float = 0.0
    retry_wait_s: float = 0.0
    attempts: int = 0
    total_s: float = 0.0


def time_per_output_token(first_token_s: float, end_s: float, output_tokens: int) -> float | None:
    """Return the mean time between output tokens, in seconds.

    Parameters
    ----------
    first_token_s, end_s : float
        Seconds since the request was sent: first token chunk, last token chunk.
    output_tokens : int
        As counted by the server.

    Returns
    -------
    float or None
        None for fewer than two tokens, where no gap exists.

    Notes
    -----
    TPOT as in vLLM's ``bench serve``: ``(E2E - TTFT) / (n - 1)``.

    Examples
    --------
    >>> time_per_output_token(0.5, 2.5, 21)
    0.1
    >>> time_per_output_token(0.5, 0.5, 1) is None
    True
    """
    if output_tokens < 2:  # noqa: PLR2004
        return None
    return (end_s - first_token_s) / (output_tokens - 1)


def output_tokens_per_second(first_token_s: float, end_s: float, output_tokens: int) -> float | None:
    """Return the output tokens per second of generation: ``n / (E2E - TTFT)``.

    Returns
    -------
    float or None
        None if all tokens came in a single chunk.

    Examples
    --------
    >>> output_tokens_per_second(0.5, 2.5, 20)
    10.0
    """
    if output_tokens < 1 or end_s <= first_token_s:
        return None
    return output_tokens / (end_s - first_token_s)
