"""The notebook in which a widget is made, and its cell: what is kept of a widget belongs to them."""

from __future__ import annotations

import sys
from contextlib import suppress
from typing import Any

from IPython import get_ipython

from ipyllm.conversations.notebook import current_notebook, keep_conversations
from ipyllm.ledger.ids import kernel_id

__all__ = ["current_cell", "keep_conversations_of_notebook"]


def keep_conversations_of_notebook() -> None:
    """Let the conversations of a notebook survive its kernel, also where the magics are not loaded."""
    if current_notebook() is None and get_ipython() is not None:
        keep_conversations(_tell, otherwise=kernel_id())


def _tell(sentence: str) -> None:
    print(sentence, file=sys.stderr)  # noqa: T201 - a note below the cell


def current_cell() -> str | None:
    """Return the id of the cell that runs, as JupyterLab, Notebook 7 and VS Code send it; None elsewhere."""
    kernel: Any = getattr(get_ipython(), "kernel", None)
    if kernel is None:
        return None
    with suppress(Exception):  # not a public API
        found = kernel.get_parent("shell").get("metadata", {}).get("cellId")
        return str(found) if found else None
    return None
