"""A run from its prompts to its results: requests, stored rows, and messages about failures."""

from __future__ import annotations

import asyncio
import re
import threading
from collections import Counter

import pandas as pd
import pytest

from ipyllm import Experiment, LLMError, OpenAIService, pool, usage
from tests.fakes import FakeLLM, answer, rate_limited, server_error, stall, unauthorized
from tests.service.experiment.running import measured, run


def test_every_arm_is_asked_every_prompt_as_often_as_wished(model, asked):
    results = run(
        pd.DataFrame({"text": ["so", "la"], "label": ["SO", "TI"]}),
        "Sing {{ text }}",
        models=[model("a"), model("b")],
        params=[{"temperature": 0}, {"temperature": 1}],
        system={"plain": None, "terse": "Be brief."},
        repeats=3,
        warmup=0,
    )
    calls = measured(results)
    assert len(calls) == 2 * 2 * 2 * 2 * 3 == len(asked())
    assert Counter(asked()) == {(m, f"Sing {t}"): 12 for m in "ab" for t in ("so", "la")}
    assert set(calls.groupby(["arm", "prompt_id"]).size()) == {3}
    assert set(calls["arm"]) == {
        f"{m} · temperature={t} · {s}" for m in "ab" for t in (0, 1) for s in ("plain", "terse")
    }
    assert set(calls["system"].dropna()) == {"Be brief."}
    assert set(calls["response"]) == {"SING SO", "SING LA"}
    assert set(calls["row"]) == {0, 1}
    assert (calls["status"] == "ok").all()
    assert (calls["ttft_s"] > 0).all()
    assert set(calls["experiment"]) == set(usage()["experiment"])
    assert set(usage()["origin"]) == {"experiment"}


@pytest.mark.parametrize("seed", range(3))
def test_tables_have_the_arms_in_the_order_of_the_grid(model, seed):
    names = ["e", "b", "d", "a", "c"]
    results = run(["so", "la"], models=[model(name) for name in names], seed=seed)
    assert list(results.summary().index) == names
    assert set(results.paired(metrics="total_s")["baseline"]) == {"e"}


def test_system_prompt_and_parameters_reach_the_server(model, server):
    run(["so"], models=model(), params={"temperature": 0.5}, system="Be brief.", warmup=0)
    (request,) = server.requests
    assert request.json["messages"] == [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "so"}]
    assert request.json["temperature"] == 0.5


def test_warm_ups_come_first_are_flagged_and_count_in_no_statistic(model, server):
    results = run(["so", "la"], models=[model("a"), model("b")], warmup=2)
    warm = results.calls[results.calls["warmup"]]
    assert Counter(warm["model"]) == {"openai/a": 2, "openai/b": 2}
    assert len(server.requests) == 8
    first = {m: [r for r in server.requests if r.json["model"] == m][:2] for m in "ab"}
    assert all(len({r.prompt for r in requests}) == 1 for requests in first.values())
    assert results.summary()["n"].tolist() == [2, 2]


def test_repeats_are_never_answered_from_the_cache(model, server, monkeypatch, tmp_path):
    monkeypatch.setenv("IPYLLM_CACHE", "1")
    monkeypatch.setenv("IPYLLM_CACHE_PATH", str(tmp_path / "answers.sqlite"))
    model().chat("so")
    run(["so"], models=model(), repeats=3, warmup=0, name="one")
    assert len(server.requests) == 4
    results = run(["so"], models=model(), repeats=3, warmup=0, name="two", cache=True)
    assert measured(results)["cache_hit"].sum() == 1
    assert len(server.requests) == 6


def test_no_more_calls_are_out_at_an_endpoint_than_allowed(model, server):
    with server.held_until(5, answer("so")):
        run([f"{n}" for n in range(30)], models=[model("a"), model("b")], concurrency=5, warmup=0)
    assert server.max_in_flight == 5


def test_endpoints_are_asked_side_by_side(model, server):
    """Each server answers only when the other has been asked too."""
    with FakeLLM() as other:
        both = threading.Barrier(2, timeout=90)

        def decide(request):
            both.wait()
            return answer("so")

        server.on(decide)
        other.on(decide)
        results = run(["so"], models=[model(), OpenAIService("b", base_url=other.base_url)], concurrency=1, warmup=0)
    assert (measured(results)["status"] == "ok").all()


