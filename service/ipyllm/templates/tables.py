"""Tables of pandas, NumPy and Polars: what they may hold, and how a template may call, compute with and index them.

Tables may hold any object in columns of dtype ``object``, and columns of types that others defined: both are refused.
A method takes the parameters that ``readable.toml`` names: no path, function, expression or place to write to.
"""

from __future__ import annotations

import inspect
import math
import re
import sys
from itertools import chain
from typing import TYPE_CHECKING, Any, NamedTuple

from ipyllm.templates.readable import name_list, readable
from ipyllm.templates.refusal import ADVICE, RefusedError, describe_kind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from ipyllm.templates.limits import Limits
    from ipyllm.templates.refusal import Function

__all__ = [
    "CHOICES",
    "ChosenRows",
    "NotPlainError",
    "call_table",
    "check_format",
    "check_index",
    "check_pair",
    "check_places",
    "check_table",
    "check_time_zone",
    "check_whole",
    "has_short_axis",
    "is_dtype",
    "is_table",
    "table_size",
]

CHOICES = {"head": "first", "tail": "last", "sample": "random"}
"""The methods that choose rows, and which rows these are."""

_TIME_ZONES = frozenset({"datetime", "zoneinfo", "dateutil", "pytz"})  # modules whose time zones do nothing else
_CONTAINERS = (list, tuple, set, frozenset, dict)
_SIMPLE = "biufcmMSU"  # kinds of NumPy's dtypes that hold no objects
_NUMBERS_AND_TIMES = frozenset("biufcmM")
_WHOLE = frozenset({
    "T", "corr", "iter_rows", "rows", "to_csv", "to_dict", "to_dicts", "to_html", "to_json", "to_markdown", "to_string",
    "transpose", "write_csv", "write_json", *CHOICES,
})  # fmt: skip
_NAMING = {"rename", "reset_index", "to_frame", "with_row_index"}
_MAX_CELLS = 1_000_000
_MAX_CORRELATED = 1_000  # columns: their correlations are this many squared
_FORMATS = frozenset({
    "date_format", "fill_value", "float_format", "floatfmt", "freq", "na_rep", "null_value", "sep", "separator",
    "value",
})  # fmt: skip
_LONG_NUMBER = re.compile(r"\d{4}")
_SPECIAL = frozenset(r"\.^$*+?{}[]|()")


class NotPlainError(Exception):
    """A value cannot get into a template. The text says why, as in "holds a function"; it may be empty."""


class ChosenRows(NamedTuple):
    """The ``rows`` that a template chose of a ``table`` by ``head``, ``tail`` or ``sample``; ``which`` of them."""

    rows: Any
    table: Any
    which: str

    def __str__(self) -> str:
        return str(self.rows)


def is_table(value: Any) -> bool:
    """Return whether it is a table, column, index, array or accessor of pandas, NumPy or Polars."""
    row = readable(type(value))
    return row is not None and row.table


def has_short_axis(value: Any) -> bool:
    """Return whether it is an array that NumPy would spread over another one, as a column over a row."""
    shape = getattr(value, "shape", ()) if is_table(value) else ()
    return len(shape) > 1 and 1 in shape and type(value).__module__ == "numpy"


def table_size(value: Any) -> int:
    """Return the number of cells of a table, 8 for anything else."""
    shape = getattr(value, "shape", ())
    size = 1
    for length in shape if type(shape) is tuple else ():
        size *= int(length)
    return size + 8


# ---- what tables may hold --------------------------------------------------------------------------------------


def check_time_zone(zone: Any) -> None:
    """Raise NotPlainError for a time zone of the user's, which is asked whenever a time is written."""
    if zone is not None and type(zone).__module__.partition(".")[0] not in _TIME_ZONES:
        raise NotPlainError("has a time zone of its own")


def is_dtype(value: Any) -> bool:
    """Return whether it is the type of a column of pandas, NumPy or Polars itself, which is read as text."""
    polars, pandas = sys.modules.get("polars"), sys.modules.get("pandas")
    kind = type(value)
    own = value if issubclass(kind, type) else kind  # pl.Int64 is a class
    if polars is not None and issubclass(own, polars.DataType):
        return vars(polars).get(own.__name__) is own
    if pandas is not None and issubclass(kind, pandas.api.extensions.ExtensionDtype):
        return _is_pandas_own(kind)
    return "numpy" in sys.modules and issubclass(kind, sys.modules["numpy"].dtype)


def check_table(table: Any) -> None:
    """Raise NotPlainError for a table that holds anything but plain values, and for one of a subclass."""
    row = readable(type(table))
    title = "" if row is None else row.title
    if title == "pandas GroupBy":
        table = table.obj
        if table.attrs:
            raise NotPlainError("has attrs, which its methods copy")
        check_table(table)
    elif title.startswith("Polars"):
        if sys.modules["polars"].Object in (table.dtypes if hasattr(table, "dtypes") else [table.dtype]):
            raise NotPlainError("holds Python objects")
    elif title == "NumPy array":
        _check_column(table)
    elif title == "pandas Index":
        _check_labels(table)
    elif title in {"pandas DataFrame", "pandas Series"}:
        for labels in table.axes:
            _check_labels(labels)
        columns = [table] if title == "pandas Series" else _uncertain_columns(table)
        for column in columns:
            _check_items([column.name])
            _check_column(column)
    else:
        raise NotPlainError


