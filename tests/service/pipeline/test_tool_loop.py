"""Tests turns of several exchanges: schemas, tools, the cache, budgets and routes, through the full service layer."""

from __future__ import annotations

import asyncio
import json
import threading

import pytest
from pydantic import BaseModel

from ipyllm import DeepSeekService, LLMError, OllamaService, OpenAIService, Timeout, create_llm_service, fallback, split
from tests import fakes
from tests.fakes import answer, server_error
from tests.ledger_rows import rows
from tests.stalls import again_if_stalled


class City(BaseModel):
    name: str
    people: int


BERN = '{"name": "Bern", "people": 134000}'


@pytest.fixture
def service(fake):
    return OllamaService("m", base_url=fake.base_url, max_retries=0)


# ---- schemas -----------------------------------------------------------------------------------------


def test_an_answer_that_fits_its_schema_is_parsed(service, fake):
    fake.default = answer(BERN)
    response = service.chat("Name a city.", schema=City)
    assert response.parsed == City(name="Bern", people=134000)
    assert response["parsed"].name == "Bern"
    sent = fake.requests[-1].json["response_format"]
    assert (sent["type"], sent["json_schema"]["name"]) == ("json_schema", "City")


def test_an_answer_that_does_not_fit_is_asked_for_again_and_both_are_rows(service, fake):
    fake.reply(answer('{"name": "Bern", "people": "many"}'), answer(BERN))
    response = service.chat("Name a city.", schema=City)
    assert response.parsed.people == 134000
    assert [step.content for step in response.steps] == ['{"name": "Bern", "people": "many"}', BERN]
    assert [message["role"] for message in fake.requests[-1].json["messages"]] == ["user", "assistant", "user"]
    assert list(rows().status) == ["ok", "ok"]


def test_repairs_are_bounded_and_the_invalid_text_is_kept(service, fake):
    fake.default = answer("no JSON at all")
    with pytest.raises(LLMError, match="does not fit the schema") as caught:
        service.chat("Name a city.", schema=City, repairs=2)
    assert len(fake.requests) == 3
    assert caught.value.partial.content == "no JSON at all"


def test_a_server_without_json_schema_is_asked_in_json_mode(service, fake):
    fake.reply(fakes.error(400, "This response_format type is unavailable now"), answer(BERN))
    response = service.chat("Name a city.", schema=City, system="Be brief.")
    assert response.parsed.name == "Bern"
    body = fake.requests[-1].json
    assert body["response_format"] == {"type": "json_object"}
    assert body["messages"][0]["content"].startswith("Be brief.")
    assert "JSON" in body["messages"][0]["content"]


def test_a_server_without_json_mode_is_asked_in_words_after_the_system_message_or_as_one(service, fake):
    refusal = fakes.error(400, "This response_format type is unavailable now")
    fake.on(lambda request: refusal if "response_format" in request.json else answer(BERN))
    assert service.chat("Name a city.", schema=City).parsed.name == "Bern"
    first, question = fake.requests[-1].json["messages"]
    assert (first["role"], question["content"]) == ("system", "Name a city.")
    assert "JSON" in first["content"]
    service.chat("Name a city.", schema=City, system="Be brief.")
    first, _ = fake.requests[-1].json["messages"]
    assert first["content"].startswith("Be brief.\n\n")
    assert "JSON" in first["content"]


def test_a_refusal_for_another_reason_than_the_schema_is_raised_as_it_is(service, fake):
    fake.default = fakes.insufficient_quota()
    with pytest.raises(LLMError) as caught:
        service.chat("Name a city.", schema=City)
    assert (caught.value.category, len(fake.requests)) == ("quota", 1)


def test_json_cut_off_by_max_tokens_says_so(service, fake):
    fake.default = answer('{"name": "Be', finish_reason="length")
    with pytest.raises(LLMError, match="max_tokens"):
        service.chat("Name a city.", schema=City)
    assert len(fake.requests) == 1


# ---- tools -------------------------------------------------------------------------------------------


def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


def wants(*calls):
    return answer("", chunks=[], tool_calls=calls)