def test_a_server_that_admits_few_gets_few_and_nothing_is_lost(model, server):
    server.on(lambda _: answer("so", ttft=0.02))
    server.admit(4, rate_limited())
    results = run([f"{n}" for n in range(60)], models=model(max_retries=2), concurrency=30)
    assert (measured(results)["status"] == "ok").all()


def test_a_pool_gets_its_share_for_each_of_its_servers(server, model):
    with FakeLLM() as other:
        gpus = pool(server.base_url, other.base_url, model="m", name="gpus")
        with server.held_until(4, answer("so")), other.held_until(4, answer("so")):
            results = run([f"{n}" for n in range(40)], models=gpus, concurrency=4, warmup=0)
    assert (server.max_in_flight, other.max_in_flight) == (4, 4)
    assert len(measured(results)) == 40
    assert set(measured(results)["arm"]) == {"gpus"}


def test_an_error_costs_its_row_and_no_other(model, server):
    server.on(lambda request: server_error() if request.prompt == "la" else answer("so"))
    results = run(["so", "la", "ti"], models=model())
    calls = measured(results).set_index("prompt")
    assert calls["status"].to_dict() == {"so": "ok", "la": "error", "ti": "ok"}
    assert calls.loc["la", "error_category"] == "api_error"
    assert results.state == "2 of 3 calls have an answer. 1 failed (api_error 1)."


def test_all_calls_failed_is_said_with_the_reason(model, server):
    server.on(lambda _: server_error())
    results = run(["so", "la"], models=model(), warmup=0)
    assert results.state.startswith("All 2 calls failed (api_error 2): ")
    assert "failed" in results._repr_html_()
    assert results.summary()["errors"].tolist() == [2]


def test_no_model_that_can_be_reached_is_one_sentence_and_nothing_more_is_tried(model, server):
    server.on(lambda _: unauthorized("no-key-needed"))
    with pytest.raises(LLMError, match=r"^No model could be asked: ") as caught:
        run([f"{n}" for n in range(50)], models=[model("a"), model("b")])
    assert caught.value.category == "authentication"
    assert len(server.requests) == 2


def test_a_server_that_is_not_there_is_told_in_the_systems_words():
    gone = OpenAIService("gone", base_url="http://127.0.0.1:9/v1", api_key="k", max_retries=0)
    with pytest.raises(LLMError, match=r"cannot be reached at 127\.0\.0\.1:9 \(Connection refused\); check"):
        gone.chat("la")


def test_a_server_that_is_not_there_is_told_from_the_others_and_given_up(model, server):
    gone = OpenAIService("gone", base_url="http://127.0.0.1:9/v1", api_key="k", max_retries=0)
    with pytest.warns(UserWarning, match="openai/gone could not be reached"):
        results = run(["so", "la"], models=[model(), gone])
    assert Counter(measured(results)["model"]) == {"openai/a": 2}
    assert results.undone == 2
    assert "2 were not made" in results.state


def test_one_arm_alone_has_a_summary(model):
    assert run(["so", "la"], models=model()).summary()["n"].tolist() == [2]


def test_results_can_be_seen_while_they_come(model, server):
    gate = threading.Event()

    def decide(request):
        if request.prompt == "la":
            gate.wait(60)
        return answer("x")

    server.on(decide)
    experiment = Experiment(["so", "la"], models=model(), warmup=0, concurrency=1, seed=_so_first(model))
    results = experiment.start()
    try:
        server.wait_for(lambda: len(results) and (results.calls["status"] == "ok").any(), timeout=90)
        assert experiment.is_running
        assert results.state == "1 of 2 calls have an answer. It is running; 1 of the calls have not ended."
        with pytest.raises(LLMError, match="is already running"):
            experiment.run()
    finally:
        gate.set()
    assert experiment.wait(60)
    assert results.state == "2 of 2 calls have an answer."


def _so_first(model):
    from ipyllm.experiment.schedule import schedule_trials

    trials = list(Experiment(["so", "la"], models=model()).grid.trials.values())
    return next(seed for seed in range(50) if schedule_trials(trials, seed)[0].prompt.text == "so")


