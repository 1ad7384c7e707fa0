"""Context in which a magic was called: kernel, cell, number of the call in its cell, notebook or terminal."""

from __future__ import annotations

import json
from contextlib import suppress
from datetime import datetime
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any, NamedTuple

from ipyllm.conversations.notebook import notebook_path
from ipyllm.ledger.ids import kernel_id, set_kernel_id
from ipyllm.user_file import read_file

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

__all__ = [
    "CallCounter", "SavedNotebook", "adopt_kernel_id", "cell_id", "is_notebook", "notebook_cells", "place",
    "request_date", "saved_notebook",
]  # fmt: skip


def is_notebook(shell: InteractiveShell) -> bool:
    """Return whether a front end, not a terminal, displays the outputs."""
    return hasattr(shell, "kernel")


def cell_id(shell: InteractiveShell) -> str | None:
    """Return the id of the running cell, as JupyterLab, Notebook 7 and VS Code send it; None elsewhere."""
    kernel: Any = getattr(shell, "kernel", None)
    if kernel is None:
        return None
    with suppress(Exception):  # not a public API; without the id, a re-run adds a turn
        found = kernel.get_parent("shell").get("metadata", {}).get("cellId")
        return str(found) if found else None
    return None


def adopt_kernel_id(shell: InteractiveShell) -> None:
    """Use Jupyter's kernel id, which survives a restart: ``usage()`` then also shows the calls before the restart."""
    kernel: Any = getattr(shell, "kernel", None)
    app: Any = getattr(kernel, "parent", None)
    connection_file = getattr(app, "connection_file", "")
    if connection_file:
        set_kernel_id(PurePath(connection_file).stem.removeprefix("kernel-"))


def place(shell: InteractiveShell) -> str:
    """Return what is the same after a restart: Jupyter's id of the kernel, or the working folder of a terminal."""
    return kernel_id() if is_notebook(shell) else str(Path.cwd())


def request_date(shell: InteractiveShell) -> datetime | None:
    """Return when the front end sent the running cell, on its own clock; None where it does not tell."""
    kernel: Any = getattr(shell, "kernel", None)
    if kernel is None:
        return None
    with suppress(Exception):  # not a public API, as above
        date = kernel.get_parent("shell")["header"]["date"]
        return date if isinstance(date, datetime) else None
    return None


_MAX_NOTEBOOK_BYTES = 256_000_000


class SavedNotebook(NamedTuple):
    """The file of a notebook: its text, and when it was saved, in seconds since the epoch."""

    text: str
    modified: float


def saved_notebook() -> SavedNotebook | None:
    """Return the notebook's file as last saved; None if it is not found."""
    name = notebook_path()
    if not name:
        return None
    # Jupyter's path is relative to the root of its server, the kernel's folder or one above it.
    for path in (Path(str(name)), Path.cwd() / PurePath(str(name)).name):
        with suppress(OSError, ValueError):  # not found, or not a text
            return SavedNotebook(read_file(path, _MAX_NOTEBOOK_BYTES).decode(), path.stat().st_mtime)
    return None


def notebook_cells() -> set[str]:
    """Return the ids of the cells in the notebook's file as last saved; empty if the file is not found."""
    saved = saved_notebook()
    try:
        return {str(cell["id"]) for cell in json.loads(saved.text)["cells"] if "id" in cell} if saved else set()
    except (ValueError, KeyError, TypeError, RecursionError):  # not a notebook
        return set()


class CallCounter:
    """Numbers the calls of a cell, so that a second run of the cell gets the same keys."""

    def __init__(self) -> None:
        self._execution: object = None
        self._count = 0

    def next_key(self, shell: InteractiveShell, *, counts: bool = True) -> str | None:
        """Return the key of this call's turn, or None without cell ids. With ``counts=False`` it is not counted."""
        cell = cell_id(shell)
        if self._execution != (cell, shell.execution_count):
            self._execution, self._count = (cell, shell.execution_count), 0
        number = self._count + 1
        if counts:
            self._count = number
        return f"{cell}#{number}" if cell is not None else None
