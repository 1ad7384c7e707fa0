"""The usage dashboard."""
