"""The budget of an experiment: reserved before a call is sent, and shared by all calls and runs."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from ipyllm import Experiment, LLMError
from tests.fakes import answer


def experiment(service, **options):
    return Experiment([f"{n}" for n in range(20)], models=service, **{"warmup": 0, "name": "x"} | options)


def test_a_run_stops_before_its_budget_is_passed_and_says_what_is_left(priced, server):
    with pytest.warns(UserWarning, match="15 were not made: A call to openai/a may cost up to"):
        results = experiment(priced, max_cost_usd=0.6, concurrency=8).run(progress=False)
    assert len(server.requests) == 5
    assert results.calls["cost_usd"].sum() == pytest.approx(0.5)
    assert results.state.startswith("5 of 20 calls have an answer. 15 were not made: ")


def test_calls_in_flight_cannot_overspend_together(priced, server):
    with server.held_until(3, answer("x")), pytest.warns(UserWarning, match="were not made"):
        experiment(priced, max_cost_usd=0.6, concurrency=20).run(progress=False)
    assert server.max_in_flight == 3


def test_earlier_runs_count_and_a_raised_budget_goes_on(priced, server):
    with pytest.warns(UserWarning, match="were not made"):
        experiment(priced, max_cost_usd=0.6).run(progress=False)
    with pytest.raises(LLMError, match=r"\$0.50 spent"):
        experiment(priced, max_cost_usd=0.6).run(progress=False)
    assert len(server.requests) == 5
    results = experiment(priced, max_cost_usd=5).run(progress=False)
    assert results.state == "20 of 20 calls have an answer (5 of 20 from an earlier run at concurrency 32)."
    assert len(server.requests) == 20


def test_a_budget_of_0_sends_nothing_that_costs(priced, server):
    with pytest.raises(LLMError, match=r"may cost up to \$0.20, but max_cost_usd is \$0; it was not sent") as caught:
        experiment(priced, max_cost_usd=0).run(progress=False)
    assert caught.value.category == "quota"
    assert not server.requests


def test_a_price_that_is_unknown_is_said_before_anything_is_sent(model, server):
    with pytest.raises(LLMError, match="is unknown, so max_cost_usd"):
        experiment(model(), max_cost_usd=1.0).run(progress=False)
    assert not server.requests


def test_warm_ups_are_paid_from_the_budget(priced, server):
    with pytest.warns(UserWarning, match="were not made"):
        results = experiment(priced, max_cost_usd=0.6, warmup=2).run(progress=False)
    assert len(server.requests) == 5
    assert results.calls["warmup"].sum() == 2


def test_the_budget_of_the_whole_process_stops_a_run_too(priced, server, monkeypatch):
    from ipyllm.pipeline.budget import kernel_budget

    monkeypatch.setenv("IPYLLM_MAX_COST_USD", str(kernel_budget().spent_usd + 0.6))
    with pytest.warns(UserWarning, match="were not made"):
        results = experiment(priced, concurrency=1).run(progress=False)
    assert len(server.requests) == 5
    assert (results.calls["status"] == "ok").sum() == 5


def test_a_cost_that_nobody_knows_is_said_by_the_bar_the_summary_and_the_report(priced, server, tmp_path, capsys):
    server.on(lambda request: answer("x", usage=int(request.prompt) % 2 == 0))
    results = experiment(priced).run(progress=True)
    said = "≥ $1.00, 10 of 20 unknown"
    assert f"cost={said}" in capsys.readouterr().err
    table = results.summary()
    assert (table["cost_usd"].item(), table["cost_unknown"].item()) == (pytest.approx(1.0), 10)
    assert table.compact()["cost_usd"].tolist() == [said]
    report = results.report(tmp_path / "report.html").read_text()
    assert f"20 calls · cost {said}" in report
    assert f"<td>{said}</td>" in report


def test_what_workers_do_not_know_the_cost_of_is_unknown_here_too(priced, server, capsys):
    server.on(lambda request: answer("x", usage=int(request.prompt) % 2 == 0))
    with ThreadPoolExecutor(2) as pool:
        experiment(priced).run(progress=True, executor=pool)
    assert "cost=≥ $1.00, 10 of 20 unknown" in capsys.readouterr().err
