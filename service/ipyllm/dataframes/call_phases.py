"""Where the time of a call went: its phases, from the figures of a row. Pure functions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

from ipyllm.text.format import is_missing

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["PHASES", "Phase", "PhaseName", "call_phases"]

PhaseName = Literal["queue", "retries", "send", "wait", "thinking", "answer", "end"]

PHASES: Final[dict[PhaseName, str]] = {
    "queue": "before sending: loading the model, or our own queue and work",
    "retries": "earlier attempts, and the pauses after them",
    "send": "connecting and sending",
    "wait": "waiting for the first token",
    "thinking": "thinking",
    "answer": "tokens of the answer",
    "end": "after the last token",
}
"""What a call waits for, in the order of time."""


@dataclass(frozen=True, slots=True)
class Phase:
    """A phase of a call, in seconds since it was asked for."""

    name: PhaseName
    start_s: float
    length_s: float


_ROUNDING_S: Final = 1e-6


def call_phases(row: Mapping[str, Any]) -> tuple[Phase, ...]:
    """Return the phases of a call, in the order of time, without those that took none.

    Parameters
    ----------
    row : mapping
        The figures of ``usage()``, of one call; missing ones may be left out.

    Notes
    -----
    The clock of the figures starts anew with the last attempt, when its request was handed to the kernel: what is
    before it (queue, earlier attempts, connecting) is put together from the other figures. Hidden thinking is the whole
    wait for the first token.

    Examples
    --------
    >>> row = {"queue_s": 0.5, "connect_s": 0.1, "ttft_s": 0.4, "thinking_s": 0.9, "ttfo_s": 1.4, "e2e_s": 3.4}
    >>> [(phase.name, round(phase.length_s, 3)) for phase in call_phases(row)]
    [('queue', 0.5), ('send', 0.1), ('wait', 0.4), ('thinking', 1.0), ('answer', 2.0)]
    """
    end, total = _seconds(row, "e2e_s"), _seconds(row, "total_s")
    queue, sending = _seconds(row, "queue_s"), _seconds(row, "connect_s") + _seconds(row, "send_delay_s")
    stream_end = max(_seconds(row, "stream_end_s"), end)
    total = max(total, queue + sending + stream_end)
    retries = total - queue - sending - stream_end if _seconds(row, "attempts") > 1 else 0.0
    before: list[tuple[PhaseName, float]] = [("queue", queue), ("retries", retries), ("send", sending)]
    if is_missing(row.get("ttft_s")):  # it failed before its first token, or came from our cache
        return _in_a_row([*before, ("wait", total - queue - retries - sending)])
    first, thinking = _seconds(row, "ttft_s"), _seconds(row, "thinking_s")
    visible = end if is_missing(row.get("ttfo_s")) else _seconds(row, "ttfo_s")
    wait = first
    if thinking and visible < first + thinking - _ROUNDING_S:  # hidden: streamed reasoning ends before the first text
        wait, thinking = 0.0, first
    elif thinking:
        thinking = min(visible, end) - first
    answer = end - wait - thinking
    return _in_a_row([*before, ("wait", wait), ("thinking", thinking), ("answer", answer), ("end", stream_end - end)])


def _in_a_row(lengths: list[tuple[PhaseName, float]]) -> tuple[Phase, ...]:
    phases, start = [], 0.0
    for name, length in lengths:
        if length > 0:
            phases.append(Phase(name, start, length))
            start += length
    return tuple(phases)


def _seconds(row: Mapping[str, Any], name: str) -> float:
    value: Any = row.get(name)
    return 0.0 if is_missing(value) else float(value)
