"""Many concurrent calls through the service layer: their throughput, and a server that admits fewer than are tried."""

from __future__ import annotations

from benchmarks.clients import Calls, run, server_on_own_core
from benchmarks.fixtures import requests_of
from benchmarks.report import Claim, median

_RUNS = 3
_PEERS = ("AsyncOpenAI", "bare aiohttp")


def _throughput(client: str) -> Calls:
    with server_on_own_core("--ttft", "0.2") as base_url:
        return run(client, base_url, calls=2000, concurrency=500)


def _overload(client: str) -> tuple[Calls, int]:
    """Try 200 calls at once where the server admits 50; return the calls and the number of refusals."""
    with server_on_own_core("--ttft", "0.2", "--admit", "50") as base_url:
        result = run(client, base_url, calls=1000, concurrency=200)
        return result, sum(request["status"] == 429 for request in requests_of(base_url))


def measure() -> list[Claim]:
    ours = [_throughput("ipyllm") for _ in range(_RUNS)]
    peers = {peer: _throughput(peer) for peer in _PEERS}
    against = ", ".join(f"{name} {result.seconds:.1f} s" for name, result in peers.items())
    against += f"; CPU {median(result.cpu_s for result in ours):.1f} s against {peers['bare aiohttp'].cpu_s:.1f} s bare"
    overloads = [_overload("ipyllm") for _ in range(_RUNS)]
    peer, refused = _overload("AsyncOpenAI")
    against_overload = f"AsyncOpenAI {peer.seconds:.1f} s, {peer.lost} lost, {refused} refused"
    return [
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
