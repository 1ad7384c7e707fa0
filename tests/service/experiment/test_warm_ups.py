"""Warm-ups are sent where a model may be cold, and not anew at each resume."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from ipyllm import Experiment
from ipyllm.experiment.ledger_progress import LedgerProgress
from ipyllm.ledger import current_ledger
from tests.answered_experiment import answered


@pytest.mark.filterwarnings("ignore:The grid of 'x' has changed")
def test_a_run_that_continues_another_does_not_warm_up_again(model, asked):
    for prompts in (["so"], ["so", "la"], ["so", "la", "ti"]):
        Experiment(prompts, models=model(), name="x").run(progress=False)
    assert sorted(prompt for _, prompt in asked()) == ["la", "so", "so", "ti"]


def test_a_model_that_is_new_is_warmed_up_alone(model, asked):
    Experiment(["so"], models=model("a"), name="x").run(progress=False)
    with pytest.warns(UserWarning, match="New: arm 'b'"):
        Experiment(["so"], models=[model("a"), model("b")], name="x").run(progress=False)
    assert sorted(asked()) == [("a", "so")] * 2 + [("b", "so")] * 2


@pytest.mark.parametrize(
    ("minutes", "cost_usd", "is_warm"),
    [(1, 0.0, True), (10, 0.0, False), (10, 0.01, True), (10, None, True), (60 * 25, 0.01, False)],
)
def test_a_free_model_is_warm_for_minutes_another_for_a_day(minutes, cost_usd, is_warm):
    row = {"response": "x", "started_at": datetime.now(UTC) - timedelta(minutes=minutes), "cost_usd": cost_usd}
    results = answered(["so"], lambda *_: row, models=["a"])
    found = LedgerProgress(results.name, results.grid, current_ledger()).warm_servers()
    assert found == ({results.grid.arms[0].server} if is_warm else set())


def test_only_an_answer_says_that_a_model_is_warm():
    row = {"status": "error", "error_category": "timeout", "started_at": datetime.now(UTC)}
    results = answered(["so"], lambda *_: row, models=["a"])
    assert not LedgerProgress(results.name, results.grid, current_ledger()).warm_servers()
