"""The widgets' classes, so that ``from ipyllm import ChatWidget`` works."""

from ipyllm_widgets import ChatWidget, CompareWidget, UsageDashboard

__all__ = ["ChatWidget", "CompareWidget", "UsageDashboard"]
