"""Structured output: sends a type or a JSON schema to the model, and returns its answer as a checked value.

Callers use :class:`Schema`, and :mod:`~ipyllm.structured.modes` when a server refuses a schema. It is built on
:mod:`~ipyllm.structured.sources` (what users give), :mod:`~ipyllm.structured.portable` (what servers accept) and
:mod:`~ipyllm.structured.json_answer` (what models write).
"""

from ipyllm.structured.json_answer import SchemaMismatch
from ipyllm.structured.modes import SchemaMode, learned_mode, next_mode, remember_mode
from ipyllm.structured.schema import Schema

__all__ = ["Schema", "SchemaMismatch", "SchemaMode", "learned_mode", "next_mode", "remember_mode"]
