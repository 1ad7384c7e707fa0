"""Keys are masked by their shape."""

from __future__ import annotations

import pytest

from ipyllm.text.redact import redact


@pytest.mark.parametrize(
    "text",
    [
        "sk-proj-abcdefghijklmnop",
        "Bearer abcdef123456",
        "gsk-0123456789abcdef",
        "Incorrect: sk-ab****wxyz0123",
    ],
)
def test_shapes_of_keys_are_masked(text):
    assert "[key hidden]" in redact(text)
    assert not any(part in redact(text) for part in ("abcdef", "0123", "wxyz"))


@pytest.mark.parametrize(
    ("secret", "text", "masked"),
    [
        ("0123456789", "Key: gsk-0123456789abcdef.", "Key: [key hidden]."),
        ("my key: sk-abcdefgh#end", "Sent my key: sk-abcdefgh#end to it", "Sent [key hidden] to it"),
        ("sk-abcdefgh#rest", "sk-abcdefgh#rest", "[key hidden]"),
        ("abcabc", "abcabcabc", "[key hidden]abc"),
    ],
)
def test_a_secret_inside_a_key_and_a_key_inside_a_secret_leave_nothing_over(secret, text, masked, monkeypatch):
    monkeypatch.setattr("ipyllm.text.redact._secrets", {secret})
    assert redact(text) == masked


def test_the_end_of_the_sentence_stays():
    masked = "Incorrect API key provided: [key hidden]."
    assert redact("Incorrect API key provided: sk-abcdefghijklmnop.") == masked
