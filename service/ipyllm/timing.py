"""Latency figures of one call and their definitions.

All instants are ``time.perf_counter_ns`` on the service thread. The latency figures are those of the last attempt;
waiting in our own queue and between attempts has its own columns. ``docs/ledger.md`` lists all of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

__all__ = ["MAX_READ_DELAY_S", "Timing", "output_tokens_per_second", "time_per_output_token"]

MAX_READ_DELAY_S: Final = 0.01
"""Longest delay between the arrival of a first token and its reading that statistics accept where the kernel does not
stamp arrivals, in seconds."""


@dataclass(frozen=True, slots=True)
class Timing:
    """Latency of one call, in seconds; None for an event that did not happen.

    Attributes
    ----------
    connect_s : float or None
        Opening the connection: DNS, TCP, TLS. None for a connection that was open already.
    send_delay_s : float or None
        How late ipyllm sent the request, on an open connection.
    ttft_s : float or None
        Time to first token: first chunk with content, reasoning or a tool call.
    ttfo_s : float or None
        Time to first output: first *visible* text.
    thinking_s : float or None
        Time of reasoning: from its first chunk to its last where it is streamed, until the first token where it is
        hidden (the server counts reasoning tokens and sends none). None without reasoning, and for a single chunk.
    e2e_s : float or None
        Until the last token chunk.
    stream_end_s : float or None
        Until the end of the stream.
    streamed : bool or None
        False if the server sent the whole answer at once: `ttft_s` is then the time of the whole.
    tpot_s : float or None
        Time per output token after the first, see :func:`time_per_output_token`.
    output_tps : float or None
        Output tokens per second after the first, see :func:`output_tokens_per_second`.
    max_gap_s : float or None
        The longest gap between two token chunks. A chunk may carry several tokens.
    n_chunks : int
        Token chunks received.
    client_lag_s : float
        How late ipyllm sent the request (``send_delay_s``) and read its first token.
    arrival_clock : str or None
        What stamped the arrival of the tokens: ``"kernel"``, or ``"process"`` when it read them.
    queue_s : float
        Waiting for our own concurrency or rate limit, or for the embedded model to load.
    retry_wait_s : float
        Waiting between attempts.
    attempts : int
        Requests sent.
    broken_attempts : int
        Those whose answer broke off after its first token, and that were made again.
    total_s : float
        Total as the user waited, queue and retries included.
    """

    connect_s: float | None = None
    send_delay_s: float | None = None
    ttft_s: float | None = None
    ttfo_s: float | None = None
    thinking_s: float | None = None
    e2e_s: float | None = None
    stream_end_s: float | None = None
    streamed: bool | None = None
    tpot_s: float | None = None
    output_tps: float | None = None
    max_gap_s: float | None = None
    n_chunks: int = 0
    client_lag_s: float = 0.0
    arrival_clock: Literal["kernel", "process"] | None = None
    queue_s: float = 0.0
    retry_wait_s: float = 0.0
    attempts: int = 0
    broken_attempts: int = 0
    total_s: float = 0.0


def time_per_output_token(first_token_s: float, end_s: float, n_tokens: int) -> float | None:
    """Return the mean time between output tokens, in seconds.

    Parameters
    ----------
    first_token_s, end_s : float
        Seconds since the request was sent: first token chunk, last token chunk.
    n_tokens : int
        Tokens that came in this span, the first included; hidden reasoning did not.

    Returns
    -------
    float or None
        None for fewer than two tokens, where no gap exists, and if all came in a single chunk.

    Notes
    -----
    TPOT as in vLLM's ``bench serve``: ``(E2E - TTFT) / (n - 1)``.

    Examples
    --------
    >>> time_per_output_token(0.5, 2.5, 21)
    0.1
    >>> time_per_output_token(0.5, 0.5, 21) is None
    True
    """
    if n_tokens < 2 or end_s <= first_token_s:  # noqa: PLR2004
        return None
    return (end_s - first_token_s) / (n_tokens - 1)


def output_tokens_per_second(first_token_s: float, end_s: float, n_tokens: int) -> float | None:
    """Return the output tokens per second of generation, the inverse of :func:`time_per_output_token`.

    The first token is not counted, because the time it took is not part of the span.

    Examples
    --------
    >>> output_tokens_per_second(0.5, 2.5, 21)
    10.0
    """
    tpot_s = time_per_output_token(first_token_s, end_s, n_tokens)
    return None if tpot_s is None else 1 / tpot_s
