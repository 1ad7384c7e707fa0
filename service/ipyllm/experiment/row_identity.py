"""Which rows of an experiment's input are equal, and the ids by which their prompts are paired in all arms and runs."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from ipyllm.errors import bad_request
from ipyllm.plain_values import plain_number, plain_value
from ipyllm.text.format import is_missing

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["contents_of_row", "distinct_rows", "id_of_text"]

_LARGE_ARRAY: Final = 1_000
"""Number of values from which an array, perhaps an image, is read as bytes."""

_IDENTITY: Final = re.compile(r"\\u0000\d+")


def contents_of_row(row: Mapping[str, Any]) -> str:
    """Return the fields of a row as a text that is the same for equal rows, whatever file or table they are read from.

    Missing values are left out. An object that is no data is equal to itself only.

    Examples
    --------
    >>> contents_of_row({"text": "So so.", "stars": 3, "note": None})
    '{"stars": 3, "text": "So so."}'
    >>> contents_of_row({"text": "So so.", "stars": 3.0, "note": float("nan")})
    '{"stars": 3, "text": "So so."}'
    """
    known = {name: _plain(value) for name, value in row.items() if not is_missing(value)}
    return json.dumps(known, sort_keys=True, ensure_ascii=False)


def distinct_rows(
    contents: Sequence[str], own_ids: Sequence[Any], *, ids_may_repeat: bool = False
) -> dict[str, list[int]]:
    """Return the numbers of equal rows by the id of their prompt, in the order of the input.

    Parameters
    ----------
    contents : sequence of str
        One text per row, equal for equal rows.
    own_ids : sequence
        The id that a row has from the input, or a missing value: then it is a hash of its contents.
    ids_may_repeat : bool
        Whether rows of one id may differ, as calls of several arms do. Such rows get the hash.

    Raises
    ------
    LLMError
        ``bad_request``: two different rows have the same id.

    Examples
    --------
    >>> distinct_rows(["so", "la", "so"], ["p1", None, "p1"])
    {'p1': [0, 2], 'b737ca7ee563': [1]}
    """
    id_of: dict[bytes, str] = {}
    found: dict[str, list[int]] = {}
    for index, (text, own) in enumerate(zip(contents, own_ids, strict=True)):
        encoded = text.encode("utf-8", "replace")
        digest = hashlib.sha256(encoded).digest()
        if (known := id_of.get(digest)) is not None:
            found[known].append(index)
            continue
        own_id = None if is_missing(own) else str(own)
        if own_id in found and not ids_may_repeat:
            raise bad_request(
                f"The prompt_id {own_id!r} belongs to two different rows ({found[own_id][0]} and {index}); make the "
                "ids unique, or remove the column."
            )
        prompt_id = own_id if own_id is not None and own_id not in found else _free_id(encoded, found)
        id_of[digest] = prompt_id
        found[prompt_id] = [index]
    return found


def id_of_text(text: str, nth: int) -> str:
    """Return the id that the nth row of a text, from 0, had before ids came from the row."""
    digest = hashlib.sha256(text.encode()).hexdigest()[:12]
    return f"{digest}-{nth + 1}" if nth else digest


def _free_id(contents: bytes, taken: Mapping[str, object]) -> str:
    stable = _IDENTITY.sub("", contents.decode()).encode()  # the same in every process
    digest = hashlib.sha256(stable).hexdigest()[:12]
    prompt_id, n = digest, 1
    while prompt_id in taken:
        n += 1
        prompt_id = f"{digest}-{n}"
    return prompt_id


def _plain(value: Any) -> Any:
    """Return a value as JSON has it; numbers that are equal are the same."""
    if isinstance(value, str | bool) or value is None:
        return value
    value = plain_number(value)
    if isinstance(value, float):
        return int(value) if value.is_integer() else repr(value)
    if isinstance(value, Mapping):
        return {str(name): _plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value if isinstance(value, int) else _plain_object(value)


def _plain_object(value: Any) -> Any:
    if isinstance(value, bytes | bytearray | memoryview):
        return hashlib.sha256(value).hexdigest()
    size = getattr(value, "size", 0)
    if hasattr(value, "tobytes") and (not hasattr(value, "tolist") or (isinstance(size, int) and size > _LARGE_ARRAY)):
        shape = [str(getattr(value, name, "")) for name in ("shape", "size", "mode", "dtype")]  # NumPy's or Pillow's
        return [*shape, hashlib.sha256(value.tobytes()).hexdigest()]
    if hasattr(value, "tolist"):
        return _plain(value.tolist())
    if hasattr(value, "isoformat"):
        return value.isoformat()
    try:
        return plain_value(value)
    except TypeError:
        return f"{type(value).__name__}\0{id(value)}"
