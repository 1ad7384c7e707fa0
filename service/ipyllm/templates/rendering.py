"""One rendering of a template: what of a variable gets in, what is counted, and what is inserted.

Values get in as copies of plain values, which run no code of the user's when they are used: text, numbers and dates as
they are; lists, dicts and dataclasses as copies, in which what may not be used is replaced by :class:`Denied`; tables
after a search. What Python, Jinja or a library makes of them passes here as well, and is counted.
"""

from __future__ import annotations

import collections
import enum
import inspect
import sys
import types
from collections import namedtuple
from contextvars import ContextVar
from dataclasses import make_dataclass
from functools import lru_cache
from keyword import iskeyword
from time import thread_time
from typing import TYPE_CHECKING, Any

from jinja2 import StrictUndefined, Undefined
from jinja2.exceptions import UndefinedError
from jinja2.runtime import LoopContext
from jinja2.sandbox import safe_range
from jinja2.utils import Namespace, missing

from ipyllm.templates.functions import registered, registered_as
from ipyllm.templates.limits import MAX_DEPTH, Limits
from ipyllm.templates.readable import TemplateObject, name_list, readable
from ipyllm.templates.refusal import ADVICE, FUNCTIONS, RefusedError, UndefinedNameError, describe_kind
from ipyllm.templates.tables import NotPlainError, Shown, Table, check_contents, check_time_zone, unwrapped
from ipyllm.text.format import shorten
from ipyllm.text.suggest import closest

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping

    from jinja2 import Template

__all__ = ["Function", "Missing", "Record", "Rendering", "current", "members_of", "refused_attribute"]

_JINJA_FUNCTIONS = {"range": lambda *numbers: list(safe_range(*numbers)), "dict": dict, "namespace": Namespace}

_FLAT = frozenset({str, int, float, bool, type(None)})
_CONTAINERS = frozenset({dict, collections.Counter, list, tuple, set, frozenset})
_VIEWS: tuple[Any, ...] = (collections.deque, type({}.keys()), type({}.values()), type({}.items()))
# How a value of a subclass is read as one of its base class, without its code.
_BASES: dict[type, Callable[[Any], Any]] = {
    str: str.__str__, int: int.__pos__, float: float.__pos__, list: list.copy,
    dict: lambda value: dict(dict.items(value)), tuple: lambda value: tuple.__getitem__(value, slice(None)),
    set: lambda value: list(set.__iter__(value)),
}  # fmt: skip
_MAX_EXPONENT = 400  # of a decimal number: as an integer it has as many digits
_MAX_NAME = 100  # characters of a name in an error
_ITEM = 16  # size of an item of a list, besides its content

_rendering: ContextVar[Rendering] = ContextVar("rendering")


def current() -> Rendering:
    """Return the rendering that is under way."""
    return _rendering.get()


class Record:
    """Base class of copies of dataclasses, pydantic models and members of an enum: their fields, not their code."""


class Missing(StrictUndefined):
    """Stands for what is not defined, or with a ``hint`` for what may not be used: whatever is done with it raises.

    So a template can use the other items of a list that holds one.
    """

    __slots__ = ()
    __repr__ = __index__ = StrictUndefined.__str__

    def __init__(self, hint: Any = None, obj: Any = missing, name: Any = None, exc: Any = UndefinedError) -> None:
        super().__init__(hint, obj, name, exc if hint is not None else self._named)  # type: ignore[arg-type]

    def _named(self, _message: str) -> Exception:
        owner, name = self._undefined_obj, shorten(str(self._undefined_name), _MAX_NAME)
        if owner is missing:
            names = [key for key in list(current().variables) if isinstance(key, str) and not key.startswith("_")]
            return UndefinedNameError(name, "", closest(name, names))
        hidden = callable(owner) or (name.startswith("_") and not isinstance(owner, dict))
        owner = unwrapped(owner)
        if hidden or (hasattr(type(owner), name) and not isinstance(owner, TemplateObject)):
            return refused_attribute(owner, name)
        kind = "None" if owner is None else type(owner).__name__
        items = owner if isinstance(owner, dict) else getattr(owner, "columns", ())
        names = [*sorted(members_of(owner)), *(item for item in items if isinstance(item, str))]
        return UndefinedNameError(name, kind, closest(name, names))


