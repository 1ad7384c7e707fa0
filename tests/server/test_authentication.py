"""Nothing is reachable without a token; with one, only what belongs to its user."""

import json
import re

import pytest
from tornado.web import RequestHandler

from ipyllm_server.app import ChatServer
from ipyllm_server.base_handler import UnknownRoute
from tests.server.chat_server import ChatServerProcess
from tests.server.classroom import TOKENS

pytestmark = pytest.mark.timeout(400)  # the first test starts a server

ROUTES = [
    ("GET", "/ipyllm/api/health"),
    ("GET", "/ipyllm/api/models"),
    ("POST", "/ipyllm/api/chat"),
    ("GET", "/ipyllm/api/conversations"),
    ("GET", "/ipyllm/api/conversations/lesson"),
    ("PATCH", "/ipyllm/api/conversations/lesson"),
    ("DELETE", "/ipyllm/api/conversations/lesson"),
    ("GET", "/ipyllm/api/usage"),
    ("GET", "/ipyllm/api/usage?format=csv"),
    ("GET", "/ipyllm/api/openapi.json"),
    ("GET", "/ipyllm/v1/models"),
    ("GET", "/ipyllm/v1/models/lab/tiny"),
    ("POST", "/ipyllm/v1/chat/completions"),
    ("POST", "/ipyllm/v1/responses"),
    ("GET", "/ipyllm/ws"),
    ("GET", "/ipyllm/"),
    ("GET", "/ipyllm/static/page.js"),
    ("GET", "/ipyllm/anything"),
]

METHODS = ("get", "post", "put", "patch", "delete")
PAGE = "/ipyllm/"


def test_the_table_has_every_route():
    for pattern, handler in ChatServer.routes():
        found = {method for method, path in ROUTES if re.fullmatch(pattern, path.partition("?")[0])}
        if not issubclass(handler, UnknownRoute):
            assert found == {m.upper() for m in METHODS if getattr(handler, m) is not getattr(RequestHandler, m)}, (
                pattern
            )


@pytest.mark.parametrize(("method", "path"), ROUTES)
@pytest.mark.parametrize("token", ["", "wrong"])
def test_every_route_refuses_who_has_no_token_or_a_wrong_one(server, model, method, path, token):
    headers = {"Authorization": f"token {token}"} if token else {"X-None": "1"}
    body = {"message": "Hello"} if method == "POST" else None
    with server.request(method, path, body, user=None, headers=headers) as response:
        if path == PAGE:
            assert response.status == 302
            assert response.headers["Location"].startswith("/login?next=")
            assert response.read() == b""
            return
        assert response.status == 403
        message = json.loads(response.read())["error"]["message"]
        assert message.startswith("Forbidden")
        assert "token" in message or path.endswith((".js", "/ws"))
    assert model.requests == []


@pytest.mark.parametrize("path", ["/api/contents", "/api/kernels", "/api/sessions", "/api/terminals", "/terminals/1"])
def test_the_server_alone_has_neither_kernels_nor_files(server, path):
    assert server.get(path).status == 404


def test_the_server_alone_gives_nobody_a_file_of_its_folder(server):
    assert (server.home / "config.toml").exists()
    assert server.get("/files/config.toml").status == 404


def test_the_token_may_come_in_the_address(server):
    assert server.get(f"/ipyllm/api/health?token={TOKENS['ana']}", user=None).status == 200


@pytest.fixture(scope="module")
def cookie(shared_server):
    return _login_cookie(shared_server)


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_a_page_of_another_origin_gets_nothing_with_the_users_cookie(server, model, cookie, method, path):
    other = {"Cookie": cookie, "Origin": "https://elsewhere.example", "Referer": "https://elsewhere.example/"}
    if path.endswith("/ws"):
        other |= {
            "Upgrade": "websocket",
            "Connection": "Upgrade",
            "Sec-WebSocket-Version": "13",
            "Sec-WebSocket-Key": "x",
        }
    body = {"message": "Hello"} if method == "POST" else None
    with server.request(method, path, body, user=None, headers=other) as response:
        is_public_code = path == PAGE or "/static/" in path  # the same for everyone, and not to be read by that page
        assert response.status in ({200} if is_public_code else {403, 404})
        assert "Access-Control-Allow-Origin" not in response.headers
        if is_public_code:
            assert response.headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert model.requests == []


def test_options_tell_nothing_to_who_is_not_logged_in(server):
    replies = []
    for path in ("/ipyllm/api/chat", "/ipyllm/api/conversations/lesson", "/ipyllm/nothing"):
        with server.request("OPTIONS", path, user=None) as response:
            replies.append((response.status, response.read()))
    assert set(replies) <= {(200, b""), (204, b""), (403, b"")} or len(set(replies)) == 1


def test_a_cookie_without_the_xsrf_header_cannot_ask(server, model):
    reply = server.post("/ipyllm/api/chat", {"message": "Hello"}, user=None, headers={"Cookie": _login_cookie(server)})
    assert reply.status == 403
    assert "_xsrf" in reply.message
    assert model.requests == []


def test_a_cookie_with_the_xsrf_header_can_ask(server, model):
    cookie = _login_cookie(server)
    xsrf = re.search(r"_xsrf=([^;]+)", cookie)[1]
    headers = {"Cookie": cookie, "X-XSRFToken": xsrf}
    assert server.post("/ipyllm/api/chat", {"message": "Hello"}, user=None, headers=headers).status == 200


def _login_cookie(server):
    """Cookies of a browser that has opened the server with its token."""
    page = server.get("/login", user=None)
    reply = server.get(f"/login?token={TOKENS['ana']}", user=None)
    cookies = [*page.headers.get_all("Set-Cookie"), *reply.headers.get_all("Set-Cookie")]
    pairs = [value.split(";")[0] for value in cookies]
    return "; ".join(pairs)


def test_the_page_has_one_plain_script_because_hubs_refuse_modules(server):
    assert b'<script defer src="static/page.js"></script>' in server.get("/ipyllm/").body
    lines = server.get("/ipyllm/static/page.js").body.splitlines()
    assert lines[0] == b'"use strict";'
    assert [line for line in lines if line.startswith((b"import", b"export"))] == []


def test_a_wrong_host_is_refused_also_after_a_right_one(server):
    for host, status in 2 * ((f"localhost:{server.port}", 200), ("evil.example", 403)):
        assert server.get("/ipyllm/api/health", headers={"Host": host}).status == status


def test_everyone_with_the_token_of_jupyter_is_one_user(shared_fake):
    options = (f"--IdentityProvider.token={TOKENS['ana']}",)
    with ChatServerProcess(shared_fake, *options, has_classroom=False) as server:
        assert server.chat(conversation="lesson").status == 200
        listed = server.get("/ipyllm/api/conversations").json["conversations"]
        assert [each["name"] for each in listed] == ["lesson"]
        calls = server.get("/ipyllm/api/usage").json["calls"]
        assert [call["tags"] for call in calls] == [{"user": "token"}]
