"""Writes text to standard output, also where its encoding lacks some characters (``PYTHONIOENCODING=ascii``)."""

from __future__ import annotations

import sys

from ipyllm.text.terminal import encodable

__all__ = ["print_text", "write_text"]


def write_text(text: str) -> None:
    """Write ``text`` and flush."""
    sys.stdout.write(encodable(text, getattr(sys.stdout, "encoding", None)))
    sys.stdout.flush()


def print_text(text: str) -> None:
    """Write ``text`` as lines of their own."""
    write_text(f"{text}\n")
