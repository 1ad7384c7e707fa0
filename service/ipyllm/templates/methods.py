"""Calls of the methods that a template may call: their arguments, and what a few of them need besides.

A method of a library takes the parameters that ``readable.toml`` names, and no others: a path, a function, an
expression or a place to write to cannot be given.
"""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

from ipyllm.templates.operations import check_format, check_places, growth, library_of
from ipyllm.templates.plain_tables import table_size
from ipyllm.templates.readable import aggregations, parameters, readable
from ipyllm.templates.refusal import ADVICE, RefusedError

if TYPE_CHECKING:
    from collections.abc import Callable

    from ipyllm.templates.plain_values import PlainValues

__all__ = ["Method", "call_method", "check_attribute"]

_ACCESSORS = ("indexers and accessors of pandas", "group-by and accessors of Polars")
_MAX_CORRELATED = 1_000  # columns: their correlations are this many squared
_MAX_TRANSPOSED = 10_000  # rows, which become columns
_AS_TEXT = frozenset({
    "iter_rows", "rows", "to_csv", "to_dict", "to_dicts", "to_html", "to_json", "to_markdown", "to_string", "write_csv",
    "write_json",
})  # fmt: skip
_SPECIAL = frozenset(r"\.^$*+?{}[]|()")
_MAX_CELLS_AS_TEXT = 1_000_000


class Method:
    """A method that a template has looked up and may call."""

    __slots__ = ("call", "name", "owner")

    def __init__(self, owner: Any, name: str, call: Callable[..., Any]) -> None:
        self.owner = owner
        self.name = name
        self.call = call


def check_attribute(owner: Any, name: str) -> None:
    """Refuse an attribute whose value would be far more costly than its owner."""
    if name in {"T", "transpose"} and library_of(owner) == "pandas" and len(owner) > _MAX_TRANSPOSED:
        raise RefusedError(f"may not transpose a table of more than {_MAX_TRANSPOSED:,} rows: {ADVICE}.")


def call_method(values: PlainValues, method: Method, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Return the result of a method for arguments that are plain values."""
    row = readable(type(method.owner))
    if row is None or not (library_of(method.owner) or row.title in _ACCESSORS):
        if isinstance(method.owner, str) and method.name in growth:
            values.expect(growth[method.name](method.owner, *args, **kwargs))
        if method.name == "strftime":
            check_format(*args, **kwargs)
        return values.result(method.call(*args, **kwargs))
    return values.result(_call_library(method, args, kwargs))


def _call_library(method: Method, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    given = _given(method, args, kwargs)
    name = method.name
    if name in {"agg", "aggregate"}:
        _check_aggregation(given)
    elif foreign := sorted(set(given) - parameters()):
        raise RefusedError(f"may not give {foreign[0]!r} to {name}(): {ADVICE}.")
    kwargs = {**kwargs, **_always(method, given)}
    if name in _AS_TEXT and table_size(method.owner) > _MAX_CELLS_AS_TEXT:
        raise RefusedError(f"may not write out a table of more than {_MAX_CELLS_AS_TEXT:,} cells: use head().")
    if name == "corr" and max(getattr(method.owner, "shape", ())[1:], default=0) > _MAX_CORRELATED:
        raise RefusedError(f"may not correlate more than {_MAX_CORRELATED:,} columns: {ADVICE}.")
    for argument in ("float_format", "floatfmt", "date_format", "sep", "separator", "na_rep", "null_value", "freq"):
        if argument in given:
            check_format(given[argument])
    check_places(given.get("decimals"))
    if name in {"contains", "split"} and "pandas" in type(method.owner).__module__:
        _refuse_regular_expression(name, given)
        kwargs = {**kwargs, "regex": False}
    return method.call(*args, **kwargs)


def _always(method: Method, given: dict[str, Any]) -> dict[str, Any]:
    """Return arguments that are added to those given."""
    if method.name == "groupby" and "observed" not in given:
        return {"observed": True}  # else there is one group for each combination of categories
    seed = "seed" if library_of(method.owner) == "polars" else "random_state"
    if method.name == "sample" and not isinstance(given.get(seed), int):
        return {seed: 0}  # the same rows every time, and Python's random numbers are left alone
    return {}


def _given(method: Method, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments by the names of the parameters that take them."""
    signature = inspect.signature(method.call)
    bound = signature.bind(*args, **kwargs).arguments
    given: dict[str, Any] = {}
    for name, value in bound.items():
        if signature.parameters[name].kind is inspect.Parameter.VAR_KEYWORD:
            given.update(value)
        else:
            given[name] = value
    return given


def _check_aggregation(given: dict[str, Any]) -> None:
    """Refuse what is no name of an aggregation: pandas calls the method of any name, ``to_pickle`` too."""
    functions = given.pop("func", None)
    by_column = functions.values() if isinstance(functions, dict) else [functions]
    # agg(total=("cups", "sum")): a column, and what is done with it
    by_name = [part[-1:] if isinstance(part, list | tuple) else part for part in given.values()]
    for part in (*by_column, *by_name):
        for name in part if isinstance(part, list | tuple) else [part]:
            if name is not None and (not isinstance(name, str) or name not in aggregations()):
                known = ", ".join(sorted(aggregations()))
                raise RefusedError(f"may not aggregate by {name!r}, only by {known}: {ADVICE}.")


def _refuse_regular_expression(name: str, given: dict[str, Any]) -> None:
    """Refuse a pattern with special characters: matching it may take exponential time."""
    pattern = str(given.get("pat", ""))
    literal = given.get("regex") is False or (name == "split" and len(pattern) == 1)
    if not literal and not _SPECIAL.isdisjoint(pattern):
        raise RefusedError(f"may not use the regular expression {pattern!r}: give {name}() regex=False, or {ADVICE}.")
