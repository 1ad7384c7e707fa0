"""Conversations are kept by name for their user, and for nobody else."""

import asyncio
import json
from contextlib import closing
from urllib.parse import urlencode

import pytest

from ipyllm import ChatResponse
from ipyllm_server.conversation import Conversation
from ipyllm_server.refusals import Refusal
from ipyllm_server.user_conversations import UserConversations
from tests.fakes import answer, reset
from tests.server.chat_server import Reply
from tests.server.test_socket import Client

pytestmark = pytest.mark.timeout(400)  # the first test starts a server

PATH = "/ipyllm/api/conversations"


def test_a_conversation_goes_on_from_question_to_question(server, model):
    model.reply(answer("Hello Ana."), answer("You are Ana."))
    first = server.chat("I am Ana.", conversation="who", system="Be brief.")
    assert first.json["conversation"] == "who"
    server.chat("Who am I?", conversation="who")
    asked = [request for request in model.requests if request.json]  # others ask for the context window
    assert [m["content"] for m in asked[1].json["messages"]] == [
        "Be brief.",
        "I am Ana.",
        "Hello Ana.",
        "Who am I?",
    ]
    messages = server.get(f"{PATH}/who").json["messages"]
    assert [m["content"] for m in messages][-2:] == ["Who am I?", "You are Ana."]
    assert "who" in [each["name"] for each in server.get(PATH).json["conversations"]]


def test_a_streamed_answer_is_kept_too(server, model):
    body = {"message": "Count", "conversation": "streamed", "stream": True}
    with server.request("POST", "/ipyllm/api/chat", body) as response:
        response.read()
    messages = server.get(f"{PATH}/streamed").json["messages"]
    assert [m["content"] for m in messages] == ["Count", "Hello from the fake."]


def test_another_users_conversation_is_not_there(server, model):
    server.chat("A secret.", conversation="mine")
    for method in ("GET", "DELETE"):
        with server.request(method, f"{PATH}/mine", user="ben") as response:
            assert response.status == 404
            assert b"secret" not in response.read()
    assert "mine" not in [each["name"] for each in server.get(PATH, user="ben").json["conversations"]]
    server.post("/ipyllm/api/chat", {"message": "What do you know?", "conversation": "mine"}, user="ben")
    assert len(model.requests[-1].json["messages"]) == 1
    assert server.get(f"{PATH}/mine").status == 200


def test_a_deleted_conversation_is_gone(server, model):
    server.chat("Hello", conversation="an end/ü")
    path = f"{PATH}/an%20end%2F%C3%BC"
    with server.request("DELETE", path) as response:
        assert response.status == 200
    assert server.get(path).status == 404
    assert "an end/ü" not in [each["name"] for each in server.get(PATH).json["conversations"]]


def test_who_has_a_deleted_conversation_open_goes_on_with_an_empty_one(server, model):
    with closing(Client(server, query="conversation=open&")) as client:
        client.send("ask", message="A secret.")
        client.until("done")
        with server.request("DELETE", f"{PATH}/open") as response:
            assert response.status == 200
        client.send("ask", message="What did I say?")
        client.until("done")
    assert [m["content"] for m in model.requests[-1].json["messages"]] == ["What did I say?"]
    assert server.get(f"{PATH}/open").json["messages"][0]["content"] == "What did I say?"


def test_a_conversation_that_answers_is_not_deleted_and_so_does_not_come_back(server, model):
    body = {"message": "Count", "conversation": "at work", "stream": True}
    for n_answers in (1, 2):  # while it gives its first answer, too
        model.reply(answer("one two", gap=100))
        with (
            server.request("POST", "/ipyllm/api/chat", body) as stream,
            closing(Client(server, query="conversation=at%20work&")) as client,
        ):
            stream.readline()
            with server.request("DELETE", f"{PATH}/at%20work") as response:
                reply = Reply(response)
            assert (reply.status, reply.json["error"]["code"]) == (409, "busy")
            client.send("clear")
            assert client.until("error")["error"]["code"] == "busy"
            model.skip_pauses()
            assert b'"done"' in stream.read()
        assert len(server.get(f"{PATH}/at%20work").json["messages"]) == 2 * n_answers
    with server.request("DELETE", f"{PATH}/at%20work") as response:
        assert response.status == 200
    assert "at work" not in names(server)


def test_a_conversation_that_is_cleared_over_a_socket_is_listed_no_more(server, model):
    with closing(Client(server, query="conversation=cleared&")) as client:
        client.send("ask", message="Hello")
        client.until("done")
        client.send("clear")
        assert client.until("history")["messages"] == []
    assert "cleared" not in names(server)
    assert server.get(f"{PATH}/cleared").status == 404


