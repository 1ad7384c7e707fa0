"""Servers count text that a request does not show. Bounds hold anyway, and get tighter with each count."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st

from ipyllm.conversations.hidden_tokens import HiddenTokens, kind_of
from ipyllm.conversations.tokens import estimate, estimate_body, estimate_messages, max_output_tokens

PLAIN = {"model": "m", "messages": [{"role": "user", "content": "Hello"}]}
KIND = kind_of("http://host/v1", PLAIN)


def test_a_template_that_was_never_counted_fits_into_the_margin():
    assert HiddenTokens().bound(KIND, 27) >= 60


@given(
    hidden=st.integers(0, 5_000),
    share=st.floats(0.1, 3),
    counted=st.lists(st.integers(1, 100_000), min_size=1, max_size=5),
    next_one=st.integers(1, 1_000_000),
)
@example(hidden=0, share=1.75, counted=[1], next_one=24)
def test_after_one_count_the_bound_holds_for_any_length_from_there_on(hidden, share, counted, next_one):
    def server(tokens):
        return int(tokens * share) + hidden

    known = HiddenTokens()
    for tokens in counted:
        known.learn(KIND, tokens, server(tokens))
    if next_one >= min(counted):
        assert known.bound(KIND, next_one) >= server(next_one)


def test_a_bound_is_close_once_the_server_has_counted():
    known = HiddenTokens()
    known.learn(KIND, 27, 60)
    assert 60 <= known.bound(KIND, 27) <= 80
    known.learn(KIND, 10_000, 9_000)
    assert 10_033 <= known.bound(KIND, 10_000) <= 10_300, "33 tokens of template are no share of the prompt"


def test_what_was_counted_without_tools_says_nothing_about_calls_with_tools():
    known = HiddenTokens()
    known.learn(KIND, 27, 27)
    for field in ({"tools": [{}]}, {"response_format": {"type": "json_object"}}, {"model": "other"}):
        assert known.bound(kind_of("http://host/v1", PLAIN | field), 27) > 100
    assert known.bound(kind_of("http://other/v1", PLAIN), 27) > 100
    parts = [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:"}}]}]
    assert known.bound(kind_of("http://host/v1", PLAIN | {"messages": parts}), 27) > 100


def test_another_process_can_go_on_with_what_was_learned():
    one, other = HiddenTokens(), HiddenTokens()
    one.learn(KIND, 27, 60)
    other.update(one.snapshot())
    assert other.bound(KIND, 270) == one.bound(KIND, 270)


def test_all_that_the_model_reads_counts_and_nothing_else():
    messages = estimate_messages(PLAIN["messages"])
    assert (
        estimate_body(PLAIN | {"stream": True, "temperature": 0.5, "user": "u" * 900, "stop": ["x" * 900]}) == messages
    )
    description = "Adds numbers. " * 330
    tool = {"type": "function", "function": {"name": "add", "description": description, "parameters": {}}}
    assert estimate_body(PLAIN | {"tools": [tool]}) >= messages + estimate(description)
    schema = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"description": description}}}
    assert estimate_body(PLAIN | {"response_format": schema}) >= messages + estimate(description)
    assert estimate_body(PLAIN | {"a_field_of_tomorrow": description}) >= messages + estimate(description)


def test_the_limit_on_an_answer_is_the_highest_that_is_given_for_all_answers_together():
    assert max_output_tokens({}) is None
    assert max_output_tokens({"max_tokens": 5}) == 5
    assert max_output_tokens({"max_completion_tokens": 5, "max_tokens": 50}) == 50
    assert max_output_tokens({"max_output_tokens": 7, "n": 3}) == 21
    assert max_output_tokens({"n": 3}) is None
