"""Tests the time limits, each by itself, and that a request at work is not sent again by any of them."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest

import ipyllm.timeout
from ipyllm import LLMError, OllamaService, OpenAIService, create_llm_service, fallback, pool
from ipyllm.runtime.service_thread import service_thread
from ipyllm.timeout import TimeLimits, Timeout
from tests import fakes
from tests.fakes import answer
from tests.fakes.script import Event
from tests.service.by_the_client import leave_to_the_client
from tests.service.unreachable import nobody_accepts
from tests.stalls import again_if_stalled

EVER = 90.0  # seconds, longer than any test waits
WAYS = ("chat", "responses", "chat by the client", "responses by the client")
LIFE = {
    "comments": ": keep-alive",
    "role chunks": 'data: {"choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}}]}',
    "hidden reasoning": 'event: response.in_progress\ndata: {"type": "response.in_progress"}',
}


@pytest.fixture(params=WAYS)
def make(request, fake, own_settings):
    """Return what makes a service for each API and transport, with lines for the profile of its model."""

    def make(*profile):
        api = request.param.partition(" ")[0]
        (own_settings / "config.toml").write_text(
            f'[endpoints.lab]\nbase_url = "{fake.base_url}"\napi = "{api}"\n'
            + "\n".join(['[profiles."lab/*"]', *profile])
        )
        if "client" in request.param:
            leave_to_the_client(fake, OpenAIService("m", base_url=fake.base_url, api_key=None).address())
        service = create_llm_service("lab/m", max_retries=2)
        fake.reply(answer("What is imported, and the connection made, for the first call is no part of the limits."))
        service.chat("Hello")
        fake.clear()
        return service

    return make


def fails(service, **options):
    start = time.monotonic()
    with pytest.raises(LLMError) as caught:
        service.chat("Hello", **options)
    return caught.value, time.monotonic() - start


# ---- what keeps a connection alive ---------------------------------------------------------------------


@pytest.mark.parametrize("life", LIFE)
@again_if_stalled(0.1)
def test_what_keeps_the_connection_alive_ends_its_silence(make, fake, life):
    fake.default = fakes.pings(answer("late", ttft=1), comment=LIFE[life], every=0.05)
    response = make().chat("Hello", timeout=Timeout(silence=0.5))
    assert (response.content, response.timing.attempts, len(fake.requests)) == ("late", 1, 1)
    assert response.timing.ttft_s > 0.9


@again_if_stalled(0.1)
def test_empty_lines_before_a_whole_answer_end_its_silence(make, fake):
    """DeepSeek sends them while a request that does not stream waits."""
    whole = '{"object": "chat.completion", "choices": [{"index": 0, "message": {"content": "late"}}]}'
    lines = [Event(0.05 * n, "noise", "") for n in range(20)]
    service = make()
    if service.api == "responses":
        whole = (
            '{"object": "response", "status": "completed", "output": '
            '[{"type": "message", "content": [{"type": "output_text", "text": "late"}]}]}'
        )
    fake.default = answer().edited(lambda _: [*lines, Event(1.0, "token", whole)])
    response = service.chat("Hello", timeout=Timeout(silence=0.5))
    assert (response.content, response.timing.streamed, len(fake.requests)) == ("late", False, 1)


@again_if_stalled(0.1)
def test_silence_after_the_response_has_begun_ends_the_call_once(make, fake):
    fake.default = answer("late", ttft=EVER)
    error, took = fails(make(), timeout=Timeout(silence=0.4))
    assert (error.category, error.limit, error.may_be_at_work) == ("timeout", "silence", True)
    assert str(error) == (
        "lab/m took too long: nothing more arrived for 0.4 s; its server had begun to answer, so the request was not "
        "sent again: the work might be done, and billed, twice; allow more time with timeout=Timeout(silence=…)."
    )
    assert took < 60
    assert len(fake.requests) == 1
    fake.wait_for(lambda: fake.requests[-1].closed_by_client)


@again_if_stalled(0.1)
def test_comments_without_end_last_until_the_limit_of_the_first_token(make, fake):
    fake.default = fakes.pings(answer("late", ttft=EVER), every=0.05)
    error, took = fails(make(), timeout=Timeout(first_token=0.6, silence=20))
    assert (error.category, error.limit, error.may_be_at_work) == ("timeout", "first_token", True)
    assert "no first token arrived for 0.6 s" in str(error)
    assert "not sent again" in str(error)
    assert took < 60
    assert len(fake.requests) == 1
    fake.wait_for(lambda: fake.requests[-1].closed_by_client)


@again_if_stalled(0.1)
def test_a_stall_is_ended_though_pings_keep_the_line_alive(make, fake):
    fake.default = fakes.stall(fakes.pings("one two three", every=0.05), after=2)
    error, took = fails(make(), timeout=Timeout(stall=0.4), retry_after_text=True)
    assert (error.category, error.limit, error.may_be_at_work) == ("timeout", "stall", True)
    assert "no further token arrived for 0.4 s" in str(error)
    assert error.partial.content == "one two"
    assert took < 60
    assert len(fake.requests) == 1


@again_if_stalled(0.1)
def test_a_number_is_the_longest_wait_for_a_token_whatever_else_arrives(make, fake):
    fake.default = fakes.pings(answer("late", ttft=EVER), every=0.05)
    error, _ = fails(make(), timeout=0.5)
    assert (error.limit, len(fake.requests)) == ("first_token", 1)


# ---- before the response begins ------------------------------------------------------------------------


@again_if_stalled(0.1)
def test_an_automatic_silence_begins_with_the_response(make, fake, monkeypatch):
    """A server that does not stream says nothing while the model thinks; one that streams says so."""
    monkeypatch.setattr(ipyllm.timeout, "_SHORTEST_PAUSE_S", 0.1)
    service = make("first_token_s = 1.6")  # so that the automatic silence is 0.8 s
    fake.default = fakes.ignores_stream(answer("late", ttft=1.1))
    assert service.chat("Hello").content == "late"
    fake.default = answer("late", ttft=1.1)
    error, _ = fails(service)
    assert (error.limit, len(fake.requests)) == ("silence", 2)
    assert service.chat("Hello", timeout=Timeout(first_token=1.5)).content == "late"


@pytest.mark.parametrize("timeout", [Timeout(first_token=0.3), Timeout(silence=0.3), 0.3], ids=["first", "any", "all"])
@again_if_stalled(0.1)
def test_no_response_at_all_is_tried_again(make, fake, timeout):
    service = make()
    fake.reply(fakes.never_answers())
    response = service.chat("Hello", timeout=timeout)
    assert (response.status, response.timing.attempts) == ("ok", 2)


@again_if_stalled(0.1)
def test_no_response_from_a_model_that_reasons_is_not(make, fake):
    """It may think without a word, and be billed for it."""
    service = make('efforts = ["none", "medium"]', 'default_effort = "medium"')
    fake.default = fakes.never_answers()
    error, _ = fails(service, timeout=Timeout(first_token=0.3))
    assert (error.category, error.limit, error.may_be_at_work, len(fake.requests)) == (
        "timeout",
        "first_token",
        True,
        1,
    )
    assert "nothing arrived for 0.3 s; it may be reasoning, so the request was not sent again" in str(error)
    error, _ = fails(service, timeout=Timeout(first_token=0.3), effort="none", max_retries=1)
    assert (error.category, error.limit, error.may_be_at_work) == ("max_retries_exceeded", "first_token", False)
    assert len(fake.requests) == 3


@again_if_stalled(0.1)
def test_a_refusal_whose_body_never_ends_is_tried_again(make, fake):
    service = make('efforts = ["medium"]')  # it reasons, but not while it refuses
    fake.reply(replace(fakes.unavailable(), stop_after=1, ending="hang"))
    response = service.chat("Hello", timeout=Timeout(first_token=0.4))
    assert (response.status, response.timing.attempts) == ("ok", 2)


@again_if_stalled(0.1)
def test_a_limit_that_ends_the_connecting_is_no_request():
    with nobody_accepts() as base_url:
        service = OpenAIService("gpt-6-luna", base_url=base_url, max_retries=1)
        error, _ = fails(service, timeout=Timeout(first_token=0.2))
        assert (error.category, error.limit, error.may_be_at_work) == ("max_retries_exceeded", "first_token", False)
        assert "no connection was made for 0.2 s" in str(error)
        assert (error.partial.cost_usd, error.partial.price_source) == (0.0, "not sent")
        error, _ = fails(service, timeout=Timeout(connect=0.2), max_retries=0)
        assert (error.category, error.limit) == ("timeout", "connect")


# ---- routes --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("route_of", [fallback, pool])
@again_if_stalled(0.1)
def test_a_route_asks_its_next_service_after_any_limit(fake, route_of):
    with fakes.FakeLLM() as second:
        fake.default = answer("late", ttft=EVER)
        arms = [OllamaService("m", base_url=each.base_url) for each in (fake, second)]
        response = route_of(*arms).chat("Hello", timeout=0.4)
        assert response.content == "Hello from the fake."
        assert [len(each.requests) for each in (fake, second)] == [1, 1]


# ---- each limit ----------------------------------------------------------------------------------------


def test_the_first_token_has_a_limit_of_its_own(fake):
    fake.default = answer("late", ttft=EVER)
    service = OllamaService("m", base_url=fake.base_url, timeout=Timeout(first_token=0.3), max_retries=0)
    error, _ = fails(service)
    assert "no first token arrived for 0.3 s" in str(error)
    fake.wait_for(lambda: fake.requests[-1].closed_by_client)


@again_if_stalled(0.1)
def test_an_answer_slower_than_the_first_limit_goes_on_within_the_second(fake):
    fake.default = answer("one two three four", gap=0.3)
    response = OllamaService("m", base_url=fake.base_url).chat("Hello", timeout=Timeout(first_token=0.8, stall=2))
    assert response.status == "ok"


@again_if_stalled(0.1)
def test_a_drip_cannot_outlast_the_total(fake):
    fake.default = fakes.drip("word ", every=0.05)
    error, took = fails(OllamaService("m", base_url=fake.base_url), timeout=Timeout(total=0.6))
    assert "the whole call took more than 0.6 s" in str(error)
    assert error.limit == "total"
    assert error.partial.content.startswith("word word")
    assert 0.5 < took < 30
    assert len(fake.requests) == 1


def test_a_retry_that_would_outlast_the_total_is_not_begun(fake):
    fake.default = fakes.rate_limited(3000)
    error, took = fails(OllamaService("m", base_url=fake.base_url), timeout=Timeout(total=2000), max_retries=5)
    assert took < 60
    assert error.category == "rate_limit"
    assert len(fake.requests) == 1


@again_if_stalled(0.1)
def test_what_arrived_while_the_service_thread_was_held_up_counts(fake):
    """Another thread may hold the interpreter's lock for longer than a limit."""
    fake.default = answer("word " * 40, gap=0.05)
    stream = OllamaService("m", base_url=fake.base_url).stream("Hello", timeout=Timeout(stall=0.5, silence=0.5))
    for n, _ in enumerate(stream):
        if n == 1:
            service_thread().loop.call_soon_threadsafe(time.sleep, 1.2)
    assert n == 39


