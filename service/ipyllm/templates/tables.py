"""Tables of pandas, NumPy and Polars: what they may hold, and what of them a template may read.

A template gets a :class:`Table` instead of the table itself. It has the methods that ``readable.toml`` lists, with the
parameters that are listed there, rows and columns by name or position, and nothing else: no operator, no comparison.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

from ipyllm.templates.readable import readable
from ipyllm.templates.refusal import ADVICE, RefusedError, describe_kind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from ipyllm.templates.limits import Limits
    from ipyllm.templates.readable import Readable

__all__ = [
    "CHOICES",
    "ChosenRows",
    "NotPlainError",
    "Shown",
    "Table",
    "check_contents",
    "check_places",
    "check_time_zone",
]

CHOICES = {"head": "first", "tail": "last", "sample": "random"}
"""The methods that choose rows, and which rows these are."""

_TIME_ZONES = frozenset({"datetime", "zoneinfo", "dateutil", "pytz"})  # modules whose time zones do nothing else
_CONTAINERS = frozenset({list, tuple, set, frozenset, dict})
_SIMPLE = "biufcmMSU"  # kinds of NumPy's dtypes that hold no objects
_ADDING = frozenset({"mean", "median", "std", "sum", "var"})
_WRITING = ("rows", "to", "write")  # how names of methods begin that make a text or list of all cells
_MAX_WRITTEN = 1_000_000  # cells
_MAX_NAMES = 100  # of columns in one list
_MAX_PLACES = 100


class NotPlainError(Exception):
    """A value cannot get into a template. The text says why, as in "holds a function"; it may be empty."""


class ChosenRows(NamedTuple):
    """The ``rows`` that a template chose of a ``table`` by ``head``, ``tail`` or ``sample``; ``which`` of them."""

    rows: Any
    table: Any
    which: str

    def __str__(self) -> str:
        return str(self.rows)


class Shown:
    """A figure or image: a template can insert it, and nothing else.

    ``__wrapped__`` is the value itself, ``__shown__`` what is inserted: names that no template can reach.
    """

    __slots__ = ("__shown__", "__wrapped__")

    def __init__(self, value: Any) -> None:
        self.__wrapped__ = self.__shown__ = value

    def _refuse(self, *_args: Any) -> NoReturn:
        kind = describe_kind(self.__wrapped__)
        raise RefusedError(f"may not use {kind} in an operation or inside of a text: {ADVICE}.")

    __array_ufunc__ = None  # or NumPy's numbers would compute with it as with a list
    __str__ = __repr__ = __hash__ = __reversed__ = _refuse
    __eq__ = __ne__ = __lt__ = __le__ = __gt__ = __ge__ = __neg__ = __pos__ = _refuse
    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = __mod__ = __rmod__ = __pow__ = __rpow__ = _refuse
    __truediv__ = __rtruediv__ = __floordiv__ = __rfloordiv__ = _refuse


def unwrapped(value: Any) -> Any:
    """Return the table, figure or image itself; any other value as it is."""
    return value.__wrapped__ if isinstance(value, Shown) else value


class Table(Shown):
    """A table, column, index, array or group-by, with the attributes and methods of its row of the table.

    ``admit`` makes plain values of what its methods return, and counts them in ``limits``.
    """

    __slots__ = ("_admit", "_limits", "_members", "_n_cells")

    def __init__(self, value: Any, limits: Limits, admit: Callable[[Any], Any]) -> None:
        super().__init__(value)
        self._limits = limits
        self._admit = admit
        self._members = _row(value).members
        self._n_cells = math.prod(map(int, value.shape)) if "shape" in self._members else 1
        limits.make(self._n_cells)

    def __len__(self) -> int:
        return len(self.__wrapped__)

    def __bool__(self) -> bool:
        return len(self) > 0  # as lists; filters of Jinja ask for it

    def __iter__(self) -> Iterator[Any]:
        for item in self.__wrapped__:
            self._limits.step()
            yield self._admit(item)

    def __contains__(self, item: Any) -> bool:
        _check_argument(self.__wrapped__, item)
        return item in self.__wrapped__

    def __getitem__(self, index: Any) -> Any:
        _check_argument(self.__wrapped__, index)
        if "get_column" in self._members and isinstance(index, str) and index not in self.__wrapped__.columns:
            raise KeyError(index)  # Polars raises an error of its own
        return self._admit(self.__wrapped__[index])

    def __getattr__(self, name: str) -> Any:
        if name not in self._members:
            raise AttributeError(name)
        found, parameters = getattr(self.__wrapped__, name), self._members[name]
        if parameters is None:
            return self._admit(found)
        return lambda *args, **kwargs: self._called(name, found, parameters, args, kwargs)

    def _called(
        self,
        name: str,
        method: Callable[..., Any],
        parameters: list[str],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> Any:
        positional, _, named = " ".join(parameters).partition("*")
        names = [*positional.split(), *named.split()]
        if len(args) > len(positional.split()) or not set(kwargs) <= set(names):
            takes = f"anything but {', '.join(names)}" if names else "an argument"
            raise RefusedError(f"may not give {name}() {takes}: {ADVICE}.")
        given = dict(zip(names, args, strict=False)) | kwargs
        for value in given.values():
            _check_argument(self.__wrapped__, value)
        check_places(given.get("decimals"))
        self._check_size(name)
        result = self._admit(method(*args, **kwargs | _always(name, self.__wrapped__, given)))
        if name in CHOICES and "shape" in self._members:
            result.__shown__ = ChosenRows(result.__wrapped__, self.__wrapped__, CHOICES[name])
        return result

    def _check_size(self, name: str) -> None:
        """Refuse to make a text or list of too many cells, or with rows that are padded to one long cell."""
        if name.startswith(_WRITING) and self._n_cells > _MAX_WRITTEN:
            raise RefusedError(
                f"may not use {name!r} of more than {_MAX_WRITTEN:,} cells: use fewer rows, as in head(20)."
            )
        if name in {"reset_index", "to_csv", "to_markdown", "to_string"}:
            self._limits.expect(_text_size(self.__wrapped__, padded=name in {"to_markdown", "to_string"}))


def _text_size(table: Any, *, padded: bool) -> int:
    """Return the characters of the texts in all rows of a table of pandas, also if many rows share a long one."""
    columns = [table.iloc[:, place] for place in range(table.shape[1])] if table.ndim > 1 else [table]
    labels = [max(map(len, map(str, level)), default=0) for level in getattr(table.index, "levels", [table.index])]
    size = len(table) * (sum(labels) + (sum(len(str(column.name)) for column in columns) if padded else 0))
    for column in columns:
        if not _is_number(column.dtype) and len(table):
            lengths = column.map(lambda cell: len(str(cell))).astype(float).fillna(0)
            size += int(len(table) * lengths.max() if padded else lengths.sum())
    return size


def _row(table: Any) -> Readable:
    row = readable(type(table))
    if row is None or not row.table:
        raise NotPlainError
    return row


def _check_argument(table: Any, value: Any) -> None:
    """Refuse all but plain values, slices, and lists of different names of columns, as an argument or index."""
    kind = type(value)
    if kind is list:
        owner = table if "shape" in _row(table).members else table.obj  # of a group-by and of df.loc
        known = [name for name in value if type(name) in {str, int} and name in getattr(owner, "columns", ())]
        if known != value or not len(value) == len(set(value)) <= _MAX_NAMES:
            raise RefusedError(f"may not use a list with a table, except of names of columns, each once: {ADVICE}.")
    elif kind is tuple or kind is slice:
        for part in value if kind is tuple else (value.start, value.stop, value.step):
            _check_argument(table, part)
    else:
        row = readable(kind)
        if row is None or not row.leaf:
            raise RefusedError(f"may not give {describe_kind(value)} to a table: {ADVICE}.")


def _always(name: str, table: Any, given: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments that a method is given whatever the template says."""
    title = _row(table).title
    if name == "sample":  # the same rows every time, and Python's random numbers are left alone
        seed = "random_state" if title.startswith("pandas") else "seed"
        return {seed: given.get(seed) or 0}
    if name == "groupby":
        return {"observed": True}  # else there is one group for each combination of categories
    if name in _ADDING and title in {"pandas DataFrame", "pandas GroupBy"}:
        return {"numeric_only": True}  # adding texts takes quadratic time
    if name in _ADDING and title in {"pandas Series", "NumPy array"} and not _is_number(table.dtype):
        raise RefusedError(f"may not compute the {name} of texts or objects: {ADVICE}.")
    return {}


