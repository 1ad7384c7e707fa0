"""What is cut for a prompt is masked before: half a key could not be recognised any more."""

from __future__ import annotations

import pandas as pd
import pytest

from ipyllm.text.redact import remember_secret
from ipyllm_magics.prompt.notebook_context import cut_middle
from ipyllm_magics.prompt.summarize_value import summarize_value

KEY = "sk-own-" + "a9Xq2LmT7vB4zP0w" * 10  # as long as OpenAI's


@pytest.fixture(autouse=True)
def given_key():
    remember_secret(KEY)


@pytest.mark.parametrize(
    "value",
    [
        [KEY] * 1_000,
        {f"name {n}": KEY for n in range(1_000)},
        pd.DataFrame({"key": [KEY] * 10, KEY: ["x"] * 10}),
        pd.Series([KEY] * 10),
    ],
    ids=["list", "dict", "table", "column"],
)
def test_a_summary_holds_no_part_of_a_key(value):
    summary = summarize_value(value, 100)
    assert "a9Xq2L" not in summary
    assert "[key hidden]" in summary


@pytest.mark.parametrize("before", range(0, 200, 20))
def test_a_text_without_its_middle_holds_no_part_of_a_key(before):
    assert "a9Xq2L" not in cut_middle("x" * before + " " + KEY + " " + "y" * 1_000, 80)
