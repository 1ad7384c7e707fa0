"""Costs in each widget: the sum of known costs as a lower bound, and the number of calls of unknown cost."""

from __future__ import annotations

import json

import pytest

from tests.browser.chat import assert_page_healthy, lab_with_fake, opened
from tests.browser.compare import open_comparison
from tests.browser.lab import needs_chromium
from tests.fakes import answer

pytestmark = [pytest.mark.browser, needs_chromium, pytest.mark.timeout(300)]

PRICES = {"openai/priced": {"input_usd_per_mtok": 2.0, "output_usd_per_mtok": 8.0, "cached_usd_per_mtok": 0.5}}
USAGE = {
    "prompt_tokens": 1000,
    "completion_tokens": 500,
    "total_tokens": 1500,
    "prompt_tokens_details": {"cached_tokens": 400},
}
COST = "$0.0054"  # 600 × 2 + 400 × 0.5 + 500 × 8 millionths


@pytest.fixture(scope="module")
def lab_with_prices(tmp_path_factory):
    env = {"IPYLLM_PRICES": json.dumps(PRICES), "IPYLLM_MAX_RETRIES": "0"}
    with lab_with_fake(tmp_path_factory.mktemp("costs"), width=1200, env=env) as (lab, fake):
        fake.default = answer("Three short words.", usage=USAGE)
        yield lab


@pytest.fixture
def lab(lab_with_prices):
    with assert_page_healthy(lab_with_prices):
        yield lab_with_prices


def test_a_chat_adds_up_what_has_a_price_and_says_what_has_none(lab):
    _, chat = opened(lab, arguments="model='openai/priced'")
    chat.ask("First")
    chat.footers().last.get_by_text(COST).wait_for()
    chat.totals.get_by_text(COST).wait_for()
    assert "unknown" not in chat.totals.inner_text()
    chat.ask("Second")
    chat.totals.get_by_text("$0.011").wait_for()
    chat.model.fill("openai/free-of-price")
    chat.model.press("Tab")
    chat.ask("Third")
    chat.totals.get_by_text("cost ≥ $0.011, 1 of 3 unknown").wait_for()
    assert "$" not in chat.footers().last.inner_text(), "what has no price is no zero in disguise"


def test_a_comparison_says_what_each_answer_cost(lab):
    _, shown = open_comparison(lab, ["openai/priced", "openai/free-of-price"])
    shown.ask()
    shown.wait_for_vote()
    shown.columns.nth(0).get_by_text(COST).wait_for()
    shown.columns.nth(1).get_by_text("500 tokens").wait_for()
    assert "$" not in shown.columns.nth(1).inner_text()


def test_a_dashboard_says_what_each_model_cost(lab):
    calls = """
from ipyllm import OpenAIService, UsageDashboard
for model in ["priced", "priced", "free-of-price"]:
    OpenAIService(model).chat("Go", tags={"of": "costs"})
dashboard = UsageDashboard(tag="of=costs")
dashboard
"""
    lab.shared_notebook = None
    shown = lab.open([calls]).run(0)
    # Its parts are drawn one after the other, each when its text has come.
    cost = shown.locator(".ipyllm-tiles").get_by_text("1 of 3 unknown").locator("xpath=..")
    cost.get_by_text("≥ $0.011").wait_for()
    rows = shown.locator(".ipyllm-models tbody tr")
    rows.filter(has_text="openai/priced").get_by_text("$0.011").wait_for()
    unpriced = rows.filter(has_text="openai/free-of-price")
    unpriced.get_by_text("–", exact=True).last.wait_for()
    assert "$" not in unpriced.inner_text()
