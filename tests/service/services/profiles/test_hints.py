"""Defaults of a notebook or a route are hints: they apply where they can, and the response says where they did not."""

from __future__ import annotations

import pytest

from ipyllm import LLMError, OpenAIService, fallback
from ipyllm.rendering import footer_text
from ipyllm.request import CallOptions


@pytest.fixture
def luna(fake):
    return OpenAIService("gpt-6-luna", base_url=fake.base_url, max_retries=0)


def test_a_default_of_the_notebook_is_left_out_and_the_footer_says_so(luna, fake):
    response = luna.chat("Hello", notebook_options=CallOptions({"temperature": 0, "max_tokens": 9}))
    assert (fake.requests[-1].json.get("temperature"), fake.requests[-1].json["max_output_tokens"]) == (None, 9)
    assert response.not_applied == ("temperature",)
    assert "temperature not applied" in footer_text(response)
    applied = luna.chat("Hello", effort="none", notebook_options=CallOptions({"temperature": 0}))
    assert fake.requests[-1].json["temperature"] == 0
    assert applied.not_applied == ()
    assert "not applied" not in footer_text(applied)


def test_the_row_has_only_what_was_sent(luna):
    from ipyllm import usage
    from ipyllm.ledger import current_ledger

    luna.chat("Hello", effort="low", verbosity="high", notebook_options=CallOptions({"temperature": 0}))
    assert current_ledger().flush(10)
    row = usage(kernel=None).iloc[-1]
    assert (row.effort, row.verbosity, row.params) == ("low", "high", {"effort": "low", "verbosity": "high"})


def test_a_default_of_a_route_applies_to_the_arms_that_take_it(luna, fake):
    other = OpenAIService("any-model", base_url=fake.base_url, max_retries=0)
    for arm, sent, left_out in ((luna, None, ("temperature",)), (other, 0.5, ())):
        response = fallback(arm).with_defaults(temperature=0.5).chat("Hello")
        assert fake.requests[-1].json.get("temperature") == sent
        assert response.not_applied == left_out


def test_an_option_of_the_call_is_refused_through_a_route_too(luna, fake):
    with pytest.raises(LLMError, match="openai/gpt-6-luna takes no temperature while it reasons"):
        fallback(luna, OpenAIService("any-model", base_url=fake.base_url)).chat("Hello", temperature=0)
    assert not fake.requests


def test_a_hint_yields_to_what_the_call_gives(luna, fake):
    """The call's temperature applies at effort none only, so the notebook's effort decides whether it fits."""
    luna.chat("Hello", temperature=0, notebook_options=CallOptions({"effort": "none"}))
    assert fake.requests[-1].json["reasoning"] == {"effort": "none"}
    with pytest.raises(LLMError, match="takes no temperature while it reasons"):
        luna.chat("Hello", temperature=0, notebook_options=CallOptions({"effort": "low"}))


def test_a_hinted_value_that_the_model_does_not_have_is_left_out(fake):
    service = OpenAIService("gpt-6.2-sol", base_url=fake.base_url)
    response = service.chat("Hello", notebook_options=CallOptions({"effort": "none", "temperature": 0}))
    assert response.not_applied == ("effort", "temperature")
    assert not {"reasoning", "temperature"} & set(fake.requests[-1].json)
