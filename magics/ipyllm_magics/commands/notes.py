"""Notes below a cell, each one line on standard error."""

from __future__ import annotations

import sys

__all__ = ["print_ledger_warning", "print_note"]


def print_note(text: str | None) -> None:
    """Print a note, if there is one."""
    if text:
        print(text, file=sys.stderr)  # noqa: T201 - a note belongs in the cell


def print_ledger_warning() -> None:
    """Print that the ledger cannot be written, once."""
    from ipyllm.ledger import current_ledger

    print_note(current_ledger().take_warning())
