"""Runs in other processes: every row is written exactly once, even if a worker dies during its chunk."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections import Counter
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor

import pytest

from ipyllm import Experiment, LLMError, pool, usage
from ipyllm.experiment.remote_chunk import Chunk, run_chunk
from ipyllm.experiment.remote_run import _chunk_size
from ipyllm.experiment.run_config import RunConfig
from ipyllm.experiment.spending_limit import SpendingLimit
from ipyllm.experiment.trial_claims import TrialClaims
from ipyllm.ledger import Ledger, current_ledger, set_ledger
from tests.fakes import answer

NUMBERS = [str(n) for n in range(60)]


@pytest.fixture
def two_processes():
    """Make a pool of two processes that share nothing with this one."""
    made = []

    def make():
        made.append(ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")))
        return made[-1]

    yield make
    for executor in made:
        executor.shutdown(wait=True, cancel_futures=True)


def all_there_once(experiment, n, most_lost=0):
    """Every trial answered in exactly one row of the ledger, and that by other processes.

    Of workers that were killed there are rows of the calls in flight, at most ``most_lost``.
    """
    rows = usage(kernel=None, experiment=experiment.name)
    measured = rows[~rows["warmup"].astype(bool)]
    lost = measured["status"] == "interrupted"
    assert lost.sum() <= most_lost
    measured = measured[~lost]
    assert len(measured) == n
    assert Counter(tags["cell"] for tags in measured["tags"]) == dict.fromkeys(experiment.grid.trials, 1)
    assert (measured["status"] == "ok").all()
    assert len({tags["worker"] for tags in measured["tags"]} - {str(os.getpid())}) >= 1
    assert set(usage()["call_id"]) == set(rows["call_id"])


def test_calls_are_made_in_other_processes_and_come_home_as_rows(model, server, two_processes):
    experiment = Experiment(NUMBERS, models=[model("a"), model("b")], repeats=2, warmup=2, concurrency=8)
    results = experiment.run(two_processes(), progress=False)
    assert results.state == "240 of 240 calls have an answer."
    all_there_once(experiment, 240)
    assert len(server.requests) == 244
    assert results.calls["warmup"].sum() == 4
    workers = {tags["worker"] for tags in results.calls["tags"]}
    assert len(workers) == 2
    assert str(os.getpid()) not in {worker.rpartition(":")[2] for worker in workers}


@pytest.mark.thorough
def test_a_worker_that_is_killed_loses_no_row_and_doubles_none(model, server, two_processes):
    server.on(lambda request: answer(request.prompt, ttft=0.1))
    executor = two_processes()
    experiment = Experiment(NUMBERS, models=[model("a"), model("b")], warmup=0, concurrency=4)
    experiment.start(executor, chunk_size=12)
    server.wait_for(lambda: len(server.requests) >= 30, timeout=90)
    os.kill(next(iter(executor._processes)), signal.SIGKILL)
    assert experiment.wait(100)
    assert experiment.results().state == "120 of 120 calls have an answer."
    all_there_once(experiment, 120, most_lost=8)
    assert len(server.requests) <= 128


@pytest.mark.thorough
def test_a_function_that_makes_executors_replaces_one_that_broke(model, server, two_processes):
    server.on(lambda request: answer(request.prompt, ttft=0.1))
    made = []

    def make():
        made.append(two_processes())
        return made[-1]

    experiment = Experiment(NUMBERS, models=model(), warmup=0, concurrency=4)
    experiment.start(make, chunk_size=12)
    server.wait_for(lambda: len(server.requests) >= 20, timeout=90)
    os.kill(next(iter(made[0]._processes)), signal.SIGKILL)
    assert experiment.wait(100)
    all_there_once(experiment, 60, most_lost=8)
    assert len(made) == 2


@pytest.mark.thorough
def test_an_interrupt_takes_back_what_no_worker_has_begun(model, server, two_processes):
    server.on(lambda request: answer(request.prompt, ttft=0.2))
    experiment = Experiment(NUMBERS, models=model(), warmup=0, concurrency=2)
    experiment.start(two_processes(), chunk_size=4)
    server.wait_for(lambda: len(server.requests) >= 2, timeout=90)
    experiment.cancel()
    assert experiment.wait(60)
    results = experiment.results()
    rows = usage(kernel=None, experiment=experiment.name)
    assert 0 < len(rows) == len(server.requests) < 60
    assert results.undone == 60 - len(rows)
    assert "were not made: It was interrupted" in results.state
    again = experiment.run(two_processes(), progress=False)
    said = f"({len(rows)} of 60 from an earlier run at concurrency 2 in 2 × ProcessPoolExecutor)"
    assert again.state == f"60 of 60 calls have an answer {said}."
    assert len(server.requests) == 60


def test_any_executor_will_do(model):
    with ThreadPoolExecutor(2) as threads:
        experiment = Experiment(NUMBERS, models=model(), warmup=0)
        assert experiment.run(threads, progress=False).state == "60 of 60 calls have an answer."
    all_there_once(experiment, 60)


class _OnlySubmit:
    """As ipyparallel's and MPI's executors may be: nothing known but ``submit``."""

    def submit(self, function, *arguments):
        future = Future()
        future.set_result(function(*arguments))
        return future


def test_an_executor_of_which_only_submit_is_known_will_do(model):
    assert Experiment(["so"], models=model()).run(_OnlySubmit(), progress=False).undone == 0


class _Twice(_OnlySubmit):
    """Runs each chunk twice, as Dask does when it believes that a worker has died."""

    def submit(self, function, *arguments):
        function(*arguments)
        return super().submit(function, *arguments)


def test_a_chunk_that_is_run_twice_is_asked_once(model, server):
    experiment = Experiment(NUMBERS[:5], models=model(), warmup=0)
    assert experiment.run(_Twice(), progress=False).state == "5 of 5 calls have an answer."
    all_there_once(experiment, 5)
    assert len(server.requests) == 5


class _Elsewhere(_OnlySubmit):
    """Runs chunks as a machine with another ledger does."""

    def __init__(self, ledger):
        self.ledger = ledger

    def submit(self, function, *arguments):
        set_ledger(self.ledger)
        try:
            return super().submit(function, *arguments)
        finally:
            set_ledger(None)


@pytest.fixture
def elsewhere(tmp_path):
    with Ledger(tmp_path / "elsewhere.sqlite") as ledger:
        yield _Elsewhere(ledger)


def test_rows_of_a_worker_with_another_ledger_come_home(model, server, elsewhere):
    experiment = Experiment(NUMBERS[:20], models=model())
    assert experiment.run(elsewhere, progress=False, chunk_size=5).state == "20 of 20 calls have an answer."
    all_there_once(experiment, 20)
    assert len(server.requests) == 21
    here, there = (usage(kernel=None, ledger=ledger) for ledger in (current_ledger(), elsewhere.ledger))
    assert set(here["call_id"]) == set(there["call_id"])


def test_what_such_a_worker_did_for_a_killed_kernel_comes_home_to_the_next(model, server, elsewhere):
    experiment = Experiment(NUMBERS[:20], models=model(), warmup=0)
    config = RunConfig(
        *(experiment.name, experiment.grid.signature, 0, 4, current_ledger(), SpendingLimit()),
        claims=TrialClaims(current_ledger(), experiment.name),
    )
    elsewhere.submit(run_chunk, Chunk.of(list(experiment.grid.trials.values())[:12], config))  # and nobody hears of it
    assert experiment.results().undone == 20
    assert experiment.run(elsewhere, progress=False, chunk_size=5).state == "20 of 20 calls have an answer."
    all_there_once(experiment, 20)
    assert len(server.requests) == 20
    from ipyllm.dataframes.sent_request import sent_request

    for call_id in usage(kernel=None)["call_id"]:
        assert sent_request(call_id)


def test_a_worker_keeps_no_text_that_its_kernel_does_not_store(model, server, monkeypatch, elsewhere):
    for executor in (elsewhere, _OnlySubmit()):
        monkeypatch.setenv("IPYLLM_STORE_TEXT", "0")
        scorers = [lambda response: response.content.startswith("3")]
        experiment = Experiment(NUMBERS[3:5], models=model(), warmup=0, scorers=scorers, name=type(executor).__name__)
        monkeypatch.setenv("IPYLLM_STORE_TEXT", "1")
        calls = experiment.run(executor, progress=False).calls
        assert sorted(calls["score_lambda"]) == [0.0, 1.0]
    for ledger in (current_ledger(), elsewhere.ledger):
        assert usage(kernel=None, ledger=ledger)["response"].isna().all()


def test_no_key_travels(model, monkeypatch):
    import pickle

    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-the-environment-123456")
    service = model(api_key="sk-a-key-that-must-stay-home")
    experiment = Experiment(["so"], models=service)
    config = RunConfig("x", "", 0, 4, current_ledger(), SpendingLimit(None))
    packed = pickle.dumps(Chunk.of(list(experiment.grid.trials.values()), config))
    assert b"must-stay-home" not in packed
    assert b"sk-of-the-environment" not in packed


def test_errors_of_a_worker_are_rows_and_a_model_it_cannot_reach_is_said(model, server, two_processes):
    gone = type(model())("gone", base_url="http://127.0.0.1:9/v1", max_retries=0)
    with pytest.warns(UserWarning, match="openai/gone could not be reached"):
        results = Experiment(["so", "la"], models=[model(), gone]).run(two_processes(), progress=False)
    assert results.undone == 2
    assert "2 of 4 calls have an answer." in results.state


def test_what_cannot_travel_is_refused_before_anything_is_sent(server, two_processes):
    gpus = pool(server.base_url, model="m", name="gpus")
    with pytest.raises(LLMError, match="'gpus' cannot be sent to another process"):
        Experiment(["so"], models=gpus).run(two_processes(), progress=False)
    with pytest.raises(LLMError, match=r"executor must be a concurrent\.futures\.Executor"):
        Experiment(["so"], models="local/smollm2-135m").run(7, progress=False)
    assert not server.requests


@pytest.mark.thorough
def test_a_named_route_travels_as_its_name(server, own_settings, two_processes):
    (own_settings / "config.toml").write_text(f'[routes.gpus]\npool = ["{server.base_url}"]\nmodel = "m"\n')
    results = Experiment(["so", "la"], models="gpus").run(two_processes(), progress=False)
    assert results.state == "2 of 2 calls have an answer."


def _die():
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.thorough
def test_an_executor_whose_workers_always_die_is_given_up(model):
    def make():
        return ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn"), initializer=_die)

    experiment = Experiment(["so"], models=model(), warmup=0)
    with pytest.warns(UserWarning, match="Workers died 4 times, the last"):
        results = experiment.run(make, progress=False)
    assert results.undone == 1


@pytest.mark.thorough
def test_the_budget_holds_for_workers_too(own_settings, model, server, two_processes):
    (own_settings / "config.toml").write_text(
        '[prices."openai/a"]\ninput_usd_per_mtok = 0\noutput_usd_per_mtok = 100000\n'
    )
    experiment = Experiment(NUMBERS[:20], models=model("a", max_tokens=2), warmup=0, max_cost_usd=0.65, name="x")
    with pytest.warns(UserWarning, match="were not made: A call to openai/a may cost up to"):
        results = experiment.run(two_processes(), progress=False, chunk_size=2)
    assert results.calls["cost_usd"].sum() <= 0.65
    assert 3 <= len(server.requests) <= 6


@pytest.mark.parametrize("chunk_size", [1, 8, 30])
def test_a_budget_is_used_to_its_end_by_workers_too(priced, server, chunk_size):
    experiment = Experiment(NUMBERS, models=priced, warmup=0, max_cost_usd=2.0)
    with ThreadPoolExecutor(2) as threads, pytest.warns(UserWarning, match="41 were not made: A call to openai/a may"):
        experiment.run(threads, progress=False, chunk_size=chunk_size)
    # A call costs $0.10, and at most $0.20: of $2, all but the last $0.10 can be spent.
    assert experiment.results().costs.loc["total", "cost_usd"] == pytest.approx(1.9)
    assert len(server.requests) == 19


@pytest.mark.parametrize(
    ("trials", "workers", "concurrency"), [(1, 4, 32), (40, 2, 32), (5000, 4, 32), (10**6, 100, 8)]
)
def test_chunks_keep_all_workers_busy_and_cost_little_when_lost(trials, workers, concurrency):
    size = _chunk_size(trials, workers, concurrency)
    assert 1 <= size <= max(concurrency * 8, 1)
    assert size >= min(concurrency, -(-trials // workers))
    assert trials / size >= min(trials, workers) * 0.99


@pytest.mark.thorough
@pytest.mark.timeout(300)
def test_a_dask_cluster_loses_a_worker_and_no_row(model, server, python, tmp_path):
    """A scheduler and two workers in processes of their own, on loopback; one is killed in the middle of a chunk."""
    distributed = pytest.importorskip("distributed")
    where = tmp_path / "scheduler.json"
    cli = "import sys; from dask.__main__ import main; sys.argv = ['dask', *sys.argv[1:]]; main()"
    serve = ("scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--scheduler-file", where)
    python(cli, *serve, warnings="default")
    # Found before it is written to its end, it names no scheduler.
    server.wait_for(lambda: where.exists() and where.read_text().rstrip().endswith("}"), timeout=100)
    workers = [
        python(
            cli, "worker", "--scheduler-file", where, "--host", "127.0.0.1", "--nthreads", "1", "--no-nanny",
            "--no-dashboard", "--name", name, "--local-directory", tmp_path, warnings="default",
        )
        for name in ("one", "two")
    ]  # fmt: skip
    server.on(lambda request: answer(request.prompt, ttft=0.1))
    with distributed.Client(scheduler_file=str(where), set_as_default=False) as client:
        client.wait_for_workers(2, timeout=100)
        experiment = Experiment(NUMBERS, models=[model("a"), model("b")], concurrency=4)
        experiment.start(client.get_executor(), chunk_size=10)
        server.wait_for(lambda: len(server.requests) >= 30, timeout=100)
        workers[0].kill()
        assert experiment.wait(150)
        assert experiment.results().state == "120 of 120 calls have an answer."
        all_there_once(experiment, 120, most_lost=4)
        assert len({tags["worker"] for tags in experiment.results().calls["tags"]}) == 2
