"""Bad bodies get one sentence with the field that is wrong; nothing is sent to a model."""

import json
import socket

import pytest

from ipyllm_server.json_body import MAX_DEPTH

pytestmark = pytest.mark.timeout(400)  # the first test starts a server


def nested(depth):
    return b'{"message": ' + b"[" * depth + b"]" * depth + b"}"


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "not JSON"),
        (b"hello", "not JSON"),
        (b"\xff\xfe", "not UTF-8"),
        (b"[]", "must be a JSON object, not a list"),
        (b"null", "must be a JSON object, not null"),
        (b'{"message": "Hi", "temperature": NaN}', "NaN is no number of JSON"),
        (b'{"message": "Hi", "temperature": 1e999}', "'temperature'"),
        (b'{"message": "Hi", "seed": 1' + b"0" * 5000 + b"}", "too many digits"),
        (b'{"message": "Hi", "seed": 1' + b"0" * 300 + b"}", "'seed'"),
        (nested(MAX_DEPTH + 1), "nested too deeply"),
        (nested(100_000), "nested too deeply"),
        (b"{}", "either 'message'"),
        (b'{"message": "Hi", "messages": []}', "either 'message'"),
        (b'{"message": ""}', "prompt is empty"),
        (b'{"messages": []}', "prompt is empty"),
        (b'{"message": 5}', "'message'"),
        (b'{"messages": [5]}', "'messages.0'"),
        (b'{"messages": [{"role": "king", "content": "Hi"}]}', "There is no role 'king'"),
        (b'{"messages": [{"role": {"a": 1}, "content": "Hi"}]}', "A message looks like"),
        (b'{"messages": [{"content": "Hi"}]}', "A message looks like"),
        (b'{"messages": [{"role": "user", "content": 5}]}', "The content of a message"),
        (b'{"messages": [{"role": "user", "content": {"text": "Hi"}}]}', "The content of a message"),
        (b'{"messages": [{"role": "user", "content": ["Hi"]}]}', "The content of a message"),
        (b'{"messages": [{"role": "user", "content": [{"type": [], "text": "Hi"}]}]}', "The content of a message"),
        (b'{"messages": [{"role": "user", "content": [{"type": "text", "text": {"a": 1}}]}]}', "The text of a part"),
        (b'{"messages": [{"role": "assistant", "tool_calls": "add"}]}', "The tool_calls of a message"),
        (b'{"messages": [{"role": "assistant", "tool_calls": [5]}]}', "The tool_calls of a message"),
        (b'{"messages": [{"role": "assistant", "tool_calls": [{"function": "f"}]}]}', "The tool_calls of a message"),
        (b'{"messages": [{"role": "assistant", "output_items": {}}]}', "The output_items of a message"),
        (b'{"messages": [{"role": "assistant", "output_items": {"items": [{"content": 5}]}}]}', "The content of a"),
        (b'{"message": "Hi", "tools": [{"a": 1e400}]}', "tools cannot be sent: inf is no number in JSON"),
        (b'{"message": "Hi", "response_format": {"a": -1e400}}', "response_format cannot be sent"),
        (b'{"message": "Hi", "temprature": 1}', "did you mean 'temperature'?"),
        (b'{"message": "Hi", "base_url": "http://x"}', "no field 'base_url'"),
        (b'{"message": "Hi", "api_key": "k"}', "no field 'api_key'"),
        (b'{"message": "Hi", "temperature": "hot"}', "'temperature'"),
        (b'{"message": "Hi", "stream": "yes"}', "'stream'"),
        (b'{"message": "Hi", "max_cost_usd": -1}', "'max_cost_usd'"),
        (b'{"message": "Hi", "tags": {"a": {"b": 1}}}', "'tags.a'"),
        (b'{"message": "\\ud800", "model": "\\ud800"}', "'model'"),
        (b'{"message": "Hi", "effort": "low", "max_tokens": 0}', "'max_tokens'"),
    ],
)  # fmt: skip
def test_a_bad_body_is_a_400_with_a_sentence(server, model, body, words):
    reply = server.post("/ipyllm/api/chat", body)
    assert reply.status == 400, reply.body
    assert words in reply.message
    assert reply.json["error"]["code"] == "bad_request"
    assert model.requests == []


@pytest.mark.parametrize("name", ["nope/x", "local//etc/passwd.gguf", "/etc/passwd.gguf", "local/../x.gguf", "lab"])
def test_a_model_that_is_not_offered_is_a_404(server, model, name):
    reply = server.post("/ipyllm/api/chat", {"message": "Hi", "model": name})
    assert (reply.status, len(model.requests)) == ((200, 1) if name == "lab" else (404, 0))


def test_a_body_that_says_to_be_too_large_is_refused_before_it_is_sent(server, model):
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as client:
        head = (
            f"POST /ipyllm/api/chat HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\nAuthorization: token token-of-ana\r\n"
        )
        client.sendall(f"{head}Content-Length: 400000000\r\n\r\n".encode())
        assert client.recv(1000).startswith(b"HTTP/1.1 413")


def test_a_body_in_chunks_is_refused_when_it_has_become_too_large(server, model):
    def chunks():
        yield b'{"message": "'
        for _ in range(11):
            yield b"x" * 1_000_000
        yield b'"}'

    with server.request("POST", "/ipyllm/api/chat", chunks()) as response:
        assert response.status == 413
        assert "10,000,000 bytes" in json.loads(response.read())["error"]["message"]
    assert model.requests == []


def test_a_method_that_a_route_has_not_is_a_405(server):
    with server.request("DELETE", "/ipyllm/api/chat") as response:
        assert response.status == 405


def test_half_a_character_pair_is_replaced_wherever_it_stands(server, model):
    half = "\ud800"
    tool = {"type": "function", "function": {"name": "f", "description": half}}
    message = {"role": "user", half: "x", "content": [{"type": "text", "text": half}]}
    body = json.dumps({"messages": [message], "tools": [tool], "stop": half, "response_format": {"type": half}})
    assert server.post("/ipyllm/api/chat", body).status == 200
    sent = model.requests[-1].json
    assert sent["messages"] == [{"role": "user", "\ufffd": "x", "content": [{"type": "text", "text": "\ufffd"}]}]
    assert (sent["tools"][0]["function"]["description"], sent["stop"]) == ("\ufffd", "\ufffd")
