"""Parses large JSON beside the event loop, so that other calls are served meanwhile.

On whatever thread, the C parser of :mod:`json` keeps the interpreter's lock until it has finished, which takes it up to
a second. The Python one of the same module is slower, but it can be interrupted: here it counts the values, and pauses
after every few hundred, and after every piece of a long text.
"""

from __future__ import annotations

import asyncio
import codecs
import json
import re
import time
from json import decoder, scanner
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["LARGE", "MAX_VALUES", "TooManyValuesError", "parse_large"]

LARGE: Final = 1 << 18
"""Bytes of JSON that take the C parser about a millisecond; what is longer is parsed beside the loop."""

MAX_VALUES: Final = 2_000_000
"""Values in one text: an empty list of two bytes takes 64 bytes of memory."""

_VALUES_PER_PAUSE: Final = 500
_PIECE: Final = 1 << 18
"""Characters of a text, or bytes of UTF-8, that are decoded at once."""
_CHARACTERS: Final = re.compile(
    # Up to the end of a text, or before an escape that is incomplete. Two halves of a character are one escape; a first
    # half that no second one follows stands alone.
    r"""(?:[^"\\]+ | \\(?:[^u] | u(?![dD][89abAB]).{4} | u[dD][89abAB]..(?:
        \\u[dD][c-fC-F].. | (?=[^\\] | \\[^u] | \\u(?![dD][c-fC-F]).{4}) )))*""",
    re.DOTALL | re.VERBOSE,
)
_SCAN_TEXT: Final[Callable[[str, int, bool], tuple[str, int]]] = vars(decoder)["scanstring"]
_PAUSE_S: Final = 0.0001


class TooManyValuesError(ValueError):
    """JSON with more than :data:`MAX_VALUES` values."""


class _AbandonedError(Exception):
    """Nobody waits for the result any more."""


class _PausingDecoder(json.JSONDecoder):
    """Decodes JSON with pauses, in which other threads run, until it is abandoned."""

    def __init__(self) -> None:
        super().__init__()
        self.is_abandoned = False
        self._n_values = 0
        self.parse_array = self._array
        self.parse_object = self._object
        self.parse_string = self._text
        self.scan_once = vars(scanner)["py_make_scanner"](self)  # which typeshed does not know

    def _array(self, place: tuple[str, int], scan: Callable[..., Any], *options: Any) -> Any:
        return vars(decoder)["JSONArray"](place, self._counting(scan), *options)

    def _object(self, place: tuple[str, int], strict: bool, scan: Callable[..., Any], *options: Any) -> Any:
        return vars(decoder)["JSONObject"](place, strict, self._counting(scan), *options)

    def _text(self, text: str, start: int, strict: bool = True) -> tuple[str, int]:
        pieces = []
        while (end := _end_of_piece(text, start)) > start and text[end : end + 1] != '"':
            pieces.append(_SCAN_TEXT(text[start:end] + '"', 0, strict)[0])
            start = end
            self._pause()
        last, end = _SCAN_TEXT(text, start, strict)
        return "".join([*pieces, last]), end

    def _counting(self, scan: Callable[..., Any]) -> Callable[..., Any]:
        def counting(text: str, start: int) -> Any:
            self._n_values += 1
            if self._n_values % _VALUES_PER_PAUSE == 0:
                self._pause()
            return scan(text, start)

        return counting

    def parse(self, payload: bytes) -> Any:
        """Return the value of JSON in UTF-8."""
        utf8 = codecs.getincrementaldecoder("utf-8")("surrogatepass")
        pieces = []
        for start in range(0, len(payload), _PIECE):
            pieces.append(utf8.decode(payload[start : start + _PIECE]))
            self._pause()
        return self.decode("".join(pieces) + utf8.decode(b"", final=True))

    def _pause(self) -> None:
        if self.is_abandoned:
            raise _AbandonedError
        if self._n_values > MAX_VALUES:
            raise TooManyValuesError(f"more than {MAX_VALUES:,} values")
        time.sleep(_PAUSE_S)


def _end_of_piece(text: str, start: int) -> int:
    piece = _CHARACTERS.match(text, start, start + _PIECE)
    return start if piece is None else piece.end()


async def parse_large(payload: bytes) -> Any:
    """Parse JSON on another thread.

    Raises
    ------
    TooManyValuesError
        There are more than :data:`MAX_VALUES` values in it.
    ValueError
        It is not JSON.
    RecursionError
        Its lists are nested too deep.
    """
    parser = _PausingDecoder()
    try:
        return await asyncio.to_thread(parser.parse, payload)
    finally:
        parser.is_abandoned = True
