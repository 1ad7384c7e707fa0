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
