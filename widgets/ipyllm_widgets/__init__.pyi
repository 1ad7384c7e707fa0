from .chat.chat_widget import ChatWidget
from .compare.compare_widget import CompareWidget
from .dashboard.usage_dashboard import UsageDashboard

__all__ = ["ChatWidget", "CompareWidget", "UsageDashboard"]
