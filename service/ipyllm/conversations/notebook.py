"""The notebook of this process, to which its conversations belong.

A front end turns this on. A script has no notebook, and its conversations end with it.
"""

from __future__ import annotations

import getpass
import os
import sys
from typing import TYPE_CHECKING, NamedTuple

from ipyllm.fork_safety import in_forked_child

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Notebook", "current_notebook", "keep_conversations", "notebook_path"]


class Notebook(NamedTuple):
    """The notebook's name, and the function that shows its user a sentence."""

    name: str
    tell: Callable[[str], None]


_current: Notebook | None = None


def keep_conversations(tell: Callable[[str], None], otherwise: str) -> None:
    """Save the conversations of this process from now on, and take up those that the ledger knows from its notebook.

    Where no front end tells the notebook's path, ``otherwise`` stands for it: what a restart does not change, and other
    notebooks do not have.
    """
    global _current
    _current = Notebook(f"{_user()} {notebook_path() or otherwise}", tell)


def current_notebook() -> Notebook | None:
    """Return the notebook of this process; None in a script, and in a process that a notebook forked."""
    return _current


@in_forked_child
def _leave_to_parent() -> None:
    global _current
    _current = None  # two processes would replace each other's turns


def notebook_path() -> str | None:
    """Return the path of this kernel's notebook, as VS Code or Jupyter's server tell it."""
    path = getattr(sys.modules.get("__main__"), "__vsc_ipynb_file__", None) or os.environ.get("JPY_SESSION_NAME")
    return str(path) if path else None


def _user() -> str:
    """Return who uses this ledger, which many may share."""
    try:
        # On a hub, all users may have the same name in their containers.
        return os.environ.get("JUPYTERHUB_USER") or getpass.getuser()
    except (KeyError, OSError):  # a container whose user has no name
        return str(os.getuid()) if hasattr(os, "getuid") else ""
