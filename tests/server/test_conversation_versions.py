"""A question is edited, or answered again: the conversation goes on from there, and what stood there is kept."""

import asyncio
import json
from contextlib import closing

import pytest

from ipyllm import ChatResponse
from ipyllm.conversations.transcript import Turn
from ipyllm_server.conversation import Conversation
from ipyllm_server.conversation_versions import ConversationVersions
from ipyllm_server.user_conversations import UserConversations
from tests.fakes import answer, error
from tests.server.test_conversations import PATH, patch
from tests.server.test_socket import Client

pytestmark = pytest.mark.timeout(400)  # the first test starts a server


def asked(model):
    """What the model was asked last: the contents of its messages."""
    return [m["content"] for m in [request for request in model.requests if request.json][-1].json["messages"]]


def contents(server, name):
    """The conversation as the server tells it, and the versions of its answers."""
    found = server.get(f"{PATH}/{name}").json
    return [m["content"] for m in found["messages"]], [each["versions"] for each in found["answers"]]


def test_an_edited_question_goes_on_from_there_and_the_other_version_can_be_shown(server, model):
    model.reply(*map(answer, ("ONE", "TWO", "UNO", "DOS")))
    first, second = (server.chat(text, conversation="edited").json["call_id"] for text in ("one", "two"))
    edited = server.chat("uno", conversation="edited", replaces=first).json["call_id"]
    assert asked(model) == ["uno"]
    assert contents(server, "edited") == (["uno", "UNO"], [[first, edited]])
    then = server.chat("dos", conversation="edited").json["call_id"]
    assert asked(model) == ["uno", "UNO", "dos"]
    assert patch(server, "edited", {"version": first}).json == {"name": "edited"}
    assert contents(server, "edited") == (["one", "ONE", "two", "TWO"], [[first, edited], [second]])
    before = server.get(PATH).json
    assert patch(server, "edited", {"version": first}).status == 200  # which is shown
    assert server.get(PATH).json == before  # nothing has changed
    assert patch(server, "edited", {"version": edited}).status == 200
    assert contents(server, "edited") == (["uno", "UNO", "dos", "DOS"], [[first, edited], [then]])
    hidden = patch(server, "edited", {"version": second})  # it is below the version that is not shown
    assert (hidden.status, hidden.json["error"]["code"]) == (404, "not_found")
    (answered,) = [each for each in server.get(f"{PATH}/edited").json["answers"] if each["call_id"] == then]
    assert answered["question"] == 2


def test_versions_are_kept_in_the_ledger_and_move_and_go_with_their_conversation():
    here, there = UserConversations(), UserConversations()  # of two servers

    async def add(name, call_id, replaces=None):
        with await here.get("eve", name) as conversation, conversation.with_system("Be brief."):
            response = ChatResponse(content="So.", model="lab/tiny", call_id=call_id)
            conversation.add("Which?", response, replaces=replaces)
            conversation.save()

    async def main():
        await add("kept", "01")
        await add("kept", "02", replaces="01")
        await here.rename("eve", "kept", "moved")
        found = await there.get("eve", "moved", must_exist=True)
        assert found.answers() == [{"call_id": "02", "question": 1, "versions": ["01", "02"]}]
        await here.delete("eve", "moved")
        await add("moved", "03")
        found = await there.get("eve", "moved")
        assert [each["versions"] for each in found.answers()] == [["03"]]

    asyncio.run(main())