def _uncertain_columns(table: Any) -> Iterator[Any]:
    for position, dtype in enumerate(table.dtypes):
        if not _is_simple(dtype):
            yield table.iloc[:, position]


def _check_labels(labels: Any) -> None:
    _check_items(labels.names)
    for level in getattr(labels, "levels", [labels]):
        _check_column(level)


def _is_simple(dtype: Any) -> bool:
    return type(dtype).__module__.partition(".")[0] == "numpy" and dtype.kind in _SIMPLE


def _check_column(column: Any) -> None:
    dtype = column.dtype
    if _is_simple(dtype):
        return
    if type(dtype).__module__.partition(".")[0] == "numpy" and dtype.kind == "O":
        _check_items(column.ravel().tolist() if column.ndim > 1 else column.tolist())
    elif not _is_pandas_own(type(dtype)) or type(dtype).__name__ == "SparseDtype":
        raise NotPlainError(f"is of type {dtype}")
    elif hasattr(dtype, "categories"):
        _check_labels(dtype.categories)
    else:
        check_time_zone(getattr(dtype, "tz", None))


def _check_items(items: Iterable[Any], depth: int = 0) -> None:
    """Raise NotPlainError if there is anything but plain values, and lists of them."""
    kinds = set(map(type, items))
    for kind in kinds:
        row = readable(kind)
        if row is None or not (row.leaf or (kind in _CONTAINERS and not depth)):
            raise NotPlainError(f"holds {describe_kind(next(item for item in items if type(item) is kind))}")
    if not kinds <= {str, int, float, bool, type(None)}:
        for item in items:
            check_time_zone(getattr(item, "tzinfo", None))
            if type(item) in _CONTAINERS:
                _check_items([*item, *item.values()] if type(item) is dict else list(item), depth + 1)


def _is_pandas_own(kind: type) -> bool:
    return "pandas" in sys.modules and vars(sys.modules["pandas"]).get(kind.__name__) is kind


# ---- what a template may do with them --------------------------------------------------------------------------


def check_pair(left: Any, right: Any, *, arithmetic: bool) -> None:
    """Refuse an operation whose result has more cells than its operands, or which calls methods of their items."""
    tables = [value for value in (left, right) if is_table(value)]
    if arithmetic and tables:
        for value in (left, right):
            texts = not is_table(value) and isinstance(value, str | bytes | list | tuple | dict | set | frozenset)
            if texts or (is_table(value) and not _kinds_of(value) <= _NUMBERS_AND_TIMES):
                raise RefusedError(f"may not compute with tables of text or objects: {ADVICE}.")
    for table, other in ((left, right), (right, left)):
        if has_short_axis(table) and isinstance(other, list | tuple):  # it would be spread over each array in there
            raise RefusedError(f"may not look in a list for an array that has an axis of length 1: {ADVICE}.")
    if len(tables) > 1 and not _same_labels(left, right):
        raise RefusedError(f"may not combine tables with different rows or columns: {ADVICE}.")


def _kinds_of(value: Any) -> set[str]:
    """Return the kinds of a table's columns, as NumPy has them; ``"O"`` for texts and objects."""
    dtypes = value.dtypes if hasattr(value, "dtypes") and not hasattr(value, "dtype") else [value.dtype]
    numeric = {True: "f", False: "O"}
    return {
        getattr(
            dtype, "kind", numeric[hasattr(dtype, "is_numeric") and (dtype.is_numeric() or str(dtype) == "Boolean")]
        )
        for dtype in dtypes
    }


def _same_labels(left: Any, right: Any) -> bool:
    """Return whether two tables are of one shape, with the same labels if both have some; one may be a single value."""
    shapes = [getattr(value, "shape", ()) for value in (left, right)]
    if () in shapes or shapes[0] != shapes[1]:
        return () in shapes
    if not (hasattr(left, "axes") and hasattr(right, "axes")):
        return True
    return all(one is other or one.equals(other) for one, other in zip(left.axes, right.axes, strict=True))


