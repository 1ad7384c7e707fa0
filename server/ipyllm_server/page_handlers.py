"""The page at ``/ipyllm/`` and its files: scripts and style sheets, those of the widgets too."""

from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from tornado import web

from ipyllm.rendering.style import CSS
from ipyllm_server.access_log import log_request
from ipyllm_server.base_handler import BaseHandler, JsonErrors, for_users

__all__ = ["FILES", "PageFileHandler", "PageHandler"]

_OWN: Final = Path(__file__).resolve().parent / "static"
_TYPES: Final = {"js": "text/javascript; charset=utf-8", "css": "text/css; charset=utf-8"}
_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""No script, style or picture from elsewhere or within the page; nobody may frame it."""

_STYLES: Final = ("chat/chat.css", "composer.css", "widget.css")
_MODULES: Final = (
    *("dom.js", "patch.js", "part.js", "prompt_menu.js", "files.js", "composer.js"),
    *("queue.js", "chat/conversations.js", "chat/edit_form.js", "chat/message_keys.js"),
    *("chat/question_text.js", "chat/version_switch.js"),
)
_OWN_MODULES: Final = (
    "api.js",
    "connection.js",
    "conversation_list.js",
    "exchange.js",
    "tab_memory.js",
    "chat_log.js",
    "background_chats.js",
    "question_queue.js",
    "text_composer.js",
    "page_frame.js",
    "shown_chat.js",
    "page.js",
)
_IMPORT: Final = re.compile(r"^import \{[^}]*\} from [^;]*;\n", re.MULTILINE)
_EXPORT: Final = re.compile(r"^export (?=const|function|class|async)", re.MULTILINE)

FILES: Final = ("answer.css", "page.css", "page.js", *_STYLES)
"""Names of the files."""


class _PageBase(JsonErrors, BaseHandler):
    @property
    def content_security_policy(self) -> str:
        """Return what the page may load."""
        return _POLICY

    def set_default_headers(self) -> None:
        """Let nothing leak: neither the address with its token, nor the files to pages of others."""
        super().set_default_headers()
        self.set_header("Referrer-Policy", "no-referrer")
        self.set_header("X-Content-Type-Options", "nosniff")
        self.set_header("Cross-Origin-Resource-Policy", "same-origin")
        self.set_header("Cache-Control", "no-cache")

    def on_finish(self) -> None:
        """Write the line of the access log."""
        log_request(self, self.known_user())


class PageHandler(_PageBase):
    """``GET /ipyllm/``: who is not logged in is sent to Jupyter's login."""

    @for_users
    def get(self) -> None:
        """Answer with the page."""
        self.xsrf_token  # noqa: B018 # sets the cookie that requests of the page repeat
        self.finish((_OWN / "page.html").read_text(encoding="utf-8"))


class PageFileHandler(_PageBase):
    """``GET /ipyllm/static/<file>``."""

    @for_users
    def get(self, name: str) -> None:
        """Answer with a script or a style sheet."""
        content = _content(name)
        if content is None:
            raise web.HTTPError(404)
        self.set_header("Content-Type", _TYPES[name.rpartition(".")[2]])
        self.finish(content)

    def get_login_url(self) -> str:
        """Refuse: a script cannot log in."""
        raise web.HTTPError(403)


def _content(name: str) -> str | None:
    if name == "answer.css":
        return CSS
    if name == "page.js":
        return _script()
    if name in FILES:
        return ((_widgets() if name in _STYLES else _OWN) / name).read_text(encoding="utf-8")
    return None


def _script() -> str:
    """Return the page's modules, each after those it imports, as one plain script.

    JupyterHub refuses modules: browsers ask for them as a program would (``Sec-Fetch-Mode: cors``), and then it demands
    the XSRF token.
    """
    paths = [*(_widgets() / name for name in _MODULES), *(_OWN / name for name in _OWN_MODULES)]
    joined = "\n".join(_EXPORT.sub("", _IMPORT.sub("", path.read_text(encoding="utf-8"))) for path in paths)
    return f'"use strict";\n{{\n{joined}}}\n'


def _widgets() -> Path:
    """Return the folder of the widgets' front end, whose Python is not imported."""
    found = find_spec("ipyllm_widgets")
    assert found is not None and found.origin is not None  # noqa: PT018 - one distribution has both
    return Path(found.origin).parent / "static"
