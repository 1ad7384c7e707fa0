"""The WebSocket: deltas, stop, history, resume without lost or repeated text, limits."""

import json
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import psutil
import pytest
import websocket

from tests.fakes import answer, reset
from tests.server.classroom import TOKENS

pytestmark = pytest.mark.timeout(400)  # the first test starts a server

WORDS = " ".join(f"w{n}" for n in range(300))


class Client:
    """A client as the documentation describes it: it remembers its session, and the position behind what it has."""

    def __init__(self, server, user="ana", query="", **options):
        self.server, self.user = server, user
        self.session, self.answer, self.at = "", 0, 0
        self.texts = {}
        self._query, self._options = query, options
        self.connect()

    def connect(self):
        resume = f"session={self.session}&answer={self.answer}&at={self.at}" if self.session else ""
        url = f"{self.server.url.replace('http', 'ws')}/ipyllm/ws?token={TOKENS[self.user]}&{self._query}{resume}"
        self.socket = websocket.create_connection(url, timeout=100, **self._options)
        self._lines = []
        try:
            self.hello = self.read()
        except BaseException:
            self.socket.shutdown()
            raise
        self.session = self.hello["session"]
        return self.hello

    def send(self, kind, **fields):
        self.socket.send(json.dumps({"type": kind, **fields}))

    def read(self):
        while not self._lines:
            text = self.socket.recv()
            if not text:
                raise EOFError
            self._lines = text.split("\n")
        message = json.loads(self._lines.pop(0))
        if message["type"] == "answer":
            self.answer, self.at = message["answer"], 0
            self.texts[self.answer] = ""
        elif message["type"] == "text":
            self.at = message["at"]
            self.texts[message["answer"]] += message["text"]
        elif message["type"] == "done":
            self.answer, self.at = message["answer"] + 1, 0
        return message

    def until(self, kind):
        while (message := self.read())["type"] != kind:
            pass
        return message

    def drop(self):
        """Break the connection, without a good-bye."""
        self.socket.shutdown()

    def close(self):
        self.socket.close()
        self.socket.shutdown()  # which `close` leaves out where the server has closed first


@pytest.fixture
def client(server, model):
    with closing(Client(server)) as client:
        yield client


def test_a_question_is_answered_in_pieces_and_the_next_knows_the_first(client, model):
    model.reply(answer("one two three", gap=100), answer("Yes."))
    client.send("ask", id="q1", message="Count", model="lab/tiny", temperature=0)
    assert client.until("text")["text"] == "one"
    model.skip_pauses()
    done = client.until("done")
    assert (done["content"], done["status"], client.texts[1]) == ("one two three", "ok", "one two three")
    client.send("ask", id="q2", message="Did you count?")
    assert client.until("done")["content"] == "Yes."
    asked = [request for request in model.requests if request.json]
    assert [m["content"] for m in asked[-1].json["messages"]] == ["Count", "one two three", "Did you count?"]
    client.send("history")
    messages = client.until("history")["messages"]
    assert [message.get("id") for message in messages] == ["q1", None, "q2", None]
    assert client._lines, "the summaries are in the same frame: a page may leave this socket for another at once"
    summaries = client.until("summaries")["summaries"]
    assert [bool(summary) for summary in summaries] == [False, True, False, True]
    assert summaries[1] == done["summary"]
    client.send("clear")
    assert client.until("history")["messages"] == []
    client.send("ping")
    assert client.read() == {"type": "pong"}


def test_a_text_that_changes_nothing_of_the_html_sends_no_empty_message(server, model):
    model.reply(answer("Wait  or go", chunks=["Wait", " ", " ", "or go"], gap=0.3, coalesce=False))
    with closing(Client(server, query="html=1&")) as page:
        page.send("ask", message="Now?", model="lab/tiny")
        assert page.until("done")["content"] == "Wait  or go"


def test_the_log_does_not_warn_of_pings(server, client):
    client.send("ping")
    assert client.read() == {"type": "pong"}
    assert "ping_timeout" not in server.log.read_text()


def test_two_connections_have_histories_of_their_own(server, client, model):
    client.send("ask", message="I am the first.")
    client.until("done")
    with closing(Client(server)) as other:
        other.send("ask", message="I am the second.")
        other.until("done")
    assert len(model.requests[-1].json["messages"]) == 1


