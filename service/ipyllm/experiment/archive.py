"""An experiment as one file, to hand to somebody: Parquet tables and JSON in a zip archive."""

from __future__ import annotations

import json
import zipfile
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ipyllm._version import __version__
from ipyllm.atomic_file import atomic_write
from ipyllm.dataframes.export import write_parquet
from ipyllm.errors import bad_request
from ipyllm.ledger.columns import CALLS
from ipyllm.text.redact_json import redact_json

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping

    import pandas as pd


__all__ = ["read_archive", "write_archive"]

_FORMAT: Final = "ipyllm-experiment"
_VERSION: Final = 1
_JSON, _CALLS, _LEDGER = "experiment.json", "calls.parquet", "ledger.parquet"
_MAX_BYTES: Final = 4 << 30
"""Of the files in an archive, unpacked."""


def write_archive(
    path: str | os.PathLike[str], document: Mapping[str, Any], calls: pd.DataFrame, ledger_rows: pd.DataFrame
) -> Path:
    """Write an experiment to a ``.zip`` file, and return its path.

    Keys are masked in the ``document``, as the ledger has masked them in the tables. Only the owner may read the file.

    Raises
    ------
    LLMError
        ``bad_request``: the name does not end in ``.zip``, pyarrow is missing, or the file cannot be written.
    """
    target = Path(path).expanduser().absolute()
    if target.suffix.lower() != ".zip":
        raise bad_request(f"{target.name!r} must end in .zip.")
    document = {"format": _FORMAT, "version": _VERSION, "ipyllm": __version__, **document}
    tables = {_CALLS: calls, _LEDGER: ledger_rows}
    try:
        with atomic_write(target) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(_JSON, json.dumps(redact_json(document), ensure_ascii=False, default=str))
            for name, table in tables.items():
                buffer = BytesIO()
                write_parquet(table, buffer)
                archive.writestr(zipfile.ZipInfo(name), buffer.getvalue())  # compressed already
    except ImportError:
        raise bad_request("Parquet needs pyarrow, which is not installed: pip install 'ipyllm[tables]'.") from None
    except OSError as exc:
        raise bad_request(f"{target} cannot be written: {exc.strerror or exc}.") from None
    return target


def read_archive(path: str | os.PathLike[str]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return the document in a file that :func:`write_archive` wrote, and the rows of its ledger.

    Raises
    ------
    LLMError
        ``bad_request``: the file cannot be read, or is no saved experiment.
    """
    source = Path(path).expanduser()
    try:
        return _read(source)
    except OSError as exc:
        raise bad_request(f"{source} cannot be read: {exc.strerror or exc}.") from None
    except (ValueError, KeyError, TypeError, zipfile.BadZipFile) as exc:
        raise bad_request(f"{source} is not an experiment that results.save() wrote: {exc}.") from None


def _read(source: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    import pandas as pd

    with zipfile.ZipFile(source) as archive:
        size = sum(archive.getinfo(name).file_size for name in (_JSON, _LEDGER))
        if size > _MAX_BYTES:
            raise ValueError(f"it holds {size >> 20:,} MB")
        document = json.loads(archive.read(_JSON))
        if not isinstance(document, dict) or document.get("format") != _FORMAT:
            raise ValueError("its experiment.json is another program's")
        if document["version"] > _VERSION:
            raise ValueError("a newer ipyllm wrote it, so upgrade ipyllm")
        frame = pd.read_parquet(BytesIO(archive.read(_LEDGER)))
    return document, [_row(each) for each in frame.to_dict("records")]


def _row(stored: Mapping[Any, Any]) -> dict[str, Any]:
    """Return a row of ``ledger.parquet`` as the ledger takes it."""
    import pandas as pd

    row: dict[str, Any] = {}
    for name, kind in CALLS.columns.items():
        value = stored.get(name)
        if value is None or (not isinstance(value, list | dict) and pd.isna(value)):
            continue
        row[name] = json.loads(value) if kind == "json" else value.to_pydatetime() if kind == "time" else value
    return row
