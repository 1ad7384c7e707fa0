"""Masks API keys in every text that goes to an output, a log, the ledger or a traceback.

Two methods: the exact keys that this process was given (:func:`remember_secret`), in any spelling that
:class:`_Spelling` knows; and patterns for keys of known providers, which may occur in the error text of a server.
Text is masked before it is cut: half a key matches nothing.
"""

from __future__ import annotations

import base64
import re
import string
from functools import lru_cache
from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import unquote_to_bytes

from ipyllm.text.secrets import randomness_bits, value_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pydantic import SecretStr

__all__ = ["is_worth_masking", "redact", "remember_secret"]

_MASK: Final = "[key hidden]"

_MIN_BITS_GIVEN: Final = 40  # a key that is easier to guess is short, or of words: ordinary text has it too
_MIN_BITS_FOUND: Final = 43  # of what nobody said is a key

_ALPHANUMERIC: Final = (string.ascii_letters + string.digits).encode()
_OTHER_BYTES: Final = bytes(set(range(256)) - set(_ALPHANUMERIC))
_LOWER: Final = bytes.maketrans(string.ascii_uppercase.encode(), string.ascii_lowercase.encode())
_MIN_BARE: Final = 8  # letters and digits of a key that is searched in other spellings too
_SHORT: Final = 64  # characters: of ids and names, which come again and again
_WINDOW: Final = 1 << 20  # characters that are searched at once
_OVERLAP: Final = 1 << 16  # of two windows: no key is longer, with all that may be between its characters
_STYLE: Final = re.compile(rb"\x1b\[[0-?]*[ -/]*[@-~]")  # of a terminal (ECMA-48)
# Atomic, so that what is a sequence is not tried as single signs too, in all combinations.
_GAP: Final = rf"(?>{_STYLE.pattern.decode()}|%[0-9A-Fa-f]{{2}}|[^A-Za-z0-9])*"
_PERCENT_CODE: Final = re.compile(rb"%[0-9A-Fa-f]{2}")
_BASE64: Final = frozenset(string.ascii_letters + string.digits + "+/=-_")

_CHARACTER: Final = r"[A-Za-z0-9_\-*.~+/=%]"
_KEY_PATTERN: Final = re.compile(
    # Keys of OpenAI, Anthropic, DeepSeek, OpenRouter, Moonshot (sk-), Groq (gsk_), Cerebras (csk-), Langfuse and others
    # (pk-, rk-), xAI, NVIDIA, Hugging Face, Together, Fireworks, Google; some servers mask the middle with "*".
    r"(?<![A-Za-z0-9])(?:(?:[gc]?sk|pk|rk)[-_]|xai-|nvapi-|hf_|tgp_|fw_|AIza|AQ\.)(?P<body>[A-Za-z0-9_\-*.]{8,})"
    # Keys without a shape of their own, where the text says what they are.
    rf"|\b[Bb](?:earer|asic)\s(?P<sent>{_CHARACTER}{{16,}})"
    rf"|(?:[Aa]pi|API)[-_ ]?[Kk](?:ey|EY)(?:\sprovided)?[\"']?\s?[:=]\s?[\"']?(?P<named>{_CHARACTER}{{24,}})"
)
# Searches for substrings first: the pattern costs 70 µs per 1,000 characters, and few texts contain a key.
_LONG_TOKEN: Final = b"x" * 16
_TOKENS: Final = bytes(ord("x") if byte in _ALPHANUMERIC + b"_-*.~+/=%" else ord(" ") for byte in range(256))
_MARKERS: Final = (
    *("sk-", "sk_", "pk-", "rk-", "xai-", "nvapi-", "hf_", "tgp_", "fw_", "AIza", "AQ.", "earer ", "asic "),
    *("pi_key", "pi-key", "piKey", "pi key", "PI key", "PI_KEY", "pi-Key"),
)
_HALF_MASKED: Final = "***"
_DIGIT: Final = re.compile(r"[0-9]")
_IS_NO_NAME: Final = {"body": re.compile(r"[0-9]|[a-z][A-Z]|[A-Za-z]{16}"), "sent": _DIGIT, "named": _DIGIT}

_known: dict[str, tuple[_Spelling, ...]] = {}
"""The spellings of each key that this process was given: in clear, then those in base64."""

_shortest = len(_LONG_TOKEN)
"""Characters of the shortest text in which a key is searched: most texts of a ledger's row are shorter than any key."""


class _Spelling(NamedTuple):
    """A key in clear or in base64.

    Attributes
    ----------
    bare : bytes
        Its letters and digits, in lower case. Only a text that has them in this order is searched for the key.
    pattern : re.Pattern
        Matches it in a text, whatever the case of its letters, and with other characters between them.
    """

    bare: bytes
    pattern: re.Pattern[str]


def is_worth_masking(key: str) -> bool:
    """Return whether a key is secret enough: a short one, or one of words, occurs in ordinary text.

    Examples
    --------
    >>> is_worth_masking("lm-studio"), is_worth_masking("r9Xq2LmT7vB4")
    (False, True)
    """
    return randomness_bits(key) >= _MIN_BITS_GIVEN


