"""`POST /ipyllm/api/chat`: an answer as JSON, or as events; what is asked is in the ledger under its user's name."""

import json

import pytest

from tests.fakes import answer, reset, status

pytestmark = pytest.mark.timeout(400)  # the first test starts a server


def events(response):
    for line in response:
        if line.startswith(b"data: "):
            yield json.loads(line[6:])


def test_an_answer_is_json_with_usage_and_times(server, model):
    model.reply(answer("Four."))
    reply = server.chat("What is 2 + 2?", temperature=0.5, system="Be brief.", tags={"lesson": "3"})
    assert reply.status == 200
    assert reply.headers["Content-Type"] == "application/json"
    assert reply.json["content"] == "Four."
    assert reply.json["model"] == "lab/tiny"
    assert reply.json["status"] == "ok"
    assert reply.json["usage"]["output_tokens"] == 1
    assert reply.json["timing"]["ttft_s"] > 0
    sent = model.requests[0].json
    assert [m["content"] for m in sent["messages"]] == ["Be brief.", "What is 2 + 2?"]
    assert sent["temperature"] == 0.5


def row_of(server, model, reply):
    """Origin and tags of a call in the ledger, once it is written to the end."""
    call_id = reply.json["call_id"]

    def find():
        rows = server.rows("call_id", "status", "origin", "tags")
        return [row[2:] for row in rows if row[:2] == (call_id, "ok")]

    ((origin, tags),) = model.wait_for(find)
    return origin, json.loads(tags)


def test_a_call_is_in_the_ledger_with_its_user(server, model):
    reply = server.post("/ipyllm/api/chat", {"message": "Mine", "tags": {"lesson": "3"}}, user="ben")
    assert row_of(server, model, reply) == ("server", {"lesson": "3", "user": "ben"})


def test_nobody_can_ask_in_another_users_name(server, model):
    assert row_of(server, model, server.chat(tags={"user": "ben"}))[1] == {"user": "ana"}


def test_a_whole_conversation_can_be_sent(server, model):
    messages = [
        {"role": "user", "content": "I am Ana."},
        {"role": "assistant", "content": "Hello Ana."},
        {"role": "user", "content": "Who am I?"},
    ]
    assert server.post("/ipyllm/api/chat", {"messages": messages}).status == 200
    assert model.requests[0].json["messages"] == messages


def test_the_pieces_of_a_stream_make_up_the_whole(server, model):
    model.reply(answer("one two three", coalesce=False))
    with server.request("POST", "/ipyllm/api/chat", {"message": "Count", "stream": True}) as response:
        assert response.status == 200
        assert response.headers["Content-Type"] == "text/event-stream"
        received = list(events(response))
    pieces = [event["text"] for event in received if event["type"] == "text"]
    assert "".join(pieces) == "one two three"
    assert received[-1]["type"] == "done"
    assert received[-1]["content"] == "one two three"


def test_a_piece_is_sent_before_the_next_arrives(server, model):
    model.reply(answer("one two", gap=100))
    with server.request("POST", "/ipyllm/api/chat", {"message": "Count", "stream": True}) as response:
        assert next(events(response))["text"] == "one"  # the second is 100 s away


def test_reasoning_is_told_apart(server, model):
    model.reply(answer("42", reasoning="Hmm."))
    with server.request("POST", "/ipyllm/api/chat", {"message": "Why?", "stream": True}) as response:
        received = list(events(response))
    assert [event["type"] for event in received] == ["reasoning", "text", "done"]


def test_a_client_that_disconnects_in_mid_answer_cancels_the_call(server, model):
    model.reply(answer("one two three", gap=100))
    with server.request("POST", "/ipyllm/api/chat", {"message": "Count", "stream": True}) as response:
        next(events(response))
    model.wait_for(lambda: model.requests[0].closed_by_client)


def test_a_client_that_does_not_wait_for_its_json_cancels_the_call(server, model):
    import socket

    model.reply(answer("never", ttft=100))
    body = json.dumps({"message": "Hello"})
    with socket.create_connection(("127.0.0.1", server.port)) as client:
        head = (
            f"POST /ipyllm/api/chat HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\nAuthorization: token token-of-ana\r\n"
        )
        client.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n{body}".encode())
        model.wait_for(lambda: model.requests)
    model.wait_for(lambda: model.requests[0].closed_by_client)


def test_a_model_server_that_dies_is_a_502_with_a_sentence(server, model):
    model.on(lambda request: reset("one two three", after=1))
    reply = server.chat()
    assert reply.status == 502
    assert "lab/tiny" in reply.message or "lab" in reply.message
    assert "Traceback" not in reply.body.decode()


@pytest.mark.thorough
def test_a_model_server_that_is_not_there_is_a_502_with_a_sentence(server, model):
    reply = server.chat(model="dead")
    assert reply.status == 502
    assert "dead" in reply.message


def test_a_model_server_that_dies_in_mid_stream_ends_the_stream_with_an_error(server, model):
    model.on(lambda request: reset(answer("one two three", gap=0.01), after=2))
    with server.request("POST", "/ipyllm/api/chat", {"message": "Count", "stream": True}) as response:
        received = list(events(response))
    kinds = [event["type"] for event in received]
    assert kinds[-2:] == ["error", "done"]
    assert set(kinds[:-2]) == {"text"}  # in one event or two: on a slow machine both chunks arrive together
    assert received[-1]["content"] == "one two"
    assert received[-2]["error"]["message"]


def test_what_a_model_refuses_has_the_servers_own_sentence_and_no_key(server, model):
    model.on(
        lambda request: status(400, {"error": {"message": "The prompt is bad, sk-abcdefghijklmnopqrstuvwxyz123456."}})
    )
    reply = server.chat()
    assert reply.status == 400
    assert "The prompt is bad" in reply.message
    assert "sk-abcdefghijklmnop" not in reply.message


def test_health_and_models(server):
    assert server.get("/ipyllm/api/health").json["status"] == "ok"
    models = server.get("/ipyllm/api/models").json
    assert models["default"] == "lab/tiny"
    assert "lab/tiny" in models["models"]


@pytest.mark.parametrize("name", ["local/models/file.gguf", "local/file.gguf", "local//etc/passwd"])
def test_a_file_is_no_model_that_a_user_may_name(server, model, name):
    reply = server.chat(model=name)
    assert (reply.status, reply.json["error"]["code"]) == (404, "not_found")
    assert "by its name" in reply.message
