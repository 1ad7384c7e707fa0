"""The extension: its options, its routes, its life cycle."""

from __future__ import annotations

import logging
import threading
from typing import Any

from jupyter_server.extension.application import ExtensionApp
from traitlets import Bool, Float, Int, List, TraitError, Unicode

from ipyllm.text.suggest import suggest
from ipyllm_server.base_handler import UnknownRoute
from ipyllm_server.chat_handler import ChatHandler
from ipyllm_server.conversation_handlers import ConversationHandler, ConversationsHandler
from ipyllm_server.info_handlers import HealthHandler, ModelsHandler, OpenApiHandler
from ipyllm_server.openai_handlers import CompletionsHandler, OpenAIModelsHandler, UnknownOpenAIRoute
from ipyllm_server.page_handlers import PageFileHandler, PageHandler
from ipyllm_server.running_calls import RunningCalls
from ipyllm_server.sessions import ChatSessions
from ipyllm_server.shared_state import STATE, SharedState
from ipyllm_server.socket_handler import ChatSocket
from ipyllm_server.usage_handler import UsageHandler
from ipyllm_server.user_conversations import UserConversations
from ipyllm_server.user_limits import Limits, UserLimits
from ipyllm_server.warm_up import warm_up

__all__ = ["ChatServer"]

_logger = logging.getLogger("ipyllm")


class ChatServer(ExtensionApp):
    """REST and streams over the service layer of ipyllm, behind Jupyter's login.

    Options are traits, set as ``c.ChatServer.models = [...]`` in ``jupyter_server_config.py`` or as
    ``--ChatServer.models=…`` on the command line.
    """

    name = "ipyllm_server"
    extension_url = "/ipyllm/"
    load_other_extensions = True

    calls: RunningCalls | None = None
    """None until the options are found to be right; Jupyter stops the extension even so."""
    _log_handlers: tuple[logging.Handler, ...] = ()

    models = List(
        Unicode(), help="Names of the models that users may ask, the default first. Empty: all that are configured."
    ).tag(config=True)
    max_body_bytes = Int(10_000_000, min=1, help="Largest body of a request, in bytes.").tag(config=True)
    body_timeout_s = Float(120.0, min=1, help="Seconds in which a request must send its body.").tag(config=True)
    requests_per_minute = Int(120, min=1, help="Questions that a user may ask in a minute.").tag(config=True)
    calls_per_user = Int(16, min=1, help="Calls of a user at a time.").tag(config=True)
    sockets_per_user = Int(32, min=1, help="Open sockets of a user at a time.").tag(config=True)
    usd_per_user_and_day = Float(
        None, allow_none=True, help="Dollars that a user may spend in a day of UTC; None: no limit."
    ).tag(config=True)
    resume_s = Float(
        30.0, min=0, help="Seconds that a chat over a socket, and its answer, go on after the connection broke off."
    ).tag(config=True)
    shutdown_grace_s = Float(
        10.0, min=0, help="Seconds that calls may go on when the server is stopped, before they are cancelled."
    ).tag(config=True)

    warm_up = Bool(
        default_value=False, help="Whether the server prepares the first call when it starts; one that runs alone does."
    ).tag(config=True)

    def initialize_settings(self) -> None:
        """Create what all handlers share."""
        # Jupyter goes on with the defaults where an option is wrong: a limit would not hold. This raises, so that there
        # is no chat instead.
        assert self.serverapp is not None
        self.update_config(self.serverapp.config)
        self._refuse_unknown_options()
        self._log_handlers = tuple(each for each in self.serverapp.log.handlers if each not in _logger.handlers)
        for handler in self._log_handlers:  # what goes wrong is in the server's log
            _logger.addHandler(handler)
        limits = UserLimits(
            Limits(
                self.requests_per_minute, self.calls_per_user, self.sockets_per_user, self.usd_per_user_and_day,
                body_bytes=self.calls_per_user * self.max_body_bytes,
            )
        )  # fmt: skip
        self.calls = calls = RunningCalls(limits, self.models)
        conversations = UserConversations()
        sessions = ChatSessions(calls, conversations, resume_s=self.resume_s, per_user=2 * self.sockets_per_user)
        models = tuple(self.models)
        self.settings[STATE] = SharedState(
            calls, conversations, sessions, limits, models, self.max_body_bytes, self.body_timeout_s
        )
        if self.warm_up:
            model = models[0] if models else None
            # It waits for the loop: no exit may wait for it.
            thread = threading.Thread(target=warm_up, args=(model,), name="ipyllm-warm-up", daemon=True)
            self.serverapp.io_loop.add_callback(thread.start)

    def _refuse_unknown_options(self) -> None:
        """Raise TraitError for an option of the chat server that does not exist: traitlets only warns of it."""
        own = ChatServer.class_own_traits(config=True)
        for section in (ChatServer.__name__, type(self).__name__):
            for name in self.config.get(section, {}):
                if name not in self.class_trait_names(config=True):
                    raise TraitError(f"ChatServer has no option {name!r}. {suggest(name, own)}")

    async def stop_extension(self) -> None:
        """Let calls end, or cancel them, before the server stops; its log ends with it."""
        try:
            if self.calls is not None:
                await self.calls.drain(self.shutdown_grace_s)
        finally:
            for handler in self._log_handlers:
                _logger.removeHandler(handler)

    @staticmethod
    def routes() -> list[tuple[str, Any]]:
        """Return the patterns of the routes, and their handlers."""
        return [  # those that ask first: they are looked up in order
            (r"/ipyllm/v1/chat/completions", CompletionsHandler),
            (r"/ipyllm/api/chat", ChatHandler),
            (r"/ipyllm/api/health", HealthHandler),
            (r"/ipyllm/api/models", ModelsHandler),
            (r"/ipyllm/api/conversations", ConversationsHandler),
            (r"/ipyllm/api/conversations/([^/]+)", ConversationHandler),
            (r"/ipyllm/api/usage", UsageHandler),
            (r"/ipyllm/api/openapi\.json", OpenApiHandler),
            (r"/ipyllm/v1/models(?:/(.+))?", OpenAIModelsHandler),
            (r"/ipyllm/ws", ChatSocket),
            (r"/ipyllm/", PageHandler),
            (r"/ipyllm/static/(.+)", PageFileHandler),
            (r"/ipyllm/v1/.*", UnknownOpenAIRoute),
            (r"/ipyllm/.*", UnknownRoute),
        ]

    def initialize_handlers(self) -> None:
        """Add the routes to Jupyter's."""
        self.handlers.extend(self.routes())
