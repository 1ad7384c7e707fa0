"""Costs against prices written down by hand; what is unknown stays unknown."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from ipyllm import OpenAIService
from ipyllm.pipeline.tool_loop import first_request
from ipyllm.response import Usage
from ipyllm.services.deepseek import DeepSeekService
from ipyllm.services.prices import BY_SETTINGS, context_window, cost_of, estimate_cost, price_in_settings
from ipyllm.settings import SettingsError, get_settings
from ipyllm.settings_models import Price
from ipyllm.transport.address import Address

AT = datetime(2026, 11, 2, 12, 0, tzinfo=UTC)

# Dollars per million tokens, from the providers' price lists: input, cached input, output.
LIST_PRICES = {
    ("openai", "gpt-4o"): (2.50, 1.25, 10.00),
    ("openai", "gpt-4o-mini"): (0.15, 0.075, 0.60),
    ("openai", "gpt-4.1-mini"): (0.40, 0.10, 1.60),
    ("openai", "gpt-5-mini-2025-08-07"): (0.25, 0.025, 2.00),
    ("openai", "o3"): (2.00, 0.50, 8.00),
    ("openai", "o4-mini"): (1.10, 0.275, 4.40),
}


def counted(input_tokens, output_tokens, cached=None, reasoning=None):
    return Usage(input_tokens, output_tokens, cached, reasoning, source="server")


@pytest.mark.parametrize(("provider", "model"), LIST_PRICES)
@pytest.mark.parametrize(("cached", "reasoning"), [(None, None), (0, 0), (1_024, 300), (3_000, 700)])
def test_a_cost_is_what_the_price_list_says(provider, model, cached, reasoning):
    for_input, for_cached, for_output = LIST_PRICES[provider, model]
    expected = ((3_000 - (cached or 0)) * for_input + (cached or 0) * for_cached + 700 * for_output) / 1e6
    cost, source = cost_of(counted(3_000, 700, cached, reasoning), provider=provider, model=model, at=AT)
    assert cost == pytest.approx(expected, rel=1e-12)
    assert source.startswith("genai-prices ")


@pytest.mark.parametrize(("hour", "factor"), [(0, 1), (3, 2), (5, 1), (9, 2), (10, 1)])
def test_deepseek_costs_twice_as_much_in_its_peak_hours(hour, factor):
    raw = {"prompt_tokens": 1_000, "completion_tokens": 200, "prompt_cache_hit_tokens": 400}
    usage = DeepSeekService(api_key="no-key").read_usage(raw)
    at = AT.replace(hour=hour, minute=59 if hour == 3 else 0)
    cost, _ = cost_of(usage, provider="deepseek", model="deepseek-v4-pro", at=at)
    assert cost == pytest.approx(factor * (600 * 0.66 + 400 * 0.022 + 200 * 1.98) / 1e6, rel=1e-12)


def test_a_price_holds_from_its_day_on():
    usage = counted(1_000_000, 0)
    costs = [cost_of(usage, provider="openai", model="o3", at=at)[0] for at in (datetime(2025, 6, 9, tzinfo=UTC), AT)]
    assert costs == [10.0, 2.0]


LAST_DAYS = [("gemini-4-argon", (2026, 11, 30), 2.0), ("gemini-3.8-flash", (2026, 12, 31), 0.75)]


@pytest.mark.parametrize(("model", "last_day", "price"), LAST_DAYS)
def test_the_introductory_prices_of_gemini_end_on_their_days(model, last_day, price):
    day = datetime(*last_day, 12, tzinfo=UTC)
    days = (day, day + timedelta(days=2))
    costs = [cost_of(counted(1_000_000, 0), provider="google", model=model, at=at)[0] for at in days]
    assert costs == [price, 2 * price]


@pytest.mark.parametrize(
    ("provider", "model", "limit", "factor"),
    [
        ("openai", "gpt-6-luna", 272_000, 2),
        ("x-ai", "grok-4.3", 200_000, 2),
        ("anthropic", "claude-haiku-5-5", 100_000, 5),
    ],
)
def test_a_prompt_above_a_providers_limit_has_its_higher_price(provider, model, limit, factor):
    short, long = (
        cost_of(Usage(tokens, 0, source="server"), provider=provider, model=model, at=AT)[0] / tokens
        for tokens in (limit - 1000, limit + 1000)
    )
    assert long / short == pytest.approx(factor)


def test_a_service_tier_and_written_cache_have_prices_of_their_own():
    def cost(model, tokens, **billed):
        return cost_of(Usage(tokens, 0, source="server", **billed), provider="openai", model=model, at=AT)[0]

    tiers = {tier: cost("o3", 1_000_000, service_tier=tier) for tier in (None, "auto", "default", "flex", "batch")}
    assert tiers == {None: 2.0, "auto": 2.0, "default": 2.0, "flex": 1.0, "batch": 1.0}
    assert cost("o3", 1_000_000, service_tier="priority") == cost("o3", 1_000_000, service_tier="fast") == 3.5
    assert cost("gpt-6.1-sol", 100_000, cache_write_tokens=100_000) == pytest.approx(0.25)
    assert cost("gpt-6.1-sol", 100_000, cache_write_tokens=60_000) == pytest.approx((60_000 * 2.5 + 40_000 * 2) / 1e6)
    flex = cost("gpt-6.1-sol", 100_000, cache_write_tokens=60_000, cached_tokens=40_000, service_tier="flex")
    assert flex == pytest.approx((60_000 * 1.25 + 40_000 * 0.05) / 1e6)
    assert cost("o3", 100_000, cache_write_tokens=100_000) == pytest.approx(0.2), "the model charges nothing extra"
    assert cost("o3", 10, cache_write_tokens=11) is None


@pytest.mark.parametrize(("model", "tokens", "expected"), [
    ("gpt-5.4", 272_000, 272_000 * 2.5 + 100 * 15),
    ("gpt-5.4", 272_001, 272_001 * 5 + 100 * 22.5),
])  # fmt: skip
@pytest.mark.parametrize(("tier", "factor"), [(None, 1), ("flex", 0.5)])
def test_a_long_prompt_costs_more_for_all_its_tokens_and_those_of_the_answer(model, tokens, expected, tier, factor):
    usage = Usage(tokens, 100, source="server", service_tier=tier)
    cost, _ = cost_of(usage, provider="openai", model=model, at=AT)
    assert cost == pytest.approx(expected * factor / 1e6)
    assert estimate_cost("openai", model, tokens, 100, at=AT, service_tier=tier) == pytest.approx(cost)


@pytest.mark.parametrize(
    ("provider", "model", "tier", "at"),
    [
        ("openai", "o3", "scale", AT),
        ("openai", "o3", "Flex", AT),
        ("openai", "gpt-4o", "flex", AT),
        ("openai", "o3-mini", "priority", AT),
        ("azure", "o3", "priority", AT),
        ("groq", "llama-3.1-8b-instant", "flex", AT),
        ("openai", "o3", "flex", datetime(2026, 10, 11, tzinfo=UTC)),
    ],
    ids=["no such tier", "case", "not for this model", "no tiers", "prices of another provider", "Groq", "too early"],
)
def test_a_tier_without_a_known_price_has_no_cost_and_says_why(provider, model, tier, at):
    usage = Usage(1_000, 100, source="server")
    assert cost_of(usage, provider=provider, model=model, at=at)[0] > 0
    cost, reason = cost_of(replace(usage, service_tier=tier), provider=provider, model=model, at=at)
    assert (cost, reason) == (None, f"unknown: no price of service tier {tier}")
    assert estimate_cost(provider, model, 1_000, 100, at=at, service_tier=tier) is None


def test_a_price_in_the_settings_has_factors_for_the_tiers_that_it_knows(own_settings):
    (own_settings / "config.toml").write_text(
        '[prices."openai/m"]\ninput_usd_per_mtok = 1\noutput_usd_per_mtok = 2\ntier_factors = { flex = 0.5 }'
    )
    service = OpenAIService("m", api_key="no-key")
    costs = {
        tier: service.cost_and_source(Usage(1_000, 1_000, source="server", service_tier=tier), None, OWN, AT)
        for tier in (None, "default", "flex", "priority")
    }
    assert costs == {
        None: (pytest.approx(0.003), BY_SETTINGS),
        "default": (pytest.approx(0.003), BY_SETTINGS),
        "flex": (pytest.approx(0.0015), BY_SETTINGS),
        "priority": (None, "unknown: no price of service tier priority"),
    }
    longest = [bound(service, OWN, max_tokens=1_000, service_tier=tier) for tier in ("default", "flex", "priority")]
    assert longest == [pytest.approx(0.0021, rel=0.01), pytest.approx(0.0021 / 2, rel=0.01), None]
    with pytest.raises(ValueError, match=r"tier_factors\.flex must be a number"):
        Price(1, 1, tier_factors={"flex": -1})


@pytest.mark.parametrize(
    "usage",
    [
        Usage(10, 10, source="estimated"),
        Usage(),
        counted(None, 10),
        counted(10, None),
        counted(10, 10, cached=11),
        counted(10, 10, reasoning=11),
        counted(-1, 10),
    ],
)
def test_counts_that_are_missing_estimated_or_impossible_have_no_cost(usage):
    assert cost_of(usage, provider="openai", model="gpt-4o", at=AT) == (None, None)
    assert Price(1, 1).cost(usage) is None


@pytest.mark.parametrize(
    ("provider", "model"),
    [("openai", "llama3.2"), ("openai", ""), ("nobody", "gpt-4o"), ("openai", "moderation"), ("openai", "whisper-1")],
)
def test_a_model_without_a_token_price_is_unknown_and_not_free(provider, model):
    assert cost_of(counted(10, 10), provider=provider, model=model, at=AT) == (None, None)
    assert estimate_cost(provider, model, 10, 10) is None


def test_a_price_of_the_users_own_knows_cached_input():
    assert Price(2, 8, 0.5).cost(counted(1_000, 100, cached=600, reasoning=50)) == pytest.approx(0.0019)
    assert Price(2, 8).cost(counted(1_000, 100, cached=600)) == pytest.approx(0.0028)
    assert Price(0, 0).cost(counted(1_000, 100)) == 0.0
    assert Price(2, 8).estimate(1_000, 500) == pytest.approx(0.006)


@pytest.mark.parametrize("wrong", [-1, float("nan"), float("inf")])
def test_a_price_that_cannot_be_is_refused(wrong):
    with pytest.raises(ValueError, match="output_usd_per_mtok"):
        Price(1, wrong)


def test_prices_come_from_the_settings_of_a_model_before_those_of_its_endpoint(own_settings):
    (own_settings / "config.toml").write_text(
        """
        [endpoints.lab]
        base_url = "http://127.0.0.1:1/v1"
        input_usd_per_mtok = 0.1
        output_usd_per_mtok = 0.2
        [prices."lab/big"]
        input_usd_per_mtok = 1
        output_usd_per_mtok = 2
        cached_usd_per_mtok = 0.5
        """
    )
    assert price_in_settings("lab/small") == Price(0.1, 0.2)
    assert price_in_settings("lab/big") == Price(1, 2, 0.5)
    assert price_in_settings("openai/gpt-4o") is None
    assert BY_SETTINGS == "settings"


@pytest.mark.parametrize(
    "wrong",
    [
        '[prices."lab/m"]\ninput_usd_per_mtok = -1\noutput_usd_per_mtok = 2',
        '[prices."lab/m"]\ninput_usd_per_mtok = 1\noutput_usd_per_mtok = 2\ncahced_usd_per_mtok = 1',
        '[endpoints.lab]\nbase_url = "http://127.0.0.1:1/v1"\ninput_usd_per_mtok = 1',
    ],
)
def test_a_wrong_price_in_the_settings_is_refused(own_settings, wrong):
    (own_settings / "config.toml").write_text(wrong)
    with pytest.raises(SettingsError, match=r"prices|endpoints"):
        get_settings()


def test_an_estimate_is_never_below_the_cost():
    for provider, model in [*LIST_PRICES, ("openai", "gpt-6.1-sol"), ("deepseek", "deepseek-v4-pro")]:
        bound = estimate_cost(provider, model, 2_000, 500, at=AT)
        for cached in (0, 1_000, 2_000):
            for written in (0, 2_000 - cached):
                usage = replace(counted(2_000, 500, cached, 400), cache_write_tokens=written)
                cost, _ = cost_of(usage, provider=provider, model=model, at=AT)
                assert cost <= bound * (1 + 1e-12)


def test_without_a_limit_on_the_answer_the_context_window_is_one():
    # Not less the input, which is an upper estimate.
    assert estimate_cost("openai", "gpt-4o", 28_000, None) == pytest.approx((28_000 * 2.5 + 128_000 * 10) / 1e6)
    assert estimate_cost("openai", "gpt-chat-latest", 10, None) is None  # its window is not in the tables


def test_a_service_knows_the_window_of_what_its_provider_serves_without_a_key(own_settings):
    assert OpenAIService("gpt-4o").context_window() == 128_000
    assert OpenAIService("no-such-model").context_window() is None
    assert OpenAIService("gpt-4o", base_url="http://127.0.0.1:8000/v1").context_window() is None, "somebody else's"
    assert OpenAIService("gpt-4o", base_url="nowhere").context_window() is None


def test_context_windows_are_known_offline():
    assert context_window("openai", "gpt-4o-mini") == 128_000
    assert context_window("deepseek", "deepseek-v4-flash") == 1_000_000
    assert context_window("openai", "llama3.2") is None
    assert context_window("nobody", "gpt-4o") is None


OWN = Address("https://api.openai.com/v1")


def bound(service, address, **options):
    """Return the highest cost of a short question."""
    return service.max_cost(first_request(service.request("Hello", **options)), address, AT)


@pytest.mark.parametrize(
    "elsewhere", ["http://127.0.0.1:8000/v1", "https://api.openai.com.example.org/v1", "https://notopenai.com/v1"]
)
def test_the_price_tables_hold_at_the_provider_s_own_address_only(elsewhere):
    service = OpenAIService("gpt-6.1-terra")
    usage = counted(1_000, 1_000)
    cost, source = service.cost_and_source(usage, "gpt-6.1-terra", OWN, AT)
    assert cost == pytest.approx(0.006)
    assert source.startswith("genai-prices ")
    assert service.cost_and_source(usage, "gpt-6.1-terra", Address(elsewhere), AT) == (None, None)
    assert bound(service, OWN, max_tokens=1_000) == pytest.approx(0.00515, rel=0.01)
    assert bound(service, Address(elsewhere), max_tokens=1_000) is None


def test_a_price_in_the_settings_holds_at_every_address(own_settings):
    (own_settings / "config.toml").write_text(
        '[prices."openai/gpt-6.1-terra"]\ninput_usd_per_mtok = 1\noutput_usd_per_mtok = 2'
    )
    here = Address("http://127.0.0.1:8000/v1")
    service = OpenAIService("gpt-6.1-terra", base_url=here.base_url)
    assert service.cost_and_source(counted(1_000, 1_000), None, here, AT) == (pytest.approx(0.003), BY_SETTINGS)
    assert service.cost_and_source(Usage(), None, here, AT) == (None, None), "nothing was counted"
    assert bound(service, here, max_tokens=1_000) == pytest.approx(0.0021, rel=0.01)
    assert bound(service, here) is None, "nothing limits the answer"
