"""The budget of an experiment is one for all that it pays: kernels, workers, retries, judges."""

from __future__ import annotations

import asyncio
import sqlite3
import subprocess
import threading
import time
import warnings
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing
from dataclasses import replace

import pandas as pd
import pytest

from ipyllm import Experiment, LLMError, fallback, scorers, usage
from ipyllm.experiment.spending_limit import ChunkFunds, LedgerFunds, SpendingLimit
from ipyllm.ledger import Ledger, current_ledger
from tests.fakes import answer, status


def experiment(service, n=20, **options):
    return Experiment([f"{number}" for number in range(n)], models=service, **{"warmup": 0, "name": "x"} | options)


def state():
    return current_ledger().reserve("x", 1e9, {})


KERNEL = """
    import sys, warnings
    from ipyllm import Experiment, OpenAIService
    service = OpenAIService("a", base_url=sys.argv[1], max_retries=0, max_tokens=2, max_in_flight=int(sys.argv[2]))
    experiment = Experiment([f"{n}" for n in range(20)], models=service, warmup=0, name="x", max_cost_usd=0.75,
                            seed=int(sys.argv[3]), concurrency=4)
    print("ready", flush=True)
    sys.stdin.readline()
    with warnings.catch_warnings(record=True):
        experiment.run(progress=False)
"""


def kernels(python, server, n, max_in_flight=100):
    """Start kernels that run the same experiment, all at once."""
    arguments = server.base_url, max_in_flight
    started = [python(KERNEL, *arguments, seed, stdin=subprocess.PIPE, warnings="default") for seed in range(n)]
    for kernel in started:
        assert kernel.stdout.readline() == "ready\n"
    for kernel in started:
        kernel.stdin.write("\n")
        kernel.stdin.flush()
    return started


@pytest.mark.thorough
def test_two_kernels_on_one_experiment_share_its_budget(priced, server, python):
    server.on(lambda _: answer("x", ttft=0.05))
    for kernel in kernels(python, server, 2):
        _, err = kernel.communicate(timeout=100)
        assert kernel.returncode == 0, err
    assert server.max_in_flight <= 3
    assert 6 <= len(server.requests) <= 7
    assert usage(kernel=None, experiment="x")["cost_usd"].sum() == pytest.approx(0.1 * len(server.requests))
    assert state().reserved_usd == 0.0


def test_what_a_killed_kernel_had_sent_counts_and_nothing_of_it_stays_reserved(priced, server, python):
    server.on(lambda _: answer("x", ttft=100))
    [kernel] = kernels(python, server, 1, max_in_flight=1)
    server.wait_for(lambda: len(server.requests) == 1 and state().reserved_usd > 0, timeout=60)
    kernel.kill()
    kernel.wait()
    server.on(lambda _: answer("x"))
    with pytest.warns(UserWarning, match=r"spent, of which \$0.20 assumed for calls of unknown cost; \$0 reserved"):
        results = experiment(priced, max_cost_usd=0.75).run(progress=False)
    assert len(server.requests) == 1 + 4
    assert results.costs.loc["total", "cost_usd"] == pytest.approx(0.4)
    assert results.costs.loc["total", "cost_bound_usd"] == pytest.approx(0.6)


def test_a_call_is_in_the_ledger_before_it_is_sent(priced, server, own_settings):
    """So that it counts if its kernel is killed the moment after."""
    found = []

    def look(_):
        with closing(sqlite3.connect(own_settings / "ledger.sqlite", timeout=60)) as ledger:
            found.extend(ledger.execute("SELECT status, cost_bound_usd FROM calls WHERE cost_bound_usd > 0"))
        return answer("x")

    server.on(look)
    experiment(priced, n=1, max_cost_usd=5).run(progress=False)
    assert found == [("running", pytest.approx(0.2))]


@pytest.mark.thorough
def test_another_kernel_s_calls_in_flight_are_waited_for(priced, server, python):
    server.on(lambda _: answer("x", ttft=2))
    [kernel] = kernels(python, server, 1)
    server.wait_for(lambda: len(server.requests) == 3, timeout=60)
    with pytest.warns(UserWarning, match="were not made"):
        experiment(priced, max_cost_usd=0.75).run(progress=False)
    kernel.communicate(timeout=60)
    assert 6 <= len(server.requests) <= 7


def test_a_fake_that_bills_more_than_its_bound_stops_the_run_after_the_calls_in_flight(priced, server):
    counts = {"prompt_tokens": 1, "completion_tokens": 4, "total_tokens": 5}
    spent = pytest.warns(UserWarning, match=r"\$0.80 spent; \$0 reserved by calls in flight")
    with server.held_until(2, answer("x", usage=counts)), spent:
        experiment(priced, max_cost_usd=0.5, concurrency=8).run(progress=False)
    assert len(server.requests) == 2