def test_tools_run_in_the_thread_that_waits_and_their_results_go_back(service, fake):
    where = []

    def multiply(a: float, b: float) -> float:
        """Multiply two numbers."""
        where.append(threading.current_thread())
        return a * b

    fake.reply(wants(("add", {"a": 1, "b": 2}), ("multiply", {"a": 3, "b": 4})), answer("3 and 12."))
    response = service.chat("Compute.", tools=[add, multiply])
    assert response.content == "3 and 12."
    assert where == [threading.current_thread()]
    assert [(result.name, result.output, result.error) for result in response.tool_results] == [
        ("add", "3", None), ("multiply", "12.0", None),
    ]  # fmt: skip
    messages = fake.requests[-1].json["messages"][1:]
    assert [message["role"] for message in messages] == ["assistant", "tool", "tool"]
    assert [call["function"]["name"] for call in messages[0]["tool_calls"]] == ["add", "multiply"]
    assert messages[1]["tool_call_id"] == messages[0]["tool_calls"][0]["id"]
    assert fake.requests[0].json["tools"][0]["function"]["name"] == "add"
    assert len(rows()) == 2


def test_a_stream_runs_its_tools_in_the_thread_that_reads_it(service, fake):
    where = []

    async def look_up(city: str) -> str:
        """Find the weather of a city."""
        where.append(threading.current_thread())
        return "rain"

    fake.reply(wants(("look_up", {"city": "Bern"})), answer("It rains."))
    assert "".join(service.stream("Weather?", tools=[look_up])) == "It rains."
    assert where == [threading.current_thread()]


def test_async_tools_run_on_the_users_loop(service, fake):
    loops = []

    async def look_up(city: str) -> str:
        """Find the weather of a city."""
        loops.append(asyncio.get_running_loop())
        await asyncio.sleep(0)
        return f"{city}: rain"

    fake.default = answer("Rain.")
    fake.reply(wants(("look_up", {"city": "Bern"})))

    async def ask():
        response = await service.achat("Weather?", tools=[look_up])
        return response, asyncio.get_running_loop()

    response, loop = asyncio.run(ask())
    assert response.tool_results[0].output == "Bern: rain"
    assert loops == [loop]


def test_what_goes_wrong_with_a_tool_is_told_to_the_model_and_kept(service, fake):
    def broken(x: int) -> int:
        """Fail."""
        raise RuntimeError("the key sk-abcdefghijklmnop is wrong")

    fake.reply(wants(("broken", {"x": 1}), ("ad", {"a": 1}), ("add", '{"a": 1')), answer("Sorry."))
    response = service.chat("Try.", tools=[broken, add])
    assert response.content == "Sorry."
    first, second, third = response.tool_results
    assert first.error.startswith("RuntimeError: the key [key hidden]")
    assert "add" in second.error
    assert third.error
    assert all(result.output for result in response.tool_results)


def test_a_model_that_never_stops_calling_is_stopped(service, fake):
    fake.default = wants(("add", {"a": 1, "b": 2}))
    with pytest.raises(LLMError, match="tool_rounds") as caught:
        service.chat("Loop.", tools=[add], tool_rounds=3)
    assert len(fake.requests) == 4
    assert len(caught.value.partial.tool_results) == 3


def test_deepseek_gets_its_reasoning_back_with_tool_calls_and_others_do_not(fake):
    for made, kept in ((DeepSeekService, True), (OllamaService, False)):
        fake.reply(answer("", chunks=[], reasoning="I must add.", tool_calls=[("add", {"a": 1, "b": 2})]), answer("3"))
        made("m", base_url=fake.base_url).chat("Add.", tools=[add])
        asked = fake.requests[-1].json["messages"][1]
        assert ("reasoning_content" in asked) is kept


@pytest.mark.parametrize(("model", "kept"), [("moonshot/kimi-k2.6", True), ("groq/m", False)])
def test_the_profile_says_who_gets_the_reasoning_back(fake, model, kept):
    fake.reply(answer("", chunks=[], reasoning="I must add.", tool_calls=[("add", {"a": 1, "b": 2})]), answer("3"))
    create_llm_service(model, base_url=fake.base_url).chat("Add.", tools=[add])
    assert ("reasoning_content" in fake.requests[-1].json["messages"][1]) is kept


def test_reasoning_goes_back_with_every_message_but_only_beside_tools(fake):
    service = DeepSeekService("m", base_url=fake.base_url)
    earlier = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Ho", "reasoning_content": "Hm."}]
    service.chat("Add.", tools=[add], conversation_history=earlier)
    service.chat("Hello", conversation_history=earlier)
    assert [("reasoning_content" in sent.json["messages"][1]) for sent in fake.requests] == [True, False]


