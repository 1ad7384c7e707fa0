"""A scorer of the user's own that asks a model: its calls belong to the experiment whose answer it scores."""

from __future__ import annotations

import asyncio
import contextvars
from concurrent.futures import ThreadPoolExecutor

import pandas as pd
import pytest

from ipyllm import Experiment, LLMError, OpenAIService, compare, scorers, usage
from ipyllm.ledger import current_ledger
from ipyllm.request import Provenance
from ipyllm.scorers import Score, ScoreFailure, Scorer
from tests.fakes import answer, status

COUNTS = {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}


@pytest.fixture
def judge(priced, server, model):
    """Return a model that answers "4", which costs $0.20, and $0.30 at most; an arm's answer costs $0.10."""
    server.on(lambda request: answer("4", usage=COUNTS) if request.json["model"] == "judge" else answer("x"))
    return model("judge", max_tokens=3)


def experiment(service, *given, n=4, **options):
    return Experiment(
        [f"{number}" for number in range(n)], models=service, scorers=given, warmup=0, name="x", **options
    )


def rows_of_judge():
    return usage(kernel=None, model="openai/judge")


def number(response):
    return float(response.content)


# ---- wherever a scorer asks --------------------------------------------------------------------------


def plain(judge):
    return lambda response: number(judge.chat(response.content))


def in_the_calling_thread(judge):
    return Scorer.of(plain(judge), timeout=None)


def at_once(judge):
    return Scorer("lambda", plain(judge), takes_row=False, inline=True)


def coroutine(judge):
    async def mine(response):
        return number(await judge.achat(response.content))

    return mine


def returns_a_coroutine(judge):
    async def ask(text):
        await asyncio.sleep(0)
        return number(await judge.achat(text))

    return lambda response: ask(response.content)


def blocks_a_loop(judge):
    async def mine(response):
        return number(judge.chat(response.content))

    return mine


def in_tasks(judge):
    async def mine(response):
        async with asyncio.TaskGroup() as group:
            task = group.create_task(judge.achat(response.content))
        return number(task.result())

    return mine


def in_a_thread_of_asyncio(judge):
    async def mine(response):
        return number(await asyncio.to_thread(judge.chat, response.content))

    return mine


def in_a_thread_with_the_context(judge):
    def mine(response):
        with ThreadPoolExecutor() as threads:
            return number(threads.submit(contextvars.copy_context().run, judge.chat, response.content).result())

    return mine


def as_a_stream(judge):
    def mine(response):
        return float("".join(judge.stream(response.content)))

    return mine


def from_a_request_made_before(judge):
    request = judge.request("Is it right?")
    return lambda response: number(judge.call(request).wait())


def method(judge):
    class Mine:
        name = "mine"

        def score(self, response, row):
            return number(judge.chat(row["prompt"]))

    return Mine()


def with_a_schema(judge):
    return lambda response: judge.chat(response.content, schema={"type": "integer"}).parsed


KINDS = [
    plain,
    in_the_calling_thread,
    at_once,
    coroutine,
    returns_a_coroutine,
    blocks_a_loop,
    in_tasks,
    in_a_thread_of_asyncio,
    in_a_thread_with_the_context,
    as_a_stream,
    from_a_request_made_before,
    method,
    with_a_schema,
]


@pytest.mark.parametrize("make", KINDS)
def test_it_is_paid_from_the_budget_and_stopped_at_the_limit(judge, priced, server, make):
    scorer = Scorer.of(make(judge), name="mine")
    results = experiment(priced, scorer, max_cost_usd=1.1, concurrency=1).run(progress=False)
    calls = results.calls
    asked = [request.json["model"] for request in server.requests]
    assert (asked.count("a"), asked.count("judge")) == (4, 3)
    assert calls["score_mine"].dropna().tolist() == [4.0] * 3
    [reason] = calls["score_mine_error"].dropna()
    assert "A call to openai/judge may cost up to $0.30, but of max_cost_usd=$1.10 only $0.10 is left" in reason
    assert sorted(calls["cost_usd_mine"]) == pytest.approx([0.0, 0.2, 0.2, 0.2])
    costs = results.costs
    assert costs["cost_usd"].to_dict() == pytest.approx({"calls": 0.4, "warm-ups": 0, "judges": 0.6, "total": 1.0})
    assert current_ledger().reserve("x", 1e9, {}).spent_usd == pytest.approx(1.0)
    assert len(calls) == 4, "a call of a scorer is no answer"
    assert "$0.60 for judges" in results._repr_html_()
    assert set(rows_of_judge()["origin"]) == {"experiment"}
    # With a higher limit, the score is made up for.
    again = experiment(priced, scorer, max_cost_usd=5).run(progress=False)
    assert again.calls["score_mine"].notna().all()
    assert len(server.requests) == 8


