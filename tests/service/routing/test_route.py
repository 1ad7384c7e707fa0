"""A route is used as a service is: chat, achat, stream, chat_stream, events; the row is that of the arm."""

from __future__ import annotations

import asyncio
import threading

import pytest

from ipyllm import DeepSeekService, Finished, LLMError, OpenAIService, TextDelta, fallback, pool, split
from tests import fakes


def server(fake, model="m", **options):
    return OpenAIService(model, base_url=fake.base_url, max_retries=0, **options)


def test_every_way_to_ask_follows_the_route(a, b, rows):
    a.default = fakes.server_error()
    b.default = fakes.answer("from b")
    route = fallback(server(a, "m-a"), server(b, "m-b"), name="fast")

    async def ask():
        return (
            await route.achat("Hello"),
            [text async for text in route.chat_stream("Hello")],
            [event async for event in route.events("Hello")],
        )

    assert route.chat("Hello").model == "openai/m-b"
    assert list(route.stream("Hello")) == ["from", " b"]
    # Three failures in a row leave m-a out from here on.
    whole, pieces, events = asyncio.run(ask())
    assert (whole.content, pieces) == ("from b", ["from", " b"])
    assert [type(event) for event in events] == [TextDelta, TextDelta, Finished], "one end, whoever answered"
    table = rows()
    assert list(table[table.status == "ok"].model) == ["openai/m-b"] * 5
    assert list(table[table.status == "error"].model) == ["openai/m-a"] * 3, "who failed has a row of its own"
    assert {tags["route"] for tags in table.tags} == {"fast"}


def test_what_a_stream_showed_is_not_followed_by_another_answer(a, b):
    a.default = fakes.truncated("one two three", after=2)
    stream, got = fallback(server(a), server(b)).stream("Hello"), []
    with pytest.raises(LLMError) as caught:
        got.extend(stream)
    assert (got, caught.value.category) == (["one", " two"], "truncated")
    assert b.requests == []


def test_when_all_fail_the_call_ends_once_with_the_last_response(a, b):
    a.default = b.default = fakes.unauthorized()
    with pytest.raises(LLMError, match="openai/m-a, authentication") as caught:
        fallback(server(a, "m-a"), server(b, "m-b")).chat("Hello")
    assert caught.value.partial.model == "openai/m-b"


def test_cancelling_ends_the_route_not_only_the_arm(a, b):
    a.default = fakes.never_answers()
    route = fallback(server(a), server(b))
    call = route.call(route.request("Hello"))
    a.wait_for(lambda: a.in_flight)
    threading.Thread(target=call.cancel).start()
    assert call.done.wait(60)
    assert call.response.status == "cancelled"
    assert b.requests == []


def test_a_pool_forgets_a_cancelled_call(a):
    a.default = fakes.never_answers()
    gpus = pool(a.base_url, model="m")
    call = gpus.call(gpus.request("Hello"))
    a.wait_for(lambda: a.in_flight)
    assert gpus.endpoints[0].in_flight == 1
    call.cancel()
    assert call.done.wait(60)
    gpus.drain(a.base_url, timeout=60)


def test_a_split_over_pools_and_fallbacks(a, b, rows):
    gpus = pool(a.base_url, model="m", name="gpus")
    ab = split({gpus: 1, fallback(server(b), name="safe"): 1}, sticky=None, seed=2, name="ab")
    answers = {ab.chat("Hello").content for _ in range(12)}
    assert answers == {"from a", "from b"}
    arms = {tags["arm"].split(" → ")[0] for tags in rows().tags}
    assert arms == {"gpus", "safe"}


def test_a_route_can_be_asked_if_one_arm_can_and_else_says_why_the_first_cannot():
    without_key = [OpenAIService(model) for model in ("first", "second")]
    with pytest.raises(LLMError, match="OPENAI_API_KEY") as caught:
        fallback(*without_key).check()
    assert (caught.value.category, caught.value.model) == ("authentication", "openai/first")
    fallback(*without_key, OpenAIService("third", api_key="sk-0123456789")).check()


def test_a_route_has_the_smallest_known_window_of_its_arms_and_no_address():
    small, large = DeepSeekService("deepseek-flash"), OpenAIService("gpt-6-luna")
    unknown = OpenAIService("nobody-knows", base_url="http://127.0.0.1:9/v1")
    assert small.context_window() < large.context_window()
    assert unknown.context_window() is None
    route = fallback(large, unknown, small, name="fast")
    assert route.context_window() == small.context_window()
    assert fallback(unknown, unknown).context_window() is None
    with pytest.raises(NotImplementedError, match="has no address of its own"):
        route.base_url()
