"""Masks API keys in every text that goes to an output, a log, the ledger or a traceback.

Two methods: the exact secrets that this process was given (:func:`remember_secret`), and patterns for keys of known
providers, which may occur in the error text of a server.
"""

from __future__ import annotations

import re

__all__ = ["redact", "remember_secret"]

_MASK = "[key hidden]"
_MIN_SECRET = 6  # shorter ones ("none", "x") are placeholders, and occur in ordinary words
_PLACEHOLDERS = {"ollama", "no-key", "not-needed", "unused", "dummy", "no-key-needed"}

_secrets: set[str] = set()
_KEY_PATTERN = re.compile(
    r"\b(?:sk|pk|rk|gsk|xai)-[A-Za-z0-9_\-*.]{8,}"  # OpenAI, DeepSeek, Anthropic, Groq, xAI; also half-masked ones
    r"|(?<=Bearer )[^\s\"',;]{6,}"
    r"|\bAIza[0-9A-Za-z_\-]{20,}"
    r"|\bhf_[A-Za-z0-9]{20,}"
)

# A substring search first: the pattern costs 70 µs per 1,000 characters, and few texts contain a key.
_KEY_PREFIXES = ("sk-", "pk-", "rk-", "xai-", "Bearer ", "AIza", "hf_")  # "gsk-" contains "sk-"


def remember_secret(secret: str | None) -> None:
    """Mask ``secret`` in every text from now on."""
    if secret and len(secret) >= _MIN_SECRET and secret not in _PLACEHOLDERS:
        _secrets.add(secret)


def redact(text: str) -> str:
    """Return ``text`` with known secrets, and what looks like one, masked."""
    spans = [
        match.span() for secret in tuple(_secrets) if secret in text for match in re.finditer(re.escape(secret), text)
    ]
    if any(mark in text for mark in _KEY_PREFIXES):
        spans += [(match.start(), match.end() - match[0].endswith(".")) for match in _KEY_PATTERN.finditer(text)]
    # Overlapping spans are merged: a secret may be part of a text that looks like a key, or contain one.
    pieces, end = [], 0
    for start, stop in sorted(spans):
        if start >= end:
            pieces += [text[end:start], _MASK]
        end = max(end, stop)
    return "".join([*pieces, text[end:]])