def check_index(limits: Limits, table: Any, index: Any) -> None:
    """Refuse ``table[index]`` if it repeats rows so often that the result is too large."""
    owner = getattr(table, "obj", table)  # of .loc and .iloc
    rows = max(1, len(owner) if hasattr(owner, "__len__") else 1)
    for part in index if isinstance(index, tuple) else (index,):
        if isinstance(part, list) or is_table(part):
            repeats = 1 if getattr(getattr(owner, "index", None), "is_unique", True) else rows
            limits.expect(len(part) * repeats * max(1, table_size(owner) // rows))


def call_table(method: Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Return the result of a table's method for arguments that are plain values."""
    given = dict(_given(method.call, args, kwargs))
    name, owner = method.name, method.owner
    if name in {"agg", "aggregate"}:
        _check_aggregation(given)
    elif foreign := sorted(set(given) - name_list("parameters")):
        raise RefusedError(f"may not give {foreign[0]!r} to {name}(): {ADVICE}.")
    check_whole(name, owner, min(len(owner), int(given.get("n", 5))) if name in CHOICES else None)
    _check_arguments(name, owner, given)
    of_pandas = "pandas" in type(owner).__module__
    if name in {"contains", "split"} and of_pandas:
        _refuse_regular_expression(name, given)
        kwargs = {**kwargs, "regex": False}
    if name == "groupby":
        kwargs = {**kwargs, "observed": True}  # else there is one group for each combination of categories
    seed = "random_state" if of_pandas else "seed"
    if name == "sample" and not isinstance(given.get(seed), int):
        kwargs = {**kwargs, seed: 0}  # the same rows every time, and Python's random numbers are left alone
    return method.call(*args, **kwargs)


def _check_arguments(name: str, owner: Any, given: dict[str, Any]) -> None:
    """Refuse what would make a text or table far larger than ``owner``."""
    for argument in _FORMATS & set(given):
        if isinstance(given[argument], str):
            check_format(given[argument])
    if name in _NAMING:
        _check_new_labels(given)
    for places in ("decimals", "float_precision"):
        check_places(given.get(places))
    if name == "value_counts" and type(owner).__name__ == "DataFrame":
        _check_combinations(owner, given.get("subset"))


def _given(call: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield the arguments with the names of the parameters that take them."""
    signature = inspect.signature(call)
    for name, value in signature.bind(*args, **kwargs).arguments.items():
        if signature.parameters[name].kind is inspect.Parameter.VAR_KEYWORD:
            yield from value.items()
        else:
            yield name, value


def check_whole(name: str, table: Any, rows: int | None = None) -> None:
    """Refuse an attribute or method that goes through all cells if there are too many."""
    if name in _WHOLE and is_table(table):
        cells = table_size(table) if rows is None else rows * table_size(table) // max(1, len(table))
        if cells > _MAX_CELLS:
            raise RefusedError(
                f"may not use {name!r} of more than {_MAX_CELLS:,} cells: use fewer rows, as in head(20)."
            )
        if name == "corr" and len(getattr(table, "columns", ())) > _MAX_CORRELATED:
            raise RefusedError(f"may not correlate more than {_MAX_CORRELATED:,} columns: {ADVICE}.")


def _check_aggregation(given: dict[str, Any]) -> None:
    """Refuse what is no name of an aggregation: pandas calls the method of any name, ``to_pickle`` too."""
    functions = given.pop("func", None)
    by_column = functions.values() if isinstance(functions, dict) else [functions]
    # agg(total=("cups", "sum")): a column, and what is done with it
    by_name = [part[-1:] if isinstance(part, list | tuple) else part for part in given.values()]
    for part in chain(by_column, by_name):
        for name in part if isinstance(part, list | tuple) else [part]:
            if name is not None and (not isinstance(name, str) or name not in name_list("aggregations")):
                known = ", ".join(sorted(name_list("aggregations")))
                raise RefusedError(f"may not aggregate by {name!r}, only by {known}: {ADVICE}.")


def _refuse_regular_expression(name: str, given: dict[str, Any]) -> None:
    """Refuse a pattern with special characters: matching it may take exponential time."""
    pattern = str(given.get("pat", ""))
    literal = given.get("regex") is False or (name == "split" and len(pattern) == 1)
    if not literal and not _SPECIAL.isdisjoint(pattern):
        raise RefusedError(f"may not use the regular expression {pattern!r}: give {name}() regex=False, or {ADVICE}.")


def check_format(text: Any) -> str:
    """Return a format such as ``.2f`` or ``%d.%m.%Y``; refuse a long one and one with a huge width."""
    if not isinstance(text, str) or len(text) > 100 or _LONG_NUMBER.search(text):  # noqa: PLR2004
        raise RefusedError("may not use a format of more than 100 characters or a width above 999: shorten it.")
    return text


def _check_combinations(table: Any, subset: Any) -> None:
    """Refuse to count the rows of each combination of categories, of which pandas makes those that do not occur too."""
    columns = table if subset is None else table[subset if isinstance(subset, list) else [subset]]
    combinations = math.prod(len(dtype.categories) for dtype in columns.dtypes if hasattr(dtype, "categories"))
    if combinations > _MAX_CELLS:
        raise RefusedError(f"may not count more than {_MAX_CELLS:,} combinations of categories: {ADVICE}.")


def _check_new_labels(given: dict[str, Any]) -> None:
    """Refuse a new label that is long: texts of a table repeat it in every row, or pad every row to its width."""
    for value in given.values():
        new = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else [value]
        if any(isinstance(label, str) and len(label) > 100 for label in new):  # noqa: PLR2004
            raise RefusedError("may not give a table a label of more than 100 characters: shorten it.")


def check_places(places: Any) -> None:
    """Refuse a number of decimal places, or several by column, that takes long to compute."""
    for number in places.values() if isinstance(places, dict) else [places]:
        if isinstance(number, int) and abs(number) > 100:  # noqa: PLR2004
            raise RefusedError("may not round to more than 100 places.")
