"""A client that goes just before its call starts costs no call: the wait before it may be long."""

import asyncio
from types import SimpleNamespace

import pytest

from ipyllm_server.chat_body import AskMessage
from ipyllm_server.chat_session import ChatSession, Cursor
from ipyllm_server.conversation import Conversation
from ipyllm_server.refusals import Refusal
from ipyllm_server.running_calls import RunningCalls
from ipyllm_server.user_limits import Limits, UserLimits
from tests.fakes import FakeLLM, answer


class SlowLimits(UserLimits):
    """Limits that take their time, as those do that read the ledger."""

    def __init__(self):
        super().__init__(Limits())
        self.is_asked, self.goes_on = asyncio.Event(), asyncio.Event()

    async def admit(self, user):
        self.is_asked.set()
        await self.goes_on.wait()
        return await super().admit(user)


@pytest.fixture
def fake(monkeypatch, tmp_path):
    with FakeLLM() as fake:
        config = tmp_path / "config.toml"
        config.write_text(f'model = "lab/tiny"\n[endpoints.lab]\nbase_url = "{fake.base_url}"\nmodel = "tiny"\n')
        monkeypatch.setenv("IPYLLM_CONFIG", str(config))
        fake.default = answer("one two", gap=0.01)
        yield fake


def asked(fake):
    return [request for request in fake.requests if request.json]


def test_a_request_whose_client_has_gone_starts_no_call(fake):
    async def main():
        limits = SlowLimits()
        calls, client = RunningCalls(limits), SimpleNamespace(is_there=True)
        starting = asyncio.create_task(calls.start("ana", None, "Hi", is_wanted=lambda: client.is_there))
        await limits.is_asked.wait()
        client.is_there = False
        limits.goes_on.set()
        with pytest.raises(Refusal, match="gone"):
            await starting
        assert len(calls) == 0

    asyncio.run(main())
    assert asked(fake) == []


def test_a_session_that_is_closed_before_its_call_starts_asks_nothing_and_frees_its_conversation(fake):
    async def main():
        limits = SlowLimits()
        conversation = Conversation("ana", "lesson")
        session = ChatSession(RunningCalls(limits), conversation)
        asking = asyncio.create_task(session.ask(AskMessage(message="Hi")))
        await limits.is_asked.wait()
        session.close()
        limits.goes_on.set()
        with pytest.raises(Refusal, match="gone"):
            await asking
        assert not conversation.is_busy
        assert not session.is_answering

    asyncio.run(main())
    assert asked(fake) == []


def test_stop_before_the_call_starts_ends_the_answer(fake):
    fake.default = answer("one two", gap=100)

    async def main():
        limits = SlowLimits()
        session = ChatSession(RunningCalls(limits), Conversation("ana", ""))
        asking = asyncio.create_task(session.ask(AskMessage(message="Hi")))
        await limits.is_asked.wait()
        session.stop()
        limits.goes_on.set()
        await asking
        assert (await until_done(session))[-1]["status"] == "cancelled"

    asyncio.run(main())


async def until_done(session):
    """What the session tells a client, to the end of its answer."""
    cursor, messages = Cursor(1), []
    async with asyncio.timeout(60):
        while not messages or messages[-1]["type"] != "done":
            messages += session.messages_since(cursor)
            await asyncio.sleep(0.01)
    return messages
