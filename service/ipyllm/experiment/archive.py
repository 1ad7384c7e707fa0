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
_PIECE: Final = 1 << 20
_ROWS_AT_ONCE: Final = 256
_ROW_BYTES: Final = 1_000
"""What a row takes beside its text."""
_OF_ANOTHER_TYPE: Final = f"{{}} in {_LEDGER} has a value of another type"
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
    adds them. Keys are masked in the ``document``, as the ledger has masked them in the tables. Only the owner may read
    the file.

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
        reason = "it does not fit into memory" if isinstance(exc, MemoryError) else str(exc)
        why = strip_control_sequences(shorten(reason, 200)).rstrip(". ")
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
        text = _unpacked(archive, _JSON, _MAX_JSON)
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
        return document, list(_rows(_unpacked(archive, _LEDGER, _MAX_LEDGER)))


def _unpacked(archive: zipfile.ZipFile, name: str, limit: int) -> bytes:
    """Return a file of the archive, inflated in pieces: read as a whole, it would be cut to the size in its header."""
    member = archive.getinfo(name)
    _check_size(name, member.file_size, limit)
    if member.compress_type not in {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}:  # zipfile inflates others as a whole
        raise ValueError(f"{name} is compressed in another way")
    with archive.open(member) as file:
        return b"".join(iter(lambda: file.read(_PIECE), b""))


def _rows(data: bytes) -> Iterator[dict[str, Any]]:
    """Yield the rows of ``ledger.parquet`` as the ledger takes them."""
    from pyarrow.parquet import ParquetFile

    found = ParquetFile(BytesIO(data))
    metadata, names = found.metadata, [name for name in found.schema_arrow.names if name in COLUMNS]
    groups = [metadata.row_group(number) for number in range(metadata.num_row_groups)]
    _check_size(_LEDGER, sum(group.total_byte_size for group in groups), _MAX_LEDGER)
    types = {name: found.schema_arrow.field(name).type for name in names}
    for name, stored in types.items():
        if not _is_readable(stored):
            raise ValueError(_OF_ANOTHER_TYPE.format(name))
    # Texts stay references to a dictionary until they are counted: a few bytes may stand for gigabytes.
    texts = [name for name, stored in types.items() if "string" in str(stored)]
    file, size = ParquetFile(BytesIO(data), metadata=metadata, read_dictionary=texts), 0
    for batch in file.iter_batches(_ROWS_AT_ONCE, columns=names):
        size += _ROW_BYTES * len(batch) + sum(map(_size, batch.columns))
        _check_size(_LEDGER, size, _MAX_LEDGER)
        for stored in batch.to_pylist():
            row = {name: _value(name, value) for name, value in stored.items() if not is_missing(value)}
            if "call_id" not in row:
                raise ValueError(f"a row in {_LEDGER} has no call_id")
            yield row


def _is_readable(stored: Any) -> bool:
    """Return whether values of a type of Arrow's are texts, numbers, times or missing, each of a known size."""
    from pyarrow import types

    stored = stored.value_type if types.is_dictionary(stored) else stored
    is_text = types.is_string(stored) or types.is_large_string(stored)
    return bool(is_text or types.is_primitive(stored) or types.is_null(stored))


def _size(column: Any) -> int:
    """Return the bytes of a column's values, each counted in every row that has it."""
    from pyarrow import DictionaryArray, compute

    if not isinstance(column, DictionaryArray):
        return int(column.nbytes)
    return compute.sum(compute.binary_length(column.dictionary).take(column.indices)).as_py() or 0


def _value(name: str, value: Any) -> Any:
    kind = COLUMNS[name]
    if kind == "json":
        value = json.loads(value)
    if not isinstance(value, _TYPES[kind]) or (kind == "int" and not -_MAX_INT <= value <= _MAX_INT):
        raise ValueError(_OF_ANOTHER_TYPE.format(name))
    return value
