"""Prompt templates: sandboxed Jinja2."""