def _is_number(dtype: Any) -> bool:
    return dtype.kind not in "OSU"  # kinds of texts, objects and categories


def check_places(places: Any) -> None:
    """Refuse a number of decimal places that takes long to compute."""
    if isinstance(places, int) and abs(places) > _MAX_PLACES:
        raise RefusedError(f"may not round to more than {_MAX_PLACES} places.")


# ---- what tables may hold --------------------------------------------------------------------------------------


def check_time_zone(zone: Any) -> None:
    """Raise NotPlainError for a time zone of the user's, which is asked whenever a time is written."""
    if zone is not None and type(zone).__module__.partition(".")[0] not in _TIME_ZONES:
        raise NotPlainError("has a time zone of its own")


def check_contents(table: Any) -> None:
    """Raise NotPlainError for a table that holds anything but plain values in columns of the libraries' own types."""
    title = _row(table).title
    if title == "pandas GroupBy":
        if table.obj.attrs:
            raise NotPlainError("has attrs, which its methods copy")
        check_contents(table.obj)
    elif title.startswith("Polars"):
        if "Object" in map(str, table.dtypes if title == "Polars DataFrame" else [table.dtype]):
            raise NotPlainError("holds Python objects")
    elif title == "NumPy array":
        _check_column(table)
    elif title == "pandas Index":
        _check_labels(table)
    elif title in {"pandas DataFrame", "pandas Series"}:
        for labels in table.axes:
            _check_labels(labels)
        for column in [table] if title == "pandas Series" else _uncertain_columns(table):
            _check_items([column.name])
            _check_column(column)
    else:
        raise NotPlainError


def _uncertain_columns(table: Any) -> Iterator[Any]:
    return (table.iloc[:, position] for position, dtype in enumerate(table.dtypes) if not _is_simple(dtype))


def _check_labels(labels: Any) -> None:
    _check_items(labels.names)
    for level in getattr(labels, "levels", [labels]):
        _check_column(level)


def _is_simple(dtype: Any) -> bool:
    return type(dtype).__module__.startswith("numpy") and dtype.kind in _SIMPLE


def _check_column(column: Any) -> None:
    dtype = column.dtype
    library = type(dtype).__module__.partition(".")[0]
    if library == "numpy" and dtype.kind == "O":
        _check_items(column.ravel().tolist() if column.ndim > 1 else column.tolist())
    elif _is_simple(dtype):
        return
    elif library != "pandas" or "Sparse" in str(dtype):
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
