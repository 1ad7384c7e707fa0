"""Responses that are read from the ledger count every call that led to them."""

from __future__ import annotations

from ipyllm.conversations.transcript import Turn
from ipyllm.ledger import Ledger
from ipyllm.pipeline.stored_responses import response_to, stored_responses


def test_the_calls_of_tools_are_steps_and_those_that_are_gone_are_of_unknown_cost():
    turn = Turn(call_id="03", step_ids=("01", "02"))
    with Ledger("sqlite://") as ledger:
        ledger.put({"call_id": "01", "model": "lab/m", "status": "ok", "cost_usd": 0.25})
        ledger.put({"call_id": "03", "model": "lab/m", "status": "ok", "cost_usd": 0.5, "response": "So."})
        stored = stored_responses([turn, Turn(call_id="04"), Turn()], ledger=ledger)
    assert list(stored) == ["03"]
    response = response_to(turn, stored)
    assert response.content == "So."
    assert [step.cost_usd for step in response.steps] == [0.25, None, 0.5]


def test_a_status_that_we_do_not_know_is_no_success():
    with Ledger("sqlite://") as ledger:
        ledger.put({"call_id": "01", "model": "lab/m", "status": "paused", "response": "Half"})
        stored = stored_responses([Turn(call_id="01")], ledger=ledger)
    for turn in Turn(call_id="01", model="lab/m"), Turn(status="paused", model="lab/m"):
        response = response_to(turn, stored)
        assert (response.status, response.error_category) == ("error", "unknown_error")
        assert "'paused'" in response.error_message
    assert response_to(Turn(), {}).status == "ok"
