"""Effort in the magics: refused in one sentence, a hint in ``%config``, completed by model, varied over arms."""

from __future__ import annotations

import pytest


@pytest.fixture
def luna(kernel, kernel_fake, prepared):
    """Return a function that runs a line with the current model of OpenAI, and returns the cell and what was sent."""

    def run(line, cell=None):
        before = len(kernel_fake.requests)
        ran = prepared.run(f"%%llm -m openai/gpt-6-luna --no-history {line}\n{cell or 'Hello'}")
        return ran, [request.json for request in kernel_fake.requests[before:]]

    return run


def test_a_parameter_that_cannot_apply_is_one_sentence_and_nothing_is_sent(luna):
    ran, sent = luna("-t 0")
    assert (ran.status, sent) == ("error", [])
    assert ran.traceback[0].endswith(
        "openai/gpt-6-luna takes no temperature while it reasons; effort='none' allows it, or vary effort: none, low, "
        "medium, high, xhigh, max."
    )


def test_a_default_of_the_notebook_is_left_out_and_the_line_under_the_answer_says_so(luna, prepared):
    prepared.run("%config LLMMagics.temperature = 0.5")
    try:
        ran, sent = luna("--effort low")
        assert (sent[0].get("temperature"), sent[0]["reasoning"]["effort"]) == (None, "low")
        assert "temperature not applied" in ran.text
        assert luna("--effort none")[1][0]["temperature"] == 0.5
        assert "not applied  temperature" in luna("--dry-run")[0].stdout
    finally:
        prepared.run("%config LLMMagics.temperature = None")


def test_the_notebook_may_have_an_effort(luna, prepared):
    prepared.run("%config LLMMagics.effort = 'low'\n%config LLMMagics.verbosity = 'high'")
    try:
        (sent,) = luna("")[1]
        assert (sent["reasoning"]["effort"], sent["text"]["verbosity"]) == ("low", "high")
    finally:
        prepared.run("%config LLMMagics.effort = None\n%config LLMMagics.verbosity = None")


def test_a_retired_model_is_noted_once_without_a_traceback_of_ours(prepared, kernel_fake):
    cell = "%%llm -m openai/gpt-3.5-turbo --no-history\nHello"
    note = "openai/gpt-3.5-turbo was retired on 2026-10-23; use openai/gpt-6-luna.\n"
    assert prepared.run(cell).stderr == note
    assert prepared.run(cell).stderr == ""


def test_effort_is_varied_over_arms(prepared, kernel_fake):
    before = len(kernel_fake.requests)
    ran = prepared.run("%%llm_compare -m openai/gpt-6-luna --vary effort=low,high\nHello")
    assert "gpt-6-luna · effort=low" in ran.text
    assert {request.json["reasoning"]["effort"] for request in kernel_fake.requests[before:]} == {"low", "high"}