@pytest.mark.parametrize(
    ("model", "formats"),
    [("anthropic/m", [None]), ("deepseek/m", ["json_object"]), ("mistral/m", ["json_schema"])],
)
def test_a_schema_is_sent_in_the_mode_that_the_profile_names(fake, model, formats):
    fake.default = answer('{"name": "Bern"}')
    service = create_llm_service(model, base_url=fake.base_url)
    schema = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}
    assert service.chat("Which city?", schema=schema).parsed == {"name": "Bern"}
    assert [(sent.json.get("response_format") or {}).get("type") for sent in fake.requests] == formats


def test_a_schema_reaches_an_arm_of_a_route_in_a_mode_that_it_takes(fake):
    fake.default = answer('{"name": "Bern"}')
    route = fallback(create_llm_service("anthropic/m", base_url=fake.base_url))
    schema = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}
    assert route.chat("Which city?", schema=schema).parsed == {"name": "Bern"}
    assert ["response_format" in sent.json for sent in fake.requests] == [False]


def test_one_limit_holds_for_the_whole_turn(service, fake):
    fake.default = answer("", chunks=[], tool_calls=[("add", {"a": 1, "b": 2})], ttft=0.25)
    with pytest.raises(LLMError) as caught:
        service.chat("Loop.", tools=[add], tool_rounds=50, timeout=Timeout(total=0.6))
    assert caught.value.category == "timeout"
    assert len(fake.requests) <= 4


@again_if_stalled(0.1)
def test_a_tool_that_hangs_is_ended_by_the_limit_of_the_call(service, fake):
    async def hang() -> str:
        """Hang."""
        await asyncio.sleep(1000)
        return "late"

    fake.default = wants(("hang", {}))
    with pytest.raises(LLMError, match="exceeded the call") as caught:
        service.chat("Hang.", tools=[hang], timeout=Timeout(total=0.5))
    assert caught.value.category == "timeout"


@pytest.mark.parametrize("is_exit", [False, True])
def test_a_call_can_be_cancelled_while_a_tool_runs_and_what_the_model_said_before_is_its_outcome(
    service, fake, monkeypatch, is_exit
):
    monkeypatch.setattr("ipyllm.pipeline.stored_responses.is_exiting", lambda: is_exit)
    begun, end = threading.Event(), threading.Event()

    def slow() -> str:
        """Take long."""
        begun.set()
        end.wait(60)
        return "late"

    fake.default = answer("Let me look.", tool_calls=[("slow", {})])
    call = service.call(service.request("Wait.", tools=[slow]))
    assert begun.wait(60)
    call.cancel()
    assert call.done.wait(60)
    end.set()
    assert call.error.category == "cancelled"
    status = "interrupted" if is_exit else "cancelled"
    assert (call.response.status, call.response.content) == (status, "Let me look.")
    assert rows().status.iloc[-1] == status
    assert call.response.usage.output_tokens


def test_a_turn_that_fails_in_a_later_exchange_has_what_the_earlier_ones_said_and_cost(service, fake):
    fake.reply(answer("Let me add.", tool_calls=[("add", {"a": 1, "b": 2})]), server_error())
    call = service.call(service.request("Compute.", tools=[add]))
    with pytest.raises(LLMError):
        call.wait()
    assert (call.response.status, call.response.error_category) == ("error", call.error.category)
    assert [step.content for step in call.response.steps] == ["Let me add.", ""]
    assert [result.output for result in call.response.tool_results] == ["3"]
    assert call.response.steps[0].usage.output_tokens


def test_a_turn_whose_next_exchange_is_refused_before_it_is_sent_keeps_what_came(service, fake, own_settings):
    prices = '[prices."ollama/m"]\ninput_usd_per_mtok = 0.0\noutput_usd_per_mtok = 1000.0\n'
    (own_settings / "config.toml").write_text(prices)
    fake.default = answer("Let me add.", tool_calls=[("add", {"a": 1, "b": 2})])
    call = service.call(service.request("Compute.", tools=[add], max_tokens=100, max_cost_usd=0.1))
    with pytest.raises(LLMError, match="it was not sent"):
        call.wait()
    assert len(fake.requests) == 1
    assert call.response.error_category == "quota"
    assert [step.content for step in call.response.steps] == ["Let me add.", ""]
    assert [result.output for result in call.response.tool_results] == ["3"]


def test_tools_and_schema_go_together(service, fake):
    fake.reply(wants(("add", {"a": 1, "b": 2})), answer('{"name": "three", "people": 3}'))
    response = service.chat("Add.", tools=[add], schema=City)
    assert (response.parsed.people, len(response.tool_results)) == (3, 1)


