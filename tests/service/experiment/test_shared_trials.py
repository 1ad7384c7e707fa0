"""Nothing is paid twice: kernels and workers on one experiment, killed at any time, ask each trial once."""

from __future__ import annotations

import signal

import pytest

from ipyllm import Experiment
from ipyllm.ledger import current_ledger
from tests.fakes import answer, server_error

from .kernels_at_once import check_account, finish, kill, same_experiment, start


@pytest.mark.parametrize("n", [60, pytest.param(3000, marks=pytest.mark.thorough)])
def test_two_kernels_on_one_experiment_ask_each_trial_once_and_both_have_all_answers(python, server, priced, n):
    server.on(lambda request: answer(request.prompt, ttft=0.02))
    for kernel in start(python, server, n, kernels=2):
        finish(kernel, n)
    rows = check_account(server, n, most_twice=0)
    assert rows["cost_usd"].sum() == pytest.approx(0.1 * len(server.requests))
    assert n < 1000 or rows["kernel_id"].nunique() == 2, "both have worked"


@pytest.mark.thorough
@pytest.mark.parametrize(("n", "in_flight"), [(60, 8), pytest.param(1500, 32, marks=pytest.mark.thorough)])
def test_a_killed_kernel_leaves_a_row_of_each_request_and_its_trials_to_others(python, server, priced, n, in_flight):
    """``kill -9`` in the middle; the next run asks again what was in flight, and nothing else."""
    server.on(lambda request: answer(request.prompt, ttft=0.05))
    [kernel] = start(python, server, n, concurrency=in_flight)
    server.wait_for(lambda: len(server.requests) >= n // 3, timeout=90)
    kernel.kill()
    kernel.wait()
    results = same_experiment(server, n, in_flight).run(progress=False)
    rows = check_account(server, n, most_twice=in_flight)
    costs = results.costs.loc["total"]
    n_lost = (rows["status"] == "interrupted").sum()
    assert costs["cost_usd"] == pytest.approx(0.1 * n)
    assert costs["cost_unknown"] == n_lost
    # What a lost call can have cost at most is known.
    assert costs["cost_bound_usd"] == pytest.approx(0.1 * n + 0.2 * n_lost)


@pytest.mark.thorough
def test_kernels_that_are_killed_one_after_the_other_leave_no_request_without_a_row(python, server, priced):
    """64 in flight, four kills."""
    server.on(lambda request: answer(request.prompt, ttft=0.1))
    for number in range(4):
        [kernel] = start(python, server, 1500, concurrency=64)
        server.wait_for(lambda target=300 * (number + 1): len(server.requests) >= target, timeout=90)
        kernel.kill()
        kernel.wait()
    same_experiment(server, 1500, 64).run(progress=False)
    check_account(server, 1500, most_twice=4 * 64)


@pytest.mark.thorough
def test_answers_of_the_workers_of_a_killed_kernel_are_in_the_ledger(python, server, priced):
    """The workers of its pool live on for their chunks: whoever runs the experiment next waits for them."""
    server.on(lambda request: answer(request.prompt, ttft=0.1))
    [kernel] = start(python, server, 1500, concurrency=16, workers=2)
    server.wait_for(lambda: len(server.requests) >= 300, timeout=90)
    workers = kill(kernel)
    try:
        results = same_experiment(server, 1500, 16).run(progress=False)
    finally:
        for worker in workers:
            worker.kill()
    check_account(server, 1500, most_twice=2 * 16)
    assert results.costs.loc["total", "cost_usd"] == pytest.approx(0.1 * 1500)


@pytest.mark.thorough
def test_a_kernel_takes_over_from_one_that_is_killed_while_both_run(python, server, priced):
    server.on(lambda request: answer(request.prompt, ttft=0.05))
    first, second = start(python, server, 120, kernels=2)
    server.wait_for(lambda: len(server.requests) >= 40, timeout=90)
    first.kill()
    first.wait()
    finish(second, 120)
    check_account(server, 120, most_twice=8)


@pytest.mark.thorough
def test_a_failed_call_is_asked_once_by_each_run_and_not_by_each_kernel(python, server, priced):
    server.on(lambda request: server_error() if request.prompt == "7" else answer(request.prompt, ttft=0.02))
    for kernel in start(python, server, 60, kernels=2):
        out, _ = kernel.communicate(timeout=100)
        assert "59 of 60 calls have an answer. 1 failed" in out
    assert [request.prompt for request in server.requests].count("7") == 1
    assert len(server.requests) == 60
    server.on(lambda request: answer(request.prompt))
    assert same_experiment(server, 60).run(progress=False).undone == 0
    assert len(server.requests) == 61


@pytest.mark.thorough
def test_an_interrupt_lets_calls_in_flight_end(python, server, priced):
    server.on(lambda request: answer(request.prompt, ttft=1.0))
    [kernel] = start(python, server, 40, concurrency=4)
    server.wait_for(lambda: len(server.requests) >= 4, timeout=90)
    kernel.send_signal(signal.SIGINT)
    kernel.communicate(timeout=60)
    results = same_experiment(server, 40).results()
    assert results.calls["status"].tolist() == ["ok"] * len(server.requests)
    assert 4 <= len(server.requests) <= 8


@pytest.mark.thorough
def test_a_second_interrupt_cancels_them(python, server, priced):
    server.on(lambda request: answer(request.prompt, ttft=100))
    [kernel] = start(python, server, 40, concurrency=4)
    server.wait_for(lambda: len(server.requests) == 4, timeout=90)
    kernel.send_signal(signal.SIGINT)
    server.wait_for(lambda: any(request.closed_by_client for request in server.requests), timeout=60)
    kernel.communicate(timeout=60)
    assert set(same_experiment(server, 40).results().calls["status"]) == {"cancelled"}


@pytest.mark.thorough
def test_kernels_share_the_requests_per_minute(python, server, priced):
    """Both together send what one may: a burst of a tenth of a minute's, then one after the other."""
    rate = 600
    server.on(lambda request: answer(request.prompt))
    for kernel in start(python, server, 150, kernels=2, concurrency=32, rate=rate):
        finish(kernel, 150)
    at = sorted(request.arrived_ns for request in server.requests)
    seconds = (at[-1] - at[0]) / 1e9
    burst = rate / 10
    # Until the first has learned of the second, it takes the whole.
    assert seconds >= (150 - 2 * burst) / (rate / 60)


def test_what_is_claimed_is_given_back_at_the_end(server, priced):
    experiment = Experiment(["so", "la"], models=priced, warmup=0, name="shared")
    experiment.run(progress=False)
    ledger = current_ledger()
    with ledger._writer.store.open()._opened().connect() as connection:
        for table in ("experiment_claims", "experiment_participants"):
            assert connection.exec_driver_sql(f"SELECT count(*) FROM {table}").scalar() == 0
