"""Reads the prompts of an experiment from a DataFrame, a list, a file, or earlier calls."""

from __future__ import annotations

import hashlib
import io
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ipyllm.errors import LLMError, bad_request
from ipyllm.experiment.prompt_template import NoValueError, RowTemplate
from ipyllm.text.format import is_missing, shorten
from ipyllm.text.text_file import decode_text

if TYPE_CHECKING:
    from collections.abc import Callable

    import pandas as pd

__all__ = ["Prompt", "input_table", "read_prompts"]

_ID = "prompt_id"
_LEDGERS = {".sqlite", ".sqlite3", ".db"}


@dataclass(frozen=True, slots=True)
class Prompt:
    """One prompt."""

    prompt_id: str  # from the input, else a hash of the text
    text: str
    row: int  # in the input, from 0
    data: Mapping[str, Any]  # the input's columns, for scorers
    nth: int = 0  # counts rows with the same text but other data, which are separate prompts
    rows: tuple[int, ...] = ()  # of the input with the same text and data, `row` among them; they share an answer


def read_prompts(source: Any, template: str | None = None) -> tuple[list[Prompt], list[str]]:
    """Return the prompts of ``source``, as for :class:`~ipyllm.experiment.Experiment`, and notes for the user."""
    rows, replayed = _rows(source)
    if not rows:
        raise bad_request("There are no prompts: the list, table or file is empty. It needs at least one row.")
    columns = tuple(dict.fromkeys(name for row in rows for name in row))
    texts = _texts(rows, columns, template)
    prompts: list[Prompt] = []
    rows_by_text: dict[str, list[Mapping[str, Any]]] = {}
    equal_rows: dict[tuple[str, int], list[int]] = {}  # by text and nth
    ids: dict[str, str] = {}
    for index, (row, text) in enumerate(zip(rows, texts, strict=True)):
        same_text = rows_by_text.setdefault(text, [])
        # Replayed calls of one prompt differ in their results only.
        if same_text and replayed:
            continue
        if (first := next((nth for nth, other in enumerate(same_text) if _equal(row, other)), None)) is not None:
            equal_rows[text, first].append(index)
            continue
        prompt_id = _prompt_id(row, text, len(same_text))
        if ids.setdefault(prompt_id, text) != text:
            raise bad_request(
                f"The prompt_id {prompt_id!r} belongs to two different prompts (the second is row {index}); "
                "make the ids unique, or remove the column."
            )
        prompts.append(Prompt(prompt_id, text, index, row, len(same_text)))
        equal_rows[text, len(same_text)] = [index]
        same_text.append(row)
    prompts = [replace(prompt, rows=tuple(equal_rows[prompt.text, prompt.nth])) for prompt in prompts]
    notes = []
    if n_duplicates := sum(len(prompt.rows) - 1 for prompt in prompts):
        notes.append(
            f"{n_duplicates} of the {len(rows)} prompts {'is a duplicate' if n_duplicates == 1 else 'are duplicates'}: "
            "equal prompts are asked once, and their answer counts for each of them. For several answers to each "
            "prompt, use repeats=…."
        )
    return prompts, notes


def input_table(source: Any) -> pd.DataFrame | None:
    """Return a copy of a DataFrame or Series of prompts, with text as names; None for other sources."""
    pandas = sys.modules.get("pandas")
    if pandas is None or not isinstance(source, pandas.DataFrame | pandas.Series) or _are_calls(source):
        return None
    table: pd.DataFrame = source.to_frame("prompt") if isinstance(source, pandas.Series) else source.copy()
    return table.rename(columns=str)


def _prompt_id(row: Mapping[str, Any], text: str, nth: int) -> str:
    own = row.get(_ID)
    if not is_missing(own):
        return str(own)
    digest = hashlib.sha256(text.encode()).hexdigest()[:12]
    return f"{digest}-{nth + 1}" if nth else digest


