"""Reads the prompts of an experiment from a DataFrame, a list, a file, or earlier calls."""

from __future__ import annotations

import io
import json
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ipyllm.errors import LLMError, bad_request
from ipyllm.experiment.prompt_template import NoValueError, RowTemplate
from ipyllm.experiment.row_identity import contents_of_row, distinct_rows
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
    """The prompt that one template makes of a row."""

    prompt_id: str  # of the row: its own, else a hash of its fields; the same for all templates
    text: str
    row: int  # in the input, from 0
    data: Mapping[str, Any]  # the input's columns, for scorers
    nth: int = 0  # counts rows with the same text but other data, which are separate prompts
    rows: tuple[int, ...] = ()  # of the input with the same data, `row` among them; they share an answer
    variant: str = ""  # name of the template, if there are several


def read_prompts(source: Any, template: str | Mapping[str, str | None] | None = None) -> tuple[list[Prompt], list[str]]:
    """Return the prompts of ``source``, as for :class:`~ipyllm.experiment.Experiment`, and notes for the user.

    Several templates, by name, make one prompt each of every row: first all of the first template, then the others.
    """
    rows, replayed = _rows(source)
    if not rows:
        raise bad_request("There are no prompts: the list, table or file is empty. It needs at least one row.")
    columns = tuple(dict.fromkeys(name for row in rows for name in row))
    variants = template if isinstance(template, Mapping) else {"": template}
    texts = {name: _texts(rows, columns, each, name) for name, each in variants.items()}
    # Replayed calls of one prompt differ in their results only.
    contents = list(map("\0".join, zip(*texts.values(), strict=True))) if replayed else map(contents_of_row, rows)
    distinct = distinct_rows(list(contents), [row.get(_ID) for row in rows], ids_may_repeat=replayed)
    prompts: list[Prompt] = []
    for name, of_rows in texts.items():
        asked: Counter[str] = Counter()
        for prompt_id, equal in distinct.items():
            first = equal[0]
            text, sharing = of_rows[first], (first,) if replayed else tuple(equal)
            prompts.append(Prompt(prompt_id, text, first, rows[first], asked[text], sharing, name))
            asked[text] += 1
    notes = []
    if n_duplicates := sum(len(prompt.rows) - 1 for prompt in prompts) // len(texts):
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


def _texts(
    rows: Sequence[Mapping[str, Any]], columns: tuple[str, ...], template: str | None, variant: str
) -> list[str]:
    """Return the text that a template makes of each row."""
    fill_in: Callable[[Mapping[str, Any]], str]
    if template is None:
        column = _text_column(columns)

        def fill_in(row: Mapping[str, Any]) -> str:
            if is_missing(row.get(column)):
                raise NoValueError(column)
            return str(row[column])
    else:
        fill_in = RowTemplate(template, columns).fill_in
    of = f" of the template {variant!r}" if variant else ""
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
            f"{len(rows_without_value)} of the {len(rows)} prompts{of} have no value in {column!r} (first: row "
            f"{index}); fill it, or drop such rows, for a DataFrame with df.dropna(subset=[{column!r}])."
        )
    empty = [index for index, text in enumerate(texts) if not text.strip()]
    if empty:
        raise bad_request(f"{len(empty)} of the {len(rows)} prompts{of} are empty (first: row {empty[0]}).")
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
