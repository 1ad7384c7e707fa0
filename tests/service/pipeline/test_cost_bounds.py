"""The limit of a call bounds all that is sent and billed: tools, schema, retries, rounds and other services."""

from __future__ import annotations

import socket
import threading
from dataclasses import replace

import pytest

from ipyllm import LLMError, OpenAIService, fallback, usage
from ipyllm.pipeline.budget import kernel_budget
from tests.fakes import answer, status

DEAR_INPUT = '[prices."openai/m"]\ninput_usd_per_mtok = 100\noutput_usd_per_mtok = 0\n'
"""A thousand tokens of input cost $0.10."""
DEAR_OUTPUT = '[prices."openai/m"]\ninput_usd_per_mtok = 0\noutput_usd_per_mtok = 100000\ntier_factors = {flex = 0.5}\n'
"""A token of an answer costs $0.10."""


@pytest.fixture
def priced(own_settings):
    def write(prices):
        (own_settings / "config.toml").write_text(prices)

    return write


@pytest.fixture
def service(fake):
    return OpenAIService("m", base_url=fake.base_url, api_key="no-key", max_retries=0)


def long_tool():
    """Do nothing."""


long_tool.__doc__ = "Explains itself at length, and says nothing new. " * 94  # 4.6 kB


def rows():
    return usage(kernel=None).to_dict("records")


@pytest.mark.parametrize(
    "options",
    [
        {"tools": [long_tool]},
        {"schema": {"title": "x", "type": "object", "description": long_tool.__doc__}},
        {"response_format": {"type": "json_schema", "json_schema": {"schema": {"description": long_tool.__doc__}}}},
        {"extra_body": {"guidance": long_tool.__doc__}},
    ],
    ids=["tool", "schema", "response_format", "extra_body"],
)
def test_all_that_is_sent_counts_before_it_is_sent(priced, service, fake, options):
    priced(DEAR_INPUT)
    with pytest.raises(LLMError, match=r"may cost up to \$0\.[1-9]\d, but max_cost_usd is \$0.10; it was not sent"):
        service.chat("Hello", max_tokens=5, max_cost_usd=0.1, **options)
    assert not fake.requests
    service.chat("Hello", max_tokens=5, max_cost_usd=0.1)
    assert len(fake.requests) == 1


def test_the_results_of_tools_count_in_the_next_round(priced, service, fake):
    def read():
        return "word " * 2_000

    priced(DEAR_INPUT)
    fake.default = answer("", tool_calls=[("read", {})])
    with pytest.raises(LLMError, match=r"only \$0.20 is left \(\$0.001 spent; \$0 reserved"):
        service.chat("Read.", tools=[read], max_tokens=5, max_cost_usd=0.2)
    assert len(fake.requests) == 1


@pytest.mark.parametrize("limit", [{"extra_body": {"max_tokens": 50}}, {"max_tokens": 5, "extra_body": {"n": 10}}])
def test_a_limit_in_the_extra_body_is_the_one_that_is_sent(priced, service, fake, limit):
    priced(DEAR_OUTPUT)
    with pytest.raises(LLMError, match=r"up to \$5.00, but max_cost_usd is \$4.00"):
        service.chat("Hello", max_cost_usd=4, **limit)
    assert not fake.requests


def test_a_flex_call_is_half_the_bound_and_half_the_price(priced, service, fake):
    priced(DEAR_OUTPUT)
    fake.default = echoing("flex")
    with pytest.raises(LLMError, match=r"up to \$1.00, but max_cost_usd is \$0.50"):
        service.chat("Hello", max_tokens=10, max_cost_usd=0.5)
    response = service.chat("Hello", max_tokens=10, max_cost_usd=0.5, service_tier="flex")
    assert response.cost_usd == pytest.approx(0.1)
    row = rows()[-1]
    assert (row["service_tier"], row["cost_usd"], row["cost_bound_usd"]) == (
        "flex",
        pytest.approx(0.1),
        row["cost_usd"],
    )


