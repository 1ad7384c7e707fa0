"""The widgets' classes, so that ``from ipyllm import ChatWidget`` works."""

from ipyllm_widgets import (
    ChatWidget,
    CompareWidget,
    ContextExplorer,
    LatencyExplorer,
    SamplingExplorer,
    UsageDashboard,
)

__all__ = [
    "ChatWidget", "CompareWidget", "ContextExplorer", "LatencyExplorer", "SamplingExplorer", "UsageDashboard",
]  # fmt: skip
