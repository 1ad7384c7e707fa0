"""First times that grow with the calls in flight are noticed, and noise is not taken for it."""

from __future__ import annotations

import heapq

import numpy as np
import pandas as pd
import pytest

from ipyllm.statistics import summarise_arms
from ipyllm.statistics.load_trend import load_trends

START = pd.Timestamp("2026-11-27", tz="UTC")


def simulated(rng, *, concurrency=32, n=200, arms=2, slots=None, spread=0.5, drift=0.0, rate_s=0.002):
    """Return the calls of a run: ``slots`` requests are served at once, all if None; the others queue.

    ``spread`` is the standard deviation of the logarithms of first times, ``drift`` that of what they have in common
    within 2 s.
    """
    free_s, in_flight, rows, now = [0.0] * (slots or n), [], [], 0.0
    common = rng.normal(0, drift, 100_000) if drift else np.zeros(100_000)
    for _ in range(n):
        now += rate_s * rng.uniform(0.5, 1.5)
        if len(in_flight) == concurrency:
            now = max(now, heapq.heappop(in_flight))
        begun = max(now, heapq.heappop(free_s))
        ttft = 0.3 * np.exp(rng.normal(0, spread) + common[int(begun / 2)])
        answered = begun + ttft + rng.exponential(1.0)
        heapq.heappush(free_s, answered)
        heapq.heappush(in_flight, answered)
        rows.append((now, begun + ttft - now, answered - now, f"arm {rng.integers(arms)}"))
    frame = pd.DataFrame(rows, columns=["sent_s", "ttft_s", "total_s", "arm"])
    started = START + pd.to_timedelta(frame.pop("sent_s"), unit="s")
    return frame.assign(started_at=started, address="http://host/v1", status="ok", prompt_id=range(n))


NOISE = {
    "plain": {},
    "changing with time": {"drift": 0.5},
    "few at once": {"concurrency": 8, "arms": 1},
    "long tails": {"spread": 1.5, "n": 60},
    "sent slowly": {"rate_s": 0.2, "drift": 0.5},
    "one burst": {"n": 32, "drift": 1.0},
}


def alarms(kind, tables):
    rng = np.random.default_rng(7)
    return sum(bool(load_trends(simulated(rng, **NOISE[kind]))) for _ in range(tables))


@pytest.mark.parametrize("kind", NOISE)
def test_noise_raises_no_alarm(kind):
    assert alarms(kind, 50) == 0


@pytest.mark.thorough
@pytest.mark.timeout(600)
@pytest.mark.parametrize("kind", NOISE)
def test_noise_raises_an_alarm_in_one_of_a_thousand_tables_at_most(kind):
    assert alarms(kind, 1000) <= 4  # at a rate of 1/1,000, there are more in 0.4% of seeds, and this one is fixed


@pytest.mark.parametrize(
    "kind",
    [{"slots": 2, "n": 60}, {"slots": 8}, {"slots": 1, "concurrency": 10, "n": 30, "arms": 1}, {"slots": 4, "arms": 3}],
    ids=["two slots", "eight slots", "one slot", "three arms"],
)
def test_a_server_that_queues_is_noticed(kind):
    rng = np.random.default_rng(7)
    found = [load_trends(simulated(rng, **kind)) for _ in range(20)]
    assert sum(map(bool, found)) >= 19
    (trend,) = next(filter(None, found))
    assert trend.many_s > 1.25 * trend.few_s
    assert trend.many > trend.few


def test_a_table_says_so_with_the_figures():
    calls = simulated(np.random.default_rng(7), slots=2, n=60, arms=1)
    said = [note for note in summarise_arms(calls).notes if "grew with the calls in flight" in note]
    assert len(said) == 1
    assert said[0].startswith("The time to first token at http://host/v1 grew with the calls in flight: ")
    assert "concurrency=" in said[0]
    assert not [note for note in summarise_arms(calls.assign(other_conditions=True)).notes if "in flight" in note]
    assert not [note for note in summarise_arms(calls.assign(model="local/m")).notes if "grew with" in note]


def test_servers_are_judged_one_by_one():
    rng = np.random.default_rng(7)
    calls = pd.concat(
        [
            simulated(rng, slots=2).assign(address="http://slow/v1"),
            simulated(rng).assign(address="http://fast/v1"),
        ],
        ignore_index=True,
    )
    assert [trend.address for trend in load_trends(calls)] == ["http://slow/v1"]


def test_calls_without_times_or_places_raise_no_alarm():
    calls = simulated(np.random.default_rng(7), slots=2)
    assert not load_trends(calls.drop(columns=["started_at"]))
    assert not load_trends(calls.drop(columns=["address"]))
    assert not load_trends(calls.assign(ttft_s=np.nan))
    assert not load_trends(calls.iloc[:3])
    assert not load_trends(calls.assign(attempts=2))
