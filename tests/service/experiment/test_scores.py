"""Scores of the answers of an experiment, and its pictures and votes."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import re
import time

import pandas as pd

from ipyllm import Experiment, cast_vote
from ipyllm.ledger import current_ledger
from tests.fakes import server_error
from tests.service.experiment.running import measured, run


def test_scores_stand_beside_the_answers_and_a_scorer_that_raises_costs_its_score_only(model):
    def right(response, row):
        return response.content == row["label"]

    def fussy(response):
        if response.content == "LA":
            raise ValueError("no la")
        return 1

    rows = [{"prompt": "so", "label": "SO"}, {"prompt": "la", "label": "TI"}]
    results = run(rows, models=model(), scorers=[right, fussy])
    calls = measured(results).set_index("prompt")
    assert calls["score_right"].to_dict() == {"so": 1.0, "la": 0.0}
    assert calls["score_fussy"].notna().to_dict() == {"so": True, "la": False}
    assert "no la" in calls.loc["la", "score_fussy_error"]
    assert results.calls.loc[results.calls["warmup"], "score_right"].isna().all()


def test_async_scorers_are_awaited_and_nonsense_is_told(model):
    async def length(response):
        await asyncio.sleep(0)
        return len(response.content)

    def word(response):
        return "good"

    calls = measured(run(["so"], models=model(), scorers=[length, word]))
    assert calls["score_length"].tolist() == [2.0]
    assert calls["score_word"].isna().all()
    assert "'good'" in calls["score_word_error"].iloc[0]


def test_each_answer_is_scored_once_and_rescoring_asks_no_model(model, server):
    scored = []

    def count(response):
        scored.append(response.content)
        return 1

    results = run(["so", "la"], models=model(), scorers=[count])
    assert (len(results.calls), len(results.calls), len(scored)) == (3, 3, 2)
    before = len(server.requests)
    again = results.rescore([count, lambda response: 0.5])
    assert set(again.calls["score_lambda"].dropna()) == {0.5}
    assert len(scored) == 4
    assert len(server.requests) == before


def test_a_score_that_was_paid_for_is_not_paid_for_again(model):
    from ipyllm.scorers import Score

    paid = []

    def judge(response):
        paid.append(response.content)
        return Score(0.5, reason="so so", cost_usd=0.01)

    def free(response):
        return 1

    first = Experiment(["so"], models=model(), scorers=[judge, free])
    assert first.run(progress=False).calls["cost_usd_judge"].sum() == 0.01
    assert current_ledger().flush(30)
    again = Experiment(["so"], models=model(), scorers=[judge, free]).results().calls
    assert again["score_judge"].dropna().tolist() == [0.5]
    assert again["score_judge_reason"].dropna().tolist() == ["so so"]
    assert again["score_free"].dropna().tolist() == [1.0]
    assert len(paid) == 1


def test_results_know_which_scores_are_better_higher_also_when_read_again(model):
    from ipyllm import scorers

    def edits(response):
        return len(response.content)

    edits.higher_is_better = False
    rows = [{"prompt": "so", "label": "SO"}, {"prompt": "la", "label": "TI"}]
    given = {"models": model(), "scorers": [scorers.exact("label"), edits, lambda response: 3]}
    first = Experiment(rows, **given).run(progress=False)
    known = {"score_exact": True, "score_edits": False, "score_lambda": None}
    assert first.directions == known
    assert first.calls.attrs["directions"] == known
    assert current_ledger().flush(30)
    again = Experiment(rows, **given).results()
    assert again.directions == known
    assert again.rescore([edits]).directions == {"score_edits": False}
    assert again.rescore([]).directions == {}


def test_scorers_do_not_hold_up_the_calls(model, server):
    """The scorer waits for the last call, which therefore must not wait for a score."""

    def last(response):
        return server.wait_for(lambda: len(server.requests) == 20, timeout=90) and time.time() > 0

    calls = measured(run([f"{n}" for n in range(20)], models=model(), scorers=[last], warmup=0, concurrency=1))
    assert calls["score_last"].tolist() == [1.0] * 20


def test_a_report_and_a_picture_are_made_of_the_results(model, tmp_path):
    results = run(["so", "la"], models=[model("a"), model("b")], scorers=[lambda response: 1.0], name="songs")
    written = results.report(tmp_path / "report.html").read_text()
    assert "songs" in written
    assert "lambda" in written
    script = re.search('<script type="module">(.*?)</script>', written, re.DOTALL)[1]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'\">" in written, "no other script runs"
    figure = results.plot()
    assert figure.axes
    from matplotlib import pyplot as plt

    plt.close(figure)


def test_votes_on_its_prompts_rank_its_arms(model):
    results = run(["so", "la"], models=[model("a"), model("b")])
    for prompt in ("so", "la", "another experiment's"):
        cast_vote({"a": None, "b": None}, "b", prompt=prompt)
    ranking = results.ranking()
    assert list(ranking.index) == ["b", "a"]
    assert ranking.loc["b", "wins"] == 2


def test_failed_trials_are_part_of_no_vote_that_is_given(server, model):
    server.on(lambda request: server_error() if request.json["model"] == "b" else None)
    results = run(["so"], models=[model("a"), model("b"), model("c")])
    by_arm = dict(zip(results.calls["arm"], results.calls["call_id"], strict=True))
    table = results.ranking(pd.DataFrame({"arms": [by_arm] * 2, "outcome": ["tie", "b"]}))
    assert sorted(table.index) == ["a", "c"]
    assert (table["ties"] == 1).all()
