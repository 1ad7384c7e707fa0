"""Kernels that share an experiment in a PostgreSQL server: the same guarantees as with SQLite."""

from __future__ import annotations

import pytest

from tests.fakes import answer

pytest.importorskip("psycopg", reason="PostgreSQL needs ipyllm[postgres]")

from tests.service.ledger.server import Server, programs

from .kernels_at_once import check_account, finish, kill, same_experiment, start

pytestmark = [
    pytest.mark.skipif(programs() is None, reason="no PostgreSQL server here: Debian's package postgresql has it"),
    pytest.mark.thorough,
]


@pytest.fixture
def on_postgresql(monkeypatch):
    database = Server()
    try:
        database.start()
        monkeypatch.setenv("IPYLLM_LEDGER", database.url())
        yield
    finally:
        from ipyllm.ledger import current_ledger

        current_ledger().close()
        database.remove()


def test_two_kernels_there_ask_each_trial_once_and_one_takes_over_from_the_other(python, server, priced, on_postgresql):
    server.on(lambda request: answer(request.prompt, ttft=0.05))
    first, second = start(python, server, 600, kernels=2, concurrency=16)
    server.wait_for(lambda: len(server.requests) >= 200, timeout=90)
    kill(first)
    finish(second, 600)
    check_account(server, 600, most_twice=16)


def test_answers_of_the_workers_of_a_killed_kernel_are_there(python, server, priced, on_postgresql):
    server.on(lambda request: answer(request.prompt, ttft=0.1))
    [kernel] = start(python, server, 600, concurrency=8, workers=2)
    server.wait_for(lambda: len(server.requests) >= 150, timeout=90)
    workers = kill(kernel)
    try:
        same_experiment(server, 600, 8).run(progress=False)
    finally:
        for worker in workers:
            worker.kill()
    check_account(server, 600, most_twice=2 * 8)


def test_kernels_share_the_requests_per_minute(python, server, priced, on_postgresql):
    server.on(lambda request: answer(request.prompt))
    for kernel in start(python, server, 150, kernels=2, concurrency=32, rate=600):
        finish(kernel, 150)
    at = sorted(request.arrived_ns for request in server.requests)
    # Two bursts of a tenth of a minute's, before the first has learned of the second; then ten a second together.
    assert (at[-1] - at[0]) / 1e9 >= (150 - 2 * 60) / 10