@pytest.mark.parametrize(
    ("asked", "echoed", "cost", "source"),
    [
        (None, None, 0.2, "settings"),
        (None, "default", 0.2, "settings"),
        ("flex", "default", 0.2, "settings"),
        ("auto", "flex", 0.1, "settings"),
        (None, "priority", None, "unknown: no price of service tier priority"),
        ("flex", "scale", None, "unknown: no price of service tier scale"),
        ("flex", None, None, "unknown: service tier flex was requested, the server named none"),
    ],
)
def test_the_tier_in_the_response_is_the_one_that_is_billed(priced, service, fake, asked, echoed, cost, source):
    priced(DEAR_OUTPUT)
    fake.default = echoing(echoed)
    response = service.chat("Hello", service_tier=asked)
    assert (response.cost_usd, response.price_source) == (None if cost is None else pytest.approx(cost), source)
    assert response.usage.service_tier == echoed
    assert fake.requests[0].json.get("service_tier") == asked


def test_a_tier_of_unknown_price_is_refused_under_a_limit(priced, service, fake):
    priced(DEAR_OUTPUT)
    with pytest.raises(LLMError, match=r"cost of a call to openai/m is unknown.*service_tier"):
        service.chat("Hello", max_tokens=5, max_cost_usd=100, service_tier="priority")
    assert not fake.requests


def test_a_tier_that_the_server_chooses_by_itself_is_expected_from_then_on(priced, service, fake):
    priced(DEAR_OUTPUT.replace("flex = 0.5", "priority = 2"))
    fake.default = echoing("priority")
    assert service.chat("Hello", max_tokens=2, max_cost_usd=5).cost_usd == pytest.approx(0.4)
    with pytest.raises(LLMError, match=r"up to \$4.00, but max_cost_usd is \$2.00"):
        service.chat("Hello", max_tokens=20, max_cost_usd=2)
    service.chat("Hello", max_tokens=2, max_cost_usd=5)


def test_input_that_was_written_to_the_cache_is_in_the_row(service, fake):
    counts = {"prompt_tokens": 10, "completion_tokens": 2, "prompt_tokens_details": {"cache_write_tokens": 7}}
    fake.default = answer("Hi.", usage=counts)
    assert service.chat("Hello").usage.cache_write_tokens == 7
    assert rows()[-1]["cache_write_tokens"] == 7


# ---- attempts ----------------------------------------------------------------------------------------


def lost_after(tokens):
    """Break the connection after some tokens, without saying how many were used."""
    return replace(answer("one two three"), stop_after=tokens, ending="rst")


def test_a_retry_of_what_may_have_been_billed_is_reserved_on_top(priced, fake):
    priced(DEAR_OUTPUT)
    service = OpenAIService("m", base_url=fake.base_url, api_key="no-key", max_retries=2)
    fake.default = lost_after(1)
    with pytest.raises(LLMError, match=r"only \$0.50 is left \(\$1.00 spent; \$0 reserved") as caught:
        service.chat("Hello", max_tokens=10, max_cost_usd=1.5, retry_after_text=True)
    assert caught.value.category == "quota"
    assert len(fake.requests) == 1
    row = rows()[-1]
    assert (row["attempts"], row["cost_bound_usd"]) == (1, pytest.approx(1.0))
    assert row["cost_usd"] is None or row["cost_usd"] != row["cost_usd"]


def test_the_cost_of_a_call_is_unknown_if_that_of_an_earlier_attempt_is(priced, fake):
    priced(DEAR_OUTPUT)
    service = OpenAIService("m", base_url=fake.base_url, api_key="no-key", max_retries=2)
    fake.reply(lost_after(1), answer("one two"))
    response = service.chat("Hello", max_tokens=10, max_cost_usd=5, retry_after_text=True)
    assert (response.cost_usd, response.price_source) == (None, "unknown: an earlier attempt was billed too")
    assert rows()[-1]["cost_bound_usd"] == pytest.approx(1.0 + 0.2), "the most for the first attempt, then the count"


@pytest.mark.parametrize(
    "refusal", [status(503, {"error": {"message": "busy"}}), status(429, headers={"retry-after": "0"})]
)
def test_a_refused_attempt_costs_nothing(priced, fake, refusal):
    priced(DEAR_OUTPUT)
    service = OpenAIService("m", base_url=fake.base_url, api_key="no-key", max_retries=2)
    fake.reply(refusal, answer("one two"))
    response = service.chat("Hello", max_tokens=10, max_cost_usd=1)
    assert response.cost_usd == pytest.approx(0.2)
    assert rows()[-1]["cost_bound_usd"] == pytest.approx(0.2)


