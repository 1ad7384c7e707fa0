"""The calls in the ledger, of all kernels."""

from __future__ import annotations

from ipyllm import usage
from ipyllm.ledger import current_ledger


def rows():
    """Return all calls, after what is queued was written."""
    assert current_ledger().flush(10)
    return usage(kernel=None)
