from .current import current_ledger, set_ledger
from .ledger import Ledger

__all__ = ["Ledger", "current_ledger", "set_ledger"]
