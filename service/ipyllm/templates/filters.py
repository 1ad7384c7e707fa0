"""The filters and tests of Jinja that templates may use, with plain values in and out."""

from __future__ import annotations

from functools import wraps
from typing import TYPE_CHECKING, Any, cast

from jinja2 import Undefined, pass_context, pass_environment, pass_eval_context
from jinja2.filters import FILTERS
from jinja2.tests import TESTS

from ipyllm.templates.chosen_rows import CHOICES
from ipyllm.templates.methods import Method
from ipyllm.templates.operations import apply, check_places, growth, library_of, printf_size
from ipyllm.templates.readable import filter_names
from ipyllm.templates.records import Record
from ipyllm.templates.refusal import ADVICE, RefusedError
from ipyllm.templates.rendering import current

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from jinja2 import Environment
    from jinja2.nodes import EvalContext
    from jinja2.runtime import Context
    from jinja2.sandbox import SandboxedEnvironment

__all__ = ["filters", "json_value", "tests"]

_UNDEFINED_ALLOWED = {"d", "default", "defined", "undefined"}
_MAX_INDENT = 100  # spaces


def filters() -> dict[str, Callable[..., Any]]:
    """Return the filters by name."""
    own: dict[str, Callable[..., Any]] = {
        "attr": _attr,
        "format": _format,
        "indent": _indent,
        "round": _round,
        "sum": _sum,
        "tojson": _tojson,
    }
    jinjas = cast("dict[str, Callable[..., Any]]", FILTERS)
    of_tables = {name: _method(name) for name in ("describe", *CHOICES)}
    return {name: _guarded(name, own.get(name, jinjas[name])) for name in filter_names()} | of_tables


def tests() -> dict[str, Callable[..., Any]]:
    """Return the tests by name."""
    jinjas = cast("dict[str, Callable[..., Any]]", TESTS)
    return {name: _guarded(name, function) for name, function in jinjas.items()}


def _guarded(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a filter or test of Jinja that takes and returns plain values."""
    first = 1 if hasattr(function, "jinja_pass_arg") else 0
    estimate = growth.get(name)

    @wraps(function)  # including the attribute that tells Jinja what to pass
    def guarded(*args: Any, **kwargs: Any) -> Any:
        values = current()
        values.step()
        for value in (*args[first:], *kwargs.values()):
            if not (name in _UNDEFINED_ALLOWED and isinstance(value, Undefined)):
                values.size(value)
        if estimate is not None:
            values.expect(estimate(*args[first:], **kwargs))
        found = function(*args, **kwargs)
        return found if type(found) is Method else values.result(found)

    return guarded


def _method(name: str) -> Callable[..., Any]:
    """Return a filter that calls a method of a table: ``df | head(20)``."""

    @pass_context
    def call(context: Context, table: Any, *args: Any, **kwargs: Any) -> Any:
        environment = cast("SandboxedEnvironment", context.environment)
        return environment.call(context, environment.getattr(table, name), *args, **kwargs)

    return call


@pass_environment
def _attr(environment: Environment, value: Any, name: str) -> Any:
    return environment.getattr(value, name)


def _format(text: Any, *args: Any, **kwargs: Any) -> str:
    values = current()
    arguments: Any = kwargs or args
    values.expect(printf_size(str(text), arguments, values))
    filled: str = str(text) % arguments
    return filled


def _indent(text: Any, *args: Any, **kwargs: Any) -> Any:
    return FILTERS["indent"](str(text), *args, **kwargs)  # of a list, Jinja's would change the list


def _round(value: Any, precision: int = 0, method: str = "common") -> Any:
    return FILTERS["round"](value, check_places(precision), method)


@pass_eval_context
def _tojson(context: EvalContext, value: Any, indent: int | None = None) -> Any:
    if indent is not None and indent > _MAX_INDENT:
        raise RefusedError(f"may not indent JSON by more than {_MAX_INDENT} spaces.")
    return FILTERS["tojson"](context, value, indent)


@pass_environment
def _sum(environment: Environment, items: Iterable[Any], attribute: Any = None, start: Any = 0) -> Any:
    values = current()
    if attribute is not None:
        items = [environment.getitem(item, attribute) for item in items]
    if isinstance(start, list | tuple):
        raise RefusedError(f"may not add up lists: {ADVICE}.")
    for item in items:
        values.step()
        start = apply(values, "+", start, item)
    return start


def json_value(value: Any) -> Any:
    """Return what JSON has no form of as one that it has: a date or a decimal as text, a set as a list."""
    if isinstance(value, Record):
        return vars(value)
    if isinstance(value, set | frozenset):
        return list(value)
    if hasattr(value, "isoformat"):
        return value.isoformat()
    return value.item() if hasattr(value, "item") and not library_of(value) else str(value)
