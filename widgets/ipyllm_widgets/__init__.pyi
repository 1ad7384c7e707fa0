from .chat.widget import ChatWidget
from .compare.widget import CompareWidget
from .dashboard import UsageDashboard

__all__ = ["ChatWidget", "CompareWidget", "UsageDashboard"]