def test_stop_cancels_the_call_and_keeps_what_came(client, model):
    model.reply(answer("one two three", gap=100))
    client.send("ask", message="Count")
    client.until("text")
    client.send("stop")
    done = client.until("done")
    assert (done["status"], done["content"]) == ("cancelled", "one")
    model.wait_for(lambda: model.requests[-1].closed_by_client, timeout=60)


@pytest.mark.parametrize("n_drops", [1, 5])
def test_who_comes_back_gets_the_rest_and_nothing_twice(client, model, n_drops):
    model.reply(answer(WORDS, gap=100))
    client.send("ask", id="q", message="Count")
    for _ in range(n_drops):
        for n_unread in (1, 1, 10):
            client.until("text")
            for _ in range(n_unread):
                model.send_next()
        client.drop()
        assert client.connect()["resumed"] is True
    model.skip_pauses()
    client.send("ask", id="q", message="Count")  # as a client does that does not know whether its question arrived
    done = client.until("done")
    assert client.texts[1] == WORDS == done["content"]
    assert len([request for request in model.requests if request.json]) == 1


def test_a_kept_conversation_knows_which_questions_of_clients_were_answered(server, model):
    query = "conversation=ids&"
    for question_id in ("q one", None, "q one"):  # two clients may count alike
        with closing(Client(server, query=query)) as client:
            client.send("ask", message="The same words", **({} if question_id is None else {"id": question_id}))
            client.until("done")
    with closing(Client(server, query=query)) as client:
        client.send("history")
        messages = client.until("history")["messages"]
    assert [m.get("id") for m in messages if m["role"] == "user"] == ["q one", None, "q one"]
    assert {key for m in model.requests[-1].json["messages"] for key in m} == {"role", "content"}


def test_who_comes_back_learns_how_long_ago_the_question_was_asked(client, model):
    model.reply(answer("one two", gap=100))
    began = time.monotonic()
    client.send("ask", message="Count")
    assert 0 <= client.until("answer")["elapsed_s"] <= time.monotonic() - began
    asked = time.monotonic()
    client.until("text")
    client.drop()
    client.answer = client.at = 0
    waited = time.monotonic() - asked
    client.connect()
    assert waited - 0.001 <= client.until("answer")["elapsed_s"] <= time.monotonic() - began


def test_the_history_names_the_answer_that_it_does_not_have_yet(client, model):
    client.send("history")
    assert client.until("history")["unfinished"] == 0
    model.reply(answer("one two", gap=100))
    client.send("ask", message="Count")
    client.until("text")
    client.send("history")
    assert client.until("history") == {"type": "history", "messages": [], "answers": [], "unfinished": 1}
    client.send("stop")
    client.until("done")
    client.send("history")
    history = client.until("history")
    assert [message.get("status") for message in history["messages"]] == [None, "cancelled"]
    assert history["unfinished"] == 0


def test_another_user_cannot_resume_a_session(server, client, model):
    client.send("ask", message="A secret.")
    client.until("done")
    with closing(Client(server, "ben", query=f"session={client.session}&")) as other:
        assert other.hello["resumed"] is False
        assert other.hello["session"] != client.session
        other.send("history")
        assert other.until("history")["messages"] == []


def test_a_good_bye_in_mid_answer_cancels_the_call(server, client, model):
    model.reply(answer("one two", gap=100))
    client.send("ask", message="Count")
    client.until("text")
    client.close()
    model.wait_for(lambda: model.requests[-1].closed_by_client, timeout=60)


def test_a_failed_answer_is_an_error_and_the_socket_goes_on(client, model):
    model.on(lambda request: reset(answer("one two", gap=0.01), after=1))
    client.send("ask", message="Hello")
    assert client.until("error")["error"]["message"]
    assert client.until("done")["status"] != "ok"
    model.on(lambda request: None)
    client.send("ask", message="Again")
    assert client.until("done")["status"] == "ok"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("hello", "not JSON"),
        ("[]", "has a 'type'"),
        ('{"type": "dance"}', "has a 'type'"),
        ('{"type": "ask"}', "'message' is missing"),
        ('{"type": "ask", "message": 5}', "'message'"),
        ('{"type": "ask", "message": "Hi", "modle": "x"}', "did you mean 'model'"),
        ('{"type": "ask", "message": " "}', "empty"),
        ('{"type": "ask", "message": "Hi", "model": "nope/x"}', "no service 'nope'"),
        ('{"type": "ask", "message": "Hi", "id": ' + "[" * 5000 + "]" * 5000 + "}", "too deeply"),
    ],
)  # fmt: skip
def test_a_bad_message_is_an_error_with_a_sentence(client, model, text, words):
    client.socket.send(text)
    assert words in client.until("error")["error"]["message"]
    client.send("ping")
    assert client.read()["type"] == "pong"
    assert [request for request in model.requests if request.json] == []


