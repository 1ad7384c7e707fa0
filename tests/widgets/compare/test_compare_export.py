"""A comparison as a file."""

from __future__ import annotations

import json

import pytest

from ipyllm import CompareWidget, LLMError
from tests.widgets.compare.comparing import asked


@pytest.fixture
def widget(two):
    widget = CompareWidget(models=["openai/good", "openai/bad"])
    yield widget
    widget.close()


def test_markdown_has_questions_answers_and_votes(widget, tmp_path):
    asked(widget)
    widget.vote("A")
    text = widget.export("md", tmp_path / "rounds.md")
    assert text == (tmp_path / "rounds.md").read_text()
    for part in ("# Comparison", "## Question 1", "openai/good", "It is **Bern**.", "It is Basel.", "Vote: A."):
        assert part in text


def test_json_can_be_read_by_programs(widget):
    asked(widget)
    widget.vote("tie")
    document = json.loads(widget.export("json"))
    (only,) = document["rounds"]
    assert (only["question"], only["vote"], only["follows"]) == (1, "tie", False)
    assert [(answer["model"], answer["text"]) for answer in only["answers"]] == [
        ("openai/good", "It is **Bern**."),
        ("openai/bad", "It is Basel."),
    ]


def test_a_blind_comparison_keeps_its_names_until_the_vote(widget):
    widget.blind = True
    asked(widget)
    for form in ("md", "json"):
        assert "openai/" not in widget.export(form)
    widget.vote("both_bad")
    assert "openai/good" in widget.export("md")
    assert "Vote: all bad." in widget.export("md")


def test_another_format_is_refused(widget):
    with pytest.raises(LLMError, match=r"no format 'html'"):
        widget.export("html")
