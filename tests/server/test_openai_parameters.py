"""Every parameter of the official client reaches the model's server, has its effect, or is refused by name; all that
is answered has the client's own types."""

import json

import openai
import pytest
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from openai.types.chat.completion_create_params import CompletionCreateParamsBase
from pydantic import BaseModel

from tests.fakes import answer
from tests.server.classroom import TOKENS

pytestmark = pytest.mark.timeout(400)  # the first test starts a server

MESSAGES = [{"role": "user", "content": "What is 2 + 2?"}]
SUM = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"], "additionalProperties": False}
TOOL = {"type": "function", "function": {"name": "add", "strict": True, "parameters": SUM}}
FORMAT = {"type": "json_schema", "json_schema": {"name": "sum", "strict": True, "schema": SUM}}
SENT = {
    "frequency_penalty": 0.5,
    "presence_penalty": -0.5,
    "logit_bias": {"50256": -100},
    "logprobs": True,
    "top_logprobs": 2,
    "max_completion_tokens": 7,
    "max_tokens": 7,
    "parallel_tool_calls": False,
    "prediction": {"type": "content", "content": "Four."},
    "prompt_cache_key": "lesson 1",
    "prompt_cache_options": {"mode": "implicit"},
    "prompt_cache_retention": "24h",
    "reasoning_effort": "low",
    "response_format": FORMAT,
    "safety_identifier": "pupil-1",
    "seed": 3,
    "service_tier": "flex",
    "stop": ["\n", "."],
    "store": False,
    "temperature": 0.3,
    "tool_choice": {"type": "function", "function": {"name": "add"}},
    "tools": [TOOL],
    "top_p": 0.9,
    "verbosity": "low",
    "web_search_options": {"search_context_size": "low"},
    "top_k": 5,  # of vLLM, llama.cpp and Ollama, as `extra_body`
    "min_p": 0.1,
}
EFFECT = {
    "messages": MESSAGES,
    "model": "lab/tiny",
    "metadata": {"lesson": "3", "note": "", "long": "x" * 512},
    "modalities": ["text"],
    "n": 1,
    "stream_options": {"include_usage": True, "include_obfuscation": False},
    "user": "",
}
REFUSED = {
    "audio": ({"voice": "alloy", "format": "wav"}, "answers are texts; leave it out"),
    "function_call": ("auto", "give 'tools' and 'tool_choice'"),
    "functions": ([{"name": "add"}], "give 'tools' and 'tool_choice'"),
    "moderation": ({"model": "omni"}, "leave it out"),
    "modalities": (["text", "audio"], "give ['text']"),
    "n": (2, "send it once for each"),
    "stream_options": ({"include_obfuscation": True}, "nothing is padded here"),
    "metadata": ({str(n): "x" for n in range(17)}, "at most 16"),
}


@pytest.fixture
def client(server):
    with openai.OpenAI(base_url=f"{server.url}/ipyllm/v1", api_key=TOKENS["ana"], max_retries=0) as client:
        yield client


def ask(client, **changes):
    return client.chat.completions.create(**{"model": "lab/tiny", "messages": MESSAGES} | changes)


def test_the_tables_have_every_parameter_of_the_client():
    assert CompletionCreateParamsBase.__annotations__.keys() <= {*SENT, *EFFECT, *REFUSED}


@pytest.mark.parametrize("name", SENT)
def test_a_parameter_reaches_the_models_server_as_it_is(client, model, name):
    ask(client, extra_body={name: SENT[name]})
    sent = model.requests[-1].json
    assert json.dumps(sent[name]) == json.dumps(SENT[name])  # -100 is not -100.0


@pytest.mark.parametrize("name", EFFECT)
def test_a_parameter_with_an_effect_here_is_accepted_and_not_sent(client, model, name):
    ask(client, extra_body={name: EFFECT[name]})
    assert model.requests[-1].json.keys() <= {"model", "messages", "stream", "stream_options"}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused_is_named_with_what_to_do(client, model, name):
    value, words = REFUSED[name]
    with pytest.raises(openai.BadRequestError) as caught:
        ask(client, extra_body={name: value})
    assert caught.value.param.split(".")[0] == name
    assert f"'{caught.value.param}'" in caught.value.message
    assert words in caught.value.message
    assert checked(openai.types.ErrorObject, caught.value.body).type == "invalid_request_error"
    assert model.requests == []


