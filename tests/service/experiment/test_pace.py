"""How many calls a run keeps in flight: as many as make the server answer more of them."""

from __future__ import annotations

import threading

import pytest

from ipyllm.experiment.experiment import Experiment
from ipyllm.experiment.pace import Pace
from ipyllm.experiment.run import Run
from ipyllm.experiment.run_config import RunConfig
from ipyllm.experiment.spending_limit import SpendingLimit
from tests.fakes import answer
from tests.stalls import again_if_stalled


def after(pace, windows, duration_s):
    """Record windows of answers that take as long as ``duration_s`` says for a number of calls in flight."""
    for _ in range(windows):
        limit = pace.limit
        for _ in range(limit):
            pace.record(duration_s(limit))
    return pace.limit


def test_a_server_that_is_as_fast_with_more_gets_as_many_as_there_may_be():
    assert after(Pace(), 10, lambda _: 0.2) == Pace.most


@pytest.mark.parametrize("places", [1, 4, 50])
def test_a_server_that_queues_gets_hardly_more_than_it_serves_at_once(places):
    limit = after(Pace(), 60, lambda n: 0.2 * max(1.0, n / places))
    assert limit <= max(2 * 8, 3 * places)
    assert limit >= min(8, places)


def test_a_server_that_gets_slower_later_gets_fewer():
    pace = Pace()
    before = after(pace, 8, lambda n: 0.2 * max(1.0, n / 64))
    assert after(pace, 3, lambda _: 5.0) <= before / 8


def test_it_never_stops():
    assert after(Pace(), 30, lambda n: 0.1 * n * n) >= 1


@again_if_stalled(0.05)
def test_a_run_adds_calls_while_the_server_keeps_up(model, server):
    together, most, lock = [0], [0], threading.Lock()

    def decide(request):
        with lock:
            together[0] = sum(r.finished_ns is None for r in server.requests)
            most[0] = max(most[0], together[0])
        return answer(request.prompt, ttft=0.05)

    server.on(decide)
    experiment = Experiment([str(n) for n in range(150)], models=model(), warmup=0)
    seen = []
    config = RunConfig(
        experiment.name,
        "grid",
        0,
        None,
        experiment.ledger,
        SpendingLimit(),
        on_outcome=lambda trial, response, error: seen.append((trial.prompt.text, response.content, error)),
        pace=Pace(),
    )
    run = Run(list(experiment.grid.trials.values()), config).start()
    assert run.done.wait(90)
    assert sorted(seen) == sorted((str(n), str(n), None) for n in range(150))
    assert most[0] > 8
