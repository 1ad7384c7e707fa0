"""Many concurrent calls through the service layer: the accuracy of their time to first token, and their throughput.

The true time is the server's: from the arrival of a request to the write of its first token.
"""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.clients import Calls, run, server_on_own_core
from benchmarks.fixtures import requests_of
from benchmarks.report import Claim, median

_RUNS = 3
_PEERS = ("AsyncOpenAI", "bare aiohttp")
_STREAMS = ("--length", "160", "--chunks", "32", "--ttft", "0.05", "--gap", "0.01")
_STREAM_S = 0.4  # duration of a call, over which the first calls are spread
_TOLERANCE_S = 0.010
_MAX_LAG_SHARE = 0.1  # latency statistics leave out rows whose client_lag_s exceeds this share of their TTFT


@dataclass(frozen=True)
class _Figures:
    median_ms: float
    p95_ms: float
    unmarked: int  # wrong rows that latency statistics would not leave out


def _streams(client: str, concurrency: int) -> _Figures:
    with server_on_own_core(*_STREAMS) as base_url:
        result = run(client, base_url, calls=4 * concurrency, concurrency=concurrency, ramp_s=_STREAM_S)
        true_s = {
            request["json"]["messages"][-1]["content"]: (request["sent_ns"][0] - request["arrived_ns"]) / 1e9
            for request in requests_of(base_url)
        }
    assert not result.lost, f"{client} lost {result.lost} calls"
    ttft_ms = sorted(row.ttft_s * 1e3 for row in result.rows)
    wrong = [row for row in result.rows if row.ttft_s - true_s[row.prompt] > _TOLERANCE_S]
    unmarked = [row for row in wrong if row.lag_s <= _MAX_LAG_SHARE * row.ttft_s]
    return _Figures(median(ttft_ms), ttft_ms[int(len(ttft_ms) * 0.95)], len(unmarked))


def _ttft_figures(concurrency: int) -> tuple[list[_Figures], str]:
    runs = [_streams("ipyllm", concurrency) for _ in range(_RUNS)]
    peers = {peer: _streams(peer, concurrency) for peer in _PEERS}
    return runs, ", ".join(
        f"{name} {figures.median_ms:.0f} (p95 {figures.p95_ms:.0f})" for name, figures in peers.items()
    )


def _throughput(client: str) -> Calls:
    with server_on_own_core("--ttft", "0.2") as base_url:
        return run(client, base_url, calls=2000, concurrency=500)


def _overload(client: str) -> tuple[Calls, int]:
    """Try 200 calls at once where the server admits 50; return the calls and the number of refusals."""
    with server_on_own_core("--ttft", "0.2", "--admit", "50") as base_url:
        result = run(client, base_url, calls=1000, concurrency=200)
        return result, sum(request["status"] == 429 for request in requests_of(base_url))


def measure() -> list[Claim]:
    hundred, against_100 = _ttft_figures(100)
    five_hundred, against_500 = _ttft_figures(500)
    ours = [_throughput("ipyllm") for _ in range(_RUNS)]
    peers = {peer: _throughput(peer) for peer in _PEERS}
    against = ", ".join(f"{name} {result.seconds:.1f} s" for name, result in peers.items())
    against += f"; CPU {median(result.cpu_s for result in ours):.1f} s against {peers['bare aiohttp'].cpu_s:.1f} s bare"
    overloads = [_overload("ipyllm") for _ in range(_RUNS)]
    peer, refused = _overload("AsyncOpenAI")
    against_overload = f"AsyncOpenAI {peer.seconds:.1f} s, {peer.lost} lost, {refused} refused"
    return [
        Claim("TTFT of 50 ms as reported, 100 in flight", median(f.median_ms for f in hundred), 55, "ms", against_100),
        Claim("… p95", median(f.p95_ms for f in hundred), 70, "ms"),
        Claim("… 500 in flight", median(f.median_ms for f in five_hundred), 250, "ms", against_500),
        Claim("… rows wrong by 10 ms, not marked by their lag", max(f.unmarked for f in five_hundred), 0, "rows"),
        Claim("2000 calls of 200 ms, 500 in flight", median(result.seconds for result in ours), 2.0, "s", against),
        Claim("… lost", max(result.lost for result in ours), 0, "calls"),
        Claim(
            "1000 calls of 200 ms, 200 tried, 50 admitted",
            median(m.seconds for m, _ in overloads),
            8.0,
            "s",
            against_overload,
        ),
        Claim("… refused (HTTP 429)", median(refusals for _, refusals in overloads), 150, "calls"),
        Claim("… lost", max(m.lost for m, _ in overloads), 0, "calls"),
    ]