def test_the_tools_of_its_calls_may_ask_too(priced, server, model):
    def reply(request):
        if request.json["model"] == "b":
            return answer("2", usage=COUNTS)
        if request.json["model"] == "a":
            return answer("x")
        if any(message["role"] == "tool" for message in request.json["messages"]):
            return answer("4", usage=COUNTS)
        return answer("", tool_calls=[("look", "{}")], usage=COUNTS)

    server.on(reply)
    helper, judge = model("b", max_tokens=3), model("judge", max_tokens=3)

    def look() -> str:
        """Look it up."""
        return helper.chat("?").content

    async def alook() -> str:
        """Look it up."""
        return (await helper.achat("?")).content

    alook.__name__ = "look"

    def by_tool(response):
        return number(judge.chat("?", tools=[look]))

    async def by_async_tool(response):
        return number(await judge.achat("?", tools=[alook]))

    calls = experiment(priced, by_tool, by_async_tool, n=1, max_cost_usd=5).run(progress=False).calls
    assert calls["score_by_tool"].tolist() == calls["score_by_async_tool"].tolist() == [4.0]
    assert calls["cost_usd_by_tool"].tolist() == calls["cost_usd_by_async_tool"].tolist() == pytest.approx([0.6])
    assert current_ledger().reserve("x", 1e9, {}).spent_usd == pytest.approx(0.1 + 2 * 0.6)


def test_its_comparisons_are_paid_from_the_budget(judge, priced, model):
    def mine(response):
        return compare("?", models=[judge, model("b", max_tokens=2)]).responses[0].content == "4"

    calls = experiment(priced, mine, n=1, max_cost_usd=5).run(progress=False).calls
    assert calls["cost_usd_mine"].tolist() == pytest.approx([0.3])
    assert current_ledger().reserve("x", 1e9, {}).spent_usd == pytest.approx(0.4)


def test_what_a_pairwise_judge_of_your_own_asks_is_paid_from_the_budget_too(priced, server, model):
    helper = model("b", max_tokens=3)

    class Jury(OpenAIService):
        def call(self, request, *args, **options):
            helper.chat("What does the jury say?")
            return super().call(request, *args, **options)

    verdict = '{"reason": "It is x.", "better": "first"}'
    server.on(lambda request: answer({"judge": verdict, "b": "4"}.get(request.json["model"], "x"), usage=COUNTS))
    results = experiment(priced, n=1, params=[{}, {"temperature": 1}], max_cost_usd=5).run(progress=False)
    calls = results.calls.assign(response=["x", "y"])
    jury = Jury("judge", base_url=server.base_url, max_retries=0, max_tokens=3)
    assert len(scorers.pairwise_judge(jury).votes(calls)) == 1
    paid = usage(kernel=None, model="openai/b")
    assert paid["experiment"].tolist() == ["x", "x"]
    assert set(paid["tags"].str["judge_of"]) == {",".join(calls["call_id"])}
    assert results.costs.loc["judges", ["n", "cost_usd"]].tolist() == pytest.approx([4, 0.8])


# ---- what it costs -----------------------------------------------------------------------------------


def test_another_kernel_does_not_pay_again(judge, priced, server):
    def mine(response):
        return number(judge.chat(response.content))

    experiment(priced, mine).run(progress=False)
    assert current_ledger().flush(30)
    before = len(server.requests)
    calls = experiment(priced, mine).results().calls
    assert calls["score_mine"].tolist() == [4.0] * 4
    assert calls["cost_usd_mine"].tolist() == pytest.approx([0.2] * 4)
    assert len(server.requests) == before == 8


def test_a_cost_that_the_scorer_says_itself_stands(judge, priced):
    def mine(response):
        return Score(number(judge.chat(response.content)), cost_usd=7.0)

    assert experiment(priced, mine, n=1).run(progress=False).calls["cost_usd_mine"].tolist() == [7.0]


def test_a_failure_that_is_raised_twice_has_two_costs(judge, priced):
    failure = ScoreFailure("No.")

    def mine(response):
        if response.prompt == "0":
            judge.chat(response.content)
        raise failure

    calls = experiment(priced, mine, n=2).run(progress=False).calls.set_index("prompt")
    assert calls["score_mine_error"].tolist() == ["No.", "No."]
    assert calls["cost_usd_mine"]["0"] == pytest.approx(0.2)
    assert pd.isna(calls["cost_usd_mine"]["1"])


def test_a_scorer_that_fails_or_hangs_after_it_paid_has_a_cost(judge, priced):
    def fails(response):
        judge.chat(response.content)
        raise ValueError("nonsense")

    def returns_nonsense(response):
        judge.chat(response.content)
        return "good"

    async def hangs(response):
        await judge.achat(response.content)
        await asyncio.sleep(100)

    given = [fails, returns_nonsense, Scorer.of(hangs, timeout=2)]
    calls = experiment(priced, *given, n=1).run(progress=False).calls
    for name, reason in {"fails": "nonsense", "returns_nonsense": "a str", "hangs": "longer than 2 s"}.items():
        assert reason in calls[f"score_{name}_error"].iloc[0]
        assert calls[f"cost_usd_{name}"].tolist() == pytest.approx([0.2])


