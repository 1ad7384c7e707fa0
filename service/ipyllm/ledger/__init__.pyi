from .current import current_ledger, ledger_for_calls, set_ledger
from .ledger import Ledger

__all__ = ["Ledger", "current_ledger", "ledger_for_calls", "set_ledger"]