@pytest.mark.parametrize("query", ["", "?token=wrong"])
def test_nobody_opens_a_socket_without_a_token(server, query):
    with pytest.raises(websocket.WebSocketBadStatusException, match="403"):
        websocket.create_connection(f"{server.url.replace('http', 'ws')}/ipyllm/ws{query}", timeout=100)


def test_a_program_that_opens_a_socket_with_its_token_gets_no_login_cookie(server):
    url = f"{server.url.replace('http', 'ws')}/ipyllm/ws"
    header = {"Authorization": f"token {TOKENS['ana']}"}
    with closing(websocket.create_connection(url, timeout=100, header=header)) as socket:
        assert socket.getstatus() == 101
        assert "set-cookie" not in socket.getheaders()


def test_a_page_of_another_origin_opens_no_socket_with_the_users_cookie(server):
    reply = server.get(f"/login?token={TOKENS['ana']}", user=None)
    cookie = "; ".join(value.split(";")[0] for value in reply.headers.get_all("Set-Cookie"))
    url = f"{server.url.replace('http', 'ws')}/ipyllm/ws"
    with pytest.raises(websocket.WebSocketBadStatusException, match="403"):
        websocket.create_connection(url, timeout=100, cookie=cookie, origin="https://elsewhere.example")
    websocket.create_connection(url, timeout=100, cookie=cookie, origin=server.url).close()


def test_a_user_has_a_number_of_sockets(server, model):
    clients = [Client(server) for _ in range(32)]
    try:
        url = f"{server.url.replace('http', 'ws')}/ipyllm/ws?token={TOKENS['ana']}"
        too_many = websocket.create_connection(url, timeout=100)
        code, data = too_many.recv_data()
        assert (code, int.from_bytes(data[:2], "big")) == (websocket.ABNF.OPCODE_CLOSE, 4429)
        too_many.shutdown()
        Client(server, "ben").close()
    finally:
        for client in clients:
            client.close()
    model.wait_for(lambda: _opens(server), timeout=60)


@pytest.mark.thorough
def test_a_thousand_sockets_of_one_user_hold_up_nobody(server, model):
    url = f"{server.url.replace('http', 'ws')}/ipyllm/ws?token={TOKENS['ana']}"
    process = psutil.Process(server.process.pid)
    before = process.memory_info().rss

    def connect(_):
        return websocket.create_connection(url, timeout=200)

    with ThreadPoolExecutor(20) as pool:
        sockets = list(pool.map(connect, range(1000)))
    try:
        with closing(Client(server, "ben")) as other:
            other.send("ask", message="Hello")
            assert other.until("done")["status"] == "ok"
        first = [socket.recv_data() for socket in sockets]
        refused = [data for code, data in first if code == websocket.ABNF.OPCODE_CLOSE]
        assert len(refused) == 1000 - 32
        assert {int.from_bytes(data[:2], "big") for data in refused} == {4429}
        assert process.memory_info().rss - before < 100e6
    finally:
        for socket in sockets:
            socket.shutdown()
    model.wait_for(lambda: _opens(server), timeout=60)


def _opens(server):
    try:
        Client(server).close()
    except (KeyError, ValueError, EOFError, websocket.WebSocketException):
        return False
    return True


@pytest.mark.thorough
def test_a_client_that_stops_reading_holds_up_nobody(server, client, model):
    big = "x" * 200_000
    model.on(lambda request: answer(" ".join([big] * 40), gap=0.01) if request.prompt == "big" else None)
    client.send("ask", message="big")  # 8 MB, of which nothing is read
    with closing(Client(server, "ben")) as other:
        for _ in range(5):
            other.send("ask", message="Hello")
            assert other.until("done")["status"] == "ok"
    assert client.until("done")["content"] == client.texts[1] == " ".join([big] * 40)


def test_a_session_that_nobody_comes_back_to_may_be_taken_over_while_connected(server, client, model):
    with closing(Client(server, query=f"session={client.session}&")) as second:
        assert second.hello["resumed"] is True
        with pytest.raises((EOFError, websocket.WebSocketException)):
            client.read()
