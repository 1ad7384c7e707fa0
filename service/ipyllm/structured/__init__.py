"""Structured output: a type or a JSON schema goes to the model, and its answer comes back as a checked value.

:class:`Schema` is the whole of it for a caller; :mod:`~ipyllm.structured.modes` says what to do when a server
refuses a schema. Below stand :mod:`~ipyllm.structured.sources` (what people give),
:mod:`~ipyllm.structured.portable` (what servers take) and :mod:`~ipyllm.structured.answer` (what models write).
"""

from ipyllm.structured.answer import SchemaMismatch
from ipyllm.structured.modes import SchemaMode, next_mode
from ipyllm.structured.schema import Schema

__all__ = ["Schema", "SchemaMismatch", "SchemaMode", "next_mode"]
