"""The comparison widget."""
