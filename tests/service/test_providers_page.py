"""docs/providers.md says which test holds each behaviour; those tests exist, and every service has its place there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ipyllm.services.service_rows import service_rows

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "providers.md").read_text(encoding="utf-8")
ROWS = [
    line for line in PAGE.splitlines() if line.startswith("| ") and not re.match(r"\| (?:---|fact|what is sent)", line)
]
TESTS = {
    name
    for path in ROOT.glob("tests/**/test_*.py")
    for name in re.findall(r"^(?:async )?def (test_\w+)", path.read_text(encoding="utf-8"), re.MULTILINE)
}


def test_each_row_names_tests_that_exist_or_says_who_decides():
    assert len(ROWS) > 100
    for row in ROWS:
        fact, sure, does, tests = (cell.strip() for cell in row.strip("|").split("|"))
        assert fact
        assert re.fullmatch(r"(?:[DSRM](?:, [DSRM])*)?", sure), row
        named = re.findall(r"`(\w+)`", tests)
        assert set(named) <= TESTS, row
        assert named or "left to the" in does, row


def test_no_row_is_there_twice():
    assert len(set(ROWS)) == len(ROWS)


@pytest.mark.parametrize("title", [row.title for row in service_rows().values()] + ["OpenAI", "DeepSeek", "Ollama"])
def test_each_service_has_its_rows(title):
    assert title.removesuffix(" OpenAI") in "".join(re.findall(r"^## .*$", PAGE, re.MULTILINE))
