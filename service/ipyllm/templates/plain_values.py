"""What of a variable gets into a template: plain values, which run no code of the user's when they are used.

A value of a type that ``readable.toml`` names gets in as it is. A list, dict, tuple, set or dataclass is searched;
what may not be used in it is replaced by :class:`Denied`. A value of a subclass, whose methods may do anything, is read
as a value of its base class. Nothing of a value's own class is called for this.
"""

from __future__ import annotations

import collections
import datetime as dt
import decimal
import fractions
import inspect
import operator
import pathlib
import types
import uuid
from itertools import chain, islice
from typing import TYPE_CHECKING, Any, NamedTuple

from ipyllm.templates.functions import registered_as
from ipyllm.templates.limits import MAX_DEPTH, Limits
from ipyllm.templates.plain_tables import NotPlainError, plain_table, plain_time_zone, table_size
from ipyllm.templates.readable import TemplateObject, readable
from ipyllm.templates.records import Record, name_of, named_tuple_class, record_class, stored_fields
from ipyllm.templates.refusal import ADVICE, Denied, RefusedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

__all__ = ["PlainValues", "RegisteredFunction", "describe_kind"]

_FIXED = frozenset({bool, float, complex, type(None), dt.date, dt.timedelta})  # their text is short
_LEAVES = _FIXED | {
    int, str, bytes, range, fractions.Fraction, uuid.UUID, pathlib.PosixPath, pathlib.WindowsPath,
    pathlib.PurePosixPath, pathlib.PureWindowsPath,
}  # fmt: skip
_CONTAINERS = frozenset({list, tuple, dict, set, frozenset, collections.Counter})
_VIEWS: tuple[type, ...] = (type({}.keys()), type({}.values()), type({}.items()))
_SEQUENCES: tuple[Any, ...] = (list, tuple, set, frozenset, collections.deque, *_VIEWS)
_FUNCTIONS = (
    types.FunctionType, types.BuiltinFunctionType, types.MethodType, types.MethodWrapperType,
    types.WrapperDescriptorType, types.MethodDescriptorType,
)  # fmt: skip
# Of a subclass, the same value as one of the class itself.
_BASE_VALUES: dict[type, Callable[[Any], Any]] = {
    str: str.__str__,
    int: int.__pos__,
    float: float.__pos__,
    complex: complex.__pos__,
    bytes: lambda value: bytes.__getitem__(value, slice(None)),
    bytearray: bytes,
}
_ITEM = 8  # size of an item of a list besides its content
_AT_ONCE = 100_000  # items between two looks at the clock
_MAX_EXPONENT = 400  # of a Decimal: as an integer it has as many digits


class RegisteredFunction:
    """A function of the user's that templates may call."""

    __slots__ = ("call", "name")

    def __init__(self, name: str, call: Callable[..., Any]) -> None:
        self.name = name
        self.call = call


def describe_kind(value: Any) -> str:
    """Return what a value is, in words.

    >>> describe_kind(types), describe_kind(int), describe_kind(len), describe_kind([])
    ('a module', 'a class', 'a function', 'a list')
    """
    kind = type(value)
    if issubclass(kind, types.ModuleType):
        return "a module"
    if issubclass(kind, type):
        return "a class"
    if issubclass(kind, _FUNCTIONS):
        return "a function"
    name = name_of(kind)
    return f"{'an' if name[:1].lower() in 'aeiou' else 'a'} {name}"


class _Size(NamedTuple):
    """The size of a value with all that it holds, how deep it is nested, and what of it is denied or undefined."""

    value: Any  # kept, because another one could get the id of a value that is gone
    size: int
    depth: int = 0
    unusable: Any = None


