"""The line under an answer of a chat."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ipyllm.response import ChatResponse, Usage
from ipyllm_widgets.chat.answer_footer import answer_footer

STOPPED = ChatResponse(
    model="openai/gpt-6-luna",
    status="cancelled",
    usage=Usage(input_tokens_estimated=1148, output_tokens_estimated=29, source="estimated"),
)


def test_a_stopped_answer_has_its_likely_cost():
    assert answer_footer(STOPPED).endswith("~$0.00013")


@pytest.mark.parametrize(
    "known", [{"status": "ok"}, {"price_source": "not_sent"}, {"steps": (STOPPED,)}, {"model": "nowhere/none"}]
)
def test_a_cost_that_is_known_or_of_several_requests_is_not_guessed(known):
    assert "~$" not in answer_footer(replace(STOPPED, **known))
