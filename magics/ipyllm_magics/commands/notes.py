"""Notes below a cell, each one line: what asks for attention on standard error, which notebooks show in red."""

from __future__ import annotations

import sys

from ipyllm_magics.display.standard_output import print_text

__all__ = ["print_information", "print_ledger_warning", "print_note"]


def print_information(text: str) -> None:
    """Print what is as it should be: plain in a notebook; on standard error elsewhere, where answers may be piped."""
    from IPython.core.getipython import get_ipython

    from ipyllm_magics.prompt.kernel_context import is_notebook

    shell = get_ipython()
    if shell is not None and is_notebook(shell):
        print_text(text)
    else:
        print_note(text)


def print_note(text: str | None) -> None:
    """Print a note, if there is one."""
    if text:
        print(text, file=sys.stderr)  # noqa: T201 - a note belongs in the cell


def print_ledger_warning() -> None:
    """Print that the ledger cannot be written, once."""
    from ipyllm.ledger import current_ledger

    print_note(current_ledger().take_warning())
