"""Export of calls or votes to Parquet or CSV."""

from __future__ import annotations

import json
from pathlib import Path
from typing import IO, TYPE_CHECKING

from ipyllm.atomic_file import atomic_write
from ipyllm.dataframes.convert import text_dtype
from ipyllm.errors import bad_request

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Mapping

    import pandas as pd

__all__ = ["export_usage", "write_parquet"]


def export_usage(path: str | os.PathLike[str], calls: pd.DataFrame | None = None) -> Path:
    """Write calls or votes to a file, in the format of its extension.

    The file is written in one step, replaces an existing one, and only its owner may read it: it holds prompts and
    answers.

    Parameters
    ----------
    path : str or path
        Ending in ``.parquet`` (compressed with zstd; needs ``ipyllm[tables]``) or ``.csv`` (UTF-8).
    calls : DataFrame, optional
        A result of :func:`ipyllm.usage` or :func:`ipyllm.votes`, or a part of one. Default: all calls of this
        kernel.

    Returns
    -------
    Path
        Absolute path of the file.

    Raises
    ------
    LLMError
        The extension is not one of these, or the file cannot be written.

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
    target = Path(path).expanduser().absolute()
    write = _WRITERS.get(target.suffix.lower())
    if write is None:
        raise bad_request(f"{target.name!r} is not a file that calls can be exported to. Use {' or '.join(_WRITERS)}.")
    if calls is None:
        from ipyllm.dataframes.usage import usage

        calls = usage()
    try:
        with atomic_write(target) as file:
            write(calls, file)
    except ImportError:
        raise bad_request(
            "Parquet needs pyarrow, which is not installed: pip install 'ipyllm[tables]', or export to .csv."
        ) from None
    except (OSError, ValueError) as exc:
        why = getattr(exc, "strerror", None) or exc
        raise bad_request(f"{target} cannot be written: {why}.") from None
    return target


def _dicts_as_json(frame: pd.DataFrame) -> pd.DataFrame:
    """Return ``frame`` with its dicts as JSON text."""
    import pandas as pd

    plain = pd.DataFrame(frame, copy=False).copy(deep=False)
    for name in plain.columns[plain.dtypes == "object"]:
        if plain[name].map(lambda value: isinstance(value, dict | list)).any():
            plain[name] = plain[name].map(_json, na_action="ignore").astype(text_dtype())
    return plain


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)


def write_parquet(frame: pd.DataFrame, file: IO[bytes]) -> None:
    """Write a table as Parquet, its dicts and lists as JSON text. Raises ImportError without pyarrow."""
    _dicts_as_json(frame).to_parquet(file, engine="pyarrow", compression="zstd", index=False)


def _to_csv(frame: pd.DataFrame, file: IO[bytes]) -> None:
    _dicts_as_json(frame).to_csv(file, index=False, encoding="utf-8")


_WRITERS: Mapping[str, Callable[[pd.DataFrame, IO[bytes]], None]] = {".parquet": write_parquet, ".csv": _to_csv}