def patch(server, name, body, **options):
    with server.request("PATCH", f"{PATH}/{name}", body, **options) as response:
        return Reply(response)


def names(server, query="", **options):
    found = server.get(f"{PATH}?{urlencode({'query': query})}", **options).json["conversations"]
    return [each["name"] for each in found]


def test_a_renamed_conversation_goes_on_under_its_new_name(server, model):
    server.chat("I am Ana.", conversation="before")
    with closing(Client(server, query="conversation=before&")) as client:
        assert patch(server, "before", {"name": "after ü"}).json == {"name": "after ü"}
        assert server.get(f"{PATH}/before").status == 404
        client.send("ask", message="Who am I?")  # who has it open goes on with it
        assert client.until("done")["conversation"] == "after ü"
    assert len(server.get(f"{PATH}/after%20%C3%BC").json["messages"]) == 4
    assert {"before", "after ü"} & set(names(server)) == {"after ü"}


def test_a_renamed_conversation_keeps_its_date_and_its_place_in_the_list(server, model):
    for name in ("older", "deleted before", "newer"):
        server.chat(name, conversation=name)
    with server.request("DELETE", f"{PATH}/deleted%20before") as response:  # its row is newer than what gets its name
        response.read()
    dates = {each["name"]: each["saved_at"] for each in server.get(PATH).json["conversations"]}
    assert patch(server, "older", {"name": "deleted before"}).status == 200
    listed = server.get(PATH).json["conversations"][:2]
    assert [(each["name"], each["saved_at"]) for each in listed] == [
        ("newer", dates["newer"]),
        ("deleted before", dates["older"]),
    ]
    server.chat("On with it.", conversation="deleted before")
    assert names(server)[0] == "deleted before"


def test_a_conversation_that_is_open_and_empty_swaps_names_with_one_that_takes_its_name(server, model):
    server.chat("One", conversation="full")
    with closing(Client(server, query="conversation=empty&")) as client:
        assert patch(server, "full", {"name": "empty"}).status == 200
        client.send("ask", message="Two")
        assert client.until("done")["conversation"] == "full"
    for name, question in (("empty", "One"), ("full", "Two")):
        assert server.get(f"{PATH}/{name}").json["messages"][0]["content"] == question


def test_a_conversation_is_not_renamed_to_one_that_there_is_or_while_it_answers(server, model):
    for name in ("left", "right"):
        server.chat(name, conversation=name)
    taken = patch(server, "left", {"name": "right"})
    assert (taken.status, taken.message) == (409, "You have a conversation 'right' already.")
    assert patch(server, "left", {"name": "left"}).status == 200
    assert patch(server, "nobody", {"name": "somebody"}).status == 404
    assert patch(server, "left", {"name": "mine"}, user="ben").status == 404
    model.reply(answer("one two", gap=100))
    with server.request("POST", "/ipyllm/api/chat", {"message": "?", "conversation": "left", "stream": True}) as stream:
        stream.readline()
        assert patch(server, "left", {"name": "new"}).status == 409
    assert server.get(f"{PATH}/right").json["messages"][0]["content"] == "right"


def test_of_two_renames_at_once_one_is_refused(monkeypatch):
    kept = UserConversations()
    monkeypatch.setattr(Conversation, "look_up", Conversation)

    async def main():
        found = await kept.get("ana", "c")
        found.history.add_message("user", "Hello")
        results = await asyncio.gather(
            kept.rename("ana", "c", "one"), kept.rename("ana", "c", "two"), return_exceptions=True
        )
        assert sorted(getattr(each, "status", 200) for each in results) == [200, 404]
        assert (await kept.get("ana", found.name, must_exist=True)) is found
        for name in {"c", "one", "two"} - {found.name}:
            assert not (await kept.get("ana", name)).exists

    asyncio.run(main())


@pytest.mark.parametrize("name", ["", " x", "x\n", "a\0b", "..", "x" * 201, "\u2028", 5, None])
def test_a_name_that_no_conversation_can_have_is_refused(server, model, name):
    for reply in (patch(server, "any", {"name": name}), server.chat("Hi", conversation=name or "")):
        assert reply.status == 400
        assert "name" in reply.message or "conversation" in reply.message
    assert patch(server, "any", {"name": "x", "model": "y"}).status == 400
    assert model.requests == []


def test_conversations_are_found_by_name_and_by_text(server, model):
    model.on(lambda request: answer("They live in the  Antarctic, mostly.") if "penguin" in request.prompt else None)
    server.chat("Where do penguins live?", conversation="Birds")
    server.chat("Hello", conversation="Of the antarctic")
    server.chat("Where do penguins live?", conversation="Of Ben", user="ben")
    found = server.get(f"{PATH}?query=the%20%20ANTARCTIC").json["conversations"]
    assert [(each["name"], each["excerpt"]) for each in found] == [
        ("Of the antarctic", None),
        ("Birds", "They live in the Antarctic, mostly."),
    ]
    assert names(server, "no such words") == []
    assert set(names(server, "  ")) >= {"Birds", "Of the antarctic"}
    assert names(server, "penguin", user="ben") == ["Of Ben"]


