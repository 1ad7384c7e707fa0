"""Answers of earlier runs are named as such, and no time is shown for conditions under which it was not measured."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pandas as pd
import pytest

from ipyllm import Experiment, OpenAIService, usage
from ipyllm.comparison.arms import make_arms
from ipyllm.dataframes.conditions import TIMES_LEFT_OUT
from ipyllm.experiment.run_config import RunConfig
from ipyllm.experiment.spending_limit import SpendingLimit
from ipyllm.ledger import current_ledger
from ipyllm.process_identity import host_name

PROMPTS = [f"{n}?" for n in range(12)]
TIMES = ["ttft_s", "total_s", "queue_s", "e2e_s"]


@pytest.fixture
def experiment(model):
    def make(prompts=PROMPTS, **options):
        return Experiment(prompts, models=model(), **{"warmup": 0, "name": "x"} | options)

    return make


def test_rows_say_under_which_conditions_they_were_made(experiment, own_settings):
    experiment(concurrency=5, warmup=1).run(progress=False)
    with ThreadPoolExecutor(3) as threads:
        experiment(concurrency=4, name="y").run(threads, progress=False)
    rows = usage(kernel=None)
    assert set(rows.loc[rows["experiment"] == "x", "concurrency"]) == {5}
    assert rows.loc[rows["experiment"] == "x", "executor"].isna().all()
    elsewhere = rows[rows["experiment"] == "y"]
    assert set(elsewhere["concurrency"]) == {4}
    assert set(elsewhere["executor"]) == {"3 × ThreadPoolExecutor"}
    assert set(rows["machine"]) == {host_name()}


def test_the_concurrency_of_a_row_is_what_the_service_allows(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "no-key-needed")

    def in_flight(service, concurrency=None):
        config = RunConfig("e", "g", 0, concurrency, current_ledger(), SpendingLimit())
        (arm,) = make_arms(service)
        return config.in_flight_at(arm.service)

    assert in_flight("openai/m") == 32
    assert in_flight("openai/m", 7) == 7
    assert in_flight(OpenAIService("m", max_in_flight=3)) == 3
    assert in_flight("local/smollm2-135m") == 1
    assert in_flight("local/smollm2-135m", 9) == 4


def test_times_of_an_earlier_run_at_another_concurrency_are_left_out_and_it_is_said(experiment):
    experiment().run(progress=False)
    results = experiment(concurrency=2).run(progress=False)
    assert results.state == (
        f"12 of 12 calls have an answer (12 of 12 from an earlier run at concurrency 32). {TIMES_LEFT_OUT}"
    )
    calls = results.calls
    assert calls[TIMES].isna().all(axis=None)
    assert calls["response"].notna().all()
    assert calls["reused"].all()
    assert calls["other_conditions"].all()
    summary = results.summary()
    assert pd.isna(summary.loc["a", "ttft_p50_s"])
    assert summary.loc["a", "left_out"] == 12
    assert f"12 of 12 calls are from an earlier run at concurrency 32. {TIMES_LEFT_OUT}" in summary.notes
    assert usage(kernel=None, experiment="x")[TIMES].notna().all(axis=None)


def test_a_report_and_a_plot_say_it_too(experiment, tmp_path):
    experiment().run(progress=False)
    results = experiment(concurrency=2, scorers=[lambda response: len(response.content)]).run(progress=False)
    page = results.report(tmp_path / "report.html").read_text(encoding="utf-8")
    assert "12 of 12 calls are from an earlier run at concurrency 32" in page
    results.plot()


def test_times_of_an_earlier_run_under_the_same_conditions_stay(experiment):
    experiment(PROMPTS[:6]).run(progress=False)
    with pytest.warns(UserWarning, match="has changed"):
        results = experiment().run(progress=False)
    assert results.calls[TIMES].notna().all(axis=None)
    assert results.calls["reused"].sum() == 6
    assert results.state == "12 of 12 calls have an answer (6 of 12 from an earlier run at concurrency 32)."
    assert "6 of 12 calls are from an earlier run at concurrency 32." in results.summary().notes


def test_a_run_that_goes_on_under_other_conditions_shows_its_own_times_only(experiment):
    experiment(PROMPTS[:6], concurrency=4).run(progress=False)
    with pytest.warns(UserWarning, match="has changed"), ThreadPoolExecutor(2) as threads:
        results = experiment(concurrency=4).run(threads, progress=False)
    assert results.calls.groupby("reused")["ttft_s"].count().to_dict() == {False: 6, True: 0}
    # Nothing is asked, so that what would run it does not matter; the latest call of the arm counts.
    with ThreadPoolExecutor(2) as threads:
        assert experiment(concurrency=4).run(threads, progress=False).calls["ttft_s"].count() == 6
    assert experiment(concurrency=4).run(progress=False).calls["ttft_s"].count() == 6


def test_results_that_are_only_looked_at_have_the_times_of_the_latest_conditions(experiment):
    experiment(concurrency=3).run(progress=False)
    results = experiment().results()
    assert results.state == "12 of 12 calls have an answer."
    assert results.calls[TIMES].notna().all(axis=None)
    assert not results.calls["reused"].any()
    assert experiment(concurrency=4).results().calls["ttft_s"].isna().all()


def test_another_machine_is_another_condition_and_named(experiment):
    experiment(PROMPTS[:6]).run(progress=False)
    for call_id in usage(kernel=None)["call_id"]:
        current_ledger().put({"call_id": call_id, "machine": "gpu7"})
    assert current_ledger().flush(30)
    with pytest.warns(UserWarning, match="has changed"):
        results = experiment().run(progress=False)
    assert results.calls["ttft_s"].count() == 6
    assert "6 of 12 from an earlier run at concurrency 32 on gpu7" in results.state


def test_rows_of_earlier_versions_have_unknown_conditions(experiment):
    experiment(PROMPTS[:6]).run(progress=False)
    for call_id in usage(kernel=None)["call_id"]:
        current_ledger().put({"call_id": call_id, "machine": None, "concurrency": None})
    assert current_ledger().flush(30)
    looked_at = experiment(PROMPTS[:6]).results()
    assert looked_at.calls["ttft_s"].count() == 6
    with pytest.warns(UserWarning, match="has changed"):
        results = experiment().run(progress=False)
    assert "6 of 12 from an earlier run at an unknown concurrency" in results.state
    assert results.calls["ttft_s"].count() == 6


def test_arms_that_were_measured_under_different_conditions_are_named(experiment, model):
    experiment(concurrency=3).run(progress=False)
    make = lambda: Experiment(PROMPTS, models=[model("a"), model("b")], warmup=0, name="x", concurrency=5)  # noqa: E731
    with pytest.warns(UserWarning, match="has changed"):
        results = make().run(progress=False)
    assert results.calls.groupby("arm", observed=True)["ttft_s"].count().to_dict() == {"a": 0, "b": 12}
    both = Experiment(PROMPTS, models=[model("a"), model("b")], warmup=0, name="x").results()
    said = "Times were measured under different conditions: a at concurrency 3 and b at concurrency 5."
    assert said in both.summary().notes


def test_the_bar_names_answers_of_earlier_runs(experiment, capsys):
    experiment(PROMPTS[:6]).run(progress=True)
    assert "earlier" not in capsys.readouterr().err
    with pytest.warns(UserWarning, match="has changed"):
        experiment().run(progress=True)
    assert "from an earlier run=6 of 12 at concurrency 32" in capsys.readouterr().err
    experiment().run(progress=True)
    shown = capsys.readouterr().err
    assert "from an earlier run=12 of 12 at concurrency 32" in shown
    assert "12/12" in shown
    experiment().run(progress=False)
    assert not capsys.readouterr().err