# ---- the cache ---------------------------------------------------------------------------------------


@pytest.fixture
def cached(own_settings, monkeypatch):
    monkeypatch.setenv("IPYLLM_CACHE_PATH", str(own_settings / "answers.sqlite"))


@pytest.mark.usefixtures("cached")
def test_the_second_time_our_own_cache_answers_and_no_latency_is_counted(service, fake):
    fake.default = answer("Paris.", ttft=0.05)
    first = service.chat("Capital of France?", cache=True, temperature=0)
    second = service.chat("Capital of France?", cache=True, temperature=0)
    assert (first.cache_hit, second.cache_hit) == (False, True)
    assert (second.content, second.timing.ttft_s, second.usage) == ("Paris.", None, first.usage)
    assert len(fake.requests) == 1
    assert list(rows().cache_hit) == [False, True]
    assert "".join(service.stream("Capital of France?", cache=True, temperature=0)) == "Paris."
    service.chat("Capital of France?", cache=True, temperature=1)
    service.chat("Capital of France?", temperature=0)
    assert len(fake.requests) == 3, "another parameter, or no cache, is another question"


# ---- budgets -----------------------------------------------------------------------------------------

PRICED = '[prices."ollama/m"]\ninput_usd_per_mtok = 1000\noutput_usd_per_mtok = 1000\n'


def test_a_call_that_may_cost_too_much_is_refused_before_it_is_sent(service, fake, own_settings):
    (own_settings / "config.toml").write_text(PRICED)
    with pytest.raises(LLMError, match="it was not sent") as caught:
        service.chat("Hello", max_tokens=100, max_cost_usd=0.05)
    assert caught.value.category == "quota"
    assert not fake.requests
    response = service.chat("Hello", max_tokens=100, max_cost_usd=0.5)
    assert (response.cost_usd, response.price_source) == (pytest.approx(0.014), "settings")


def test_a_budget_without_a_price_is_a_sentence(fake):
    service = OpenAIService("m", base_url=fake.base_url)
    with pytest.raises(LLMError, match="price"):
        service.chat("Hello", max_cost_usd=1.0)
    assert not fake.requests


# ---- routes ------------------------------------------------------------------------------------------


def test_a_fallback_asks_the_next_and_both_are_rows(fake, own_settings):
    (own_settings / "config.toml").write_text(
        f'[endpoints.a]\nbase_url = "{fake.base_url}"\n[endpoints.b]\nbase_url = "{fake.base_url}"\n'
        '[routes.safe]\nfallback = ["a/one", "b/two"]\n'
    )
    fake.on(lambda request: fakes.unavailable() if request.json["model"] == "one" else answer("from two"))
    response = create_llm_service("safe", max_retries=0).chat("Hello")
    assert (response.content, response.model) == ("from two", "b/two")
    frame = rows()
    assert list(frame.status) == ["error", "ok"]
    assert [tags["arm"] for tags in frame.tags] == ["a/one", "b/two"]
    direct = fallback("a/one", "b/two", max_retries=0)
    assert "".join(direct.stream("Hello")) == "from two"


def test_a_split_keeps_a_conversation_with_its_arm(fake, own_settings):
    from ipyllm.request import Provenance

    (own_settings / "config.toml").write_text(f'[endpoints.a]\nbase_url = "{fake.base_url}"\n')
    ab = split({"a/one": 0.5, "a/two": 0.5}, seed=1)
    for name in ("x", "y", "z", "w", "v"):
        arms = {ab.chat("Hello", provenance=Provenance(conversation=name)).model for _ in range(3)}
        assert len(arms) == 1
    assert set(rows().model) == {"a/one", "a/two"}


# ---- limits ------------------------------------------------------------------------------------------


def test_a_crowd_loses_nothing_at_a_server_that_admits_few(fake):
    fake.default = answer("ok", ttft=0.02)
    fake.admit(5)
    service = OllamaService("m", base_url=fake.base_url, max_retries=0)

    async def crowd():
        return await asyncio.gather(*(service.achat("Hello") for _ in range(60)))

    responses = asyncio.run(crowd())
    assert [response.status for response in responses] == ["ok"] * 60
    assert fake.max_in_flight >= 5
    assert json.dumps(sorted({response.timing.retry_wait_s for response in responses})) == "[0.0]"
