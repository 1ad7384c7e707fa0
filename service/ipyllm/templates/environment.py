"""The environment of Jinja2 in which templates run.

Every name, attribute, item, call, operator and output is checked; what is not allowed is refused.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from jinja2 import Undefined, pass_context
from jinja2.runtime import Context, LoopContext, Macro
from jinja2.sandbox import SandboxedEnvironment, SandboxedFormatter
from jinja2.utils import Joiner, Namespace, missing

from ipyllm.templates.filters import filters, json_value, tests
from ipyllm.templates.methods import Method, call_method, check_attribute
from ipyllm.templates.operations import apply, check_format, check_index, library_of
from ipyllm.templates.plain_values import PlainValues, RegisteredFunction, describe_kind
from ipyllm.templates.readable import TemplateObject, readable
from ipyllm.templates.records import Record
from ipyllm.templates.refusal import ADVICE, Denied, RefusedError
from ipyllm.templates.rendering import JINJA_NAMES, Missing, current
from ipyllm.templates.rewriting import OPERATIONS, each, rewrite

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jinja2 import nodes

__all__ = ["environment"]


_OF_JINJA = {"_loop_vars", "_block_vars"}  # arguments that Jinja adds to calls


class _Names(Context):
    """Looks up the names of a template."""

    def resolve_or_missing(self, key: str) -> Any:
        return self.vars[key] if key in self.vars else current().look_up(key)


@pass_context  # so that Jinja does not compute constants when it compiles
def _output(_context: Context, value: Any) -> str:
    return current().output(value)


class _Environment(SandboxedEnvironment):
    """Jinja's sandbox, in which everything is denied that is not allowed."""

    intercepted_binops = frozenset(SandboxedEnvironment.default_binop_table)
    intercepted_unops = frozenset(SandboxedEnvironment.default_unop_table)
    context_class = _Names

    def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
        return rewrite(super()._parse(source, name, filename))

    def getattr(self, obj: Any, attribute: str) -> Any:
        values = current()
        values.step()
        found = self._member(values, obj, attribute)
        if found is missing:
            found = self._item(values, obj, attribute)
        return self._undefined(obj, attribute) if found is missing else found

    def getitem(self, obj: Any, argument: Any) -> Any:
        values = current()
        values.step()
        found = self._item(values, obj, argument)
        if found is missing and type(argument) is str:
            found = self._member(values, obj, argument)
        return self._undefined(obj, argument) if found is missing else found

    def _member(self, values: PlainValues, obj: Any, name: str) -> Any:
        kind = type(obj)
        if kind is Denied or isinstance(obj, Undefined):
            str(obj)  # raises
        if name.startswith("_"):
            raise RefusedError(f"may not use {name!r}, because of the underscore at its beginning: {ADVICE}.")
        if kind is Namespace:
            return self._namespace_item(obj, name)
        if isinstance(obj, Record):
            return vars(obj).get(name, missing)
        row = readable(kind)
        members = row.members if row is not None else obj.members if isinstance(obj, TemplateObject) else ()
        if name in members or (isinstance(obj, tuple) and name in getattr(obj, "_fields", ())):
            check_attribute(obj, name)
            value = getattr(obj, name, missing)
            if callable(value) and readable(type(value)) is None:
                return Method(obj, name, value)
            return value if value is missing or isinstance(value, Undefined) else values.result(value)
        return missing

    def _namespace_item(self, namespace: Namespace, name: str) -> Any:
        try:
            return getattr(namespace, name)
        except AttributeError:
            return missing

    def _item(self, values: PlainValues, obj: Any, argument: Any) -> Any:
        kind = type(obj)
        for part in _index_parts(argument):
            values.size(part)
        row = readable(kind)
        if kind is Denied or isinstance(obj, Undefined):
            str(obj)  # raises
        if not (isinstance(obj, TemplateObject | tuple) or (row is not None and row.items)):
            return missing
        if library_of(obj) or (row is not None and row.made):
            check_index(values, obj, argument)
            if type(argument) is str and argument not in getattr(obj, "schema", (argument,)):
                return missing  # Polars raises an error of its own
        try:
            found = obj[argument]
        except (TypeError, LookupError):
            return missing
        return found if kind is dict and not isinstance(argument, slice) else values.result(found)

    def _undefined(self, obj: Any, name: Any) -> Undefined:
        if type(obj) in (Method, RegisteredFunction, Macro):
            raise RefusedError(f"may not use {str(name)!r} of a function: {ADVICE}.")
        if isinstance(name, str) and hasattr(type(obj), name) and not isinstance(obj, TemplateObject | Record):
            raise RefusedError(f"may not use {name!r} of {describe_kind(obj)}: {ADVICE}.")
        return self.undefined(obj=obj, name=name)

    def call(self, context: Context, function: Any, /, *args: Any, **kwargs: Any) -> Any:
        values = current()
        values.step()
        kind = type(function)
        if kind is Macro:
            return context.call(function, *args, **kwargs)
        if kind is LoopContext:  # recursion
            return context.call(function, *map(each, args), **kwargs)
        kwargs = {name: value for name, value in kwargs.items() if name not in _OF_JINJA}
        for argument in (*args, *kwargs.values()):
            values.size(argument)  # raises for functions, methods and what is denied
        if kind is Method:
            if isinstance(function.owner, str) and function.name == "format":
                return values.result(_Formatter(self, values).vformat(function.owner, args, kwargs))
            return values.choose(function, call_method(values, function, args, kwargs))
        if kind is RegisteredFunction:
            with values.paused():
                returned = function.call(*args, **kwargs)
            return values.admit(returned, f"the result of {function.name}()")
        if kind is Joiner or any(function is known for known in JINJA_NAMES.values()):
            return function(*args, **kwargs)
        if kind is Denied or isinstance(function, Undefined):
            str(function)  # raises
        raise RefusedError(f"may not call {describe_kind(function)}: {ADVICE}.")

    def call_binop(self, _context: Context, operator: str, left: Any, right: Any) -> Any:
        values = current()
        values.step()
        return apply(values, operator, left, right)

    def call_unop(self, _context: Context, operator: str, arg: Any) -> Any:
        values = current()
        values.step()
        values.size(arg)
        return values.result(self.unop_table[operator](arg))


