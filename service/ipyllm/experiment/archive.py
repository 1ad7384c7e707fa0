"""An experiment as one file, to hand to somebody: Parquet tables and JSON in a zip archive."""

from __future__ import annotations

import json
import zipfile
from datetime import datetime
from io import BytesIO
from typing import TYPE_CHECKING, Any, Final

from ipyllm._version import __version__
from ipyllm.atomic_file import atomic_write
from ipyllm.dataframes.export import write_parquet, write_stored
from ipyllm.errors import bad_request
from ipyllm.experiment.stored_document import checked_document
from ipyllm.ledger.columns import COLUMNS, Kind
from ipyllm.text.format import is_missing, shorten
from ipyllm.text.redact_json import redact_json
from ipyllm.text.terminal import strip_control_sequences
from ipyllm.user_file import file_path

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    import pandas as pd

    from ipyllm.ledger import Ledger
    from ipyllm.ledger.query import Query

__all__ = ["read_archive", "write_archive"]

_FORMAT: Final = "ipyllm-experiment"
_VERSION: Final = 1
_JSON, _CALLS, _LEDGER = "experiment.json", "calls.parquet", "ledger.parquet"
_MAX_JSON: Final = 256 << 20
"""Bytes of ``experiment.json``, unpacked."""
_MAX_VALUES: Final = 10_000_000
"""Values in it, of which an empty list of two bytes takes 64 bytes of memory; and calls that it may ask for."""
_MAX_LEDGER: Final = 1 << 30
"""Bytes of ``ledger.parquet``, and of its rows in memory."""
_ROWS_AT_ONCE: Final = 256
_ROW_BYTES: Final = 1_000
"""What a row takes beside its text."""
_MAX_INT: Final = 2**63 - 1
_TYPES: Final[dict[Kind, Any]] = {
    "text": str,
    "json": dict,
    "time": datetime,
    "float": float | int,
    "int": int,
    "bool": bool,
}


def write_archive(
    path: str | os.PathLike[str],
    document: Mapping[str, Any],
    calls: pd.DataFrame,
    read_texts: Callable[[pd.DataFrame], pd.DataFrame] | None,
    rows: Query,
    ledger: Ledger,
) -> Path:
    """Write an experiment to a ``.zip`` file, and return its path.

    The ``rows`` of the ledger are read and written page by page, and so are the texts of ``calls``, if ``read_texts``
    adds them. Keys are masked in the ``document``, as the ledger
    has masked them in the tables. Only the owner may read the file.

    Raises
    ------
    LLMError
        ``bad_request``: the name does not end in ``.zip``, pyarrow is missing, or the file cannot be written.
    """
    target = file_path(path)
    if target.suffix.lower() != ".zip":
        raise bad_request(f"{shorten(repr(target.name), 120)} must end in .zip.")
    document = {"format": _FORMAT, "version": _VERSION, "ipyllm": __version__, **document}
    try:
        with atomic_write(target) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
            text = json.dumps(redact_json(document), ensure_ascii=False, default=str).encode("utf-8", "replace")
            _check_size(_JSON, len(text), _MAX_JSON)
            archive.writestr(_JSON, text)
            with archive.open(zipfile.ZipInfo(_CALLS), "w", force_zip64=True) as member:  # compressed already
                write_parquet(calls, member, read_texts)
            with archive.open(zipfile.ZipInfo(_LEDGER), "w", force_zip64=True) as member:
                write_stored(rows, ledger, member)
    except _TooLargeError as exc:
        raise bad_request(f"{target} was not written: {exc}. export_usage() writes the calls alone.") from None
    except ImportError:
        raise bad_request("Parquet needs pyarrow, which is not installed: pip install 'ipyllm[tables]'.") from None
    except OSError as exc:
        raise bad_request(f"{target} cannot be written: {exc.strerror or exc}.") from None
    return target


def read_archive(path: str | os.PathLike[str]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return the document in a file that :func:`write_archive` wrote, and the rows of its ledger.

    The file may come from anybody: what is not as it was written is refused, and so is what would fill the memory.

    Raises
    ------
    LLMError
        ``bad_request``: the file cannot be read, or is no saved experiment.
    """
    source = file_path(path)
    shown = shorten(str(source), 120)
    try:
        return _read(source)
    except ImportError:
        raise bad_request("Parquet needs pyarrow, which is not installed: pip install 'ipyllm[tables]'.") from None
    except Exception as exc:  # noqa: BLE001 - zipfile and pyarrow raise anything, of damaged data
        if isinstance(exc, OSError) and exc.strerror:  # of the file; pyarrow's have none
            raise bad_request(f"{shown} cannot be read: {exc.strerror}.") from None
        why = strip_control_sequences(shorten(str(exc), 200)).rstrip(". ")
        raise bad_request(f"{shown} is not an experiment that results.save() wrote: {why}.") from None


class _TooLargeError(ValueError):
    """More than is read."""


def _check_size(name: str, size: int, limit: int) -> None:
    if size > limit:
        raise _TooLargeError(f"{name} has {size >> 20:,} MB, and {limit >> 20:,} MB are read at most")


def _read(source: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    if source.exists() and not source.is_file():  # a device or a pipe may have no end
        raise ValueError("it is not a file")
    with zipfile.ZipFile(source) as archive:
        for name, limit in ((_JSON, _MAX_JSON), (_LEDGER, _MAX_LEDGER)):
            _check_size(name, archive.getinfo(name).file_size, limit)  # zipfile inflates no more than this
        text = archive.read(_JSON)
        if text.count(b",") > _MAX_VALUES:
            raise _TooLargeError(f"{_JSON} has more than {_MAX_VALUES:,} values")
        stored = json.loads(text)
        if not isinstance(stored, dict) or stored.get("format") != _FORMAT:
            raise ValueError("its experiment.json is another program's")
        if not isinstance(stored.get("version"), int) or stored["version"] > _VERSION:
            raise ValueError("a newer ipyllm wrote it, so upgrade ipyllm")
        document = checked_document(stored)
        grid = document["grid"]
        if grid["repeats"] * len(grid["arms"]) * len(grid["prompts"]) > _MAX_VALUES:
            raise _TooLargeError(f"it has more than {_MAX_VALUES:,} calls")
        return document, list(_rows(archive.read(_LEDGER)))


def _rows(data: bytes) -> Iterator[dict[str, Any]]:
    """Yield the rows of ``ledger.parquet`` as the ledger takes them."""
    from pyarrow.parquet import ParquetFile

    file, size = ParquetFile(BytesIO(data)), 0
    names = [name for name in file.schema_arrow.names if name in COLUMNS]
    for batch in file.iter_batches(_ROWS_AT_ONCE, columns=names):
        for stored in batch.to_pylist():
            row = {name: _value(name, value) for name, value in stored.items() if not is_missing(value)}
            if "call_id" not in row:
                raise ValueError(f"a row in {_LEDGER} has no call_id")
            # Counted as text: a few bytes of a dictionary may stand for millions of rows.
            size += _ROW_BYTES + sum(len(value) for value in row.values() if isinstance(value, str))
            _check_size(_LEDGER, size, _MAX_LEDGER)
            yield row


def _value(name: str, value: Any) -> Any:
    kind = COLUMNS[name]
    if kind == "json":
        value = json.loads(value)
    if not isinstance(value, _TYPES[kind]) or (kind == "int" and not -_MAX_INT <= value <= _MAX_INT):
        raise ValueError(f"{name} in {_LEDGER} has a value of another type")
    return value