class PlainValues(Limits):
    """The plain values of one rendering, their sizes, and its limits."""

    def __init__(self) -> None:
        super().__init__()
        self._copies: dict[int, tuple[Any, Any]] = {}  # by id: a value, and its copy
        self._sizes: dict[int, _Size] = {}
        self._name = ""  # of the variable that is copied
        self._admitted: list[Any] = []  # variables whose sizes are not granted yet

    def admit(self, value: Any, name: str) -> Any:
        """Return the plain value of the variable ``name``, or what stands for it."""
        self._name = name
        plain = self._plain(value, 0)
        self._admitted.append(plain)
        return plain

    def expect(self, size: int) -> None:
        """Refuse what would be larger than everything that the template may make."""
        if size > self.allowed:  # only then measure the variables
            admitted, self._admitted = self._admitted, []
            for value in admitted:
                self.grant(self._measure(value, 0).size)
        super().expect(size)

    def result(self, value: Any) -> Any:
        """Return the plain value of what Python, Jinja or a library made of plain values; it counts as made."""
        kind = type(value)
        if kind in _LEAVES:
            self.make(_leaf_size(value))
            return value
        row = readable(kind)
        if row is not None and kind not in _CONTAINERS and row.title != "numbers":
            self.make(table_size(value))
            return value
        if row is None and hasattr(value, "__next__"):
            value = self._collect(value)
        elif row is None and hasattr(value, "tolist"):  # the arrays of pandas
            value = value.tolist()
        self._name = "a result"
        plain = self._plain(value, 0)
        self.make(self._measure(plain, 0).size)
        return plain

    def _collect(self, values: Iterator[Any]) -> list[Any]:
        items = []
        for item in values:
            self.step()
            items.append(item)
        return items

    # ---- sizes -------------------------------------------------------------------------------------------------

    def size(self, value: Any) -> int:
        """Return the size of a value: characters, items, cells; raise if it cannot be used as a whole."""
        kind = type(value)
        if kind is str:
            return len(value)
        if kind in _FIXED:
            return _ITEM
        measured = self._measure(value, 0)
        if measured.unusable is not None:
            str(measured.unusable)  # raises
        self.expect(measured.size)  # of lists in lists, which may hold one list many times
        return measured.size

    def _measure(self, value: Any, depth: int) -> _Size:
        kind = type(value)
        if kind in _LEAVES:
            return _Size(value, _leaf_size(value))
        known = self._sizes.get(id(value))
        if known is not None:
            return known
        if kind in _CONTAINERS or issubclass(kind, tuple | Record):
            measured = self._measure_items(value, depth)
            if measured.depth > MAX_DEPTH:
                raise RefusedError(f"nests lists more than {MAX_DEPTH} deep: {ADVICE}.")
            self._sizes[id(value)] = measured
            return measured
        row = readable(kind)
        if issubclass(kind, TemplateObject) or (row is not None and not row.made):
            return _Size(value, table_size(value))
        unusable = value if kind is Denied or _is_undefined(kind) else _no_value(value)
        return _Size(value, _ITEM, 0, unusable)

    def _measure_items(self, value: Any, depth: int) -> _Size:
        if depth > MAX_DEPTH:
            raise RefusedError(f"nests lists more than {MAX_DEPTH} deep: {ADVICE}.")
        items: Iterable[Any] = value
        if isinstance(value, Record):
            items = vars(value).values()
        elif isinstance(value, dict):
            items = chain(value, value.values())
        size, deepest, unusable = _ITEM, 0, None
        for chunk, kinds in self._chunks(items):
            size += _ITEM * len(chunk)
            if kinds == {str}:
                size += sum(map(len, chunk))
            elif kinds <= _FIXED:
                size += _ITEM * len(chunk)
            elif kinds <= _LEAVES:
                size += sum(map(_leaf_size, chunk))
            else:
                for item in chunk:
                    measured = self._measure(item, depth + 1)
                    size += measured.size
                    deepest = max(deepest, measured.depth)
                    unusable = measured.unusable if unusable is None else unusable
        return _Size(value, size, deepest + 1, unusable)

    def _chunks(self, items: Iterable[Any]) -> Iterator[tuple[list[Any], set[type]]]:
        """Yield the items and their types, and look at the clock in between."""
        iterator = iter(items)
        while chunk := list(islice(iterator, _AT_ONCE)):
            self.look_at_clock()
            yield chunk, set(map(type, chunk))

    # ---- copies ------------------------------------------------------------------------------------------------

    def _plain(self, value: Any, depth: int) -> Any:
        kind = type(value)
        if kind in _LEAVES or (kind in _CONTAINERS and _is_flat(value, kind)):
            return value
        known = self._copies.get(id(value))
        if known is not None:
            return known[1]
        if depth > MAX_DEPTH:
            return Denied(f"{self._name}, which is nested more than {MAX_DEPTH} deep")
        self._copies[id(value)] = (value, Denied(f"{self._name}, which contains itself"))
        try:
            plain = self._convert(value, kind, depth)
        except NotPlainError as exc:
            plain = self._denied(value, depth, str(exc))
        self._copies[id(value)] = (value, plain)
        return plain

    def _convert(self, value: Any, kind: type, depth: int) -> Any:  # noqa: PLR0911 - one return for each kind
        if kind is RegisteredFunction or kind is Denied or issubclass(kind, TemplateObject) or _is_undefined(kind):
            return value
        for base, base_value in _BASE_VALUES.items():
            if issubclass(kind, base):
                return base_value(value)
        if issubclass(kind, (dict, *_SEQUENCES)):
            return self._container(value, kind, depth)
        if issubclass(kind, dt.date | dt.time) and (plain_time := _plain_time(value, kind)) is not None:
            return plain_time
        if kind is decimal.Decimal:
            if value.is_finite() and abs(value.adjusted()) > _MAX_EXPONENT:
                raise NotPlainError(f"has an exponent above {_MAX_EXPONENT}")
            return value
        fields = stored_fields(value, kind)
        if fields is not None:
            copies = [self._plain(item, depth + 1) for item in fields.values()]
            return record_class(name_of(kind), tuple(fields))(*copies)
        name = registered_as(value)
        if name is not None:
            return RegisteredFunction(name, value)
        return plain_table(value, kind, lambda items: self._plain(items, depth + 1))

    def _container(self, value: Any, kind: type, depth: int) -> Any:
        if issubclass(kind, dict):
            items: Any = chain.from_iterable(dict.items(value))
        else:
            items = next(base.__iter__(value) for base in _SEQUENCES if issubclass(kind, base))
        copies: list[Any] = []
        same = kind in _CONTAINERS
        for chunk, kinds in self._chunks(items):
            plain = chunk if kinds <= _LEAVES else [self._plain(item, depth + 1) for item in chunk]
            same = same and (plain is chunk or all(map(operator.is_, plain, chunk)))
            copies += plain
        if same:
            return value
        try:
            return _rebuilt(copies, kind)
        except (RefusedError, TypeError):  # something denied or a list, as the key of a dict or the item of a set
            raise NotPlainError("holds what it may not") from None

    def _denied(self, value: Any, depth: int, reason: str) -> Denied:
        kind = describe_kind(value) + (f" that {reason}" if reason else "")
        advice = ADVICE
        if issubclass(type(value), _FUNCTIONS):
            advice += ", or register the function with ipyllm.template_function"
        return Denied(f"{kind} in {self._name}" if depth else f"{self._name}, {kind}", advice, kind)


