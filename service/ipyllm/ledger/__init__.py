"""The ledger: one row for every call to a model, kept where all kernels can read it (DESIGN §4).

Importing this costs nothing; SQLAlchemy is imported by the writer thread when the first row is put.
"""

from __future__ import annotations

from ipyllm.ledger.current import current_ledger, set_ledger
from ipyllm.ledger.writer import Ledger

__all__ = ["Ledger", "current_ledger", "set_ledger"]
