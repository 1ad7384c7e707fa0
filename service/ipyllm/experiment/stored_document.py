"""What a stored experiment looks like. It may come from a damaged ledger, or in a file from somebody else."""

from __future__ import annotations

from datetime import datetime
from functools import cache
from typing import Annotated, Any, NotRequired

from pydantic import AfterValidator, Field, InstanceOf, JsonValue, TypeAdapter, ValidationError
from typing_extensions import TypedDict  # pydantic reads that of typing from Python 3.12 on

__all__ = ["checked_document"]

_MAX_ROWS = 10_000_000
_Text = InstanceOf[str]  # which may hold lone surrogates
_Name = Annotated[str, Field(min_length=1)]
_Label = str | int | float | bool | None
_NOTE_CHARS = 100_000
"""More than a note may have: what keeps a file from being one long note."""
_Score = float | bool | str | None
_Prompt = tuple[_Text, _Text, int, int, list[int], _Text, _Text | None]


def _is_time(text: str) -> str:
    datetime.fromisoformat(text).astimezone()
    return text


_Time = Annotated[str, AfterValidator(_is_time)]


class _Arm(TypedDict):
    label: _Name
    mark: _Name
    model: _Name
    variant: str
    system: _Text | None
    params: dict[str, JsonValue]
    schema: dict[str, JsonValue] | None
    identity: dict[str, JsonValue]
    earlier: list[JsonValue]
    addresses: list[_Text | None]


class _Grid(TypedDict):
    repeats: int
    arms: list[_Arm]
    prompts: list[_Prompt]
    data: list[dict[_Text, JsonValue]]
    index: list[_Label | list[_Label]] | None
    index_name: _Text | None


class _Scores(TypedDict):
    scorers: list[tuple[str, list[str], bool | None]]
    by_call: dict[str, dict[str, dict[str, _Score]]]


class _Vote(TypedDict):
    vote_id: _Name
    cast_at: _Time
    origin: _Name
    comparison: _Name
    prompt: _Text | None
    arms: dict[str, str | None]
    outcome: _Name
    blind: bool
    tags: dict[str, JsonValue]


class _Note(TypedDict):
    prompt_id: _Name
    note: Annotated[_Text, Field(max_length=_NOTE_CHARS)]
    written_at: _Time


class _Document(TypedDict):
    name: _Name
    grid: _Grid
    scores: _Scores | None
    votes: NotRequired[list[_Vote]]
    notes: NotRequired[list[_Note]]


def checked_document(record: Any) -> dict[str, Any]:
    """Return the name, grid and scores of a stored experiment; raise ValueError, with a phrase, if they are damaged."""
    try:
        document = _adapter().validate_python(record)
    except ValidationError as exc:
        first = exc.errors(include_url=False, include_context=False, include_input=False)[0]
        where = ".".join(str(part)[:40] for part in first["loc"][:6])
        raise ValueError(f"{where}: {first['msg']}" if where else first["msg"]) from None
    grid, scores = document["grid"], document["scores"]
    labels = [arm["label"] for arm in grid["arms"]]
    if not labels or len(set(labels)) < len(labels) or not grid["prompts"] or grid["repeats"] < 1:
        raise ValueError("grid: it needs arms with different labels, prompts, and repeats of 1 or more")
    if not {arm["variant"] for arm in grid["arms"]} <= {prompt[-2] for prompt in grid["prompts"]}:
        raise ValueError("grid: an arm has no prompts")
    n_rows = _MAX_ROWS if grid["index"] is None else len(grid["index"])
    if not all(row in rows and 0 <= min(rows) <= max(rows) < n_rows for _, _, row, _, rows, *_ in grid["prompts"]):
        raise ValueError("grid: a prompt is of rows that the input does not have")
    if not document["name"].isprintable():
        raise ValueError("name: it is not a line of text")
    if scores is not None:
        _check_scores(scores)
    return dict(document)


def _check_scores(scores: _Scores) -> None:
    for of_call in scores["by_call"].values():
        for columns in of_call.values():
            for column, value in columns.items():
                if isinstance(value, str) is not column.endswith(("_error", "_reason")) and value is not None:
                    raise ValueError(f"scores: {column[:40]!r} has a value of another type")


@cache
def _adapter() -> TypeAdapter[_Document]:
    return TypeAdapter(_Document)