def test_retries_that_may_have_been_billed_are_paid_from_the_budget(own_settings, priced, server, model):
    server.on(lambda _: replace(answer("one two"), silent=True, ending="rst"))
    with pytest.warns(UserWarning, match="may cost up to"):
        experiment(model("a", max_tokens=2, max_retries=5), max_cost_usd=0.5, concurrency=1).run(progress=False)
    assert len(server.requests) == 2
    assert state().spent_usd == pytest.approx(0.4)


def test_the_members_of_a_route_are_paid_from_the_budget(priced, server, model):
    def reply(request):
        return answer("x") if request.json["model"] == "b" else replace(answer("x"), silent=True, ending="rst")

    server.on(reply)
    route = fallback(model("a", max_tokens=2), model("b", max_tokens=2))
    with pytest.warns(UserWarning, match="may cost up to"):
        results = experiment(route, max_cost_usd=0.65, concurrency=1).run(progress=False)
    # The dearest that "a" may have cost, then the cost of "b".
    assert [request.json["model"] for request in server.requests][:2] == ["a", "b"]
    assert state().spent_usd <= 0.65
    assert results.costs.loc["total", "cost_bound_usd"] == pytest.approx(state().spent_usd)


@pytest.mark.parametrize("is_exit", [False, True])
def test_cancelled_calls_count_as_the_most_that_they_can_have_cost(priced, server, monkeypatch, is_exit):
    monkeypatch.setattr("ipyllm.pipeline.stored_responses.is_exiting", lambda: is_exit)
    server.on(lambda _: answer("one two", ttft=0, gap=100))
    running = experiment(priced, max_cost_usd=0.65, concurrency=8)
    running.start()
    server.wait_for(lambda: len(server.requests) == 3)
    running.cancel()
    assert running.wait(60)
    assert (running.progress.ended, running.progress.failed) == (0, 0), "they are asked again"
    assert set(usage(kernel=None)["status"]) == {"interrupted" if is_exit else "cancelled"}
    server.wait_for(lambda: state().reserved_usd == 0.0)
    assert state().spent_usd == state().assumed_usd == pytest.approx(0.6)
    with pytest.raises(LLMError, match=r"only \$0.05 is left \(\$0.60 spent, of which \$0.60 assumed"):
        experiment(priced, max_cost_usd=0.65).run(progress=False)


@pytest.mark.filterwarnings("ignore:The ledger at")
def test_no_ledger_no_calls_under_a_limit(priced, server, own_settings):
    limited = experiment(priced, max_cost_usd=5)
    (own_settings / "ledger.sqlite").unlink(missing_ok=True)
    (own_settings / "ledger.sqlite").mkdir()
    with pytest.raises(LLMError, match="budget of 'x' cannot be checked in the ledger"):
        limited.run(progress=False)
    assert not server.requests


def test_nothing_is_sent_whose_row_cannot_be_written(own_settings, tmp_path):
    with Ledger(tmp_path) as ledger, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ledger.put({"call_id": "a", "status": "running"})
        with pytest.raises(LLMError, match=r"calls of 'x' cannot be written to the ledger\. Nothing is sent") as caught:
            LedgerFunds(ledger, "x", 1.0).flush()
        assert (caught.value.category, caught.value.reached_server) == ("quota", False)


def test_what_a_call_holds_itself_is_not_said_to_be_reserved_by_others():
    async def run():
        limit = SpendingLimit(1.0, ChunkFunds(1.0))
        call, other = limit.account(), limit.account()
        await call.hold(0.5, "m")
        with pytest.raises(LLMError, match=r"up to \$2.00, but max_cost_usd is \$1.00; it was"):
            await call.hold(2.0, "m")  # its price has risen
        await other.hold(0.2, "m")
        with pytest.raises(LLMError, match=r"only \$0.80 is left \(\$0 spent; \$0.20 reserved by calls in flight\)"):
            await call.hold(2.0, "m")
        call.spend(None)  # what the first attempt cost is unknown, and stays reserved
        with pytest.raises(LLMError, match=r"only \$0.30 is left \(\$0 spent; \$0.70 reserved by calls in flight\)"):
            await call.hold(0.5, "m")

    asyncio.run(run())