def _index_parts(index: Any) -> Iterator[Any]:
    if isinstance(index, slice):
        yield from (index.start, index.stop, index.step)
    elif type(index) is tuple and any(isinstance(part, slice) for part in index):
        for part in index:
            yield from _index_parts(part)
    else:
        yield index


class _Formatter(SandboxedFormatter):
    """``str.format`` with values that are looked up as in templates, and formats without huge widths."""

    def __init__(self, environment: _Environment, values: PlainValues) -> None:
        super().__init__(environment)
        self._values = values

    def format_field(self, value: Any, format_spec: str) -> Any:
        self._values.step()
        self._values.expect(self._values.size(value))
        text = format(value, check_format(format_spec))
        self._values.make(len(text))
        return text


@cache
def environment() -> _Environment:
    """Return the environment of all templates."""
    made = _Environment(
        undefined=Missing,
        finalize=_output,
        optimized=False,  # constants would be computed without limits
        keep_trailing_newline=True,
        autoescape=False,  # prompts are not HTML
        # No comments: "{#" is common in prompts about LaTeX, CSS and C.
        comment_start_string="{#ipyllm-no-comments",
        comment_end_string="ipyllm-no-comments#}",
    )
    made.filters.clear()
    made.filters.update(filters() | OPERATIONS)
    made.tests.update(tests())
    made.globals = {}
    made.policies["json.dumps_kwargs"] = {"sort_keys": True, "default": json_value}
    return made
