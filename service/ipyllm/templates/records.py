"""Copies of dataclasses, pydantic models, enum members and named tuples: their stored fields, without their code."""

from __future__ import annotations

import enum
import inspect
import keyword
import sys
import types
from collections import namedtuple
from dataclasses import make_dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

__all__ = ["Record", "name_of", "named_tuple_class", "record_class", "stored_fields"]

# Not `kind.__mro__`: a metaclass may define it.
_mro: Callable[[type], tuple[type, ...]] = type.__dict__["__mro__"].__get__
_namespace: Callable[[type], types.MappingProxyType[str, Any]] = type.__dict__["__dict__"].__get__
name_of: Callable[[type], str] = type.__dict__["__name__"].__get__
"""Returns the name of a class."""


class Record:
    """Base class of the copies: a dataclass with the fields of the original."""


def stored_fields(value: Any, kind: type) -> dict[str, Any] | None:
    """Return the public fields of a dataclass, pydantic model or enum member as stored; None for anything else.

    No property, descriptor or ``__getattr__`` of its class is called.

    >>> from ipyllm.response import ToolCall
    >>> stored_fields(ToolCall("1", "add", "{}"), ToolCall)
    {'id': '1', 'name': 'add', 'arguments': '{}'}
    """
    bases = _mro(kind)
    if enum.Enum in bases:
        stored = _instance_dict(value, bases)
        return {"name": stored.get("_name_"), "value": stored.get("_value_")}
    pydantic = sys.modules.get("pydantic.main")
    if pydantic is not None and vars(pydantic).get("BaseModel") in bases:
        extra = _slot(value, bases, "__pydantic_extra__")
        return _public({**_instance_dict(value, bases), **(extra if type(extra) is dict else {})})
    names = inspect.getattr_static(kind, "__dataclass_fields__", None)
    if type(names) is not dict:
        return None
    stored = _instance_dict(value, bases)
    return _public({name: stored[name] if name in stored else _slot(value, bases, name) for name in names})


def _public(fields: dict[str, Any]) -> dict[str, Any]:
    return {
        name: value
        for name, value in fields.items()
        if name.isidentifier() and not name.startswith("_") and not keyword.iskeyword(name)
    }


def _instance_dict(value: Any, bases: Iterable[type]) -> dict[str, Any]:
    for base in bases:
        descriptor = _namespace(base).get("__dict__")
        if type(descriptor) is types.GetSetDescriptorType:
            stored: dict[str, Any] = descriptor.__get__(value)
            return stored
    return {}


def _slot(value: Any, bases: Iterable[type], name: str) -> Any:
    for base in bases:
        descriptor = _namespace(base).get(name)
        if type(descriptor) is types.MemberDescriptorType:
            try:
                return descriptor.__get__(value)
            except AttributeError:  # not set
                return None
    return None


@lru_cache(maxsize=256)
def record_class(name: str, fields: tuple[str, ...]) -> type[Record]:
    """Return the class of copies of a class with this name and these fields."""
    return make_dataclass(name, fields, bases=(Record,), frozen=True)


@lru_cache(maxsize=256)
def named_tuple_class(name: str, fields: tuple[str, ...]) -> Any:
    """Return the class of copies of a named tuple."""
    return namedtuple(name if name.isidentifier() else "Row", fields, rename=True)  # noqa: PYI024 - its fields are known now
