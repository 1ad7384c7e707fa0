"""``UsageDashboard``: the ledger as live tables and charts. Python draws, from the ledger; the page only shows."""

from ipyllm_widgets.dashboard.widget import UsageDashboard

__all__ = ["UsageDashboard"]
