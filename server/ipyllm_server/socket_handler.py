"""``/ipyllm/ws``: a chat over a WebSocket. `docs/server.md` describes its messages.

Each socket has at most one message on its way; what arrives meanwhile is joined in the next one. So a client that reads
slowly, or not at all, costs no more memory than the text of its answer.
"""

from __future__ import annotations

import asyncio
import json
import logging
from typing import TYPE_CHECKING, Any, Final

from jupyter_server.auth.decorator import authorized, ws_authenticated
from jupyter_server.base.websocket import WebSocketMixin
from tornado.websocket import WebSocketClosedError, WebSocketHandler, WebSocketProtocol13

from ipyllm.errors import LLMError
from ipyllm.observability.logs import log_failure
from ipyllm.settings import SettingsError
from ipyllm.token_bucket import TokenBucket
from ipyllm_server.answer_html import HtmlMessages
from ipyllm_server.asker import asker
from ipyllm_server.base_handler import BaseHandler, JsonErrors, NoLoginCookie
from ipyllm_server.bounded_frames import BoundedFrames
from ipyllm_server.chat_body import AskMessage, ShowMessage, is_conversation_name
from ipyllm_server.chat_session import Cursor
from ipyllm_server.json_body import as_shape, parse_json
from ipyllm_server.refusals import Refusal, as_refusal, error_body

if TYPE_CHECKING:
    from ipyllm_server.chat_session import ChatSession

__all__ = ["ChatSocket"]

_MESSAGES_PER_S: Final = 20
_BURST: Final = 100
_MOST_WAITING: Final = 64  # messages, besides an answer's, for a client that does not read
_DIGITS: Final = 9
_PACE_S: Final = 0.1  # between messages with HTML
_BYTES_PER_S: Final = 500_000
_ARGUMENTS: Final = ("conversation", "session", "answer", "at", "html")
_LEFT: Final = 1000  # the code of a client that says good-bye

TOO_MANY: Final = 4429
"""Code of a socket that is closed because its user has too many, sends too much, or does not read."""

TAKEN_OVER: Final = 4409
"""Code of a socket whose session goes on in another one."""

_logger = logging.getLogger("ipyllm.server")
_encode = json.JSONEncoder(separators=(",", ":")).encode


