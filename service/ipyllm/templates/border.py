"""What of a variable gets into a template: copies of plain values, which run no code of the user's when they are used.

Text, numbers and dates get in as they are; lists, dicts and dataclasses as copies, in which what may not be used is
replaced by :class:`Denied`; tables after a search. What Python, Jinja or a library makes of them passes here as well,
and is counted.
"""

from __future__ import annotations

import collections
import decimal
import enum
import inspect
import keyword
import sys
import types
from collections import namedtuple
from dataclasses import make_dataclass
from fractions import Fraction
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from jinja2 import Undefined

from ipyllm.templates.functions import registered_as
from ipyllm.templates.limits import MAX_DEPTH, Limits
from ipyllm.templates.readable import TemplateObject, readable
from ipyllm.templates.refusal import ADVICE, FUNCTIONS, Denied, Function, RefusedError, describe_kind, name_of
from ipyllm.templates.tables import NotPlainError, check_table, check_time_zone, has_short_axis, is_dtype, table_size

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

__all__ = ["Border", "Record"]

_FLAT = frozenset({str, int, float, bool, type(None)})
_EXACT = {dict, collections.Counter, list, tuple, set, frozenset}
_VIEWS: tuple[Any, ...] = (collections.deque, type({}.keys()), type({}.values()), type({}.items()))
# How a value of a subclass is read as one of its base class, without its code.
_BASES: dict[type, Callable[[Any], Any]] = {
    str: str.__str__, int: int.__pos__, float: float.__pos__, bytearray: bytes, list: list.copy,
    dict: lambda value: dict(dict.items(value)),
    tuple: lambda value: tuple.__getitem__(value, slice(None)), set: lambda value: list(set.__iter__(value)),
}  # fmt: skip
_MAX_EXPONENT = 400  # of a decimal number: as an integer it has as many digits
_ITEM = 16  # size of an item of a list, besides its content


class Record:
    """Base class of copies of dataclasses, pydantic models and members of an enum: their fields, not their code."""


@lru_cache(maxsize=256)
def _copy_class(name: str, fields: tuple[str, ...], *, named_tuple: bool) -> Any:
    """Return the class of copies of a class: a named tuple, or a frozen dataclass."""
    if named_tuple:
        return namedtuple(name if name.isidentifier() else "Row", fields, rename=True)  # noqa: PYI024 - its fields are known now
    return make_dataclass(name, fields, bases=(Record,), frozen=True)


