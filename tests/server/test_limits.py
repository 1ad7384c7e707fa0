"""Limits of each user, the access log, and the end of a server."""

import asyncio
import http.client
import json
import signal
import threading
from dataclasses import replace

import pytest

from ipyllm.errors import LLMError
from ipyllm_server.refusals import Refusal
from ipyllm_server.running_calls import RunningCalls
from ipyllm_server.sessions import ChatSessions
from ipyllm_server.user_conversations import UserConversations
from ipyllm_server.user_limits import Limits, UserLimits
from tests.fakes import FakeLLM, answer
from tests.server.chat_server import ChatServerProcess
from tests.server.classroom import TOKENS

pytestmark = pytest.mark.timeout(400)  # the first test starts a server

CONFIG = """
import logging
from ipyllm.observability.logs import log_to
c.ChatServer.calls_per_user = 2
c.ChatServer.sockets_per_user = 3
c.ChatServer.shutdown_grace_s = 0.5
log_to(open({path!r}, "a", buffering=1), logging.INFO)
"""


@pytest.fixture(scope="module")
def own():
    """A model server and a chat server with low limits, and where its log is."""
    with FakeLLM() as fake:
        yield fake


@pytest.fixture(scope="module")
def limited(own, tmp_path_factory):
    home = tmp_path_factory.mktemp("limited")
    log, config = home / "log.jsonl", home / "config.py"
    config.write_text(CONFIG.format(path=str(log)))
    with ChatServerProcess(own, f"--config={config}", "--ChatServer.requests_per_minute=5") as server:
        server.json_log = log
        yield server


def test_more_calls_at_a_time_than_allowed_are_refused_and_others_may_ask(own, limited):
    own.on(lambda request: answer("one two", gap=100) if "slow" in request.prompt else None)
    slow = {"message": "slow", "stream": True}
    with (
        limited.request("POST", "/ipyllm/api/chat", slow) as first,
        limited.request("POST", "/ipyllm/api/chat", slow) as second,
    ):
        first.readline(), second.readline()
        reply = limited.chat()
        assert reply.status == 429
        assert "may have 2" in reply.message
        assert int(reply.headers["Retry-After"]) >= 1
        assert limited.post("/ipyllm/api/chat", {"message": "Hello"}, user="ben").status == 200
    own.wait_for(lambda: limited.chat().status == 200, timeout=90)  # the slow ones are cancelled, and count no longer


def test_what_is_logged_has_the_user_and_no_content(own, limited):
    limited.post("/ipyllm/api/chat?token=token-of-ben", {"message": "A very secret question"}, user=None)
    text = own.wait_for(lambda: (t := limited.json_log.read_text()) and '"user": "ben"' in t and t)
    lines = [json.loads(line) for line in text.splitlines()]
    requests = [line for line in lines if line["logger"] == "ipyllm.server.access"]
    assert {"user", "method", "route", "status", "seconds"} <= set(requests[-1])
    for everything in (text, limited.log.read_text()):
        assert "very secret" not in everything
        assert "Hello from the fake" not in everything
        assert "token-of-" not in everything


def test_a_client_that_goes_is_no_failure_of_the_server_in_the_log(own, limited):
    own.on(lambda request: answer("one two", gap=100) if "slow" in request.prompt else None)
    n_asked = len(own.requests)
    connection = http.client.HTTPConnection("127.0.0.1", limited.port)
    headers = {"Authorization": f"token {TOKENS['ben']}"}
    connection.request("POST", "/ipyllm/api/chat", json.dumps({"message": "slow"}), headers)
    own.wait_for(lambda: len(own.requests) > n_asked, timeout=60)
    connection.close()
    text = own.wait_for(lambda: (t := limited.log.read_text()) and " 499 POST /ipyllm/api/chat" in t and t, timeout=60)
    assert " 503 POST" not in text


def test_more_questions_in_a_minute_than_allowed_are_refused(own, limited):
    replies = [limited.post("/ipyllm/api/chat", {"message": "Hello"}, user="ben").status for _ in range(30)]
    assert set(replies) == {200, 429}
    reply = limited.post("/ipyllm/api/chat", {"message": "Hello"}, user="ben")
    assert reply.status == 200 or "5 times a minute" in reply.message