def _equal(row: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    # Compares by repr, because values may be arrays, which have no truth value, and NaN must equal NaN.
    return row.keys() == other.keys() and all(repr(row[name]) == repr(other[name]) for name in row)


def _texts(rows: Sequence[Mapping[str, Any]], columns: tuple[str, ...], template: str | None) -> list[str]:
    """Return the text of each row."""
    fill_in: Callable[[Mapping[str, Any]], str]
    if template is None:
        column = _text_column(columns)

        def fill_in(row: Mapping[str, Any]) -> str:
            if is_missing(row.get(column)):
                raise NoValueError(column)
            return str(row[column])
    else:
        fill_in = RowTemplate(template, columns).fill_in
    texts: list[str] = []
    rows_without_value: list[tuple[int, str]] = []
    for index, row in enumerate(rows):
        try:
            texts.append(fill_in(row).encode("utf-8", "replace").decode())  # JSON bodies cannot have lone surrogates
        except NoValueError as exc:
            rows_without_value.append((index, exc.column))
    if rows_without_value:
        index, column = rows_without_value[0]
        raise bad_request(
            f"{len(rows_without_value)} of the {len(rows)} prompts have no value in {column!r} (first: row {index}); "
            f"fill it, or drop such rows, for a DataFrame with df.dropna(subset=[{column!r}])."
        )
    empty = [index for index, text in enumerate(texts) if not text.strip()]
    if empty:
        raise bad_request(f"{len(empty)} of the {len(rows)} prompts are empty (first: row {empty[0]}).")
    return texts


def _text_column(columns: tuple[str, ...]) -> str:
    data = [name for name in columns if name != _ID]
    if "prompt" in columns:
        return "prompt"
    if len(data) == 1:
        return data[0]
    raise bad_request(
        f"Which column is the prompt? There are: {', '.join(columns)}. "
        f"Name one 'prompt', or give a template, such as template=\"{{{{ {data[0] if data else 'text'} }}}}\"."
    )


def _rows(source: Any) -> tuple[list[dict[str, Any]], bool]:
    """Return the rows, and whether they are earlier calls."""
    from ipyllm.ledger import Ledger

    if isinstance(source, Ledger):
        return _replay(_calls_of(source))
    if isinstance(source, str | Path):
        return _from_file(source)
    pandas = sys.modules.get("pandas")  # a DataFrame exists only if pandas was imported
    if pandas is not None and isinstance(source, pandas.DataFrame | pandas.Series):
        frame = source.to_frame("prompt") if isinstance(source, pandas.Series) else source
        return _replay(frame) if _are_calls(frame) else (_records(frame), False)
    if isinstance(source, Mapping) or not isinstance(source, Iterable):
        raise bad_request(
            f"prompts must be a DataFrame, a list of strings or dicts, or a path, not {type(source).__name__}."
        )
    return [_record(item, index) for index, item in enumerate(source)], False


def _are_calls(table: Any) -> bool:
    return {"call_id", "prompt", "status"} <= set(getattr(table, "columns", ()))


def _record(item: Any, index: int) -> dict[str, Any]:
    if isinstance(item, Mapping):
        return {str(name): value for name, value in item.items()}
    if isinstance(item, str) or is_missing(item):
        return {"prompt": item}
    raise bad_request(
        f"Prompts must be strings or dicts, but row {index} is {type(item).__name__}: {shorten(str(item), 60)!r}."
    )


def _records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    names = [str(name) for name in frame.columns]
    return [dict(zip(names, values, strict=True)) for values in frame.itertuples(index=False, name=None)]


def _replay(frame: pd.DataFrame) -> tuple[list[dict[str, Any]], bool]:
    """Return the prompts of earlier calls: the last user message of each, since the ledger stores no other."""
    asked = frame[frame["prompt"].notna() & (frame["prompt"].astype("str").str.strip() != "")]
    if len(frame) and not len(asked):
        raise bad_request("These calls cannot be repeated: the ledger has no prompts (IPYLLM_STORE_TEXT=0).")
    return _records(asked), True


def _calls_of(ledger: Any) -> pd.DataFrame:
    from ipyllm.dataframes.usage import usage

    return usage(kernel=None, ledger=ledger)


def _from_file(source: str | Path) -> tuple[list[dict[str, Any]], bool]:
    path = Path(source).expanduser()
    kind = path.suffix.lower()
    if kind not in {".csv", ".jsonl", ".ndjson", ".parquet", *_LEDGERS}:
        what = f"{shorten(str(source), 60)!r} is not a file of prompts (.csv, .jsonl, .parquet, .sqlite)"
        raise bad_request(f"{what}; write one prompt as a list: prompts=[…].")
    if not path.is_file():
        raise bad_request(f"The file of prompts {str(source)!r} does not exist.")
    if kind in _LEDGERS:
        from ipyllm.ledger import Ledger

        with Ledger(path) as ledger:
            return _replay(_calls_of(ledger))
    try:
        if kind == ".csv":
            return _records(_read_csv(path)), False
        if kind == ".parquet":
            import pandas as pd

            return _records(pd.read_parquet(path)), False
        lines = decode_text(path.read_bytes()).splitlines()
        return [_record(json.loads(line), index) for index, line in enumerate(lines) if line.strip()], False
    except ImportError:  # pandas' own message has several lines
        raise bad_request(f"To read {path.name}, install pyarrow: pip install 'ipyllm[tables]'.") from None
    except LLMError:
        raise
    except Exception as exc:  # noqa: BLE001 - readers raise errors of any type
        raise bad_request(f"{path.name} cannot be read: {exc}") from None


def _read_csv(path: Path) -> pd.DataFrame:
    import pandas as pd

    try:
        return pd.read_csv(io.StringIO(decode_text(path.read_bytes())))
    except pd.errors.EmptyDataError:
        return pd.DataFrame()