def test_null_is_what_is_not_given(client, model):
    ask(client, extra_body=dict.fromkeys({*SENT, *REFUSED, *EFFECT} - {"model", "messages"}))
    ask(client, extra_body={"stream_options": {"include_usage": None, "include_obfuscation": None}})
    assert model.requests[0].json.keys() == {"model", "messages", "stream", "stream_options"}


PARTS = [
    {"type": "text", "text": "What is this?"},
    {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo=", "detail": "low"}},
    {"type": "input_audio", "input_audio": {"data": "aGk=", "format": "wav"}},
    {"type": "file", "file": {"file_data": "data:application/pdf;base64,aGk=", "filename": "a.pdf"}},
]
CALLS = [{"id": f"c{n}", "type": "function", "function": {"name": "add", "arguments": '{"a": 1}'}} for n in (1, 2)]


@pytest.mark.parametrize(
    "messages",
    [
        [{"role": "developer", "content": "Be brief."}, *MESSAGES],
        [{"role": "system", "content": [{"type": "text", "text": "Be brief."}]}, *MESSAGES],
        [{"role": "user", "name": "ana", "content": PARTS}],
        [
            *MESSAGES,
            {"role": "assistant", "content": None, "tool_calls": CALLS},
            {"role": "tool", "tool_call_id": "c1", "content": "4"},
            {"role": "tool", "tool_call_id": "c2", "content": [{"type": "text", "text": "4"}]},
        ],
        [*MESSAGES, {"role": "assistant", "content": [{"type": "refusal", "refusal": "No."}]}, *MESSAGES],
    ],
)
def test_messages_reach_the_models_server_as_they_are(client, model, messages):
    ask(client, messages=messages)
    assert model.requests[-1].json["messages"] == messages


def extras(value):
    """Names of fields that the client's types do not have."""
    if isinstance(value, BaseModel):
        yield from value.model_extra or ()
        for name in value.model_fields_set:
            yield from extras(getattr(value, name))
    elif isinstance(value, list):
        for each in value:
            yield from extras(each)


def checked(shape, value):
    found = shape.model_validate_json(json.dumps(value), strict=True)
    assert {*extras(found)} <= {"reasoning_content"}
    return found


ANSWERS = {
    "a text": (answer("Two and two is four."), {}),
    "with log probabilities": (answer("Four it is."), {"logprobs": True, "top_logprobs": 2}),
    "with reasoning": (answer("Four.", reasoning="Well, well."), {}),
    "two calls": (answer("", tool_calls=[("add", {"a": 1}), ("add", {"a": 2})]), {"tools": [TOOL]}),
    "a refusal": (answer("", refusal="I would rather not."), {}),
    "without usage": (answer("Four.", usage=False), {}),
    "cut off": (answer("Two and", finish_reason="length"), {}),
    "with a reason of its server": (answer("Four.", finish_reason="eos_token"), {}),
    "without a reason": (answer("Four.", finish_reason=None), {}),
}


@pytest.mark.parametrize("name", ANSWERS)
def test_answers_and_chunks_have_the_types_of_the_client_and_are_the_same(server, model, name):
    script, fields = ANSWERS[name]
    model.on(lambda request: script)
    body = {"model": "lab/tiny", "messages": MESSAGES, **fields}
    choice = checked(ChatCompletion, server.post("/ipyllm/v1/chat/completions", body).json).choices[0]
    streamed = {**body, "stream": True, "stream_options": {"include_usage": True}}
    *events, done = server.post("/ipyllm/v1/chat/completions", streamed).body.decode().strip().split("\n\n")
    assert done == "data: [DONE]"
    chunks = [checked(ChatCompletionChunk, json.loads(event.removeprefix("data: "))) for event in events]
    assert len({(chunk.id, chunk.created, chunk.model) for chunk in chunks}) == 1
    assert [len(chunk.choices) for chunk in chunks] == [1] * (len(chunks) - 1) + [0]
    pieces = [chunk.choices[0] for chunk in chunks[:-1]]
    for field in ("content", "refusal"):
        assert "".join(getattr(piece.delta, field) or "" for piece in pieces) == (getattr(choice.message, field) or "")
    calls = [call for piece in pieces for call in piece.delta.tool_calls or ()]
    begun = [(call.index, call.id, call.type, call.function.name) for call in calls if call.id]
    whole = [(n, call.id, call.type, call.function.name) for n, call in enumerate(choice.message.tool_calls or ())]
    assert [(index, *rest[1:]) for index, *rest in begun] == [(index, *rest[1:]) for index, *rest in whole]
    assert [piece.finish_reason for piece in pieces if piece.finish_reason] == [choice.finish_reason]
    tokens = [token for piece in pieces if piece.logprobs for token in piece.logprobs.content]
    assert [token.token for token in tokens] == [t.token for t in (choice.logprobs and choice.logprobs.content) or ()]


class Sum(BaseModel):
    """What a model answers with."""

    a: int


def test_an_answer_is_parsed_by_the_client_and_a_refusal_is_not(client, model):
    model.reply(answer('{"a": 4}'), answer('{"a": 5}'), answer("", refusal="No."), answer("", refusal="No."))
    asked = {"model": "lab/tiny", "messages": MESSAGES, "response_format": Sum}
    assert client.chat.completions.parse(**asked).choices[0].message.parsed == Sum(a=4)
    assert model.requests[-1].json["response_format"]["json_schema"]["schema"]["required"] == ["a"]
    with client.chat.completions.stream(**asked) as stream:
        assert stream.get_final_completion().choices[0].message.parsed == Sum(a=5)
    whole = client.chat.completions.parse(**asked).choices[0].message
    with client.chat.completions.stream(**asked) as stream:
        streamed = stream.get_final_completion().choices[0].message
    assert (whole.parsed, whole.refusal) == (streamed.parsed, streamed.refusal) == (None, "No.")


def test_who_closes_a_stream_halfway_or_waits_no_longer_cancels_the_call(client, model):
    model.reply(answer("one two", gap=100), answer("Late.", ttft=100))
    with ask(client, stream=True) as stream:
        while not next(stream).choices[0].delta.content:
            pass
    model.wait_for(lambda: model.requests[0].closed_by_client)
    with pytest.raises(openai.APITimeoutError):
        ask(client.with_options(timeout=0.5))
    model.wait_for(lambda: model.requests[-1].closed_by_client)


def test_raw_responses_have_their_headers(client, model):
    raw = client.chat.completions.with_raw_response.create(model="lab/tiny", messages=MESSAGES)
    assert raw.headers["Content-Type"] == "application/json"
    assert raw.headers["Cache-Control"] == "no-store"
    assert raw.parse().choices[0].message.content == "Hello from the fake."
    with client.chat.completions.with_streaming_response.create(
        model="lab/tiny", messages=MESSAGES, stream=True
    ) as streamed:
        assert streamed.headers["Content-Type"] == "text/event-stream"
        assert list(streamed.iter_lines())[-2:] == ["data: [DONE]", ""]


def test_other_routes_of_openai_are_not_found_and_say_what_there_is(client, model):
    for ask_other in (
        lambda: client.responses.create(model="lab/tiny", input="Hi"),
        lambda: client.embeddings.create(model="lab/tiny", input="Hi"),
        lambda: client.completions.create(model="lab/tiny", prompt="Hi"),
        lambda: client.chat.completions.retrieve("chatcmpl-1"),
    ):
        with pytest.raises(openai.NotFoundError, match="POST /ipyllm/v1/chat/completions"):
            ask_other()
    assert model.requests == []
