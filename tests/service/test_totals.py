"""Sums over calls of which some are unknown are lower bounds and say so."""

from __future__ import annotations

from dataclasses import asdict

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipyllm.dataframes.call_totals import token_total
from ipyllm.response import NOT_SENT, ChatResponse, Usage
from ipyllm.totals import CostTotal, TokenTotal

COSTS = st.lists(st.none() | st.sampled_from([0.0, 0.25, 0.5]), max_size=6)


@pytest.mark.parametrize(
    ("costs", "amount", "cell", "sentence"),
    [
        ([], "$0", "$0", "free"),
        ([0.0, 0.0], "$0", "$0", "free"),
        ([0.1, 0.06], "$0.16", "$0.16", "$0.16"),
        ([0.016] * 10 + [None] * 10, "≥ $0.16", "≥ $0.16, 10 of 20 unknown", "cost ≥ $0.16, 10 of 20 unknown"),
        ([0.0, None], "–", "–, 1 of 2 unknown", "cost unknown for 1 of 2"),
        ([None] * 1200, "–", "–", "cost unknown"),
        ([1.0] + [None] * 1200, "≥ $1.00", "≥ $1.00, 1,200 of 1,201 unknown", "cost ≥ $1.00, 1,200 of 1,201 unknown"),
    ],
)
def test_a_total_says_what_it_does_not_include(costs, amount, cell, sentence):
    total = CostTotal.of(costs)
    assert (total.amount, total.cell, total.sentence) == (amount, cell, sentence)


@given(COSTS, COSTS)
def test_totals_add_up_in_any_parts(first, second):
    assert CostTotal.of(first) + CostTotal.of(second) == CostTotal.of([*first, *second])


@given(COSTS)
def test_a_sum_is_marked_as_a_bound_exactly_where_a_cost_is_unknown(costs):
    total = CostTotal.of(costs)
    assert ("≥" in total.cell) == (None in costs and any(costs)), "no bound is told where nothing was paid"
    assert ("unknown" in total.cell) == (0 < costs.count(None) < len(costs))
    assert total.n_unknown == costs.count(None)


@pytest.mark.parametrize(
    ("calls", "said"),
    [
        ([(36, 120)], "36 → 120 tokens"),
        ([(36, 120), (4, 1500)], "40 → 1,620 tokens"),
        ([(36, 120), (None, None)], "≥ 36 → 120 tokens, 1 of 2 not counted"),
        ([(36, None)], "≥ 36 → 0 tokens, 1 of 1 not counted"),
        ([(None, None)], "tokens not counted"),
    ],
)
def test_tokens_that_were_not_counted_are_said(calls, said):
    steps = tuple(ChatResponse(usage=Usage(*call)) for call in calls)
    assert str(TokenTotal.of_response(ChatResponse(steps=steps))) == said
    assert str(sum(map(TokenTotal.of_response, steps), TokenTotal())) == said


@pytest.mark.parametrize(
    ("usages", "said"),
    [
        ([Usage(input_tokens_estimated=13, output_tokens_estimated=153)], "~13 → ~153 tokens"),
        ([Usage(input_tokens=13, output_tokens_estimated=153)], "13 → ~153 tokens"),
        ([Usage(input_tokens_estimated=13, output_tokens_estimated=1500)] * 2, "~26 → ~3,000 tokens"),
        (
            [Usage(36, 120), Usage(input_tokens_estimated=13, output_tokens_estimated=153)],
            "≥ 36 → 120 tokens, 1 of 2 not counted",
        ),
        ([Usage(input_tokens_estimated=13, output_tokens_estimated=153), Usage()], "tokens not counted"),
        ([Usage(input_tokens_estimated=13)], "tokens not counted"),
    ],
)
def test_where_all_that_is_known_are_estimates_the_total_has_them_as_a_line_has(usages, said):
    steps = tuple(ChatResponse(usage=usage) for usage in usages)
    assert str(TokenTotal.of_response(ChatResponse(steps=steps))) == said
    rows = pd.DataFrame([asdict(usage) | {"usage_source": "server"} for usage in usages])
    assert str(token_total(rows)) == said


def test_a_call_that_was_never_sent_has_no_tokens_to_count():
    refused = ChatResponse(status="error", cost_usd=0.0, price_source=NOT_SENT)
    assert TokenTotal.of_response(refused) == TokenTotal()
    assert CostTotal.of_response(refused) == CostTotal(0.0, 1, 0)
