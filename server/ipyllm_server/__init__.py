"""The chat server: an extension of Jupyter Server with REST and streams over the service layer of ipyllm."""

from __future__ import annotations

from typing import Any

__all__ = ["ChatServer"]


def __getattr__(name: str) -> Any:
    if name == "ChatServer":
        from ipyllm_server.app import ChatServer

        return ChatServer
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def _jupyter_server_extension_points() -> list[dict[str, Any]]:
    from ipyllm_server.app import ChatServer

    return [{"module": "ipyllm_server.app", "app": ChatServer}]
