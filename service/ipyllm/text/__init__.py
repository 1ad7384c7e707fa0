"""Formats, suggests and cleans text for people, and masks keys."""
