"""Export of calls or votes to Parquet or CSV."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any, Final

from ipyllm.atomic_file import atomic_write
from ipyllm.dataframes.convert import text_dtype
from ipyllm.dataframes.filters import read_frames
from ipyllm.dataframes.parquet_pages import arrow_pages, schema_of
from ipyllm.errors import bad_request
from ipyllm.ledger.current import current_ledger
from ipyllm.text.format import join_names, shorten
from ipyllm.user_file import file_path

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    import pandas as pd
    import pyarrow as pa

    from ipyllm.ledger import Ledger
    from ipyllm.ledger.columns import Kind
    from ipyllm.ledger.query import Conditions

__all__ = ["export_usage", "write_parquet", "write_stored"]

_GROUP_ROWS: Final = 50_000
"""Rows converted and written at once."""

_COMPLETED_ROWS: Final = 5_000
"""The same, where their texts are read first."""


def export_usage(
    path: str | os.PathLike[str], calls: pd.DataFrame | None = None, *, ledger: Ledger | None = None, **filters: Any
) -> Path:
    """Write calls or votes to a file, in the format of its extension.

    The file is written in one step, replaces an existing one, and only its owner may read it: it holds prompts and
    answers.

    Parameters
    ----------
    path : str or path
        Ending in ``.parquet`` (compressed with zstd; needs ``ipyllm[tables]``) or ``.csv`` (UTF-8).
    calls : DataFrame, optional
        A result of :func:`ipyllm.usage` or :func:`ipyllm.votes`, or a part of one. Default: those that ``filters``
        choose, which are read and written in parts, so that memory need not hold them all.
    ledger : Ledger, optional
        Where these are read. Default: the current one.
    **filters
        Those of :func:`ipyllm.usage`: ``kernel=None`` for the calls of all kernels, ``since="7d"``, ``text=False``, …
        Default: all calls of this kernel.

    Returns
    -------
    Path
        Absolute path of the file.

    Raises
    ------
    LLMError
        The path or its extension is not one of these, ``calls`` is no table, there are both calls and filters, the
        ledger cannot be read, or the file cannot be written.
    ValueError, TypeError
        A filter is not one that :func:`ipyllm.usage` takes.

    Notes
    -----
    Dicts (``params``, ``tags``, ``arms``) become JSON text. In CSV, a time is ISO 8601 with its zone, and an unknown
    value an empty field.

    Examples
    --------
    >>> import pandas as pd, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     frame = pd.DataFrame({"model": ["openai/gpt-6-luna"], "tags": [{"arm": "a"}]})
    ...     print(export_usage(folder + "/calls.csv", frame).read_text())
    model,tags
    openai/gpt-6-luna,"{""arm"": ""a""}"
    <BLANKLINE>
    """
    target = file_path(path)
    write = _WRITERS.get(target.suffix.lower())
    if write is None:
        shown = shorten(repr(target.name), 100)
        raise bad_request(f"{shown} is not a file that calls can be exported to. Use {' or '.join(_WRITERS)}.")
    if calls is not None and (filters or ledger is not None):
        names = join_names([*filters, *(["ledger"] if ledger is not None else [])])
        raise bad_request(f"{names} chooses calls of the ledger: give either calls or filters.")
    if calls is None:
        from ipyllm.dataframes.usage import calls_query

        given: _Frame | _Stored = _Stored(calls_query(**filters), current_ledger() if ledger is None else ledger)
    else:
        import pandas as pd

        if not isinstance(calls, pd.DataFrame):
            raise bad_request(f"calls must be a table that usage() or votes() returned, not a {type(calls).__name__}.")
        given = _Frame(calls)
    try:
        with atomic_write(target) as file:
            write(given, file)
    except ImportError:
        raise bad_request(
            "Parquet needs pyarrow, which is not installed: pip install 'ipyllm[tables]', or export to .csv."
        ) from None
    except (OSError, ValueError) as exc:
        why = getattr(exc, "strerror", None) or exc
        raise bad_request(f"{target} cannot be written: {why}.") from None
    return target


@dataclass(frozen=True, slots=True)
class _Frame:
    """A table to write. ``complete`` adds columns of text to some of its rows, which are written at once then."""

    calls: pd.DataFrame
    complete: Callable[[pd.DataFrame], pd.DataFrame] | None = None

    def parts(self) -> Iterator[pd.DataFrame]:
        """Yield tables with JSON for dicts."""
        yield _dicts_as_json(self.calls)

    def schema(self) -> pa.Schema:
        """Return the schema of a Parquet file."""
        import pyarrow as pa

        schema = pa.Schema.from_pandas(_dicts_as_json(self.calls), preserve_index=False)
        if self.complete is not None:
            for index, name in enumerate(self.complete(self.calls.iloc[:0]).columns):
                if name not in self.calls.columns:
                    schema = schema.insert(index, pa.field(name, pa.large_string()))
        return schema

    def arrow_parts(self, schema: pa.Schema) -> Iterator[pa.Table]:
        """Yield tables with this schema."""
        import pyarrow as pa

        kinds: dict[str, Kind] = {str(name): "json" if _has_dicts(self.calls[name]) else "text" for name in self.calls}
        size = _GROUP_ROWS if self.complete is None else _COMPLETED_ROWS
        for start in range(0, max(1, len(self.calls)), size):
            rows = _dicts_as_json(self.calls.iloc[start : start + size], kinds)
            rows = rows if self.complete is None else self.complete(rows)
            yield pa.Table.from_pandas(rows, schema=schema, preserve_index=False)


@dataclass(frozen=True, slots=True)
class _Stored:
    """Rows of the ledger to write: they are read in parts, of which none is kept."""

    query: Conditions
    ledger: Ledger

    @property
    def kinds(self) -> Mapping[str, Kind]:
        """Kinds of the columns."""
        return {name: self.query.table.columns[name] for name in self.query.columns}

    def parts(self) -> Iterator[pd.DataFrame]:
        """Yield tables with JSON for dicts."""
        for part in read_frames(self.query, self.ledger):
            plain = _dicts_as_json(part, self.kinds)
            del part
            yield plain
            del plain

    def schema(self) -> pa.Schema:
        """Return the schema of a Parquet file."""
        return schema_of(self.kinds)

    def arrow_parts(self, schema: pa.Schema) -> Iterator[pa.Table]:
        """Yield tables with this schema."""
        kinds = self.kinds
        return arrow_pages(self.query, self.ledger, schema, lambda part: _dicts_as_json(part, kinds))


def write_parquet(
    frame: pd.DataFrame, file: IO[bytes], complete: Callable[[pd.DataFrame], pd.DataFrame] | None = None
) -> None:
    """Write a table as Parquet, its dicts and lists as JSON text. Raises ImportError without pyarrow.

    ``complete`` adds columns of text to some thousand of its rows, so that memory need not hold all texts.
    """
    _to_parquet(_Frame(frame, complete), file)


def write_stored(query: Conditions, ledger: Ledger, file: IO[bytes]) -> None:
    """Write rows of a ledger as Parquet, page by page. Raises ImportError without pyarrow."""
    _to_parquet(_Stored(query, ledger), file)


def _to_parquet(given: _Frame | _Stored, file: IO[bytes]) -> None:
    from pyarrow import parquet

    schema = given.schema()
    with parquet.ParquetWriter(file, schema, compression="zstd") as writer:
        for part in given.arrow_parts(schema):
            writer.write_table(part, row_group_size=_GROUP_ROWS)
            del part  # before the next is read


def _to_csv(given: _Frame | _Stored, file: IO[bytes]) -> None:
    header = True
    for part in given.parts():
        part.to_csv(file, index=False, header=header, encoding="utf-8")
        header = False
        del part  # before the next is read


def _dicts_as_json(frame: pd.DataFrame, kinds: Mapping[str, Kind] | None = None) -> pd.DataFrame:
    """Return ``frame`` with its dicts as JSON text; ``kinds`` are known for columns of the ledger."""
    import pandas as pd

    plain = pd.DataFrame(frame, copy=False).copy(deep=False)
    for name in plain.columns[plain.dtypes == "object"]:
        if (kinds[name] == "json") if kinds is not None and name in kinds else _has_dicts(plain[name]):
            plain[name] = plain[name].map(_json, na_action="ignore").astype(text_dtype())
    return plain


def _has_dicts(column: pd.Series[Any]) -> bool:
    return column.dtype == "object" and any(isinstance(value, dict | list) for value in column)


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)


_WRITERS: Mapping[str, Callable[[_Frame | _Stored, IO[bytes]], None]] = {".parquet": _to_parquet, ".csv": _to_csv}
