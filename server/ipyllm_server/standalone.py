"""The chat server without the rest of Jupyter: its own routes and the login, but no kernels, files or terminals."""

from __future__ import annotations

import asyncio
import signal
from typing import Any

from jupyter_server.serverapp import ServerApp
from traitlets import default

from ipyllm.runtime.service_thread import make_calls_on_running_loop
from ipyllm.transport.batched_reads import new_event_loop
from ipyllm_server.app import ChatServer

__all__ = ["ChatOnlyServerApp", "StandaloneChatServer", "main"]


class ChatOnlyServerApp(ServerApp):
    """A Jupyter server that runs no code and serves no files."""

    name = "jupyter-server"
    default_services = ("auth", "security")  # type: ignore[assignment] # fewer than its base class has

    def init_ioloop(self) -> None:
        """Let calls be made on the loop of the server, which reads the streams of many calls at once."""
        asyncio.set_event_loop(new_event_loop())
        super().init_ioloop()
        self.io_loop.add_callback(make_calls_on_running_loop)

    def init_signal(self) -> None:
        """Let an interrupt stop the server as SIGTERM does, where there is no terminal to confirm it."""
        super().init_signal()
        if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            signal.signal(signal.SIGINT, self._signal_stop)


class StandaloneChatServer(ChatServer):
    """The chat server as an application of its own, on loopback unless told otherwise."""

    description = (
        "The chat server of ipyllm, alone: it prints its address with the token.\n\n"
        "Limits of users are options, such as --ChatServer.calls_per_user=4: --help-all lists them."
    )
    examples = "python -m ipyllm_server --port=8888 --ChatServer.models=local/smollm2-135m"
    classes = [ServerApp]  # noqa: RUF012 - as in its base class; whose options --help shows
    aliases = {  # noqa: RUF012 - likewise
        name: f"ServerApp.{name}" for name in ("ip", "port", "certfile", "keyfile", "base_url")
    }
    open_browser = False
    load_other_extensions = False
    serverapp_class = ChatOnlyServerApp
    serverapp_config: dict[str, Any] = {  # noqa: RUF012 - as in its base class
        "ip": "127.0.0.1",
        "terminals_enabled": False,
        "contents_manager_class": "ipyllm_server.no_files.NoFiles",
        # Whoever uses the chat in JupyterLab may have enabled it in a file that is read here, too.
        "jpserver_extensions": {"ipyllm_server": False},
        "reraise_server_extension_failures": True,  # a wrong option ends it: without the chat it would serve nothing
    }

    @classmethod
    def get_extension_package(cls) -> str:
        """Return this module: the extension of the package is a `ChatServer`, without what is set here."""
        return __name__

    @default("warm_up")
    def _warms_up(self) -> bool:
        return True


def _jupyter_server_extension_points() -> list[dict[str, Any]]:
    return [{"module": __name__, "app": StandaloneChatServer}]


def main(argv: list[str] | None = None) -> None:
    """Start the server, print its address with the token, and serve until it is interrupted.

    Options are those of ``jupyter server``: ``--port=8888``, ``--certfile=…``, ``--ServerApp.base_url=/lab``; and those
    of :class:`~ipyllm_server.app.ChatServer`.
    """
    StandaloneChatServer.launch_instance(argv)  # type: ignore[no-untyped-call]
