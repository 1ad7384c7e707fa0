"""The ledger: a table with one row for each exchange with a model, shared by all kernels.

``docs/ledger.md`` explains the columns. Importing this is cheap: the writer imports SQLAlchemy with the first row.
"""

from __future__ import annotations

from ipyllm.ledger.current import current_ledger, set_ledger
from ipyllm.ledger.writer import Ledger

__all__ = ["Ledger", "current_ledger", "set_ledger"]
