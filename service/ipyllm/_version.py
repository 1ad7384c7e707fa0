"""The version of the package, which hatchling reads."""

__version__ = "0.2.0.dev0"