def test_cancel_keeps_what_there_is_and_closes_what_is_out(model, server):
    server.on(lambda request: stall("one two three", after=2) if request.prompt == "la" else answer("so"))
    experiment = Experiment(["so", "la"], models=model(), warmup=0)
    results = experiment.start()
    server.wait_for(lambda: len(server.requests) == 2, timeout=90)
    server.wait_for(lambda: "ok" in set(results.calls["status"]), timeout=90)
    experiment.cancel()
    assert experiment.wait(60)
    assert measured(results).set_index("prompt")["status"].to_dict() == {"so": "ok", "la": "cancelled"}
    assert "1 were not made: It was interrupted. Call run() again to continue." in results.state
    server.wait_for(lambda: server.in_flight == 0, timeout=90)


def test_it_runs_below_a_running_loop_as_in_a_notebook(model):
    async def trial():
        return run(["so"], models=model())

    assert len(measured(asyncio.run(trial()))) == 1


def test_results_show_their_state_and_summary(model):
    results = run(["so", "la"], models=[model("a"), model("b")], name="<b>bold</b>")
    html = results._repr_html_()
    assert "4 of 4 calls have an answer." in html
    assert "&lt;b&gt;bold" in html
    assert "<b>bold" not in html
    assert "ttft_p50_s" in html
    assert repr(results) == "Results of '<b>bold</b>': 4 of 4 calls have an answer."
    assert "difference" in results.paired(baseline="a").columns


def test_the_bar_shows_progress_in_a_terminal(model, capsys):
    Experiment(["so", "la"], models=model(), name="bars").run()
    shown = capsys.readouterr().err
    assert re.search(r"bars: 100%.*2/2", shown)


def test_a_dry_run_sends_nothing_and_knows_tokens_and_cost(model, server):
    priced = OpenAIService("gpt-6.1-terra", base_url="https://api.openai.com/v1", api_key="sk-0123456789abcdef")
    experiment = Experiment(["so", "la"], models=[priced, model()], params={"max_tokens": 100}, repeats=2)
    table = experiment.dry_run()
    arms = [arm.label for arm in experiment.grid.arms]
    assert table["to_do"].tolist() == [4, 4, 8]
    assert table.loc[arms[0], "max_output_tokens"] == 400
    assert table.loc[arms[0], "max_cost_usd"] == pytest.approx(4 * (100 * 5 + 107 * 1.25) / 1e6, rel=0.01)
    assert pd.isna(table.loc[arms[1], "max_cost_usd"])
    assert pd.isna(table.loc["total", "max_cost_usd"])
    assert not server.requests


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"repeats": 0}, "repeats must be a whole number, 1 or more, not 0."),
        ({"concurrency": 0}, "concurrency must be"),
        ({"warmup": -1}, "warmup must be"),
        ({"max_cost_usd": -1}, "max_cost_usd must be"),
        ({"order": "random"}, "order must be 'interleaved' or 'by_model'"),
        ({"name": ""}, "name must be a line of text"),
        ({"scorers": ["label"]}, "'label' is not a scorer"),
        ({"scorers": "label"}, "scorers must be a list"),
        ({"scorers": 5}, "scorers must be a list"),
    ],
)
def test_options_that_cannot_be_are_refused_in_one_sentence(model, options, said):
    with pytest.raises(LLMError) as caught:
        Experiment(["so"], models=model(), **options)
    assert said in str(caught.value)


def test_no_scorers_may_be_said_as_none(model):
    assert len(Experiment(["so"], models=model(), scorers=None).grid) == 1


def test_duplicate_prompts_are_said(model):
    with pytest.warns(UserWarning, match="asked once"):
        assert len(Experiment(["so", "so"], models=model()).grid) == 1


@pytest.mark.local_model
def test_the_embedded_model_costs_nothing_and_gets_no_more_calls_than_it_has_slots():
    prompts = [f"Say {n}." for n in range(8)]
    results = run(prompts, models="local/smollm2-135m", params={"max_tokens": 2}, max_cost_usd=0)
    calls = measured(results)
    assert (calls["status"] == "ok").all()
    assert calls["cost_usd"].sum() == 0
    spans = [
        (start, start + pd.Timedelta(seconds=total))
        for start, total in zip(calls.started_at, calls.total_s, strict=True)
    ]
    assert max(sum(a < moment <= b for a, b in spans) for _, moment in spans) <= 4
