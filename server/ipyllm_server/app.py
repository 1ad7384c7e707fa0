"""The extension: its options, its routes, its life cycle."""

from __future__ import annotations

from typing import Any

from jupyter_server.extension.application import ExtensionApp
from traitlets import Int, List, Unicode

from ipyllm_server.base_handler import UnknownRoute
from ipyllm_server.chat_handler import ChatHandler
from ipyllm_server.info_handlers import HealthHandler, ModelsHandler
from ipyllm_server.openai_handlers import CompletionsHandler, OpenAIModelsHandler
from ipyllm_server.running_calls import RunningCalls
from ipyllm_server.shared_state import STATE, SharedState

__all__ = ["ChatServer"]


class ChatServer(ExtensionApp):
    """REST and streams over the service layer of ipyllm, behind Jupyter's login.

    Options are traits, set as ``c.ChatServer.models = [...]`` in ``jupyter_server_config.py`` or as
    ``--ChatServer.models=…`` on the command line.
    """

    name = "ipyllm_server"
    extension_url = "/ipyllm/api/health"
    load_other_extensions = True

    models = List(
        Unicode(), help="Names of the models that users may ask, the default first. Empty: all that are configured."
    ).tag(config=True)
    max_body_bytes = Int(10_000_000, min=1, help="Largest body of a request, in bytes.").tag(config=True)

    def initialize_settings(self) -> None:
        """Create what all handlers share."""
        self.calls = RunningCalls(self.models)
        self.settings[STATE] = SharedState(self.calls, tuple(self.models), self.max_body_bytes)

    @staticmethod
    def routes() -> list[tuple[str, Any]]:
        """Return the patterns of the routes, and their handlers."""
        return [
            (r"/ipyllm/api/health", HealthHandler),
            (r"/ipyllm/api/models", ModelsHandler),
            (r"/ipyllm/api/chat", ChatHandler),
            (r"/ipyllm/v1/models(?:/(.+))?", OpenAIModelsHandler),
            (r"/ipyllm/v1/chat/completions", CompletionsHandler),
            (r"/ipyllm/.*", UnknownRoute),
        ]

    def initialize_handlers(self) -> None:
        """Add the routes to Jupyter's."""
        self.handlers.extend(self.routes())