def test_a_server_that_is_not_there_costs_nothing(priced):
    priced(DEAR_OUTPUT)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        gone = f"http://127.0.0.1:{free.getsockname()[1]}/v1"
    before = kernel_budget().spent_usd
    with pytest.raises(LLMError, match="cannot be reached") as caught:
        OpenAIService("m", base_url=gone, api_key="no-key", max_retries=1).chat("Hello", max_tokens=10, max_cost_usd=1)
    assert caught.value.attempts == 2
    assert not caught.value.reached_server
    assert kernel_budget().spent_usd == before
    assert rows()[-1]["cost_bound_usd"] == 0.0


def test_an_attempt_of_which_nothing_came_back_may_have_been_billed(priced, fake):
    priced(DEAR_OUTPUT)
    service = OpenAIService("m", base_url=fake.base_url, api_key="no-key", max_retries=3)
    fake.default = replace(answer("x"), silent=True, ending="rst")
    with pytest.raises(LLMError, match="may cost up to"):
        service.chat("Hello", max_tokens=10, max_cost_usd=2.5)
    assert len(fake.requests) == 2
    assert rows()[-1]["cost_bound_usd"] == pytest.approx(2.0)


def test_the_services_of_a_route_share_the_limit_of_the_call(priced, fake):
    priced(DEAR_OUTPUT + DEAR_OUTPUT.replace("openai/m", "openai/n"))
    members = [OpenAIService(name, base_url=fake.base_url, api_key="no-key", max_retries=0) for name in ("m", "n")]
    fake.default = replace(answer("x"), silent=True, ending="rst")
    with pytest.raises(LLMError, match=r"only \$0.50 is left \(\$1.00 spent"):
        fallback(*members).chat("Hello", max_tokens=10, max_cost_usd=1.5)
    assert len(fake.requests) == 1


def test_the_limit_of_the_process_holds_for_tools_and_retries_too(priced, service, fake, monkeypatch):
    priced(DEAR_INPUT)
    monkeypatch.setenv("IPYLLM_MAX_COST_USD", str(kernel_budget().spent_usd + 0.1))
    with pytest.raises(LLMError, match="may cost up to"):
        service.chat("Hello", max_tokens=5, tools=[long_tool])
    assert not fake.requests


def test_a_server_that_counts_more_than_the_bound_is_believed_from_then_on(priced, service, fake):
    priced(DEAR_INPUT)
    fake.default = answer("Hi.", prompt_tokens=900)
    first = service.chat("Hello", max_tokens=5, max_cost_usd=0.05)
    assert first.cost_usd == pytest.approx(0.09), "more than its limit: nobody could know"
    with pytest.raises(LLMError, match="may cost up to"):
        service.chat("Hello", max_tokens=5, max_cost_usd=0.08)
    assert len(fake.requests) == 1


def test_a_price_that_rises_while_a_call_waits_is_reserved_before_it_is_sent(priced, fake, monkeypatch):
    """As DeepSeek's does in its peak hours."""
    monkeypatch.setattr("ipyllm.pipeline.exchange_budget._VALID_S", 0)  # so that any wait is long
    release = threading.Event()

    class Rising(OpenAIService):
        def max_cost(self, request, address, at):
            return 2.0 if release.is_set() else 0.5

    service = Rising("m", base_url=fake.base_url, api_key="no-key", max_retries=0, max_in_flight=1)
    fake.on(lambda request: answer("x", ttft=1000))
    first = service.call(service.request("one", max_cost_usd=5))
    fake.wait_for(lambda: len(fake.requests) == 1)
    second = service.call(service.request("two", max_cost_usd=1))
    fake.wait_for(lambda: (waiting := second.waiting()) and "queued" in waiting.line())
    release.set()
    fake.skip_pauses()
    first.wait()
    with pytest.raises(LLMError, match=r"up to \$2.00, but max_cost_usd is \$1.00; it was"):
        second.wait()
    assert len(fake.requests) == 1


def echoing(tier):
    """Answer two tokens, naming a service tier in every chunk."""

    def name_it(events):
        for event in events:
            named = tier is not None and isinstance(event.payload, dict)
            yield event._replace(payload=event.payload | {"service_tier": tier}) if named else event

    return answer("one two").edited(name_it)