def _rebuilt(items: list[Any], kind: type) -> Any:
    """Return plain values as a container of Python's own type; of a dict, ``items`` are keys and values in turn."""
    if issubclass(kind, dict):
        pairs = dict(zip(items[::2], items[1::2], strict=True))
        return collections.Counter(pairs) if issubclass(kind, collections.Counter) else pairs
    if issubclass(kind, tuple):
        names = inspect.getattr_static(kind, "_fields", None)
        named = type(names) is tuple and len(names) == len(items)
        return named_tuple_class(name_of(kind), names)(*items) if named else tuple(items)
    if issubclass(kind, set | frozenset):
        return frozenset(items) if issubclass(kind, frozenset) else set(items)
    return items


def _is_flat(value: Any, kind: type) -> bool:
    """Return whether a short container holds nothing but text, numbers and dates."""
    return (
        len(value) <= _AT_ONCE
        and _LEAVES.issuperset(map(type, value))
        and (not issubclass(kind, dict) or _LEAVES.issuperset(map(type, value.values())))
    )


def _leaf_size(value: Any) -> int:
    kind = type(value)
    if kind is str or kind is bytes:
        return len(value)
    if kind is int:
        return _ITEM + int(value.bit_length()) // 3
    if kind is fractions.Fraction:
        return _ITEM + int(value.numerator.bit_length() + value.denominator.bit_length()) // 3
    return _ITEM


def _plain_time(value: Any, kind: type) -> Any:
    """Return a date or time as one of Python's own types; None for one of pandas, which the table knows."""
    if kind is not dt.datetime and kind is not dt.time and readable(kind) is not None:
        return None
    if issubclass(kind, dt.time):
        if kind is not dt.time:
            raise NotPlainError
        zone, plain = value.tzinfo, value
    elif issubclass(kind, dt.datetime):
        zone = dt.datetime.tzinfo.__get__(value)
        date, time = dt.datetime.date(value), dt.datetime.timetz(value)
        plain = value if kind is dt.datetime else dt.datetime.combine(date, time)
    else:
        zone, plain = None, dt.date.fromordinal(dt.date.toordinal(value))
    if not plain_time_zone(zone):
        raise NotPlainError("has a time zone of its own")
    return plain


def _no_value(value: Any) -> Denied:
    """Return what stands for a method, macro or loop where a value is needed."""
    name = getattr(value, "name", "")
    what = f"{name!r}, which has to be called" if name and hasattr(value, "call") else describe_kind(value)
    return Denied(f"{what}, as a value")


def _is_undefined(kind: type) -> bool:
    from jinja2 import Undefined

    return issubclass(kind, Undefined)
