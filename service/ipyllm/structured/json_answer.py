"""Extracts JSON from a model's text, without code fences, reasoning and prose; never a fragment of the JSON."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from ipyllm.text.format import json_path, shorten
from ipyllm.text.redact import redact

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["SchemaMismatch", "read_json", "schema_mismatch"]

_MAX_PROBLEMS = 5
_MAX_PROBLEM = 240
_MAX_PIECES = 10  # of JSON in prose; more are repetitions
_FENCED = re.compile(r"```[\w-]*\s*\n(.*)\n\s*```", re.DOTALL)
# The start of JSON in prose: not the brace of "{x}", nor the bracket of "[see below]".
_JSON_START = re.compile(r'\{(?=\s*["}])|\[(?=\s*[\[{"\d-])')
_SURELY_JSON = re.compile(r'[\[{]\s*[\[{"]')
# strict=False: models write unescaped line breaks in strings.
_DECODER = json.JSONDecoder(strict=False)


class SchemaMismatch(ValueError):  # noqa: N818 - the model's error, not the program's
    """Raised for an answer that is not JSON, or does not fit the schema.

    The message is written for the user and for the model, which may be asked again: see
    :meth:`ipyllm.structured.Schema.repair_messages`. API keys in it are masked.
    """

    def __init__(self, message: str) -> None:
        super().__init__(redact(message))


def schema_mismatch(name: str, problems: Iterable[tuple[Sequence[str | int], str]]) -> SchemaMismatch:
    """Return the exception for JSON that does not fit the schema ``name``; problems are (path, message) pairs."""
    sentences = [_one_line(f"{json_path(path)}: {text}" if path else text) for path, text in problems]
    more = f"; and {len(sentences) - _MAX_PROBLEMS} more" if len(sentences) > _MAX_PROBLEMS else ""
    return SchemaMismatch(f"The answer does not fit {shorten(name, 60)}: {'; '.join(sentences[:_MAX_PROBLEMS])}{more}.")


def read_json(text: str) -> list[Any]:
    """Return the JSON values in an answer, the likeliest first: the full text if it is JSON, else its longest piece.

    Raises :class:`SchemaMismatch` when there is none, or one is incomplete: a part of it must not be taken for the full
    answer.
    """
    text = text.strip().removeprefix("\ufeff").strip()
    # Some servers leave the reasoning in the text, with or without its opening tag.
    visible = text.rpartition("</think>")[2].strip()
    if not visible:
        raise SchemaMismatch("The answer is empty.")
    fenced = _FENCED.fullmatch(visible)
    for candidate in dict.fromkeys([text, visible, fenced[1].strip() if fenced else ""]):
        try:
            value, end = _DECODER.raw_decode(candidate)
        except (ValueError, RecursionError):
            continue
        if end == len(candidate):
            return [_require_portable(value)]
    found = _pieces(visible)
    if not found:
        raise SchemaMismatch(f"The answer contains no JSON; it begins with {shorten(visible, 60).rstrip('.')!r}.")
    # The longest first, and of equals the last: drafts and examples are shorter, or come before.
    likeliest = sorted(found, key=lambda piece: piece[:2], reverse=True)[:_MAX_PIECES]
    return [_require_portable(value) for _, _, value in likeliest]


def _pieces(text: str) -> list[tuple[int, int, Any]]:
    """Find the values in prose, with length and position. Linear: only brackets of prose are read twice."""
    found, position = [], 0
    while begin := _JSON_START.search(text, position):
        start = begin.start()
        try:
            value, end = _DECODER.raw_decode(text, start)
        except json.JSONDecodeError as exc:
            if _SURELY_JSON.match(text, start):
                raise _invalid_json(text, exc) from None
            position = start + 1
        except RecursionError:
            raise SchemaMismatch("The answer is nested too deeply.") from None
        except ValueError as exc:  # a number of more than 4,300 digits
            raise SchemaMismatch(f"The JSON of the answer cannot be read: {_one_line(str(exc))}.") from None
        else:
            found.append((end - start, start, value))
            position = end
    return found


def _invalid_json(text: str, exc: json.JSONDecodeError) -> SchemaMismatch:
    if exc.pos >= len(text) or exc.msg.startswith("Unterminated string"):
        return SchemaMismatch("The answer ends before its JSON is complete.")
    before = text[max(0, exc.pos - 30) : exc.pos]
    what = exc.msg[:1].lower() + exc.msg[1:]
    return SchemaMismatch(
        f"The answer is not valid JSON: {what} at line {exc.lineno}, column {exc.colno}, after {before!r}."
    )


def _require_portable(value: Any) -> Any:
    """Refuse what Python reads but JSON does not allow: NaN, infinities, lone surrogates."""
    try:
        json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
    except UnicodeEncodeError:
        raise SchemaMismatch("The answer contains half a character (a lone surrogate).") from None
    except (ValueError, RecursionError):
        raise SchemaMismatch("The answer contains a number that JSON does not allow, such as NaN or 1e999.") from None
    return value


def _one_line(text: str) -> str:
    return shorten(text, _MAX_PROBLEM).rstrip(".")
