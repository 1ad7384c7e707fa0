"""From a model's text to the JSON in it, past code fences, thoughts and chatter, but never to a fragment of it."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from ipyllm.text.redact import redact

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["SchemaMismatch", "misfit", "read_json"]

_MAX_PROBLEMS = 5
_MAX_PROBLEM = 240
_MAX_PIECES = 10  # an answer that repeats itself without end is not worth more
_FENCED = re.compile(r"```[\w-]*\s*\n(.*)\n\s*```", re.DOTALL)
# Where JSON begins in prose: not at the brace of "{x}", nor at the bracket of "[see below]".
_BEGINS = re.compile(r'\{(?=\s*["}])|\[(?=\s*[\[{"\d-])')
_SURELY_JSON = re.compile(r'[\[{]\s*[\[{"]')
# strict=False: models write line breaks into strings as they are, and what they mean by it is plain.
_DECODER = json.JSONDecoder(strict=False)


class SchemaMismatch(ValueError):  # noqa: N818 - it is no fault of the program, but of an answer
    """An answer that is no JSON, or not what the schema asks for.

    Its text says what is wrong in words for the person at the notebook and for the model, which may be
    asked again: see :meth:`ipyllm.structured.Schema.repair_messages`. Keys in it are masked.
    """

    def __init__(self, message: str) -> None:
        super().__init__(redact(message))


def misfit(name: str, problems: Iterable[tuple[Sequence[str | int], str]]) -> SchemaMismatch:
    """Make the exception for JSON that does not fit.

    Parameters
    ----------
    name : str
        Name of the schema.
    problems : iterable of (path, str)
        Where in the answer, and what is wrong there.

    Examples
    --------
    >>> print(misfit("Team", [(("people", 0, "age"), "should be a number"), ((), "too small")]))
    The answer does not fit Team: people[0].age: should be a number; too small.
    """
    told = []
    for path, text in problems:
        where = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).removeprefix(".")
        told.append(_shorten(f"{where}: {text}" if where else text))
    more = f"; and {len(told) - _MAX_PROBLEMS} more" if len(told) > _MAX_PROBLEMS else ""
    return SchemaMismatch(f"The answer does not fit {_shorten(name, 60)}: {'; '.join(told[:_MAX_PROBLEMS])}{more}.")


def read_json(text: str) -> list[Any]:
    """Find the JSON in an answer.

    Parameters
    ----------
    text : str
        As the model wrote it.

    Returns
    -------
    list
        The values found, the likeliest first: the whole text if it is JSON, else the longest piece in it.

    Raises
    ------
    SchemaMismatch
        When there is none, or when one is begun and broken: a part of it must not pass for the whole.

    Examples
    --------
    >>> read_json('Sure! {"city": "Bern"} is my answer.')
    [{'city': 'Bern'}]
    >>> read_json('{"cities": [{"city": "Bern"}, ')
    Traceback (most recent call last):
        ...
    ipyllm.structured.answer.SchemaMismatch: The answer breaks off before its JSON is complete.
    """
    text = text.strip().removeprefix("\ufeff").strip()
    # Some servers leave a model's thoughts in its text, with or without the tag that opens them.
    spoken = text.rpartition("</think>")[2].strip()
    if not spoken:
        raise SchemaMismatch("The answer is empty.")
    fenced = _FENCED.fullmatch(spoken)
    for whole in dict.fromkeys([text, spoken, fenced[1].strip() if fenced else ""]):
        try:
            value, end = _DECODER.raw_decode(whole)
        except (ValueError, RecursionError):
            continue
        if end == len(whole):
            return [_carried(value)]
    found = _pieces(spoken)
    if not found:
        raise SchemaMismatch(f"The answer holds no JSON; it begins with {_shorten(spoken, 60)!r}.")
    # The longest first, and of equals the last: drafts and examples are shorter, or stand before.
    likeliest = sorted(found, key=lambda piece: piece[:2], reverse=True)[:_MAX_PIECES]
    return [_carried(value) for _, _, value in likeliest]


def _pieces(text: str) -> list[tuple[int, int, Any]]:
    """Find the values in prose, with length and place. Linear: nothing is read twice but brackets of prose."""
    found, place = [], 0
    while begin := _BEGINS.search(text, place):
        start = begin.start()
        try:
            value, end = _DECODER.raw_decode(text, start)
        except json.JSONDecodeError as exc:
            if _SURELY_JSON.match(text, start):
                raise _broken(text, exc) from None
            place = start + 1
        except RecursionError:
            raise SchemaMismatch("The answer is nested too deeply to be read.") from None
        except ValueError as exc:  # a number of more than 4,300 digits
            raise SchemaMismatch(f"The answer is not JSON that can be read: {_shorten(str(exc))}.") from None
        else:
            found.append((end - start, start, value))
            place = end
    return found


def _broken(text: str, exc: json.JSONDecodeError) -> SchemaMismatch:
    if exc.pos >= len(text) or exc.msg.startswith("Unterminated string"):
        return SchemaMismatch("The answer breaks off before its JSON is complete.")
    before = text[max(0, exc.pos - 30) : exc.pos]
    what = exc.msg[:1].lower() + exc.msg[1:]
    return SchemaMismatch(
        f"The answer is not valid JSON: {what} at line {exc.lineno}, column {exc.colno}, after {before!r}."
    )


def _carried(value: Any) -> Any:
    """Refuse what Python reads as JSON although no JSON can carry it: NaN, infinities, halves of characters."""
    try:
        json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
    except UnicodeEncodeError:
        raise SchemaMismatch("The answer holds half a character (a lone surrogate), which is no text.") from None
    except (ValueError, RecursionError):
        raise SchemaMismatch("The answer holds a number that JSON does not have, such as NaN or 1e999.") from None
    return value


def _shorten(text: str, limit: int = _MAX_PROBLEM) -> str:
    line = " ".join(text.split()).rstrip(".")
    return line if len(line) <= limit else line[: limit - 1] + "…"