class Function:
    """A function that the user registered: of no use but to be called."""

    __slots__ = ("_function", "_name", "_rendering")

    def __init__(self, rendering: Rendering, name: str, function: Callable[..., Any]) -> None:
        self._rendering = rendering
        self._name = name
        self._function = function

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        """Return the plain value of what the function returns."""
        start = thread_time()
        given = {name: unwrapped(value) for name, value in kwargs.items()}
        try:
            returned = self._function(*map(unwrapped, args), **given)
        finally:
            self._rendering.deadline += thread_time() - start  # the time of the user's own function does not count
        return self._rendering.admit(returned, f"the result of {self._name}()")


def refused_attribute(owner: Any, name: str) -> RefusedError:
    """Return the error for an attribute that a template may not use."""
    if name.startswith("_"):
        return RefusedError(f"may not use {name!r}, because of the underscore at its beginning: {ADVICE}.")
    kind = "a function" if callable(owner) else describe_kind(owner)
    return RefusedError(f"may not use {name!r} of {kind}: {ADVICE}.")


def members_of(value: Any) -> Collection[str]:
    """Return the names of the attributes, fields and methods of a plain value or a table that a template may use."""
    if isinstance(value, Record):
        return vars(value)
    if isinstance(value, LoopContext):
        return name_list("loop")
    row = readable(type(value))
    return row.members if row is not None else getattr(value, "members", getattr(value, "_fields", ()))


@lru_cache(maxsize=256)
def _copy_class(name: str, fields: tuple[str, ...], *, named_tuple: bool) -> Any:
    """Return the class of copies of a class: a named tuple, or a frozen dataclass."""
    if named_tuple:
        return namedtuple(name if name.isidentifier() else "Row", fields, rename=True)  # noqa: PYI024 - its fields are known now
    return make_dataclass(name, fields, bases=(Record,), frozen=True)


