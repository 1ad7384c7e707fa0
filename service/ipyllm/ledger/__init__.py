"""The ledger: a table with one row for each exchange with a model, shared by all kernels.

``docs/ledger.md`` explains the columns. The names below load on first use, so that ``ledger.ids`` stays light. The
writer imports SQLAlchemy with the first row.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
