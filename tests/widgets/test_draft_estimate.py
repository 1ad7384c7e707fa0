"""What a draft would send is estimated at each pause in typing: what was counted once is not counted again."""

from __future__ import annotations

import pytest

from ipyllm import create_llm_service
from ipyllm.settings import SettingsError
from ipyllm_widgets import draft_estimate
from ipyllm_widgets.draft_estimate import Draft, DraftEstimator, NextCall, estimate_sentence


@pytest.fixture
def counted(monkeypatch):
    """Return the texts whose tokens were counted."""
    texts, count = [], draft_estimate.likely_message_tokens

    def counting(messages):
        texts.extend(message["content"] for message in messages if isinstance(message.get("content"), str))
        return count(messages)

    monkeypatch.setattr(draft_estimate, "likely_message_tokens", counting)
    return texts


def estimated(estimator, text):
    estimator._draft = Draft(text)
    estimator._estimate()


def test_turns_before_are_counted_once_though_a_draft_was_sent_meanwhile(counted):
    service, told = create_llm_service("openai/gpt-6-luna"), []
    turn = [{"role": "user", "content": "Before?"}]
    estimator = DraftEstimator(
        lambda: [NextCall(service, "", [turn])], lambda _view, said: told.append(said), told.append
    )
    for text in ("Why", "Why is", "", "And"):
        estimated(estimator, text)
    assert counted.count("Before?") == 1
    assert [bool(said) for said in told] == [True, True, False, True]


def test_what_is_typed_is_counted_once_for_all_models(counted):
    call = NextCall(create_llm_service("openai/gpt-6-luna"), "", [])
    assert "to each of 3 models" in estimate_sentence(Draft("Why?"), [call] * 3, [[], [], []])
    assert counted == ["Why?"]


def test_a_setting_that_is_wrong_means_no_estimate_and_is_no_bug():
    told = []

    def next_calls():
        raise SettingsError("config.toml cannot be read.")

    estimated(DraftEstimator(next_calls, lambda _view, said: told.append(said), told.append), "Why?")
    assert told == [""]


@pytest.mark.parametrize(
    ("models", "says"),
    [
        (["openai/free", "openai/unpriced"], " · free for 1 of 2 models, 1 price unknown"),
        (["openai/free", "openai/free"], " · free"),
        (["openai/unpriced"], " to send"),
    ],
)
def test_what_is_free_for_one_model_is_not_called_free_beside_an_unknown_price(monkeypatch, models, says):
    monkeypatch.setenv("IPYLLM_PRICES", '{"openai/free": {"input_usd_per_mtok": 0, "output_usd_per_mtok": 0}}')
    calls = [NextCall(create_llm_service(model), "", []) for model in models]
    assert estimate_sentence(Draft("Why?"), calls, [[] for _ in calls]).endswith(says)