# ---- which limits hold ---------------------------------------------------------------------------------


def limits_of(model, **options):
    return create_llm_service(model, api_key="sk-0123456789abcdefghij").request("Hello", **options).timeout


@pytest.mark.parametrize(
    ("model", "effort", "seconds"),
    [
        ("openrouter/openai/gpt-4.1-mini", None, 120),
        ("local/smollm2-135m", None, 600),
        ("openai/gpt-6-luna", "none", 120),
        ("openai/gpt-6-luna", "low", 300),
        ("openai/gpt-6-luna", None, 600),
        ("openai/gpt-6-luna", "high", 1200),
        ("openai/gpt-6-luna", "max", 1800),
        ("deepseek/deepseek-flash", None, 1200),
        ("deepseek/deepseek-flash", "none", 120),
        ("openai/gpt-5.2-pro", None, 1800),
        ("openai/o3-deep-research", None, 1800),
        ("ollama/anything", None, 600),
        ("groq/anything", None, 300),
    ],
)
def test_the_first_token_is_waited_for_as_long_as_fits_the_model(model, effort, seconds):
    limits = limits_of(model, **({} if effort is None else {"effort": effort}))
    pause = max(60, seconds / 2)
    assert limits == TimeLimits(connect=60, first_token=seconds, silence=pause, stall=pause, first_byte=None)