class ChatSocket(NoLoginCookie, JsonErrors, WebSocketMixin, WebSocketHandler, BaseHandler):
    """One connection of a client."""

    _session: ChatSession | None = None
    _is_counted = False
    _is_writing = False
    _is_paced = False
    _has_more = False

    @property
    def max_message_size(self) -> int:
        """Largest message of a client, in bytes; a larger one closes the socket."""
        return self.state.max_body_bytes

    @ws_authenticated
    @authorized(action="write")  # type: ignore[untyped-decorator] # typed for plain methods
    async def get(self) -> None:  # type: ignore[override]
        """Open the socket, for users only."""
        for name in _ARGUMENTS:
            self.get_argument(name, "")  # 400 for one that is no text
        await super().get()

    def get_websocket_protocol(self) -> Any:
        """Bound what is read. Jupyter alone sends pings: tornado would take its milliseconds for seconds."""
        protocol = super().get_websocket_protocol()
        if not isinstance(protocol, WebSocketProtocol13):
            return protocol
        protocol.params.ping_interval = protocol.params.ping_timeout = None
        return BoundedFrames(self, protocol.params, self.state.limits, asker(self), too_much=TOO_MANY)

    async def open(self) -> None:
        """Begin a session, or go on with one."""
        super().open()
        self.set_nodelay(True)
        user = asker(self)
        self._is_counted = self.state.limits.open_socket(user)
        if not self._is_counted:
            self.close(TOO_MANY, "You have too many sockets open.")
            return
        self._bucket = TokenBucket(_MESSAGES_PER_S, _BURST, asyncio.get_running_loop().time())
        self._outbox: list[dict[str, Any]] = []
        self._html = HtmlMessages() if self.get_argument("html", "0") == "1" else None
        wanted = self.get_argument("session", "")
        try:
            session = self.state.sessions.resume(user, wanted) if wanted else None
            is_resumed = session is not None
            if session is None:
                session = await self.state.sessions.begin(user, _name(self.get_argument("conversation", "")))
        except (Refusal, LLMError, SettingsError) as exc:
            self.close(4400, str(as_refusal(exc))[:100])
            return
        if is_resumed:
            number, at = _position(self.get_argument("answer", "0")), _position(self.get_argument("at", "0"))
            self._cursor = Cursor(min(number, session.number + 1), at, is_told=at > 0)
        else:
            self._cursor = Cursor(session.number + 1)
        if self.ws_connection is None:  # it was closed meanwhile
            self.state.sessions.leave(session, at_once=False)
            return
        former, session.client, self._session = session.client, self, session
        if former is not None:
            former.close(TAKEN_OVER, "The session goes on in another socket.")
        self._outbox.append({
            "type": "session", "session": session.id, "resumed": is_resumed, "answering": session.is_answering,
            "answers": session.number, "user": session.user,
        })  # fmt: skip
        self.send_changes()

    async def on_message(self, message: str | bytes) -> None:
        """Do what a message asks for."""
        session = self._session
        if session is None:
            return
        if not self._is_admitted():
            return
        question = None
        try:
            value = parse_json(message)
            fields = value if isinstance(value, dict) else {}
            question = fields.get("id")
            await self._do(session, fields.pop("type", None), fields)
        except Exception as exc:  # noqa: BLE001 - a bug of ours ends no socket, and tells nothing
            if not isinstance(exc, Refusal | LLMError):
                log_failure(_logger, "a message of a socket failed", exc)
            self._send_error(as_refusal(exc) or Refusal(500, "Internal Server Error", "error"), question)

    def on_ping(self, data: bytes) -> None:  # noqa: ARG002 - as in tornado, which has answered
        """Count a ping as a message."""
        if self._session is not None:
            self._is_admitted()

    def on_pong(self, data: bytes) -> None:
        """Count a pong as a message, too: a client may send them unasked."""
        super().on_pong(data)  # type: ignore[no-untyped-call]
        if self._session is not None:
            self._is_admitted()

    def _is_admitted(self) -> bool:
        """Count a message; close the socket if there are too many."""
        now_s = asyncio.get_running_loop().time()
        if self._bucket.wait_s(1, now_s) > 0:
            self.close(TOO_MANY, "Too many messages.")
            return False
        self._bucket.take(1, now_s)
        return True

    async def _do(self, session: ChatSession, kind: Any, fields: dict[str, Any]) -> None:
        match kind:
            case "ask":
                await session.ask(as_shape(fields, AskMessage))
            case "stop":
                session.stop()
            case "history":
                await self._send_history(session)
            case "show":
                session.show(as_shape(fields, ShowMessage).call_id)
                await self._send_history(session)
            case "clear":
                with session.conversation:
                    session.conversation.clear()
                self._send({"type": "history", "messages": [], "answers": [], "unfinished": 0})
            case "ping":
                self._send({"type": "pong"})
            case _:
                raise Refusal(400, "A message has a 'type': ask, stop, history, show, clear or ping.", "bad_request")

    async def _send_history(self, session: ChatSession) -> None:
        messages, answers = session.conversation.messages(), session.conversation.answers()
        unfinished = session.unfinished
        summaries = await session.conversation.summaries()
        # Together: with the history, a page that was reloaded asks for the running answer over another socket.
        self._send(
            {"type": "history", "messages": messages, "answers": answers, "unfinished": unfinished},
            {"type": "summaries", "summaries": summaries},
        )

    def on_close(self) -> None:
        """Keep the session for a while, unless the client said good-bye."""
        super().on_close()
        if self._is_counted:
            self.state.limits.close_socket(asker(self))
            self._is_counted = False
        session, self._session = self._session, None
        if session is not None and session.client is self:
            session.client = None
            self.state.sessions.leave(session, at_once=self.close_code == _LEFT)

    def _send(self, *messages: dict[str, Any]) -> None:
        self._outbox += messages
        self.send_changes()
        if len(self._outbox) > _MOST_WAITING:
            self._outbox = []
            self.close(TOO_MANY, "You ask too much, and do not read.")

    def _send_error(self, refusal: Refusal, question: Any) -> None:
        body = error_body(refusal.status, str(refusal), refusal.code, refusal.parameter)
        self._send({"type": "error", "question": question if isinstance(question, str) else None, **body})

    def send_changes(self) -> None:
        """Send what the client lacks, unless it has not yet taken what was sent before."""
        if self._is_writing or self._is_paced or self._session is None:
            self._has_more = True
            return
        self._has_more = False
        messages, self._outbox = [*self._outbox, *self._session.messages_since(self._cursor)], []
        if not messages:
            return
        self._is_writing = True
        if self._html is None:
            self._write(messages)
        else:
            self._is_paced = True
            self._rendering = asyncio.create_task(self._render(self._html, messages))

    async def _render(self, html: HtmlMessages, messages: list[dict[str, Any]]) -> None:
        """Send messages with HTML, not faster than a page can show it; what arrives meanwhile is joined."""
        began_s = asyncio.get_running_loop().time()
        converted = await asyncio.to_thread(html.convert, messages)
        size = self._write(converted)
        pace_s = _PACE_S + size / _BYTES_PER_S
        await asyncio.sleep(max(0.0, began_s + pace_s - asyncio.get_running_loop().time()))
        self._is_paced = False
        self.send_changes()

    def _write(self, messages: list[dict[str, Any]]) -> int:
        """Begin to send messages; return their size. A text that changes nothing of the HTML makes no message."""
        if not messages:
            self._is_writing = False
            return 0
        text = "\n".join([_encode(message) for message in messages])
        try:
            written = self.write_message(text)
        except WebSocketClosedError:
            return 0
        written.add_done_callback(self._on_written)
        return len(text)

    def _on_written(self, written: asyncio.Future[None]) -> None:
        self._is_writing = False
        if written.cancelled() or written.exception() is not None:
            return  # the socket is closed; a new one asks for what this one did not get
        if self._has_more:
            self.send_changes()


def _name(text: str) -> str | None:
    """Return the name of a conversation that a client gives; None for one without a name."""
    if text and not is_conversation_name(text):
        raise Refusal(400, "The name of a conversation is a line of 1 to 200 characters.", "bad_request")
    return text or None


def _position(text: str) -> int:
    """Return a number that a client sends; 0 for what is none."""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= _DIGITS else 0
