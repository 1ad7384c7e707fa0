"""`/ipyllm/v1` serves any client of OpenAI: the official one, and curl."""

import json
import shutil
import subprocess
from dataclasses import replace

import openai
import pytest

from ipyllm.response import ChatResponse
from ipyllm_server.completion_json import CompletionShape
from tests.fakes import answer, reset
from tests.server.chat_server import ChatServerProcess
from tests.server.classroom import TOKENS

pytestmark = pytest.mark.timeout(400)  # the first test starts a server

MESSAGES = [{"role": "user", "content": "What is 2 + 2?"}]
TOOL = {"type": "function", "function": {"name": "add", "parameters": {"type": "object", "properties": {}}}}


@pytest.fixture
def client(server):
    with openai.OpenAI(base_url=f"{server.url}/ipyllm/v1", api_key=TOKENS["ana"]) as client:
        yield client


def test_the_official_client_gets_a_completion(client, model):
    model.reply(answer("Four."))
    completion = client.chat.completions.create(
        model="lab/tiny", messages=MESSAGES, max_tokens=5, user="a pupil", metadata={"lesson": "3"}
    )
    assert completion.choices[0].message.content == "Four."
    assert completion.choices[0].finish_reason == "stop"
    assert completion.model == "lab/tiny"
    assert completion.usage.total_tokens == 11
    assert model.requests[0].json["max_tokens"] == 5


def test_the_official_client_streams(client, model):
    model.reply(answer("one two three", gap=0.02, coalesce=False))
    stream = client.chat.completions.create(
        model="lab/tiny", messages=MESSAGES, stream=True, stream_options={"include_usage": True}
    )
    chunks = list(stream)
    assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices) == "one two three"
    assert chunks[0].choices[0].delta.role == "assistant"
    assert [c.choices[0].finish_reason for c in chunks if c.choices][-1] == "stop"
    assert chunks[-1].usage.completion_tokens == 3


def test_the_official_client_gets_function_calls(client, model):
    model.on(lambda request: answer("", tool_calls=[("add", {"a": 2, "b": 2})]))
    whole = client.chat.completions.create(model="lab/tiny", messages=MESSAGES, tools=[TOOL])
    (call,) = whole.choices[0].message.tool_calls
    assert (call.function.name, json.loads(call.function.arguments)) == ("add", {"a": 2, "b": 2})
    assert whole.choices[0].finish_reason == "tool_calls"
    with client.chat.completions.stream(model="lab/tiny", messages=MESSAGES, tools=[TOOL]) as stream:
        final = stream.get_final_completion()
    (call,) = final.choices[0].message.tool_calls
    assert (call.function.name, json.loads(call.function.arguments)) == ("add", {"a": 2, "b": 2})


def test_the_official_client_lists_models(client):
    assert "lab/tiny" in [model.id for model in client.models.list()]
    assert client.models.retrieve("lab/tiny").owned_by == "lab"
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("lab/none")


def test_a_wrong_token_is_refused(server, model):
    client = openai.OpenAI(base_url=f"{server.url}/ipyllm/v1", api_key="wrong")
    with pytest.raises(openai.PermissionDeniedError):
        client.chat.completions.create(model="lab/tiny", messages=MESSAGES)
    assert model.requests == []


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"extra_body": {"temprature": 1}}, "did you mean 'temperature'"),
        ({"n": 2}, "'n'"),
        ({"messages": [{"role": "king", "content": "x"}]}, "There is no role 'king'"),
        ({"temperature": 3}, "'temperature'"),
    ],
)
def test_what_is_wrong_is_a_bad_request_with_a_sentence(client, model, changes, words):
    with pytest.raises(openai.BadRequestError, match=words):
        client.chat.completions.create(**{"model": "lab/tiny", "messages": MESSAGES} | changes)
    assert model.requests == []


def test_a_failure_is_not_asked_again_by_the_client(client, model):
    model.on(lambda request: reset("one two", after=1))
    with pytest.raises(openai.InternalServerError):
        client.chat.completions.create(model="lab/tiny", messages=MESSAGES)
    n_by_the_server = len(model.requests)
    assert n_by_the_server <= 3  # its own retries, not those of the client times its own


def test_the_role_comes_when_the_models_server_begins_and_later_errors_are_events(client, model):
    model.reply(answer("Late.", ttft=1000))
    stream = client.chat.completions.create(model="lab/tiny", messages=MESSAGES, stream=True)
    with stream:
        assert next(stream).choices[0].delta.role == "assistant"
    model.default = replace(answer("Never."), stop_after=0, ending="fin")
    with client.chat.completions.create(model="lab/tiny", messages=MESSAGES, stream=True) as stream:
        assert next(stream).choices[0].delta.role == "assistant"
        with pytest.raises(openai.APIError, match="lab"):
            next(stream)


def test_a_stream_that_breaks_off_raises_in_the_client(client, model):
    model.on(lambda request: reset(answer("one two three", gap=0.01), after=2))
    stream = client.chat.completions.create(model="lab/tiny", messages=MESSAGES, stream=True)
    received = []
    with stream, pytest.raises(openai.APIError, match="lab"):
        received.extend(chunk.choices[0].delta.content for chunk in stream)
    assert "".join(received) == "one two"


@pytest.mark.local_model
def test_curl_and_the_official_client_ask_the_embedded_model(shared_fake):
    with ChatServerProcess(shared_fake, "--ChatServer.models=local/smollm2-135m") as server:
        base = f"{server.url}/ipyllm/v1"
        with openai.OpenAI(base_url=base, api_key=TOKENS["ana"], timeout=100) as client:
            stream = client.chat.completions.create(
                model="local/smollm2-135m", messages=MESSAGES, stream=True, max_tokens=8, temperature=0, seed=1
            )
            text = "".join(chunk.choices[0].delta.content or "" for chunk in stream)
            assert text.strip()
            assert [each.id for each in client.models.list()] == ["local/smollm2-135m"]
            with pytest.raises(openai.NotFoundError, match="it has local/smollm2-135m"):
                client.chat.completions.create(model="lab/tiny", messages=MESSAGES)
        curl = shutil.which("curl")
        assert curl, "curl is not installed"
        body = {"model": "local/smollm2-135m", "messages": MESSAGES, "max_tokens": 8, "temperature": 0, "seed": 1}
        command = [curl, "--silent", "--max-time", "100", f"{base}/chat/completions"]
        headers = ["-H", f"Authorization: Bearer {TOKENS['ana']}", "-H", "Content-Type: application/json"]
        said = subprocess.run(
            [*command, *headers, "-d", json.dumps(body)], check=True, capture_output=True, timeout=110
        )
        completion = json.loads(said.stdout)
        assert completion["choices"][0]["message"]["content"] == text
        assert completion["usage"]["completion_tokens"] == 8


def test_tokens_that_no_server_counted_are_null():
    assert CompletionShape("m").completion(ChatResponse(content="Hi", model="m"))["usage"] is None
