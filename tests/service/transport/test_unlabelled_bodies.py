"""A body is read by what it is, whatever its label says; what is no answer is an error of one line."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ipyllm import LLMError, OllamaService, create_llm_service
from ipyllm.runtime.service_thread import service_thread
from tests.fakes import answer, status
from tests.service.transport.chunks import JSON, SSE, delta, events, message

LABELS = ["text/plain", "application/octet-stream", "text/event-stream", "application/json", "text/html", None]
PIECES = [delta(content="Hi"), delta("stop", content="!")]
BODIES = {
    "an event stream": (events(PIECES), True),
    "an event stream after empty lines": (f"\n\n{events(PIECES)}", True),
    "JSON lines": ("".join(f"{json.dumps(chunk)}\n" for chunk in PIECES), True),
    "JSON lines without the last end": ("\n".join(json.dumps(chunk) for chunk in PIECES), True),
    "a whole answer": (json.dumps(message(content="Hi!")), False),
    "a whole answer on a line": (f"{json.dumps(message(None, content='Hi!'))}\n", False),
    "a whole answer on many lines": (json.dumps(message(None, content="Hi!"), indent=2), False),
    "a whole answer on many lines after empty ones": (
        f"\ufeff\n\n{json.dumps(message(content='Hi!'), indent=2)}",
        False,
    ),
    "a whole answer after empty lines": (f"\ufeff\n\n \n{json.dumps(message(content='Hi!'))}", False),
    "a whole answer after comments": (f": keep-alive\n\n{json.dumps(message(content='Hi!'))}\n", False),
}


@pytest.mark.parametrize("compressed", [False, True], ids=["fast", "client"])
@pytest.mark.parametrize("label", LABELS)
@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_a_body_is_read_by_what_it_is_whatever_its_label(ask, body, label, compressed):
    text, streamed = body
    response = ask(text, {"content-type": label} if label else {}, compressed)
    assert (response.content, response.timing.streamed) == ("Hi!", streamed)


ERRORS = [
    {"error": {"message": "No such luck"}},
    {"error": "No such luck"},
    {"error": {"msg": "No such luck"}},
    {"errors": [{"message": "No such luck"}]},
    {"msg": "No such luck"},
    {"Message": "No such luck"},
    {"title": "No such luck"},
    {"reason": "No such luck"},
    {"detail": "No such luck"},
    [{"error": {"code": 400, "message": "No such luck"}}],
    {"object": "error", "message": "No such luck"},
    {"code": 500, "message": "No such luck"},
]


@pytest.mark.parametrize("compressed", [False, True], ids=["fast", "client"])
@pytest.mark.parametrize("label", ["application/json", "text/plain", "text/event-stream"])
@pytest.mark.parametrize("body", ERRORS, ids=str)
def test_an_error_with_status_200_is_told_in_the_server_s_words(ask, body, label, compressed):
    for text in (json.dumps(body), json.dumps(body, indent=1), f"data: {json.dumps(body)}\n\n"):
        with pytest.raises(LLMError, match="No such luck") as caught:
            ask(text, {"content-type": label}, compressed)
        assert caught.value.category in {"api_error", "bad_request"}
        assert not caught.value.partial.content


@pytest.mark.parametrize("compressed", [False, True], ids=["fast", "client"])
@pytest.mark.parametrize("label", LABELS)
def test_what_is_no_answer_at_all_is_an_error_of_one_line(ask, label, compressed):
    headers = {"content-type": label} if label else {}
    for body, says in [
        ("<!DOCTYPE html>\n<p>Log in", "web page"),
        ("no healthy\nupstream", r'not a model.s response \("no healthy upstream"\)'),
        ("[" * 100_000 + "]" * 100_000, "invalid JSON"),
        (f"data: {'[' * 100_000}\n\n", "invalid JSON"),
        ("{" * 10 + "\n", "invalid JSON"),
    ]:
        with pytest.raises(LLMError, match=says) as caught:
            ask(body, headers, compressed)
        assert caught.value.category == "api_error"
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("compressed", [False, True], ids=["fast", "client"])
@pytest.mark.parametrize("depth", [300, 900, 5_000])
def test_deep_json_anywhere_in_an_answer_is_read_or_an_error_of_one_line(ask, depth, compressed):
    deep: Any = json.dumps("x")
    deep = "[" * depth + deep + "]" * depth
    for place in (
        f'{{"choices": [{{"delta": {{"content": {deep}}}, "finish_reason": "stop"}}]}}',
        f'{{"choices": [{{"delta": {{"tool_calls": [{{"function": {{"name": "f", "arguments": {deep}}}}}]}}}}]}}',
        f'{{"choices": [{{"delta": {{"content": "Hi"}}, "finish_reason": "stop"}}], "usage": {{"a": {deep}}}}}',
        f'{{"error": {deep}}}',
    ):
        failure = None
        try:
            ask(f"data: {place}\n\ndata: [DONE]\n\n", SSE, compressed)
        except LLMError as exc:  # not for each depth
            failure = exc
        assert failure is None or (failure.category, "\n" in str(failure)) == ("api_error", False)


def test_a_refusal_with_status_200_is_not_sent_again(fake):
    said = {
        "object": "error",
        "type": "invalid_request_error",
        "message": {"detail": [{"loc": ["seed"], "msg": "Extra"}]},
    }
    fake.default = status(200, said)
    with pytest.raises(LLMError, match="seed: Extra") as caught:
        OllamaService("m", base_url=fake.base_url, max_retries=2).chat("Hello")
    assert (caught.value.category, len(fake.requests)) == ("bad_request", 1)


@pytest.mark.parametrize("raw", ["the worker died", '{"error": {"message": "the worker died"}}'])
def test_the_words_of_the_provider_behind_openrouter_are_told(ask, raw):
    said = {"error": {"code": 502, "message": "Provider returned error", "metadata": {"raw": raw}}}
    with pytest.raises(LLMError, match='Provider returned error: the worker died"'):
        ask(events([delta(content="Fo"), said]), SSE)


def test_an_error_between_events_is_read(ask):
    """Ollama writes its own errors into the stream as a line of JSON."""
    text = f"data: {json.dumps(delta(content='Fo'))}\n\n" + '{"error": "model runner has stopped"}\n'
    with pytest.raises(LLMError, match="model runner has stopped") as caught:
        ask(text, SSE)
    assert caught.value.partial.content == "Fo"


def test_the_model_is_named_by_the_first_chunk_that_names_one(ask):
    first = {"choices": [], "model": "", "prompt_filter_results": [{"prompt_index": 0}]}
    chunks = [first, delta(content="Hi") | {"model": "gpt-6-luna-2026"}, delta("stop") | {"model": "gpt-6-luna-2026"}]
    response = ask(events(chunks), SSE)
    assert (response.content, response.response_model) == ("Hi", "gpt-6-luna-2026")


def test_a_stream_of_the_responses_api_that_ends_early_is_truncated_whatever_its_last_event(fake, own_settings):
    (own_settings / "config.toml").write_text(f'[endpoints.lab]\nbase_url = "{fake.base_url}"\napi = "responses"\n')
    last = {"type": "response.metadata", "message": "not an error", "sequence_number": 2}
    text = {"type": "response.output_text.delta", "output_index": 0, "content_index": 0, "delta": "Fo"}
    fake.serve("/v1/responses", status(200, "".join(f"data: {json.dumps(each)}\n\n" for each in (text, last)), SSE))
    with pytest.raises(LLMError) as caught:
        create_llm_service("lab/m", max_retries=0).chat("Hello")
    assert (caught.value.category, caught.value.partial.content) == ("truncated", "Fo")


def test_deep_json_in_a_refusal_or_in_the_text_of_an_answer_is_an_error_of_one_line(fake):
    deep = "[" * 100_000 + "]" * 100_000
    service = OllamaService("m", base_url=fake.base_url, max_retries=0)
    for script, options, category in [
        (status(400, f'{{"error": {deep}}}', JSON), {}, "bad_request"),
        (answer(deep), {"schema": list[int], "repairs": 0}, "schema_mismatch"),
    ]:
        fake.default = script
        with pytest.raises(LLMError) as caught:
            service.chat("Hello", **options)
        assert caught.value.category == category
        assert "\n" not in str(caught.value)


def test_deep_json_in_the_arguments_of_a_call_is_told_to_the_model(fake):
    def add(x: list) -> int:
        """Add."""
        return len(x)

    deep = "[" * 100_000 + "]" * 100_000
    fake.reply(answer("", tool_calls=[("add", f'{{"x": {deep}}}')]), answer("done"))
    response = OllamaService("m", base_url=fake.base_url, max_retries=0).chat("Hello", tools=[add])
    assert response.content == "done"
    assert "not valid JSON" in response.tool_results[0].error


# ---- HTTP ----------------------------------------------------------------------------------------------


def only_the_client(address):
    """Have only the ``openai`` client send requests to ``address``."""

    async def switch():
        connection = await service_thread().transport.connection(address)
        connection.prepared.usable = False

    service_thread().submit(switch()).result(60)


@pytest.mark.parametrize("by_client", [False, True])
@pytest.mark.parametrize(
    "wire",
    [
        b"\xff\xfe\x00garbage\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nbad header\xff\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: \xffabc\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nZZ\xff\r\n",
    ],
)
def test_a_response_that_is_not_http_is_an_error_of_one_line(wire, by_client):
    import socket
    import threading

    server = socket.create_server(("127.0.0.1", 0))

    def serve():
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            with connection:
                connection.recv(65536)
                connection.sendall(wire)

    thread = threading.Thread(target=serve)
    thread.start()
    port = server.getsockname()[1]
    try:
        service = OllamaService("m", base_url=f"http://127.0.0.1:{port}/v1", max_retries=0)
        if by_client:
            only_the_client(service.address())
        with pytest.raises(LLMError, match=r"^ollama/m at 127\.0\.0\.1:\d+ sent a response that is not HTTP") as caught:
            service.chat("Hello")
    finally:
        server.shutdown(socket.SHUT_RDWR)
        server.close()
        thread.join()
    assert caught.value.category == "api_error"
    assert len(str(caught.value)) < 300
    assert "\n" not in str(caught.value)
    assert "400" not in str(caught.value).replace(str(port), "")