def test_calls_share_the_writing_of_their_rows_and_each_waits_for_one_that_began_later():
    class Funds:
        began = 0

        def __init__(self):
            self.has_begun, self.may_end = threading.Event(), threading.Event()

        def reserve(self, wanted, released):
            raise AssertionError

        def flush(self):
            self.began += 1
            self.has_begun.set()
            assert self.may_end.wait(60)
            time.sleep(0.05)

    funds = Funds()

    async def run():
        limit = SpendingLimit(1.0, funds)
        first = asyncio.create_task(limit.sent())
        assert await asyncio.to_thread(funds.has_begun.wait, 60)
        assert funds.began == 1
        later = [asyncio.create_task(limit.sent()) for _ in range(50)]
        await asyncio.sleep(0)
        later[0].cancel()
        funds.may_end.set()
        await first
        assert not any(each.done() for each in later[1:])
        await asyncio.gather(*later[1:])
        assert funds.began == 2
        await limit.sent()
        assert funds.began == 3

    asyncio.run(run())


# ---- judges ------------------------------------------------------------------------------------------


def graded(server):
    """Answer as an arm with one word, and as a judge with a grade that is billed as two tokens."""
    counts = {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}

    def reply(request):
        if request.json["model"] != "judge":
            return answer("x")
        return answer('{"reason": "It is x.", "grade": 4}', usage=counts)

    server.on(reply)


def test_judges_are_paid_from_the_budget_and_shown_apart(priced, server, model):
    graded(server)
    judge = scorers.judge(model("judge"), max_tokens=3)
    results = experiment(priced, n=4, scorers=[judge], max_cost_usd=2).run(progress=False)
    assert results.calls["score_judge"].tolist() == [4.0] * 4
    costs = results.costs
    assert costs["n"].to_dict() == {"calls": 4, "warm-ups": 0, "judges": 4, "total": 8}
    assert costs["cost_usd"].to_dict() == pytest.approx({"calls": 0.4, "warm-ups": 0, "judges": 0.8, "total": 1.2})
    assert costs["cost_unknown"].tolist() == [0, 0, 0, 0]
    assert state().spent_usd == pytest.approx(1.2)
    assert len(results.calls) == 4, "a judgement is no answer"
    assert results.summary()["n"].tolist() == [4]
    assert "costs $1.20" in results._repr_html_()


def test_a_judge_stops_at_the_limit_and_says_so(priced, server, model):
    graded(server)
    judge = scorers.judge(model("judge"), max_tokens=3)
    results = experiment(priced, n=4, scorers=[judge], max_cost_usd=1.1, concurrency=1).run(progress=False)
    asked = [request.json["model"] for request in server.requests]
    assert (asked.count("a"), asked.count("judge")) == (4, 3)
    assert results.calls["score_judge"].notna().sum() == 3
    [reason] = results.calls["score_judge_error"].dropna()
    assert "may cost up to $0.30, but of max_cost_usd=$1.10 only $0.10 is left ($1.00 spent; $0 reserved" in reason
    assert state().spent_usd == pytest.approx(1.0)
    # With a higher limit, the score is made up for.
    again = experiment(priced, n=4, scorers=[judge], max_cost_usd=5).run(progress=False)
    assert again.calls["score_judge"].notna().all()
    assert len(server.requests) == 8


def test_the_costs_of_judges_stop_a_later_run(priced, server, model):
    graded(server)
    judge = scorers.judge(model("judge"), max_tokens=3)
    experiment(priced, n=2, scorers=[judge], max_cost_usd=0.75).run(progress=False)
    with pytest.warns(UserWarning, match="changed"), pytest.raises(LLMError, match=r"\$0.60 spent"):
        experiment(priced, n=3, max_cost_usd=0.75).run(progress=False)


def test_a_pairwise_judge_is_stopped_at_the_limit_too(priced, server, model):
    graded(server)
    arms = [priced, model("b", max_tokens=2)]
    results = experiment(arms, n=3, max_cost_usd=1.6).run(progress=False)
    verdict = '{"reason": "It is x.", "better": "first"}'
    counts = {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}
    server.on(lambda _: answer(verdict, usage=counts))
    calls = results.calls.assign(response=[f"answer {number}" for number in range(6)])
    before = len(server.requests)
    judge = scorers.pairwise_judge(model("judge"), max_tokens=3)
    with pytest.warns(UserWarning, match="pairs could not be judged"):
        votes = judge.votes(calls, concurrency=1)
    # $0.60 are spent; each question costs $0.20, and $0.30 at most.
    assert (len(votes), len(server.requests) - before) == (2, 4)
    assert state().spent_usd == pytest.approx(1.4)


