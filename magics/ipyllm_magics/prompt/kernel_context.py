"""Where a magic was called: which kernel, which cell, the how-manieth call of that cell, notebook or terminal."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

from ipyllm.ledger.ids import set_kernel_id

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

__all__ = ["CallCounter", "adopt_kernel_id", "cell_id", "is_notebook", "notebook_cells"]


def is_notebook(shell: InteractiveShell) -> bool:
    """Whether outputs are displayed by a front end, as opposed to a terminal."""
    return hasattr(shell, "kernel")


def cell_id(shell: InteractiveShell) -> str | None:
    """Id of the cell being run, as JupyterLab, Notebook 7 and VS Code send it; None elsewhere."""
    kernel: Any = getattr(shell, "kernel", None)
    if kernel is None:
        return None
    with suppress(Exception):  # private to each kernel's version; without it, re-running adds a turn
        found = kernel.get_parent("shell").get("metadata", {}).get("cellId")
        return str(found) if found else None
    return None


def adopt_kernel_id(shell: InteractiveShell) -> None:
    """Use Jupyter's kernel id, which outlives a restart: ``usage()`` then still shows what came before it."""
    kernel: Any = getattr(shell, "kernel", None)
    app: Any = getattr(kernel, "parent", None)
    connection_file = getattr(app, "connection_file", "")
    if connection_file:
        set_kernel_id(PurePath(connection_file).stem.removeprefix("kernel-"))


def notebook_cells(shell: InteractiveShell) -> set[str]:
    """Ids of the cells of the notebook's file, as it was saved last; none where there is no such file to be found."""
    named = shell.user_ns.get("__vsc_ipynb_file__") or os.environ.get("JPY_SESSION_NAME")
    if not named:
        return set()
    # Jupyter names it from the root of its server, above or at the kernel's own folder.
    places = [Path(str(named)), Path.cwd() / PurePath(str(named)).name]
    for path in places:
        try:
            cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
            return {str(cell["id"]) for cell in cells if "id" in cell}
        except (OSError, ValueError, KeyError, TypeError):  # not there, or no notebook
            continue
    return set()


class CallCounter:
    """Names each call of a cell by the cell's id and its place in it, so that a second run meets the same names."""

    def __init__(self) -> None:
        self._execution: object = None
        self._count = 0

    def next_key(self, shell: InteractiveShell, *, counts: bool = True) -> str | None:
        """Key of this call's turn; None where cells have no ids. One that does not count leaves it to the next."""
        cell = cell_id(shell)
        if self._execution != (cell, shell.execution_count):
            self._execution, self._count = (cell, shell.execution_count), 0
        place = self._count + 1
        if counts:
            self._count = place
        return f"{cell}#{place}" if cell is not None else None
