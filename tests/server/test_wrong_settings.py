"""Settings that become wrong cost nobody an answer that is being given, and undo no change."""

from contextlib import closing

import pytest

from tests.fakes import answer
from tests.server.test_conversations import PATH, names, patch
from tests.server.test_socket import Client

pytestmark = pytest.mark.timeout(400)  # the first test starts a server


def test_an_answer_that_ends_while_the_settings_are_wrong_is_told_and_kept(server, model):
    model.reply(answer("one two", gap=100, chunks=["one", " two"]))
    with closing(Client(server, query="conversation=meanwhile&")) as client:
        client.send("ask", message="Count")
        client.until("text")
        with server.wrong_settings():
            model.skip_pauses()
            assert client.until("done")["content"] == "one two"
        client.send("ask", message="And?")
        assert client.until("done")["content"] == "Hello from the fake."
    messages = server.get(f"{PATH}/meanwhile").json["messages"]
    assert [m["content"] for m in messages] == ["Count", "one two", "And?", "Hello from the fake."]


def test_what_is_deleted_or_renamed_while_the_settings_are_wrong_does_not_come_back(server, model):
    for name in ("dropped", "gone", "before"):
        assert server.chat(name, conversation=name).status == 200
    with server.wrong_settings():
        for name in ("dropped", "gone"):
            with server.request("DELETE", f"{PATH}/{name}") as response:
                assert response.status == 200
        assert patch(server, "before", {"name": "dropped"}).status == 200
    assert not {"before", "gone"} & {*names(server)}
    assert server.get(f"{PATH}/dropped").json["messages"][0]["content"] == "before"
