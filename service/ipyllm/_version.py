"""The version, in the one place that hatchling reads it from."""

__version__ = "0.1.0"