def test_a_stopped_server_marks_what_runs_and_ends(own, limited):
    own.on(lambda request: answer("one two", gap=100))
    received = []

    def read():
        with limited.request("POST", "/ipyllm/api/chat", {"message": "slow", "stream": True}) as response:
            received.extend(line for line in response if line.startswith(b"data: "))

    reader = threading.Thread(target=read)
    reader.start()
    own.wait_for(lambda: received or not reader.is_alive(), timeout=60)
    limited.process.send_signal(signal.SIGTERM)
    assert limited.process.wait(60) == 0
    reader.join(30)
    last = json.loads(received[-1][6:])
    assert (last["type"], last["status"], last["content"]) == ("done", "cancelled", "one")
    assert limited.rows("status")[-1] == ("cancelled",)


def test_a_server_that_is_stopped_starts_no_call():
    async def main():
        calls = RunningCalls(UserLimits(Limits()))
        await calls.drain(0)
        with pytest.raises(Refusal, match="shutting down") as refused:
            await calls.start("ana", None, "Hi")
        assert refused.value.status == 503
        assert refused.value.retry_after_s > 0

    asyncio.run(main())


def test_the_session_that_has_waited_longest_ends_when_too_many_of_a_user_wait():
    async def main():
        sessions = ChatSessions(RunningCalls(UserLimits(Limits())), UserConversations(), resume_s=1000, per_user=2)
        begun = [await sessions.begin(user, None) for user in ("ben", "ana", "ana", "ana")]
        for session in begun:
            sessions.leave(session, at_once=False)
        assert [sessions.resume(each.user, each.id) is each for each in begun] == [True, False, True, True]

    asyncio.run(main())


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("signals", "grace_s"), [([signal.SIGINT], 0.5), ([signal.SIGTERM] * 2, 300), ([signal.SIGINT] * 2, 300)]
)
def test_an_interrupt_stops_a_server_as_well_and_a_second_one_at_once(own, signals, grace_s):
    own.clear()
    own.on(lambda request: answer("one two", gap=1000))
    body = {"message": "slow", "stream": True}
    with ChatServerProcess(own, f"--ChatServer.shutdown_grace_s={grace_s}") as server:
        with server.request("POST", "/ipyllm/api/chat", body) as stream:
            assert b'"one"' in stream.readline()
            for n, each in enumerate(signals, 1):
                server.process.send_signal(each)
                own.wait_for(lambda n=n: server.log.read_text().count("Shutting down") >= n)
            assert server.process.wait(60) == 0
            last = json.loads(stream.read().split(b"data: ")[-1])
        assert (last["type"], last["status"]) == ("done", "cancelled")
        assert server.rows("status") == [("cancelled",)]
        assert "Traceback" not in server.log.read_text()


def test_a_budget_of_a_day_counts_the_calls_of_earlier_processes(tmp_path):
    from datetime import UTC, datetime

    from ipyllm.ledger import Ledger, set_ledger
    from ipyllm.ledger.ids import new_id
    from ipyllm_server.user_limits import Limits, UserLimits

    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        set_ledger(ledger)
        row = {"started_at": datetime.now(UTC), "origin": "server", "status": "ok", "kernel_id": "another"}
        for user, cost in (("ana", 0.75), ("ben", 100.0)):
            ledger.put({**row, "call_id": new_id(), "tags": {"user": user}, "cost_usd": cost})
        limits = UserLimits(replace(Limits(), usd_per_day=1.0))
        reservation = asyncio.run(limits.admit("ana"))
        reservation.raise_to(0.2)
        with pytest.raises(Exception, match="only"):
            asyncio.run(limits.admit("ana")).raise_to(0.1)


def test_unknown_prices_are_allowed_where_the_settings_allow_them(monkeypatch, tmp_path):
    from ipyllm.ledger import Ledger, set_ledger
    from ipyllm_server.user_limits import Limits, UserLimits

    limits = UserLimits(replace(Limits(), usd_per_day=1.0))
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        set_ledger(ledger)
        with pytest.raises(LLMError, match="IPYLLM_ALLOW_UNKNOWN_PRICE=1"):
            asyncio.run(limits.admit("ana")).raise_to(None)
        monkeypatch.setenv("IPYLLM_ALLOW_UNKNOWN_PRICE", "1")
        asyncio.run(limits.admit("ana")).raise_to(None)
