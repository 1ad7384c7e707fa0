"""Contents of a server that has no files."""

from __future__ import annotations

from typing import Any

from jupyter_server.services.contents.filemanager import AsyncFileContentsManager

__all__ = ["NoFiles"]


class NoFiles(AsyncFileContentsManager):
    """The contents manager that Jupyter's server needs to start; it has no route to any file."""

    def info_string(self) -> str:
        """Return what is served, for the log."""
        return "Serving a chat, and no files."

    def get_extra_handlers(self) -> list[Any]:
        """Return no handlers: the base class serves files at ``/files/``."""
        return []