def test_a_question_is_answered_again_over_the_socket(server, model):
    model.reply(answer("first"), answer("and then"), answer("second", gap=100, chunks=["sec", "ond"]))
    with closing(Client(server, query="conversation=again&")) as client:
        client.send("ask", message="Which?")
        first = client.until("done")["call_id"]
        client.send("ask", message="Then?")
        client.until("done")
        client.send("ask", message="Which?", replaces=first, id="q3")
        assert client.until("answer")["replaces"] == first
        client.until("text")
        client.send("show", call_id=first)
        assert client.until("error")["error"]["code"] == "busy"
        client.send("history")
        assert len(client.until("history")["messages"]) == 4  # it is as it was until there is another answer
        model.skip_pauses()
        second = client.until("done")["call_id"]
        assert asked(model) == ["Which?"]
        client.send("history")
        history = client.until("history")
        assert [m["content"] for m in history["messages"]] == ["Which?", "second"]
        assert history["answers"] == [{"call_id": second, "question": 0, "versions": [first, second]}]
        client.send("show", call_id=first)
        assert [m["content"] for m in client.until("history")["messages"]] == ["Which?", "first", "Then?", "and then"]
        for message in ({"type": "show", "call_id": "none"}, {"type": "ask", "message": "Hi", "replaces": second}):
            client.socket.send(json.dumps(message))
            assert client.until("error")["error"]["code"] == "not_found"


def test_only_an_answer_that_is_given_again_must_not_come_from_the_cache():
    conversation = Conversation("ana", "")
    for call_id, question in (("01", "one"), ("02", "two")):
        conversation.add(question, ChatResponse(content=question.upper(), model="lab/tiny", call_id=call_id), "q")
    assert conversation.options("two", None) == {}
    assert conversation.options("two", "02") == {"before": "02 q", "cache": False}
    assert conversation.options("zwei", "02") == {"before": "02 q"}


def test_a_question_that_fails_replaces_nothing(server, model):
    first = server.chat("one", conversation="fails").json["call_id"]
    server.chat("two", conversation="fails")
    before = contents(server, "fails")
    model.reply(error(400, "No such luck."))
    assert server.chat("uno", conversation="fails", replaces=first).status == 400
    assert contents(server, "fails") == before
    for body, status in (
        ({"conversation": "fails", "replaces": "none"}, 404),
        ({"conversation": None, "replaces": first}, 400),
    ):
        assert server.chat("uno", **body).status == status
    assert patch(server, "fails", {"name": "x", "version": first}).status == 400
    assert patch(server, "fails", {}).status == 400


def test_each_of_many_versions_keeps_what_followed_it():
    versions, turns = ConversationVersions(), {n: Turn(call_id=f"{n:02}") for n in range(8)}
    shown = versions.replace([turns[0], turns[1]], 1, turns[2])
    shown = versions.replace([*shown, turns[3]], 0, turns[4])
    shown = versions.replace([*shown, turns[5]], 1, turns[6])
    assert versions.of(shown) == [["00", "04"], ["05", "06"]]
    versions = ConversationVersions.from_document(json.loads(json.dumps(versions.document())))
    shown = versions.show(shown, "00")
    assert [turn.call_id for turn in shown] == ["00", "02", "03"]
    assert versions.of(shown) == [["00", "04"], ["01", "02"], ["03"]]
    assert [turn.call_id for turn in versions.show(shown, "01")] == ["00", "01"]
    assert versions.show(shown, "05") is None


@pytest.mark.parametrize(
    "entries",
    [
        5,
        ["x"],
        [{"after": 5, "turns": [{"key": None, "model": None, "status": "ok", "messages": []}]}],
        [{"turns": []}],
    ],
)
def test_damaged_versions_are_no_versions(entries):
    with pytest.raises(ValueError, match="version"):
        ConversationVersions.from_document({"versions": entries})


def test_a_refused_edit_does_not_change_the_system_message(server, model):
    first = server.chat("one", conversation="refused", system="Be brief.").json["call_id"]
    for fields in ({"replaces": "none"}, {"replaces": first, "model": "nobody/none"}):
        assert server.chat("uno", conversation="refused", system="Rhyme.", **fields).status in {400, 404}
        assert contents(server, "refused")[0] == ["Be brief.", "one", "Hello from the fake."]
    assert server.chat("one", conversation="new-one", system="Rhyme.", model="nobody/none").status in {400, 404}
    assert server.get(f"{PATH}/new-one").status == 404
