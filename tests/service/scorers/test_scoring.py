"""Scoring a table with scorers that raise, hang, return nonsense or need their own loop."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time

import numpy as np
import pandas as pd
import pytest

from ipyllm import LLMError, OpenAIService, scorers, usage
from ipyllm.scorers import Answer, Score, ScoreFailure, Scorer, Scoring, apply
from tests.fakes import answer
from tests.stalls import again_if_stalled


def calls(*texts, **columns):
    table = pd.DataFrame({"status": "ok", "response": list(texts), **columns})
    return table.assign(prompt_id=range(len(table))) if "prompt_id" not in columns else table


def errors(table, name):
    return table[f"score_{name}_error"].tolist()


# ---- tables ----------------------------------------------------------------------------------------------


def test_each_call_is_scored_with_its_row():
    rows = pd.DataFrame({"capital": ["Bern", "Rome"]}, index=["CH", "IT"])
    table = calls("Rome", "Rome", "Bern", prompt_id=["IT", "CH", "CH"])
    scored = apply([scorers.exact("capital")], table, rows)
    assert scored["score_exact"].tolist() == [1, 0, 1]
    assert scored["score_exact_error"].isna().all()
    assert scored["score_exact"].dtype == "float64"
    assert list(table.columns) == ["status", "response", "prompt_id"], "the calls themselves are left alone"


def test_rows_can_be_dicts_and_the_index_of_calls_anything():
    table = calls("a", "b").set_index(pd.Index([7, 7]))
    scored = apply([scorers.exact("label")], table, [{"label": "a"}, {"label": "a"}])
    assert scored["score_exact"].tolist() == [1, 0]
    assert scored.index.tolist() == [7, 7]


def test_calls_that_did_not_end_well_are_not_scored():
    seen = []
    table = calls("whole", "half", None).assign(status=["ok", "cancelled", "error"])
    scored = apply([Scorer.of(lambda response: seen.append(response.content) or 1.0, name="all")], table)
    assert seen == ["whole"]
    assert scored["score_all"].tolist()[0] == 1.0
    assert scored["score_all"].isna().tolist() == [False, True, True]
    assert errors(scored, "all") == [None, None, None]


def test_an_answer_whose_text_was_not_stored_is_said_to_be_so():
    scored = apply([scorers.contains("label"), lambda response: 1], calls(None), [{"label": "a"}])
    for name in ("contains", "lambda"):
        assert errors(scored, name) == ["The text of this answer was not stored (IPYLLM_STORE_TEXT=0)."]


def test_an_empty_answer_is_an_answer():
    assert apply([scorers.exact("label")], calls(""), [{"label": "a"}])["score_exact"].tolist() == [0.0]


def test_no_calls_give_no_scores():
    for table in (calls(), calls("a").assign(status="error")):
        scored = apply([scorers.exact("label"), lambda response: 1], table)
        assert len(scored) == len(table)
        assert scored["score_exact"].dtype == scored["score_lambda"].dtype == "float64"


def test_scoring_again_replaces_the_scores():
    table = calls("a", "b")
    strict = apply([scorers.exact("label"), scorers.json_valid()], table, [{"label": "A"}] * 2)
    again = apply([scorers.exact("label", ignore_case=True)], strict, [{"label": "A"}] * 2)
    assert strict["score_exact"].tolist() == [0, 0]
    assert again["score_exact"].tolist() == [1, 0]
    assert again["score_json_valid"].tolist() == [0, 0], "other scores are kept"
    assert again.columns.is_unique


def test_a_function_sees_the_call_as_it_was(fake):
    fake.reply(answer("Bern", usage={"prompt_tokens": 5, "completion_tokens": 1, "total_tokens": 6}))
    service = OpenAIService("m", base_url=fake.base_url, temperature=0)
    response = service.chat("The capital of Switzerland?", tags={"arm": "terse"})
    seen = []
    apply([Scorer.of(seen.append, name="look")], usage())
    [got] = seen
    assert isinstance(got, Answer)
    assert (got.content, got.prompt, got.model) == ("Bern", "The capital of Switzerland?", "openai/m")
    assert (got.params, got.tags) == ({"temperature": 0}, {"arm": "terse"})
    assert (got.usage, got.timing, got.call_id) == (response.usage, response.timing, response.call_id)
    assert got["content"] == str(got) == "Bern"


@pytest.mark.parametrize(
    ("table", "rows", "options", "sentence"),
    [
        (pd.DataFrame({"text": ["a"]}), None, {}, "the table has no column status and response"),
        (calls("a"), [{}, {}], {}, "one dict for each of the 1 calls; these are 2"),
        (calls("a"), ["label"], {}, "one dict for each"),
        (calls("a"), pd.DataFrame({"label": ["a"]}), {"on": "row"}, "no column 'row'"),
        (calls("a", prompt_id=[5]), pd.DataFrame({"label": ["a"]}), {}, "a row 5 that is not among these 1 rows"),
        (calls("a"), pd.DataFrame({"label": ["a", "b"]}, index=[0, 0]), {}, "has duplicates"),
        (calls("a"), None, {"concurrency": 0}, "concurrency must be a whole number"),
    ],
)
def test_tables_that_do_not_fit_are_refused_before_anything_is_scored(table, rows, options, sentence):
    with pytest.raises(LLMError, match=sentence) as caught:
        apply([lambda response: pytest.fail("scored")], table, rows, **options)
    assert caught.value.category == "bad_request"


# ---- scorers that misbehave ------------------------------------------------------------------------------


def test_a_scorer_that_raises_costs_its_own_score_and_no_other():
    def picky(response):
        if response.content == "b":
            raise ZeroDivisionError("by sk-abcdefghijklmnop")
        return 1

    async def picky_later(response):
        return picky(response)

    scored = apply([picky, picky_later, scorers.exact("label")], calls("a", "b", "a"), [{"label": "a"}] * 3)
    for name in ("picky", "picky_later"):
        assert scored[f"score_{name}"].tolist()[::2] == [1, 1]
        assert errors(scored, name) == [None, "ZeroDivisionError: by [key hidden]", None]
    assert scored["score_exact"].tolist() == [1, 0, 1]


def test_results_that_are_no_scores_are_told_in_the_table():
    results = {"a": "good", "b": float("nan"), "c": None, "d": [1]}
    scored = apply([Scorer.of(lambda response: results[response.content], name="odd")], calls(*results))
    assert scored["score_odd"].isna().all()
    assert errors(scored, "odd") == [
        "It returned 'good', a str; return a number, True, False or None.",
        "It returned nan; return a finite number, or None if it does not apply.",
        None,
        "It returned [1], a list; return a number, True, False or None.",
    ]


@pytest.mark.parametrize("error", [SystemExit, asyncio.CancelledError, GeneratorExit, RecursionError, MemoryError])
def test_not_even_an_exit_in_a_scorer_ends_the_scoring(error):
    def exits(response):
        raise error

    async def exits_later(response):
        raise error

    table = apply([exits, exits_later] if error is not SystemExit else [exits], calls("a", "b"))
    assert table["score_exits"].isna().all()
    assert all(errors(table, "exits"))


def test_a_hanging_scorer_is_cut_off_and_the_others_go_on():
    released = threading.Event()
    cancelled = []

    def hangs(response):
        released.wait(60)

    async def hangs_later(response):
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            cancelled.append(response.content)
            raise

    def quick(response):
        return 1

    slow = [Scorer.of(hangs, timeout=0.2), Scorer.of(hangs_later, timeout=0.2)]
    scored = apply([*slow, quick], calls(*"abcdef"), concurrency=1)
    released.set()
    assert scored["score_quick"].tolist() == [1] * 6
    for name in ("hangs", "hangs_later"):
        took, gave_up = f"{name} took longer than 0.2 s.", f"Skipped: {name} had timed out 3 times in a row."
        assert errors(scored, name) == [took] * 3 + [gave_up] * 3
    assert cancelled == ["a", "b", "c"]


@again_if_stalled(0.05)
def test_a_scorer_that_is_slow_now_and_then_is_not_given_up():
    async def sometimes(response):
        await asyncio.sleep(60 if response.content == "slow" else 0)
        return 1

    scored = apply([Scorer.of(sometimes, timeout=0.2)], calls(*["slow", "slow", "quick"] * 2), concurrency=1)
    assert scored["score_sometimes"].notna().tolist() == [False, False, True] * 2
    assert errors(scored, "sometimes")[3] == "sometimes took longer than 0.2 s."


def test_a_time_out_of_its_own_is_an_error_like_any_other():
    def gives_up(response):
        raise TimeoutError("the server is slow")

    scored = apply([gives_up], calls(*"abcdef"))
    assert errors(scored, "gives_up") == ["TimeoutError: the server is slow"] * 6


def test_reasons_and_costs_have_columns_of_their_own():
    def rich(response):
        if response.content == "b":
            raise ScoreFailure("The judge was unsure.", cost_usd=0.25)
        return Score(0.5, reason="half of it", cost_usd=0.5)

    scored = apply([rich, lambda response: 1], calls("a", "b"))
    assert scored["score_rich_reason"].tolist() == ["half of it", None]
    assert scored["cost_usd_rich"].tolist() == [0.5, 0.25]
    assert errors(scored, "rich") == [None, "The judge was unsure."]
    assert "score_lambda_reason" not in scored


# ---- where they run --------------------------------------------------------------------------------------


async def loop_id(response):
    await asyncio.sleep(0)
    return id(asyncio.get_running_loop()) % 2**50


def thread_id(response):
    return threading.get_ident() % 2**50


def test_async_scorers_run_on_the_loop_of_whoever_awaits():
    async def awaits():
        scoring = Scoring([loop_id, thread_id], calls("a"))
        await scoring.arun()
        return scoring.frame()["score_loop_id"][0], await loop_id(None)

    got, own = asyncio.run(awaits())
    assert got == own


def test_async_scorers_run_without_a_loop_too():
    assert len(set(apply([loop_id], calls("a", "b"))["score_loop_id"])) == 1


def test_a_scorer_without_a_time_out_runs_in_the_thread_that_waits():
    scored = apply([Scorer.of(thread_id, timeout=None)], calls("a"))
    assert scored["score_thread_id"][0] == thread_id(None)
    assert apply([thread_id], calls("a"))["score_thread_id"][0] != thread_id(None)


def test_async_scores_run_several_at_a_time_but_not_more():
    running, most = [], []

    async def counted(response):
        running.append(1)
        most.append(len(running))
        await asyncio.sleep(0.02)
        running.pop()
        return 1

    apply([counted], calls(*"a" * 20), concurrency=4)
    assert max(most) == 4


def test_plain_scores_run_one_after_the_other():
    running = []

    def alone(response):
        assert not running
        running.append(1)
        time.sleep(0.005)
        running.pop()
        return 1

    assert apply([alone], calls(*"a" * 10))["score_alone"].tolist() == [1] * 10


@pytest.mark.parametrize("kind", ["plain", "async"])
def test_an_interrupt_ends_the_scoring_and_keeps_what_was_scored(kind):
    scored = []

    def interrupt():
        os.kill(os.getpid(), signal.SIGINT)

    def plain(response):
        if response.content == "stop":
            interrupt()
            time.sleep(60)
        scored.append(response.content)
        return 1

    async def later(response):
        if response.content == "stop":
            interrupt()
            await asyncio.sleep(60)
        scored.append(response.content)
        return 1

    function = plain if kind == "plain" else later
    scoring = Scoring([Scorer.of(function, timeout=None, name="it")], calls("a", "stop", "b"), concurrency=1)
    with pytest.raises(KeyboardInterrupt):
        scoring.run()
    table = scoring.frame()
    assert scored == ["a"]
    assert table["score_it"].notna().tolist() == [True, False, False]
    assert errors(table, "it")[2] is None, "it was not tried, which is no failure of its own"


def test_a_cancelled_scoring_keeps_what_was_scored():
    async def main():
        begun = asyncio.Event()

        async def it(response):
            if response.content == "b":
                begun.set()
                await asyncio.sleep(60)
            return 1

        scoring = Scoring([it], calls("a", "b"), concurrency=1)
        task = asyncio.create_task(scoring.arun())
        await begun.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return scoring.frame()

    assert asyncio.run(main())["score_it"].notna().tolist() == [True, False]


@pytest.mark.thorough
def test_a_hundred_thousand_rows_are_scored_with_nulls_of_every_kind():
    n = 100_000
    table = pd.DataFrame(
        {
            "prompt_id": np.arange(n) % 10,
            "status": ["ok"] * n,
            "response": ["Bern"] * n,
            "output_tokens": pd.array([1, None] * (n // 2), dtype="Int64"),
            "cost_usd": [None, 0.1] * (n // 2),
        }
    )
    rows = pd.DataFrame({"label": ["Bern", "Rome"] * 5})
    assert apply([scorers.exact("label")], table, rows)["score_exact"].mean() == 0.5
