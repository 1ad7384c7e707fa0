"""Reads the rows of an experiment from a table, a list, a file, or earlier calls."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ipyllm.errors import LLMError, bad_request
from ipyllm.experiment.not_a_prompt import not_a_prompt
from ipyllm.services.given_messages import are_messages
from ipyllm.text.format import is_missing, shorten
from ipyllm.text.text_file import decode_text
from ipyllm.user_file import file_path
from ipyllm.validate import as_text

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pandas as pd

__all__ = ["ID", "Source", "are_calls", "read_source"]

ID: Final = "prompt_id"
_LEDGERS: Final = {".sqlite", ".sqlite3", ".db"}
_FILES: Final = {".csv", ".json", ".jsonl", ".ndjson", ".parquet", *_LEDGERS}


@dataclass(frozen=True, slots=True)
class Source:
    """Rows, with what the user should know of them."""

    rows: list[dict[str, Any]]
    are_calls: bool = False  # made earlier, to be repeated
    notes: tuple[str, ...] = ()


def read_source(source: Any) -> Source:
    """Return the rows of ``source``, as for :class:`~ipyllm.experiment.Experiment`."""
    from ipyllm.ledger import Ledger

    if isinstance(source, Ledger):
        return _replay(_calls_of(source))
    if isinstance(source, str | Path):
        return _from_file(source)
    pandas = sys.modules.get("pandas")  # a DataFrame exists only if pandas was imported
    if pandas is not None and isinstance(source, pandas.DataFrame | pandas.Series):
        frame = source.to_frame("prompt") if isinstance(source, pandas.Series) else source
        return _replay(frame) if are_calls(frame) else Source(_records(frame))
    return Source([_record(item, index) for index, item in enumerate(_items(source))])


def are_calls(table: Any) -> bool:
    """Return whether a table has earlier calls: it is a result of ``usage()``."""
    return {"call_id", "prompt", "status"} <= set(getattr(table, "columns", ()))


def _items(source: Any) -> Iterable[Any]:
    """Return the rows of a table of polars, Arrow or Hugging Face, or of a list."""
    polars = sys.modules.get("polars")
    if polars is not None and isinstance(source, polars.LazyFrame):
        raise bad_request("prompts must be a DataFrame, not a LazyFrame: call .collect() first.")
    if polars is not None and isinstance(source, polars.Series):
        return list(source.to_list())
    for rows_of in ("to_dicts", "to_pylist"):  # of polars, of pyarrow
        if callable(getattr(source, rows_of, None)):
            rows: list[Any] = getattr(source, rows_of)()
            return rows
    if hasattr(source, "__arrow_c_stream__") and not hasattr(source, "__iter__"):  # of DuckDB and others
        return _from_arrow(source)
    if isinstance(source, Mapping):
        raise bad_request(_mapping_advice(source))
    if not isinstance(source, Iterable):
        raise bad_request(
            f"prompts must be a DataFrame, a list of strings or dicts, or a path, not {type(source).__name__}."
        )
    items = list(source)
    if items and all(isinstance(item, Mapping) and item.keys() >= {"role", "content"} for item in items):
        raise bad_request(
            "These prompts are the messages of one conversation: put them into a list, as the first row, "
            "prompts=[messages]."
        )
    return items


def _from_arrow(source: Any) -> list[dict[str, Any]]:
    try:
        import pyarrow as pa
    except ImportError:
        kind = type(source).__name__
        raise bad_request(f"To read a {kind}, install pyarrow: pip install 'ipyllm[tables]'.") from None
    rows: list[dict[str, Any]] = pa.table(source).to_pylist()
    return rows


def _mapping_advice(source: Mapping[Any, Any]) -> str:
    names = ", ".join(map(repr, list(source)[:3]))
    if are_messages(source):
        return "prompts is a single message: put it into a list of lists, prompts=[[message]]."
    if type(source).__name__ == "DatasetDict":
        return f"prompts is a DatasetDict with {names}: choose a split, as in dataset[{next(iter(source), 'test')!r}]."
    if source and all(isinstance(value, list) for value in source.values()):
        return f"prompts is a dict of the columns {names}: give a table, pandas.DataFrame(…)."
    return f"prompts is a single row, a dict with {names}: put it into a list, prompts=[…]."


def _record(item: Any, index: int) -> dict[str, Any]:
    if are_messages(item):
        return {"messages": item}
    if isinstance(item, Mapping):
        return {as_text("The name of a column", name): value for name, value in item.items()}
    if isinstance(item, str) or is_missing(item):
        return {"prompt": item}
    if isinstance(item, list | tuple) and any(isinstance(each, Mapping) for each in item):
        raise not_a_prompt(item, "prompt", index)
    raise bad_request(
        f"Prompts must be strings, dicts or lists of messages, but row {index} is {type(item).__name__}: "
        f"{shorten(str(item), 60)!r}."
    )


def _records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    names = [as_text("The name of a column", name) for name in frame.columns]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise bad_request(f"Several columns are named {twice!r}: rename them, so that they can be told apart.")
    return [dict(zip(names, values, strict=True)) for values in frame.itertuples(index=False, name=None)]


def _replay(frame: pd.DataFrame) -> Source:
    """Return the prompts of earlier calls: the last user message of each, since the ledger stores no other."""
    asked = frame[frame["prompt"].notna() & (frame["prompt"].astype("str").str.strip() != "")]
    if len(frame) and not len(asked):
        raise bad_request("These calls cannot be repeated: the ledger has no prompts (IPYLLM_STORE_TEXT=0).")
    return Source(_records(asked), are_calls=True)


def _calls_of(ledger: Any) -> pd.DataFrame:
    from ipyllm.dataframes.usage import usage

    return usage(kernel=None, ledger=ledger)


def _from_file(source: str | Path) -> Source:
    path = file_path(source)
    kind = path.suffix.lower()
    if kind not in _FILES:
        what = f"{shorten(str(source), 60)!r} is not a file of prompts (.csv, .jsonl, .json, .parquet, .sqlite)"
        advice = (
            "read it with pandas, and give the table." if _exists(path) else "write one prompt as a list: prompts=[…]."
        )
        raise bad_request(f"{what}; {advice}")
    if not path.is_file():
        raise bad_request(f"The file of prompts {str(source)!r} does not exist.")
    if kind in _LEDGERS:
        from ipyllm.ledger import Ledger

        with Ledger(path) as ledger:
            return _replay(_calls_of(ledger))
    try:
        if kind == ".csv":
            return Source(_records(_read_csv(path)))
        if kind == ".parquet":
            import pandas as pd

            return Source(_records(pd.read_parquet(path)))
        return _from_json(decode_text(path.read_bytes()), path.name, is_list=kind == ".json")
    except ImportError:  # pandas' own message has several lines
        raise bad_request(f"To read {path.name}, install pyarrow: pip install 'ipyllm[tables]'.") from None
    except LLMError:
        raise
    except Exception as exc:  # noqa: BLE001 - readers raise errors of any type
        raise bad_request(f"{path.name} cannot be read: {exc}") from None


def _from_json(text: str, name: str, *, is_list: bool) -> Source:
    items = json.loads(text) if is_list else [_line(line, number, name) for number, line in _lines(text)]
    if not isinstance(items, list):
        raise bad_request(
            f"{name} holds one JSON {'object' if isinstance(items, dict) else 'value'}, not a list of rows."
        )
    rows = [_record(_without_batch(item, name, index), index) for index, item in enumerate(items)]
    return Source(rows, notes=tuple(_batch_notes(items)))


def _lines(text: str) -> Iterator[tuple[int, str]]:
    # Not splitlines, which also ends lines at characters that JSON has within texts.
    return ((number, line) for number, line in enumerate(text.split("\n"), 1) if line.strip())


def _line(line: str, number: int, name: str) -> Any:
    try:
        return json.loads(line)
    except json.JSONDecodeError as exc:
        raise bad_request(
            f"{name} cannot be read: line {number} is no JSON, from column {exc.colno} on ({exc.msg})."
        ) from None


def _exists(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # a prompt, and so no path
        return False


def _without_batch(item: Any, name: str, index: int) -> Any:
    """Return the row of a request in a file for OpenAI's Batch API; anything else as it is."""
    if not _is_batch_request(item):
        return item
    body = item["body"]
    if not are_messages(body.get("messages")):
        raise bad_request(
            f"Row {index} of {name} is a batch request to {item.get('url')} without messages: only those to "
            "/v1/chat/completions are read."
        )
    return {ID: item.get("custom_id"), "messages": body["messages"]}


def _is_batch_request(item: Any) -> bool:
    return isinstance(item, dict) and "custom_id" in item and isinstance(item.get("body"), dict)


def _batch_notes(items: list[Any]) -> Iterator[str]:
    bodies = [item["body"] for item in items if _is_batch_request(item)]
    if unused := sorted({name for body in bodies for name in body} - {"messages"}):
        yield (
            f"Of the batch requests, only the messages are used, and not {', '.join(unused)}: give what you want of "
            "them as models=… and params=…."
        )


def _read_csv(path: Path) -> pd.DataFrame:
    import pandas as pd

    try:
        return pd.read_csv(io.StringIO(decode_text(path.read_bytes())))
    except pd.errors.EmptyDataError:
        return pd.DataFrame()
