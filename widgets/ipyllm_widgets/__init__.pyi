from .chat.chat_widget import ChatWidget
from .compare.compare_widget import CompareWidget
from .dashboard.usage_dashboard import UsageDashboard
from .teaching.context_explorer import ContextExplorer
from .teaching.latency_explorer import LatencyExplorer
from .teaching.sampling_explorer import SamplingExplorer

__all__ = [
    "ChatWidget", "CompareWidget", "ContextExplorer", "LatencyExplorer", "SamplingExplorer", "UsageDashboard",
]  # fmt: skip
