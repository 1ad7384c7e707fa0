"""Masks API keys in every text that goes to an output, a log, the ledger or a traceback.

Two methods: the exact secrets that this process was given (:func:`remember_secret`), and patterns for keys of known
providers, which may occur in the error text of a server.
"""

from __future__ import annotations

import re

__all__ = ["redact", "remember_secret"]

_MASK = "[key hidden]"
_MIN_SECRET = 6  # shorter ones ("none", "x") are placeholders, and masking them would eat ordinary words
_PLACEHOLDERS = {"ollama", "no-key", "not-needed", "unused", "dummy", "no-key-needed"}

_secrets: set[str] = set()
_SHAPES = re.compile(
    r"\b(?:sk|pk|rk|gsk|xai)-[A-Za-z0-9_\-*.]{8,}"  # OpenAI, DeepSeek, Anthropic, Groq, xAI; also half-masked ones
    r"|(?<=Bearer )[^\s\"',;]{6,}"
    r"|\bAIza[0-9A-Za-z_\-]{20,}"
    r"|\bhf_[A-Za-z0-9]{20,}"
)

# A substring search first: the pattern costs 70 µs per 1,000 characters, and few texts contain a key.
_MARKS = ("sk-", "pk-", "rk-", "xai-", "Bearer ", "AIza", "hf_")  # "gsk-" contains "sk-"


def remember_secret(secret: str | None) -> None:
    """Mask ``secret`` in every text from now on."""
    if secret and len(secret) >= _MIN_SECRET and secret not in _PLACEHOLDERS:
        _secrets.add(secret)


def redact(text: str) -> str:
    """Return ``text`` with known secrets, and what looks like one, masked."""
    for secret in tuple(_secrets):
        if secret in text:
            text = text.replace(secret, _MASK)
    if not any(mark in text for mark in _MARKS):
        return text
    return _SHAPES.sub(lambda match: _MASK + ("." if match[0].endswith(".") else ""), text)