@pytest.mark.parametrize("reply", [answer("4", usage=False), None], ids=["not counted", "still running"])
def test_a_cost_that_is_not_known_is_null(judge, priced, server, reply):
    server.on(lambda request: reply or answer("4", ttft=100) if request.json["model"] == "judge" else answer("x"))

    def mine(response):
        return Score(number(judge.chat(response.content)) if reply else _started(judge))

    def free(response):
        return 1.0

    calls = experiment(priced, mine, free, n=1).run(progress=False).calls
    assert calls["score_mine"].tolist() == [4.0]
    assert "cost_usd_mine" not in calls or calls["cost_usd_mine"].isna().all()
    assert "cost_usd_free" not in calls


def _started(judge):
    judge.call(judge.request("?"))
    return 4.0


def test_a_call_that_fails_is_counted_in_the_experiment(judge, priced, server):
    server.on(lambda request: status(400) if request.json["model"] == "judge" else answer("x"))
    results = experiment(priced, plain(judge), n=1, max_cost_usd=5).run(progress=False)
    assert results.calls["cost_usd_lambda"].tolist() == [0.0]
    assert results.costs.loc["judges", ["n", "cost_usd", "cost_unknown"]].tolist() == [1, 0, 0]


# ---- what belongs to what ----------------------------------------------------------------------------


@pytest.mark.parametrize("make", [in_the_calling_thread, at_once, coroutine])
def test_calls_before_and_after_belong_to_nothing(judge, priced, make):
    results = experiment(priced, Scorer.of(make(judge), name="mine"), n=1).run(progress=False)
    judge.chat("after")
    rows = rows_of_judge()
    assert rows["experiment"].fillna("").tolist() == ["x", ""]
    assert rows["tags"].tolist() == [
        {"judge": "mine", "judge_of": results.calls["call_id"].iloc[0], "judge_for": "x"},
        {},
    ]


def test_tags_and_provenance_of_its_own_stay(judge, priced):
    def mine(response):
        judge.chat("a", tags={"team": "red", "judge": "strict"})
        judge.chat("b", provenance=Provenance(origin="server", cell_id="7"))
        judge.chat("c", provenance=Provenance(experiment="other"))

    experiment(priced, mine, n=1).run(progress=False)
    first, second, third = rows_of_judge().to_dict("records")
    assert (first["tags"]["team"], first["tags"]["judge"], first["experiment"]) == ("red", "strict", "x")
    assert (second["origin"], second["cell_id"], second["experiment"]) == ("server", "7", "x")
    assert (third["origin"], third["experiment"], third["tags"]) == ("api", "other", {})


def test_an_experiment_within_a_scorer_has_its_own_budget(judge, priced):
    def mine(response):
        inner = Experiment(["?"], models=judge, name="inner", warmup=0, max_cost_usd=0.3)
        inner.run(progress=False)
        with pytest.raises(LLMError, match="max_cost_usd"):
            Experiment(["?", "!"], models=judge, name="inner", warmup=0, max_cost_usd=0.3, repeats=2).run(
                progress=False
            )
        return 1.0

    with pytest.warns(UserWarning, match="changed"):
        calls = experiment(priced, Scorer.of(mine, timeout=None), n=1, max_cost_usd=5).run(progress=False).calls
    assert calls["score_mine"].tolist() == [1.0], calls["score_mine_error"].iloc[0]
    assert calls["cost_usd_mine"].tolist() == pytest.approx([0.2]), "the score took it, whoever pays"
    assert rows_of_judge()["experiment"].tolist() == ["inner"]


def test_each_answer_of_a_table_pays_from_the_budget_of_its_experiment(judge, priced, model):
    limits = {"rich": 5, "poor": 0.25}
    for name, limit in limits.items():
        Experiment(["?"], models=priced, name=name, warmup=0, max_cost_usd=limit).run(progress=False)
    model("a").chat("of no experiment")
    calls = usage(kernel=None, model="openai/a")
    assert calls["experiment"].fillna("").tolist() == ["rich", "poor", ""]
    scored = scorers.apply([plain(judge)], calls)
    assert scored["score_lambda"].isna().tolist() == [False, True, False]
    assert "of max_cost_usd=$0.25 only $0.15 is left" in scored["score_lambda_error"].iloc[1]
    assert scored["cost_usd_lambda"].tolist() == pytest.approx([0.2, 0.0, 0.2])
    paid = rows_of_judge()
    assert paid["experiment"].fillna("").tolist() == ["rich", "poor", ""]
    assert [tags["judge_of"] for tags in paid["tags"]] == calls["call_id"].tolist()
    assert not pd.isna(paid["cost_usd"]).any()
