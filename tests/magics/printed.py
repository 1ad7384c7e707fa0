"""What a kernel prints."""

from __future__ import annotations


def said(kernel, code):
    """Return what the kernel prints for an expression."""
    ran = kernel.run(f"print({code})")
    assert ran.status == "ok", ran.traceback
    return ran.stdout.strip()
