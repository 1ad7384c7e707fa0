"""What all routes have in common: authentication, a bounded body, errors as JSON, no content in the log."""

from __future__ import annotations

import json
import logging
import re
from typing import TYPE_CHECKING, Any, Final

from jupyter_server.auth.decorator import authorized
from jupyter_server.base.handlers import APIHandler, JupyterHandler
from jupyter_server.extension.handler import ExtensionHandlerMixin
from tornado import web

from ipyllm.errors import LLMError
from ipyllm.observability.logs import log, log_failure
from ipyllm.settings import SettingsError
from ipyllm_server.access_log import log_request
from ipyllm_server.asker import asker
from ipyllm_server.refusals import Refusal, as_refusal, error_body
from ipyllm_server.shared_state import STATE

if TYPE_CHECKING:
    from ipyllm_server.shared_state import SharedState

__all__ = ["CODES", "ApiHandler", "BaseHandler", "JsonErrors", "NoLoginCookie", "UnknownRoute", "for_users"]

CODES: Final = {400: "bad_request", 403: "forbidden", 404: "not_found", 405: "method_not_allowed", 413: "too_large"}
"""Words for programs, by the status of an error."""

_LOG_IN: Final = "Forbidden: send the token of the server, as in 'Authorization: token …'."
_POLICY: Final = "ipyllm_server_content_security_policy"
_HOSTS: Final = "ipyllm_server_hosts"
_KNOWN_HOSTS: Final = 100
_HOST: Final = re.compile(r"[\w.:\[\]-]+")  # not the path of a Unix socket, which may come and go

_FIRST_ERROR: Final = 400
_OWN_FAILURE: Final = 500
_logger = logging.getLogger("ipyllm.server")


def for_users(method: Any) -> Any:
    """Let a method of a handler be called only for users who are authenticated, and authorized for ``ipyllm``."""
    return web.authenticated(authorized(method))


class BaseHandler(ExtensionHandlerMixin, JupyterHandler):
    """What all handlers are: the log has neither content nor keys, whatever a request is like."""

    auth_resource = "ipyllm"

    @property
    def state(self) -> SharedState:
        """What all handlers share."""
        state: SharedState = self.settings[STATE]
        return state

    def known_user(self) -> str | None:
        """Return the name of the user; None for who is not logged in, or not asked for it yet."""
        is_asked = hasattr(self, "_jupyter_current_user")
        return None if not is_asked or self.current_user is None else asker(self)

    def log_exception(self, typ: Any, value: Any, tb: Any) -> None:  # noqa: ARG002 - as in tornado
        """Log our own failures without a traceback, whose lines may hold content, and without the address."""
        if isinstance(value, SettingsError):
            log(_logger, logging.ERROR, "a request failed", route=self.request.path, reason=str(value))
        elif not isinstance(value, Refusal | LLMError | web.HTTPError):
            log_failure(_logger, "a request failed", value, route=self.request.path)

    def decode_argument(self, value: bytes, name: str | None = None) -> str:
        """Return an argument as text; a part of the path always, because it is read before the user is known."""
        if name is None and value is not None:
            return value.decode(errors="replace")
        return super().decode_argument(value, name)


class NoLoginCookie:
    """What handlers for programs are, too: their requests leave no login behind."""

    def set_secure_cookie(self, *args: Any, **kwargs: Any) -> None:
        """Set no cookie: Jupyter's would log in for days whoever has the token, which programs send each time."""


class JsonErrors:
    """What handlers of Jupyter's pages are, too: they answer with errors as the API does, without a page."""

    def write_error(self: Any, status_code: int, **_kwargs: Any) -> None:
        """Answer with the error as JSON."""
        self.set_header("Content-Type", "application/json")
        self.finish(json.dumps(error_body(status_code, self._reason, CODES.get(status_code, "error"))))