def test_a_failed_question_leaves_the_conversation_as_it_was(server, model):
    server.chat("One", conversation="failing")
    model.on(lambda request: reset("never", after=0))
    assert server.chat("Two", conversation="failing").status == 502
    model.on(lambda request: None)
    assert server.chat("Three", conversation="failing").status == 200
    questions = [m["content"] for m in model.requests[-1].json["messages"] if m["role"] == "user"]
    assert questions == ["One", "Three"]


def test_a_conversation_answers_one_question_at_a_time(server, model):
    model.reply(answer("one two", gap=100))
    body = {"message": "Count", "conversation": "busy", "stream": True}
    with server.request("POST", "/ipyllm/api/chat", body) as response:
        response.readline()
        reply = server.chat("And?", conversation="busy")
        assert reply.status == 409
        assert "still answering" in reply.message
        assert "busy" in names(server)  # before its first answer is there


@pytest.mark.parametrize("form", ["json", "csv", "parquet"])
def test_usage_has_the_users_own_calls(server, model, tmp_path, form):
    import pandas as pd

    server.post("/ipyllm/api/chat", {"message": "Of Ben", "tags": {"form": form}}, user="ben")
    server.chat("Of Ana", tags={"form": form})
    reply = server.get(f"/ipyllm/api/usage?format={form}&limit=2", user="ben")
    types = {"json": "application/json", "csv": "text/csv", "parquet": "application/vnd.apache.parquet"}
    assert reply.headers["Content-Type"].startswith(types[form])
    path = tmp_path / f"calls.{form}"
    path.write_bytes(reply.body)
    if form == "json":
        frame = pd.DataFrame(json.loads(reply.body)["calls"])
    else:
        frame = pd.read_csv(path) if form == "csv" else pd.read_parquet(path)
    assert frame["prompt"].iloc[-1] == "Of Ben"
    assert "Of Ana" not in list(frame["prompt"])
    assert list(frame["origin"].unique()) == ["server"]


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("format=xml", "There is no format 'xml'"),
        ("format=", "There is no format ''"),
        ("limit=", "limit must be"),
        ("since=never", "never"),
        ("status=fine", "There is no status 'fine'"),
        ("limit=0", "limit must be"),
        ("limit=99999999999", "limit must be"),
        ("text=maybe", "text must be 0 or 1"),
        ("user=ben", "no parameter 'user'"),
        ("kernel=all", "no parameter 'kernel'"),
    ],
)
def test_a_wrong_filter_is_a_400_with_a_sentence(server, query, words):
    reply = server.get(f"/ipyllm/api/usage?{query}")
    assert reply.status == 400
    assert words in reply.message


@pytest.mark.parametrize(("stored", "names"), [("0", []), ("1", ["lesson"])])
def test_a_conversation_is_kept_only_where_texts_are(monkeypatch, stored, names):
    monkeypatch.setenv("IPYLLM_STORE_TEXT", stored)
    conversation = Conversation(f"user {stored}", "lesson")
    conversation.history.add_message("user", "Hi")
    conversation.save()
    listed = asyncio.run(UserConversations().names(conversation.user))
    assert [each["name"] for each in listed] == names


def test_two_servers_over_one_ledger_have_each_others_answers_names_and_deletions():
    here, there = UserConversations(), UserConversations()

    async def add(server, question):
        with await server.get("eve", "lesson") as conversation:
            conversation.add(question, ChatResponse(content="So.", model="lab/tiny", call_id=question))
            conversation.save()

    async def questions(server, name="lesson"):
        found = await server.get("eve", name, must_exist=True)
        return [m["content"] for m in found.history.to_messages() if m["role"] == "user"]

    async def main():
        for server, question in ((here, "one"), (there, "two"), (here, "three")):
            await add(server, question)
        assert await questions(there) == ["one", "two", "three"]
        with await here.get("eve", "lesson"):  # it is answering a question
            await add(there, "four")
            assert await questions(here) == ["one", "two", "three"]
        assert await questions(here) == ["one", "two", "three", "four"]
        await there.rename("eve", "lesson", "moved")
        assert await questions(here, "moved") == ["one", "two", "three", "four"]
        await here.delete("eve", "moved")
        for name in ("lesson", "moved"):
            with pytest.raises(Refusal, match="You have no conversation"):
                await questions(there, name)
        await add(there, "anew")
        assert await questions(here) == ["anew"]

    asyncio.run(main())
