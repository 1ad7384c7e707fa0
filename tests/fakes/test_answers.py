"""Right replies of the fake server, and its refusals, as seen by raw sockets and the openai client."""

import email.utils
import json
from datetime import UTC, datetime, timedelta

import openai
import pytest

from tests import fakes
from tests.fakes import FakeLLM, answer
from tests.fakes.raw_client import chunks, client_of, create, exchange, stream_lines, text_of


def test_a_stream_is_what_openai_sends(fake):
    fake.default = answer("one two three")
    lines = stream_lines(fake)
    role, *tokens, finish, usage = [json.loads(line) for line in lines[:-1]]
    assert role["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert [t["choices"][0]["delta"]["content"] for t in tokens] == ["one", " two", " three"]
    assert finish["choices"][0]["finish_reason"] == "stop"
    assert finish["usage"] is None
    assert usage["choices"] == []
    assert usage["usage"]["completion_tokens"] == 3
    assert usage["model"] == "m"
    assert lines[-1] == "[DONE]"


def test_the_openai_client_reads_streams_and_completions(fake):
    fake.default = answer("one two", reasoning="let me think", tool_calls=[("square", {"x": 3})])
    with client_of(fake) as client:
        whole = create(client)
        deltas = [c.choices[0].delta for c in create(client, stream=True) if c.choices]
    message = whole.choices[0].message
    assert message.content == "one two" == "".join(d.content or "" for d in deltas)
    assert message.reasoning_content == "let me think"
    assert "".join(getattr(d, "reasoning_content", "") for d in deltas) == "let me think"
    calls = [call for d in deltas for call in d.tool_calls or ()]
    assert message.tool_calls[0].function.name == "square" == calls[0].function.name
    assert json.loads("".join(c.function.arguments for c in calls)) == {"x": 3}
    assert whole.choices[0].finish_reason == "tool_calls"
    assert whole.usage.completion_tokens_details.reasoning_tokens == 3
    assert not any(r.closed_by_client for r in fake.requests)


def test_chunks_can_be_counted_or_given(fake):
    fake.reply(answer("abcdefg", chunks=3), answer(chunks=["a", "", "b"]))
    assert text_of(chunks(fake)) == "abcdefg"
    assert len(fake.requests[0].sent_ns) == 3
    assert text_of(chunks(fake)) == "ab"
    assert len(fake.requests[1].sent_ns) == 3
    with pytest.raises(ValueError, match="cannot be cut into 9"):
        answer("abc", chunks=9)


@pytest.mark.parametrize("script", [answer(" \n"), answer("a  b\n\nc\n"), answer(" x ")])
def test_words_keep_all_white_space(script):
    assert "".join(d["content"] for d in script.deltas) == script.message["content"]


def test_parts_of_the_protocol_can_be_left_out(fake):
    fake.default = answer("a", usage=False, finish_reason=None, done=False, role_chunk=False)
    assert [c["choices"][0]["delta"] for c in chunks(fake)] == [{"content": "a"}]
    fake.default = answer("a", finish_reason=None)
    assert stream_lines(fake)[-1] == "[DONE]"


def test_usage_comes_only_if_asked_unless_told_otherwise(fake):
    assert not any("usage" in c for c in chunks(fake, stream_options=None))
    fake.default = answer("a", usage={"total_tokens": 7}, usage_unasked=True)
    assert chunks(fake, stream_options=None)[-1]["usage"] == {"total_tokens": 7}


def test_deepseek_counts_its_cache_in_the_finish_chunk(fake):
    fake.default = fakes.deepseek("a b", hit=6, miss=4)
    last = chunks(fake, stream_options=None)[-1]
    assert last["choices"][0]["finish_reason"] == "stop"
    assert last["usage"]["prompt_cache_hit_tokens"] == 6
    assert last["usage"]["prompt_tokens"] == 10


def test_decisions_come_before_the_queue_and_the_queue_before_the_default(fake):
    fake.default = answer("default")
    fake.reply(fakes.unavailable(), answer("queued"))
    fake.on(lambda request: answer("decided") if request.prompt == "choose" else None)
    assert text_of(chunks(fake, messages=[{"role": "user", "content": "choose"}])) == "decided"
    assert exchange(fake)[0] == 503
    assert text_of(chunks(fake)) == "queued"
    assert text_of(chunks(fake)) == "default"


def test_an_error_in_a_decision_is_raised_when_the_fake_is_left():
    with pytest.raises(ZeroDivisionError), FakeLLM() as fake:  # noqa: PT012
        fake.on(lambda _: 1 / 0)
        assert exchange(fake)[0] == 500


def test_a_wrong_key_is_half_echoed_as_openai_does():
    with FakeLLM(api_key="right") as fake, client_of(fake) as client:
        with pytest.raises(openai.AuthenticationError, match=r"provided: sk-test\*+test") as caught:
            create(client)
        assert caught.value.code == "invalid_api_key"
        with client.with_options(api_key="right") as right:
            assert create(right).choices


def test_an_unknown_model_is_not_found():
    with FakeLLM(models=["tiny"]) as fake, client_of(fake) as client:
        with pytest.raises(openai.NotFoundError, match="`m` does not exist") as caught:
            create(client)
        assert caught.value.code == "model_not_found"
        assert [m.id for m in client.models.list()] == ["tiny"]


def test_other_paths_are_served(fake):
    def get(path):
        code, _, body, _ = exchange(fake, method="GET", path=path)
        return code, body

    assert json.loads(get("/api/tags")[1])["models"][0]["name"] == "fake-model"
    assert "version" in json.loads(get("/api/version?x=1")[1])
    assert get("/") == (200, b"Ollama is running")
    assert get("/v1/nothing")[0] == 404
    fake.serve("/api/pull", fakes.status(200, "pulled"))
    assert get("/api/pull") == (200, b"pulled")
    assert fake.max_in_flight == 0


@pytest.mark.parametrize(
    ("script", "status", "code"),
    [
        (fakes.rate_limited(), 429, "rate_limit_exceeded"),
        (fakes.insufficient_quota(), 429, "insufficient_quota"),
        (fakes.insufficient_balance(), 402, "invalid_request_error"),
        (fakes.context_length_exceeded(), 400, "context_length_exceeded"),
        (fakes.prompt_filtered(), 400, "content_filter"),
        (fakes.bad_json(), 400, None),
        (fakes.unauthorized(), 401, "invalid_api_key"),
        (fakes.unauthorized(None), 401, None),
        (fakes.forbidden(), 403, "unsupported_country_region_territory"),
        (fakes.model_not_found(), 404, "model_not_found"),
        (fakes.server_error(), 500, None),
        (fakes.unavailable(), 503, "overloaded"),
    ],
)
def test_refusals_carry_their_status_and_code(fake, script, status, code):
    fake.default = script
    with client_of(fake) as client, pytest.raises(openai.APIStatusError) as caught:
        create(client, stream=True)
    assert (caught.value.status_code, caught.value.code) == (status, code)
    assert fake.requests[0].status == status


def test_retry_after_is_seconds_or_a_date(fake):
    fake.reply(fakes.rate_limited(1.5), fakes.rate_limited(timedelta(seconds=30)))
    assert exchange(fake)[1]["retry-after"] == "1.5"
    date = email.utils.parsedate_to_datetime(exchange(fake)[1]["retry-after"])
    assert 20 < (date - datetime.now(UTC)).total_seconds() <= 30


def test_html_comes_with_any_status(fake):
    fake.reply(fakes.html(), fakes.html(502))
    for status in (200, 502):
        code, headers, body, _ = exchange(fake)
        assert (code, headers["content-type"]) == (status, "text/html; charset=utf-8")
        assert body.startswith(b"<html>")


def test_redirects_are_followed_to_the_answer(fake):
    fake.reply(fakes.redirect(fake.base_url + "/chat/completions"), answer("here"))
    with client_of(fake, http_client=openai.DefaultHttpxClient(follow_redirects=True)) as client:
        assert create(client).choices[0].message.content == "here"
    assert [r.status for r in fake.requests] == [307, 200]


def test_content_filter_ends_an_answer(fake):
    fake.default = fakes.content_filter()
    assert chunks(fake)[-2]["choices"][0]["finish_reason"] == "content_filter"
