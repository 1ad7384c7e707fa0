"""Votes on the answers of a comparison, and blind ones."""

from __future__ import annotations

import json

import pytest

from ipyllm import (
    ChatResponse,
    Comparison,
    LLMError,
    cast_vote,
    compare,
    usage,
    votes,
)
from ipyllm.scorers import human
from ipyllm.statistics import ranking
from tests.fakes import answer, server_error, truncated

pytestmark = pytest.mark.usefixtures("two_models")


def test_a_vote_lands_in_the_ledger_beside_the_calls_and_a_later_one_takes_its_place():
    done = compare("Which?", models=["openai/a", "openai/b"])
    assert done.vote("tie") == "tie"
    assert done.vote("openai/b") == "b"
    [vote] = votes(comparison=done.id).to_dict("records")
    assert vote["outcome"] == "openai/b"
    assert vote["prompt"] == "Which?"
    assert vote["blind"] is False
    assert vote["arms"] == {
        arm.model: response.call_id for arm, response in zip(done.arms, done.responses, strict=True)
    }
    assert set(vote["arms"].values()) == set(usage(tags={"comparison": done.id})["call_id"])
    assert done.to_dataframe()["preferred"].tolist() == [False, True]
    assert "✓ preferred" in done._repr_html_()
    assert done.vote(None) is None
    assert votes(comparison=done.id).empty
    assert "✓ preferred" not in done._repr_html_()


def test_a_vote_for_nobody_names_the_arms_there_are():
    done = compare("Which?", models=["openai/a", "openai/b"])
    with pytest.raises(LLMError, match=r"There is no arm 'C' to vote for; there are: A \(a\), B \(b\), tie"):
        done.vote("C")


def test_one_cannot_vote_before_the_answers_are_there(fake):
    fake.on(lambda request: answer("Slow.", ttft=20))
    running = Comparison("Go", models=["openai/a", "openai/b"]).start()
    with pytest.raises(LLMError, match="vote when all have ended"):
        running.vote("A")
    running.cancel()
    assert running.done.wait(60)


def test_a_blind_comparison_shows_no_names_before_the_vote_and_all_of_them_after(fake):
    fake.on(lambda request: answer("One and the same."))
    done = compare("Who?", models=["openai/alpha", "openai/beta"], blind=True)
    shown = done._repr_html_() + repr(done)
    assert "alpha" not in shown
    assert "beta" not in shown
    with pytest.raises(LLMError, match="there are: A, B, tie, both_bad"):
        done.vote("openai/alpha")
    chosen = done.vote("A")
    assert votes(comparison=done.id)["blind"].tolist() == [True]
    assert chosen == done.arms[0].label
    assert "alpha" in repr(done)
    assert "beta" in done._repr_html_()


def test_a_blind_comparison_says_in_words_why_an_arm_failed(fake, monkeypatch):
    monkeypatch.setattr("ipyllm.pipeline.retry._FIRST_WAIT_S", 0.0)
    fake.on(lambda _: server_error())
    done = compare("Who?", models=["openai/alpha", "openai/beta"], blind=True)
    assert {column.error for column in done.columns()} == {"This arm failed: HTTP 500."}


def test_a_blind_comparison_shows_no_time_count_or_cost_before_the_vote(fake, monkeypatch):
    price = {"input_usd_per_mtok": 1e6, "output_usd_per_mtok": 1e6}
    monkeypatch.setenv("IPYLLM_PRICES", json.dumps({"openai/alpha": price, "openai/beta": price}))

    def square(x: int) -> int:
        return x * x

    fake.on(
        lambda request: (
            answer("9") if request.json["messages"][-1]["role"] == "tool" else answer(tool_calls=[("square", {"x": 3})])
        )
    )
    done = compare("Square of 3?", models=["openai/alpha", "openai/beta"], blind=True, tools=[square])
    assert [len(response.steps) for response in done.responses] == [2, 2]
    shown = done._repr_html_() + repr(done)
    figures = ("2 calls", "$", "tokens", "first token")
    assert not [figure for figure in figures if figure in shown]
    done.vote("A")
    assert [figure for figure in figures if figure in repr(done)] == [*figures]


def test_a_blind_comparison_is_in_random_order():
    models = [f"openai/m{i}" for i in range(12)]
    orders = {tuple(arm.label for arm in Comparison("Go", models=models, blind=True).arms) for _ in range(3)}
    assert len(orders) > 1


def test_arms_without_a_complete_answer_are_in_no_vote(fake):
    fake.on(lambda request: server_error() if request.json["model"] == "bad" else answer(request.json["model"]))
    done = compare("Go", models=["openai/bad", "openai/b", "openai/c"], max_retries=0)
    with pytest.raises(
        LLMError, match=r"^A has no complete answer, so it is not part of the vote: choose one of B, C, tie"
    ):
        done.vote("A")
    assert votes(comparison=done.id).empty
    assert done.vote_cast is None
    done.vote("tie")
    [vote] = votes(comparison=done.id).to_dict("records")
    assert set(vote["arms"]) == {"openai/b", "openai/c"}


@pytest.mark.parametrize(("broken", "who"), [({"a"}, "only B has a complete answer"), ({"a", "b"}, "no arm has a")])
@pytest.mark.parametrize("which", ["A", "B", "tie", "both_bad"])
def test_one_answer_alone_cannot_be_voted_on(fake, broken, who, which):
    cut = truncated("Half", after=1)
    fake.on(lambda request: cut if request.json["model"] in broken else answer("Whole."))
    done = compare("Go", models=["openai/a", "openai/b"], max_retries=0)
    with pytest.raises(LLMError, match=f"^There is nothing to vote on: {who}"):
        done.vote(which)
    assert votes(comparison=done.id).empty


def test_old_votes_on_failed_calls_are_in_no_table_and_no_ranking(fake):
    fake.on(lambda request: server_error() if request.json["model"] == "bad" else answer(request.json["model"]))
    done = compare("Go", models=["openai/bad", "openai/b", "openai/c"], max_retries=0)
    bad, good, third = (response.call_id for response in done.responses)
    # As earlier versions stored them: the failed arm lost, won, and tied.
    cast_vote({"bad": bad, "b": good, "c": third}, "b", comparison="kept")
    cast_vote({"bad": bad, "b": good, "c": third}, "tie", comparison="tie")
    cast_vote({"bad": bad, "b": good, "c": third}, "bad", comparison="won by the failed arm")
    cast_vote({"bad": bad, "b": good}, "b", comparison="nothing left to compare")
    found = votes()
    assert found["comparison"].tolist() == ["kept", "tie"]
    assert found["arms"].tolist() == [{"b": good, "c": third}] * 2
    assert list(ranking(found).index) == ["b", "c"]
    score = human()
    assert score.call(ChatResponse(call_id=bad)) is None
    assert score.call(ChatResponse(call_id=good)) == 0.75
