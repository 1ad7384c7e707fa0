"""What of pandas, NumPy and Polars gets into a template: tables of plain values, of the libraries' own types.

Tables may hold any object in columns of dtype ``object``, and columns of types that others defined. The former are
searched; the latter are refused.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from ipyllm.templates.readable import readable
from ipyllm.templates.refusal import Denied

__all__ = ["NotPlainError", "kinds_of", "plain_table", "plain_time_zone", "table_size"]

Plain = Callable[[list[Any]], Any]  # returns a list with plain values, the same list if they all were
_TIME_ZONES = frozenset({"datetime", "zoneinfo", "dateutil", "pytz"})  # modules whose time zones do nothing else
_SIMPLE = "biufcmMSU"  # kinds of NumPy's dtypes that hold no objects
_OBJECT = "O"


class NotPlainError(Exception):
    """A value cannot get into a template. The text says why, as in "has labels of type X"; it may be empty."""


def table_size(value: Any) -> int:
    """Return the number of cells of a table, 8 for anything else."""
    size = getattr(value, "size", None)  # pandas' and NumPy's
    if isinstance(size, int):
        return size + 8
    shape = getattr(value, "shape", None)  # Polars'
    if type(shape) is tuple:
        return int(shape[0]) * int(shape[1] if len(shape) > 1 else 1) + 8
    return 8


def kinds_of(value: Any) -> set[str]:
    """Return the kinds of a table's columns, as NumPy has them; ``"O"`` for texts and objects."""
    dtypes = value.dtypes if hasattr(value, "dtypes") and not hasattr(value, "dtype") else [value.dtype]
    return {getattr(dtype, "kind", "f" if _is_polars_number(dtype) else _OBJECT) for dtype in dtypes}


def _is_polars_number(dtype: Any) -> bool:
    return hasattr(dtype, "is_numeric") and (dtype.is_numeric() or str(dtype) == "Boolean")


def plain_time_zone(zone: Any) -> bool:
    """Return whether a time zone is one of Python's or of a known library: it is asked whenever a time is written."""
    return zone is None or type(zone).__module__.partition(".")[0] in _TIME_ZONES


def plain_table(value: Any, kind: type, plain: Plain) -> Any:
    """Return a table, array, figure or number of a library as a template gets it.

    Parameters
    ----------
    value : Any
        Any value but those of Python itself.
    kind : type
        Its type.
    plain : callable
        Returns a list with plain values, the same list if they all were.

    Raises
    ------
    NotPlainError
        It is nothing that a template may use.
    """
    pandas = sys.modules.get("pandas")
    for name in ("DataFrame", "Series"):
        base = vars(pandas).get(name) if pandas is not None else None
        if base is not None and issubclass(kind, base):
            if name == "Series":  # pandas would hash its name
                _check_label(object.__getattribute__(value, "_name"), plain)
            return _frame_or_series(base(value), plain)
    if _is_dtype(value, kind):
        return str(value)
    row = readable(kind)
    if row is None or row.made:
        raise NotPlainError
    checked = _CHECKED.get(row.title)
    return value if checked is None else checked(value, plain)


def _is_dtype(value: Any, kind: type) -> bool:
    """Return whether it is the type of a column, which is read as text."""
    numpy, pandas, polars = (sys.modules.get(name) for name in ("numpy", "pandas", "polars"))
    if polars is not None:
        own = value if issubclass(kind, type) else kind  # pl.Int64 is a class
        if issubclass(own, polars.DataType) and _is_own(own, polars):
            return True
    if pandas is not None and hasattr(pandas, "api") and issubclass(kind, pandas.api.extensions.ExtensionDtype):
        return _is_own(kind, pandas)
    return numpy is not None and issubclass(kind, numpy.dtype)


def _time(value: Any, _plain: Plain) -> Any:
    if not plain_time_zone(getattr(value, "tzinfo", None)):
        raise NotPlainError("has a time zone of its own")
    return value


def _index(value: Any, plain: Plain) -> Any:
    _check_index(value, plain)
    return value


def _group_by(value: Any, plain: Plain) -> Any:
    if _frame_or_series(value.obj, plain) is not value.obj:
        raise NotPlainError("groups other than text, numbers and dates")
    return value