def test_a_later_experiment_of_the_same_name_decides_about_the_limit(priced, server, model):
    graded(server)
    judge = scorers.judge(model("judge"), max_tokens=3)
    experiment(priced, n=1, max_cost_usd=0.25).run(progress=False)
    results = experiment(priced, n=1, scorers=[judge]).run(progress=False)
    assert results.calls["score_judge"].tolist() == [4.0]


def test_earlier_calls_of_unknown_cost_are_said_when_a_limit_comes_later(priced, server):
    server.on(lambda request: answer("x", usage=request.prompt != "0"))
    experiment(priced, n=2).run(progress=False)
    said = r"^1 earlier call has an unknown cost, which max_cost_usd=\$5.00 does not include\.$"
    with pytest.warns(UserWarning, match="The grid") as warned, pytest.warns(UserWarning, match=said):
        experiment(priced, n=2, repeats=2, max_cost_usd=5).run(progress=False)
    assert {each.filename for each in warned} == {__file__}
    assert state().n_uncounted == 1
    assert state().assumed_usd == pytest.approx(0.2), "with a limit, a call has a bound"


def test_refused_calls_cost_nothing_with_and_without_a_limit(priced, server):
    server.on(lambda request: status(400) if int(request.prompt) % 2 else answer("x"))
    for name, limit in (("free", None), ("limited", 5)):
        results = experiment(priced, n=4, name=name, max_cost_usd=limit).run(progress=False)
        total = results.costs.loc["total"].tolist()
        assert total == pytest.approx([4, 0.2, 0, 0.2])
        calls = results.calls
        assert sorted(calls["price_source"]) == ["refused", "refused", "settings", "settings"]
        assert results.summary().compact()["cost_usd"].tolist() == ["$0.20"]
        assert results.summary()[["uncounted", "cost_unknown"]].iloc[0].tolist() == [0, 0]


def test_unknown_costs_are_counted_and_not_summed(model, server):
    results = experiment(model("a"), n=2).run(progress=False)
    total = results.costs.loc["total"]
    assert (total["n"], total["cost_unknown"]) == (2, 2)
    assert pd.isna(total["cost_usd"])
    assert pd.isna(total["cost_bound_usd"])


# ---- workers -----------------------------------------------------------------------------------------


@pytest.fixture
def pool():
    pools = []

    def make():
        pools.append(ProcessPoolExecutor(1))
        return pools[-1]

    yield make
    for each in pools:
        each.shutdown(wait=False, cancel_futures=True)


def test_retries_in_a_worker_stay_within_the_part_that_is_reserved_for_its_chunk(priced, server, model, pool):
    server.on(lambda _: replace(answer("one two"), silent=True, ending="rst"))
    service = model("a", max_tokens=2, max_retries=2)
    with pytest.warns(UserWarning, match="may cost up to"):
        experiment(service, max_cost_usd=0.65, concurrency=1).run(pool(), progress=False, chunk_size=2)
    assert len(server.requests) <= 3
    assert state().spent_usd <= 0.65


def test_the_calls_of_a_worker_that_died_may_have_been_paid(priced, server, pool):
    server.on(lambda _: answer("x", ttft=100))
    workers = pool()
    running = experiment(priced, max_cost_usd=0.65, concurrency=1)
    running.start(pool_after(workers, pool), chunk_size=1)
    server.wait_for(lambda: len(server.requests) == 1, timeout=60)
    server.on(lambda _: answer("x"))
    for process in workers._processes.values():
        process.kill()
    assert running.wait(100)
    # $0.20 are assumed for the lost call, so that three more fit.
    assert len(server.requests) == 1 + 3
    assert (state().assumed_usd, state().spent_usd) == (pytest.approx(0.2), pytest.approx(0.5))
    assert state().reserved_usd == 0.0


def test_a_run_that_fails_counts_its_chunks_and_holds_nothing(priced, server, pool, monkeypatch, caplog):
    def fail(*_):
        raise RuntimeError("a bug")

    monkeypatch.setattr("ipyllm.experiment.remote_run.RemoteRun._write", fail)
    workers = pool()
    with pytest.warns(UserWarning, match="It failed with RuntimeError: a bug"):
        experiment(priced, n=40, max_cost_usd=50, concurrency=1).run(workers, progress=False, chunk_size=2)
    workers.shutdown(cancel_futures=True)
    assert state().reserved_usd == 0.0
    assert state().spent_usd == pytest.approx(0.1 * len(server.requests)), "the worker has written what it sent"


def pool_after(first, make):
    """Return a function that returns ``first``, and then makes new pools."""
    given = [first]
    return lambda: given.pop() if given else make()