def remember_secret(secret: str | SecretStr | None) -> None:
    """Mask ``secret`` in every text from now on, if it is worth masking."""
    global _shortest
    key = secret if isinstance(secret, str) else value_of(secret)
    if key and key not in _known and is_worth_masking(key):
        spellings = tuple(_spellings(key))
        _shortest = max(_MIN_BARE, min(_shortest, len(spellings[0].bare)))
        _known[key] = spellings
        _redact_short.cache_clear()


def redact(text: str) -> str:
    """Return ``text`` with known secrets, and what looks like one, masked."""
    if len(text) < _shortest:
        return text
    return _redact_short(text) if len(text) <= _SHORT else _redact(text)


def _redact(text: str) -> str:
    spans = _keys(text) if len(text) <= _WINDOW else _keys_of_windows(text)
    if not spans:
        return text
    # Overlapping spans are merged: a secret may be part of a text that looks like a key, or contain one.
    pieces, end = [], 0
    for start, stop in sorted(spans):
        if start >= end:
            pieces += [text[end:start], _MASK]
        end = max(end, stop)
    return "".join([*pieces, text[end:]])


_redact_short = lru_cache(maxsize=256)(_redact)


def _keys_of_windows(text: str) -> list[tuple[int, int]]:
    """Do what :func:`_keys` does, piece by piece: a search makes several copies of what it searches."""
    spans = []
    for start in range(0, len(text) - _OVERLAP, _WINDOW - _OVERLAP):
        for begin, end in _keys(text[start : start + _WINDOW]):
            # What a window begins with may be the end of a word, which the one before has seen whole.
            if begin or end > _OVERLAP or not start:
                spans.append((start + begin, start + end))
    return spans


def _keys(text: str) -> list[tuple[int, int]]:
    """Return the places of known secrets, and of what looks like one."""
    encoded = text.encode("utf-8", "replace")
    has_long_token = _LONG_TOKEN in encoded.translate(_TOKENS)
    spans = [*_known_keys(text, encoded, has_long_token)] if _known else []
    if has_long_token and any(mark in text for mark in _MARKERS):
        spans += _likely_keys(text)
    return spans


def _spellings(key: str) -> Iterator[_Spelling]:
    encoded = key.encode("utf-8", "replace")
    if len(_bare(encoded)) < _MIN_BARE:  # of signs: it is searched as it is
        yield _Spelling(b"", re.compile(re.escape(key)))
        return
    yield _Spelling(_bare(encoded), _pattern(key))
    for shift in range(3):
        middle = _middle_of_base64(encoded, shift)
        yield _Spelling(_bare(middle.encode()), _pattern(middle))


def _bare(text: bytes) -> bytes:
    return text.translate(_LOWER, _OTHER_BYTES)


def _pattern(key: str) -> re.Pattern[str]:
    """Return what matches a key in any case, percent-encoded or not, with signs and spaces between its characters."""
    places = [place for place, character in enumerate(key) if character.isascii() and character.isalnum()]
    characters = [f"(?:{re.escape(c)}|{''.join(f'%{byte:02x}' for byte in c.encode())})" for c in key]
    before, after = ("".join(part) for part in (characters[: places[0]], characters[places[-1] + 1 :]))
    return re.compile(f"(?:{before})?{_GAP.join(characters[p] for p in places)}(?:{after})?", re.IGNORECASE)


def _middle_of_base64(key: bytes, shift: int) -> str:
    """Return the characters in base64 that only the key decides, if it begins ``shift`` bytes into a group of three."""
    encoded = base64.b64encode(bytes(shift) + key).decode()
    return encoded[-(-8 * shift // 6) : 8 * (shift + len(key)) // 6]


def _known_keys(text: str, encoded: bytes, has_long_token: bool) -> Iterator[tuple[int, int]]:
    bare = _bare(encoded)
    decoded = bare
    if b"\x1b" in encoded or _PERCENT_CODE.search(encoded):
        decoded = _bare(unquote_to_bytes(_STYLE.sub(b"", encoded)))
    for clear, *in_base64 in tuple(_known.values()):
        if clear.bare in bare or (decoded is not bare and clear.bare in decoded):
            yield from (match.span() for match in clear.pattern.finditer(text))
        if has_long_token:
            for spelling in in_base64:
                if spelling.bare in bare:
                    yield from _whole_tokens(text, spelling.pattern)


def _whole_tokens(text: str, pattern: re.Pattern[str]) -> Iterator[tuple[int, int]]:
    """Yield the tokens in base64 that contain a match: their ends have parts of the key in them too."""
    start = end = 0
    while (match := pattern.search(text, end)) is not None:
        before, (start, end) = end, match.span()
        while start > before and text[start - 1] in _BASE64:
            start -= 1
        while end < len(text) and text[end] in _BASE64:
            end += 1
        yield start, end


def _likely_keys(text: str) -> Iterator[tuple[int, int]]:
    for match in _KEY_PATTERN.finditer(text):
        group = match.lastgroup or ""
        key = match[group].rstrip(".")
        if _HALF_MASKED in key or (_IS_NO_NAME[group].search(key) and randomness_bits(key) >= _MIN_BITS_FOUND):
            yield match.start() if group == "body" else match.start(group), match.start(group) + len(key)