def test_what_the_user_gives_comes_before_the_profile(own_settings):
    config = own_settings / "config.toml"
    config.write_text('[profiles."openai/gpt-6*"]\nfirst_token_s = { high = 50 }\n')
    assert [limits_of("openai/gpt-6-luna", effort=effort).first_token for effort in ("high", "medium")] == [50, 600]
    config.write_text('[profiles."openai/gpt-6*"]\nfirst_token_s = 30\n')
    assert [limits_of("openai/gpt-6-luna", effort=effort).first_token for effort in ("high", "none")] == [30, 30]
    config.write_text('timeout = 20\n[profiles."openai/gpt-6*"]\nfirst_token_s = 30\n')
    assert limits_of("openai/gpt-6-luna") == TimeLimits(20, 20, 20, 20, None, 20)
    assert limits_of("openai/gpt-6-luna", timeout=5) == TimeLimits(5, 5, 5, 5, None, 5)
    # The call's Timeout replaces the number of the settings, with what it leaves automatic.
    assert limits_of("openai/gpt-6-luna", timeout=Timeout(total=9)).first_token == 30


@pytest.mark.parametrize(
    ("given", "silence", "first_byte"),
    [
        (Timeout(), 300, None),
        (Timeout(first_token=900), 900, None),
        (Timeout(first_token=10), 300, None),
        (Timeout(first_token=None), None, None),
        (Timeout(first_token=900, silence=20), 20, 20),
        (Timeout(silence=None), None, None),
    ],
)
def test_an_automatic_silence_ends_no_wait_for_a_first_token_that_is_allowed(given, silence, first_byte):
    limits = given.limits(600)
    assert (limits.silence, limits.first_byte, limits.stall) == (silence, first_byte, 300)


@pytest.mark.parametrize("wrong", [0, -1, "5", True, float("nan")])
def test_a_timeout_that_is_none_is_refused(wrong):
    with pytest.raises(LLMError, match="number of seconds above 0"):
        Timeout.of(wrong)
    with pytest.raises(LLMError, match="stall"):
        Timeout(stall=wrong)


def test_connecting_and_the_whole_call_have_no_automatic_limit():
    for name in ("connect", "total"):
        with pytest.raises(
            LLMError, match=f"The timeout {name} must be a number of seconds above 0 or None, not 'auto'"
        ):
            Timeout(**{name: "auto"})
    with pytest.raises(LLMError, match="silence must be a number of seconds above 0, \"auto\" or None, not 'none'"):
        Timeout(silence="none")