class Rendering(Limits):
    """One rendering of a template.

    Parameters
    ----------
    variables : mapping
        The user's names and values.
    to_text : callable or None
        Converts a value to the text that is inserted; by default ``str``.
    """

    def __init__(self, variables: Mapping[str, Any], to_text: Callable[[Any], Any] | None = None) -> None:
        super().__init__()
        self.variables = variables
        self._to_text = to_text
        self._name = ""  # of the variable that gets in, empty for what the template makes
        self._open: list[int] = []  # ids of the lists around a value

    def fill_in(self, template: Template, names: Iterable[str]) -> str:
        """Return the text of a template that uses these names."""
        found = {name: self._find(name) for name in names}
        context = template.new_context({name: value for name, value in found.items() if value is not missing})
        token = _rendering.set(self)
        try:
            return self.joined(template.root_render_func(context))
        finally:
            _rendering.reset(token)

    def _find(self, name: str) -> Any:
        if name in self.variables:
            if name.startswith("_"):
                return Missing(
                    f"may not use {name}, because of the underscore at its beginning: assign it to another name.",
                    exc=RefusedError,
                )
            return self.admit(self.variables[name], name)
        function = registered(name)
        return _JINJA_FUNCTIONS.get(name, missing) if function is None else Function(self, name, function)

    def joined(self, parts: Iterable[str]) -> str:
        """Return the text of a template, macro or block."""
        counted = []
        for part in parts:
            self.make(len(part))
            counted.append(part)
        return "".join(counted)

    def output(self, value: Any) -> str:
        """Return the text that is inserted for a value."""
        shown = value.__shown__ if isinstance(self.usable(value), Shown) else value
        if type(value) is not str:
            self.plain(value)
        return str(shown if self._to_text is None else self._to_text(shown))

    # ---- plain values --------------------------------------------------------------------------------------------

    def admit(self, value: Any, name: str) -> Any:
        """Return the plain value of a variable; several copies of it may be made."""
        before, allowed = self._made, self.allowed
        self._name, self.allowed = name, sys.maxsize
        try:
            return self.plain(value)
        finally:
            self._name, self.allowed = "", allowed + 10 * (self._made - before)
            self._made = before

    def size(self, value: Any) -> int:
        """Return the size of a plain value: characters, items, cells."""
        before = self._made
        self.plain(value)
        size, self._made = self._made - before, before
        return size

    def usable(self, value: Any, *, undefined: bool = False) -> Any:
        """Return a value; raise if it is a function, may not be used, or is not defined, which may be allowed."""
        if isinstance(value, Undefined):
            error: object = value._undefined_exception  # noqa: SLF001 - Jinja has no other way
            if not undefined or error is RefusedError:
                str(value)  # raises
        elif callable(value):
            kind = "a function" if isinstance(value, Function) else describe_kind(value)
            raise RefusedError(f"may not use {kind}, as a value: {ADVICE}.")
        return value

    def made(self, value: Any) -> Any:
        """Return the plain value of what an operation made; it counts as a step."""
        self.step()
        return self.plain(value)

    def plain(self, value: Any) -> Any:
        """Return the plain value of a variable's part, or of what was made of plain values; it counts as made."""
        kind = type(value)
        row = readable(kind)
        try:
            if row is not None and row.leaf:
                return self._leaf(value, kind)
            if kind in _CONTAINERS:
                return self._container(value, kind)
            return self._converted(value, kind)
        except NotPlainError as exc:
            what = describe_kind(value) + (f" that {exc}" if str(exc) else "")
            if not self._name:
                raise RefusedError(f"may not use {what}, as a value: {ADVICE}.") from None
            more = ", or register the function with ipyllm.template_function" if issubclass(kind, FUNCTIONS) else ""
            what = f"{what} in {self._name}" if self._open else f"{self._name}, {what}"
            return Missing(f"may not use {what}: {ADVICE}{more}.", exc=RefusedError)

    def _leaf(self, value: Any, kind: type) -> Any:
        if kind is str:
            self.make(len(value))
            return value
        self.make(_ITEM)
        if kind is int:
            self.expect_bits(value.bit_length())
        elif kind.__module__ == "numpy":
            of_numpy = value.dtype.kind
            if of_numpy == "f":
                return float(str(value))
            return (value.astype(f"{of_numpy}8[us]") if of_numpy in "mM" else value).item()
        elif kind.__name__ == "Decimal" and value.is_finite() and abs(value.adjusted()) > _MAX_EXPONENT:
            raise NotPlainError(f"has an exponent above {_MAX_EXPONENT}")
        check_time_zone(getattr(value, "tzinfo", None))
        return value

    def _container(self, value: Any, kind: type) -> Any:
        is_dict = issubclass(kind, dict)
        items = [*value, *value.values()] if is_dict else list(value)
        self.make(_size_of_flat(items))
        if _FLAT.issuperset(map(type, items)):
            return kind(value)
        copies = self._items(value, items)
        try:
            return kind(dict(zip(copies, copies[len(value) :], strict=False)) if is_dict else copies)
        except (RefusedError, TypeError):  # something denied or a list, as a key or the item of a set
            raise NotPlainError("holds what it may not") from None

    def _items(self, value: Any, items: Iterable[Any]) -> list[Any]:
        """Return copies of what a value holds."""
        if id(value) in self._open:
            raise NotPlainError("contains itself")
        if len(self._open) >= MAX_DEPTH:
            raise NotPlainError(f"nests lists more than {MAX_DEPTH} deep")
        self._open.append(id(value))
        try:
            return [self.plain(item) for item in items]
        finally:
            self._open.pop()

    def _converted(self, value: Any, kind: type) -> Any:
        """Return the plain value of one that is neither a leaf nor one of the usual containers."""
        if issubclass(kind, Undefined):
            return str(value)  # raises, or is the empty text of Jinja
        if issubclass(kind, TemplateObject | Shown):
            self.make(_ITEM)
            return value
        fields = _stored_fields(value, kind)
        if fields is not None:
            copy_class = _copy_class(kind.__name__, tuple(fields), named_tuple=issubclass(kind, tuple))
            return copy_class(*self._items(value, fields.values()))
        if kind in _VIEWS or (not self._name and hasattr(value, "__next__") and not callable(value)):
            return self._items(value, value)
        for base, read in _BASES.items():
            if issubclass(kind, base):
                return self.plain(read(value))
        name = registered_as(value)
        return self._shown(value) if name is None else Function(self, name, value)

    def _shown(self, value: Any) -> Any:
        """Return a table, figure or image in its wrapper, or the plain value of an array or type of column."""
        row = readable(type(value))
        if row is None:
            if self._name or type(value).__module__.partition(".")[0] not in {"numpy", "pandas", "polars"}:
                raise NotPlainError
            return self.plain(value.tolist() if hasattr(value, "tolist") else str(value))
        if not row.table:
            return Shown(value)
        if self._name:
            check_contents(value)
            if hasattr(value, "attrs"):
                value = type(value)(value)  # without the attrs, which its methods copy
        return Table(value, self, self.plain)


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
    return {
        name: item for name, item in fields.items() if name.isidentifier() and name[0] != "_" and not iskeyword(name)
    }


def _stored(value: Any, name: str) -> Any:
    stored = inspect.getattr_static(value, name, None)
    return stored.__get__(value) if type(stored) is types.MemberDescriptorType else stored