def _polars(value: Any, _plain: Plain) -> Any:
    if sys.modules["polars"].Object in (value.dtypes if hasattr(value, "dtypes") else [value.dtype]):
        raise NotPlainError("holds Python objects")
    return value


def _array(array: Any, plain: Plain) -> Any:
    if array.dtype.kind in _SIMPLE:
        return array
    if array.dtype.kind != _OBJECT:
        raise NotPlainError(f"is of type {array.dtype}")
    items = array.ravel().tolist()
    copies = _without_denied(plain(items))
    if copies is items:
        return array
    changed = sys.modules["numpy"].empty(len(items), dtype=object)
    changed[:] = copies
    return changed.reshape(array.shape)


def _frame_or_series(table: Any, plain: Plain) -> Any:
    """Return ``table`` itself if all that it holds is plain, else a copy with what is plain of it."""
    _check_index(table.index, plain)
    if table.ndim == 1:
        items = _objects(table, plain)
        return (
            table
            if items is None
            else sys.modules["pandas"].Series(items, index=table.index, name=table.name, dtype=object)
        )
    _check_index(table.columns, plain)
    changed = table
    for position, dtype in enumerate(table.dtypes):
        if _is_simple(dtype):
            continue
        try:
            items = _objects(table.iloc[:, position], plain)
        except NotPlainError as exc:
            raise NotPlainError(f"has a column {table.columns[position]!r}, which {exc}") from None
        if items is not None:
            changed = table.copy(deep=False) if changed is table else changed
            changed.isetitem(position, sys.modules["pandas"].Series(items, index=table.index, dtype=object))
    return changed


def _is_simple(dtype: Any) -> bool:
    return type(dtype).__module__.partition(".")[0] == "numpy" and dtype.kind in _SIMPLE


def _objects(column: Any, plain: Plain) -> list[Any] | None:
    """Return the plain values of a column of objects; None if what it holds is plain."""
    dtype = column.dtype
    kind = type(dtype)
    if _is_simple(dtype):
        return None
    if getattr(dtype, "kind", "") == _OBJECT and kind.__module__.partition(".")[0] == "numpy":
        items = list(column)
        copies = _without_denied(plain(items))
        return None if copies is items else copies
    if not _is_own(kind, sys.modules["pandas"]) or kind.__name__ == "SparseDtype":
        raise NotPlainError(f"is of type {kind.__name__}")
    if kind.__name__ == "CategoricalDtype":
        _check_index(dtype.categories, plain)
    if kind.__name__ == "ArrowDtype" and type(dtype.pyarrow_dtype).__module__.partition(".")[0] != "pyarrow":
        raise NotPlainError(f"is of type {dtype}")
    if not plain_time_zone(getattr(dtype, "tz", None)):
        raise NotPlainError("has a time zone of its own")
    return None


def _check_index(index: Any, plain: Plain) -> None:
    row = readable(type(index))
    if row is None or row.title != "pandas Index":
        raise NotPlainError(f"has labels of type {type(index).__name__}")
    for name in index.names:
        _check_label(name, plain)
    for level in index.levels if hasattr(index, "levels") else [index]:
        if _objects(level, plain) is not None:
            raise NotPlainError("has labels other than text, numbers and dates")


def _check_label(label: Any, plain: Plain) -> None:
    labels = [label]
    if plain(labels) is not labels:
        raise NotPlainError("has a name other than text, numbers and dates")


def _without_denied(items: Any) -> Any:
    denied = next((item for item in items if type(item) is Denied), None)
    if denied is not None:
        raise NotPlainError(f"holds {denied.kind}")
    return items


def _is_own(kind: type, library: Any) -> bool:
    """Return whether the library itself has this type under its name."""
    return vars(library).get(kind.__name__) is kind


_CHECKED: dict[str, Callable[[Any, Plain], Any]] = {
    "pandas Index": _index,
    "pandas GroupBy": _group_by,
    "pandas dates, periods, intervals, missing values": _time,
    "NumPy array": _array,
    "Polars DataFrame": _polars,
    "Polars Series": _polars,
}