class Border(Limits):
    """Lets values into one rendering, and counts what is made there."""

    def __init__(self) -> None:
        super().__init__()
        self._name = ""  # of the variable that gets in, empty for what the template makes
        self._open: list[int] = []  # ids of the lists around a value

    def admit(self, value: Any, name: str) -> Any:
        """Return the plain value of a variable; several copies of it may be made."""
        before, allowed = self._made, self.allowed
        self._name, self.allowed = name, sys.maxsize
        try:
            return self._plain(value)
        finally:
            self._name, self.allowed = "", allowed + 10 * (self._made - before)
            self._made = before

    def result(self, value: Any) -> Any:
        """Return the plain value of what Python, Jinja or a library made of plain values; it counts as made."""
        return self._plain(value)

    def size(self, value: Any) -> int:
        """Return the size of a plain value: characters, items, cells."""
        if type(value) is str:
            return len(value)
        before = self._made
        self._plain(value)
        size, self._made = self._made - before, before
        return size

    def usable(self, value: Any) -> Any:
        """Return a value; raise if it is denied, undefined, or of no use as a value."""
        kind = type(value)
        if issubclass(kind, Denied | Undefined):
            str(value)  # raises
            return value  # the empty text of Jinja
        row = readable(kind)
        if not issubclass(kind, tuple | TemplateObject | Record) and (row is None or (row.made and not row.table)):
            raise RefusedError(f"may not use {describe_kind(value)}, as a value: {ADVICE}.")
        return value

    def _plain(self, value: Any) -> Any:
        kind = type(value)
        row = readable(kind)
        try:
            if row is not None and row.leaf:
                return self._leaf(value, kind)
            return self._copied(value, kind)
        except NotPlainError as exc:
            what = describe_kind(value) + (f" that {exc}" if str(exc) else "")
            if not self._name:
                raise RefusedError(f"may not use {what}, as a value: {ADVICE}.") from None
            more = ", or register the function with ipyllm.template_function" if issubclass(kind, FUNCTIONS) else ""
            return Denied(f"{what} in {self._name}" if self._open else f"{self._name}, {what}", ADVICE + more)

    def _leaf(self, value: Any, kind: type) -> Any:
        if kind is str or kind is bytes:
            self.make(len(value))
        else:
            self.make(_ITEM)
            if kind is decimal.Decimal and value.is_finite() and abs(value.adjusted()) > _MAX_EXPONENT:
                raise NotPlainError(f"has an exponent above {_MAX_EXPONENT}")
            if kind is int or kind is Fraction:
                self.expect_bits(value.numerator.bit_length() + value.denominator.bit_length())
            check_time_zone(getattr(value, "tzinfo", None))
        return value

    def _copied(self, value: Any, kind: type) -> Any:
        if kind in _EXACT:
            return self._container(value, kind)
        if issubclass(kind, Undefined | Denied | TemplateObject):
            return value if self._name else self.usable(value)
        fields = _stored_fields(value, kind)
        if fields is not None:
            copy_class = _copy_class(name_of(kind), tuple(fields), named_tuple=issubclass(kind, tuple))
            return copy_class(*self._items(value, fields.values()))
        if kind in _VIEWS or (not self._name and hasattr(value, "__next__")):
            return self._items(value, value)
        for base, read in _BASES.items():
            if issubclass(kind, base):
                return self._plain(read(value))
        return self._other(value)

    def _container(self, value: Any, kind: type) -> Any:
        is_dict = issubclass(kind, dict)
        items = [*value, *value.values()] if is_dict else list(value)
        self.tick()
        self.make(_size_of_flat(items))
        if _FLAT.issuperset(map(type, items)):
            return kind(value)
        copies = self._items(value, items)
        try:
            return kind(dict(zip(copies, copies[len(value) :], strict=False)) if is_dict else copies)
        except (RefusedError, TypeError):  # something denied or a list, as a key or the item of a set
            raise NotPlainError("holds what it may not") from None

    def _other(self, value: Any) -> Any:
        name = registered_as(value)
        if name is not None:
            return Function(name, value)
        if is_dtype(value):
            return str(value)
        row = readable(type(value))
        if row is None and not self._name and hasattr(value, "tolist"):  # the arrays of pandas
            return self._plain(value.tolist())
        if row is None or (row.made and self._name):
            raise NotPlainError
        if self._name:
            check_table(value)
            if hasattr(value, "attrs"):
                value = type(value)(value)  # without the attrs, which its methods copy
        if self._open and has_short_axis(value):
            raise NotPlainError("has an axis of length 1")
        self.make(table_size(value))
        return value

    def _items(self, value: Any, items: Iterable[Any]) -> list[Any]:
        """Return copies of what a value holds."""
        if id(value) in self._open:
            raise NotPlainError("contains itself")
        if len(self._open) >= MAX_DEPTH:
            raise NotPlainError(f"nests lists more than {MAX_DEPTH} deep")
        self._open.append(id(value))
        try:
            if not hasattr(items, "__next__"):
                return [self._plain(item) for item in items]
            copies = []
            for item in items:
                self.step()
                copies.append(self._plain(item))
            return copies
        finally:
            self._open.pop()


def _size_of_flat(items: list[Any]) -> int:
    """Return the size of a list, with its texts and numbers."""
    texts = [len(item) for item in items if type(item) is str]
    numbers = [item.bit_length() for item in items if type(item) is int]
    return _ITEM * (4 + len(items)) + sum(texts) + sum(numbers) // 3


def _stored_fields(value: Any, kind: type) -> dict[str, Any] | None:
    """Return the public fields of a dataclass, pydantic model, named tuple or member of an enum, else None.

    No property, descriptor or ``__getattr__`` of its class is called.
    """
    if issubclass(kind, tuple):
        names = inspect.getattr_static(kind, "_fields", None)
        return dict(zip(names, tuple.__iter__(value), strict=True)) if type(names) is tuple else None
    if issubclass(kind, enum.Enum):
        return {name: _stored(value, f"_{name}_") for name in ("name", "value")}
    pydantic = getattr(sys.modules.get("pydantic.main"), "BaseModel", None)
    if pydantic is not None and issubclass(kind, pydantic):
        extra = object.__getattribute__(value, "__pydantic_extra__")
        fields = {**object.__getattribute__(value, "__dict__"), **(extra or {})}
    else:
        names = inspect.getattr_static(kind, "__dataclass_fields__", None)
        if type(names) is not dict:
            return None
        fields = {name: _stored(value, name) for name in names}
    hidden = keyword.iskeyword
    return {name: item for name, item in fields.items() if name.isidentifier() and name[0] != "_" and not hidden(name)}


def _stored(value: Any, name: str) -> Any:
    stored = inspect.getattr_static(value, name, None)
    return stored.__get__(value) if type(stored) is types.MemberDescriptorType else stored