@web.stream_request_body
class ApiHandler(NoLoginCookie, BaseHandler, APIHandler):
    """A route below ``/ipyllm/``.

    The body is read only after the user is known, and never more than the server allows.
    """

    @property
    def socket_stream(self) -> Any:
        """The connection's stream, of tornado."""
        connection: Any = self.request.connection
        return connection.stream

    @property
    def user(self) -> str:
        """Name of the user who asks."""
        return asker(self)

    def get_login_url(self) -> str:
        """Refuse: a program cannot log in."""
        raise web.HTTPError(403, _LOG_IN)

    def check_xsrf_cookie(self) -> None:
        """Check it only for who is logged in: of others the reason is that they are not."""
        if hasattr(self, "_jupyter_current_user") and self.current_user is None:
            raise web.HTTPError(403, _LOG_IN)
        super().check_xsrf_cookie()

    @property
    def content_security_policy(self) -> str:
        """That of Jupyter's routes: the same for all requests of a server, so it is made once."""
        policy: str | None = self.settings.get(_POLICY)
        if policy is None:
            policy = self.settings[_POLICY] = super().content_security_policy
        return policy

    def check_host(self) -> bool:
        """Check the name by which a client calls the server; those that were right are known."""
        host, known = self.request.host, self.settings.setdefault(_HOSTS, set())
        if host in known:
            return True
        is_right = super().check_host()
        if is_right and len(known) < _KNOWN_HOSTS and _HOST.fullmatch(host):
            known.add(host)
        return is_right

    _received = bytearray()
    _is_too_large = _is_too_much = False

    async def prepare(self) -> None:  # type: ignore[override] # as in its base class
        """Find out who asks; refuse a body that says to be too large before it is sent."""
        self._received = bytearray()
        await super().prepare()
        connection: Any = self.request.connection
        connection.set_body_timeout(self.state.body_timeout_s)
        length = self.request.headers.get("Content-Length", "0")
        is_number = length.isascii() and length.isdigit()  # else tornado refuses it
        if self.current_user is not None and is_number and int(length) > self.state.max_body_bytes:
            raise self._too_large()

    def data_received(self, chunk: bytes) -> None:
        """Keep a part of the body, as far as it is allowed."""
        if len(self._received) + len(chunk) > self.state.max_body_bytes or self.current_user is None:
            self._is_too_large = True
        elif self._is_too_much or not self.state.limits.receive(self.user, len(chunk)):
            self._is_too_much = True
        else:
            self._received += chunk

    def _forget_body(self) -> None:
        """Free the memory at once: a handler is part of a circle of references."""
        if self._received:
            self.state.limits.forget(self.user, len(self._received))
            self._received = bytearray()

    def on_connection_close(self) -> None:
        """Forget what was received of a request whose client has gone."""
        super().on_connection_close()
        self._forget_body()

    @property
    def body(self) -> bytes:
        """The body; raises 413 for one that is too large, and 429 if the user sends too many."""
        if self._is_too_large:
            raise self._too_large()
        if self._is_too_much:
            raise Refusal(429, "You send too much at a time.", "too_many_requests", retry_after_s=1)
        return bytes(self._received)

    def _too_large(self) -> Refusal:
        return Refusal(413, f"The body may have {self.state.max_body_bytes:,} bytes.", "too_large")

    def send(self, value: Any, status: int = 200) -> None:
        """Answer with JSON."""
        self.set_status(status)
        self.set_header("Cache-Control", "no-store")
        self.finish(json.dumps(value))

    def _log(self) -> None:
        """Leave requests that went well to the access log."""
        if self.get_status() >= _FIRST_ERROR:
            super()._log()

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Answer with the error as JSON; of our own failures it says nothing but that."""
        error = kwargs.get("exc_info", (None, None))[1]
        refusal = as_refusal(error)
        if refusal is not None:
            self.set_status(refusal.status)
            if refusal.retry_after_s is not None:
                self.set_header("Retry-After", str(max(1, round(refusal.retry_after_s))))
            # What the server could try again, it has: clients of OpenAI would multiply it.
            self.set_header("X-Should-Retry", "true" if refusal.code == "too_many_requests" else "false")
            message, code, parameter = str(refusal), refusal.code, refusal.parameter
        else:
            said = error.log_message if isinstance(error, web.HTTPError) and status_code < _OWN_FAILURE else None
            message, code, parameter = said or self._reason, CODES.get(status_code, "error"), None
        self.finish(json.dumps(error_body(self.get_status(), message, code, parameter)))

    def on_finish(self) -> None:
        """Write the line of the access log."""
        log_request(self, self.known_user(), received=len(self._received))
        self._forget_body()


class UnknownRoute(ApiHandler):
    """Whatever else is below ``/ipyllm/``: 404, for users only."""

    sentence = "There is no such route."

    @for_users
    def get(self) -> None:
        """Answer 404."""
        raise Refusal(404, self.sentence, "not_found")

    post = put = patch = delete = head = get
