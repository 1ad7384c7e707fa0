"""Which objects can be scorers, and which results are valid."""

from __future__ import annotations

import functools
import pickle
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pandas as pd
import pytest

from ipyllm import ChatResponse, LLMError, scorers
from ipyllm.scorers import Score, ScoreFailure, Scorer
from ipyllm.scorers.scorer import as_scorers, validate_score

BERN = ChatResponse(content="Bern")
ROW = {"capital": "Bern"}


class Object:
    name = "object"

    def score(self, response, row):
        return response.content == row["capital"]


class AsyncObject:
    name = "later"

    async def score(self, response):
        return 1


class Callable:
    def __call__(self, response, row):
        return 1.0


def with_row(response, row):
    return response.content == row["capital"]


def without_row(response):
    return len(response.content)


def with_option(response, weight=0.5):
    return weight


def with_optional_row(response, row=None):
    return bool(row)


def with_all(*arguments):
    return len(arguments)


def bound(wanted, response):
    return response.content == wanted


async def later(response, row):
    return 1


@pytest.mark.parametrize(
    ("source", "name", "result"),
    [
        (with_row, "with_row", True),
        (without_row, "without_row", 4),
        (with_option, "with_option", 0.5),
        (with_optional_row, "with_optional_row", True),
        (with_all, "with_all", 2),
        (functools.partial(bound, "Bern"), "bound", True),
        (functools.partial(with_option, weight=2), "with_option", 2),
        (Object(), "object", True),
        (Object().score, "score", True),
        (Callable(), "Callable", 1.0),
        (lambda response: 1, "lambda", 1),
    ],
)
def test_functions_objects_and_partials_are_scorers(source, name, result):
    scorer = Scorer.of(source)
    assert (scorer.name, scorer.is_async) == (name, False)
    assert scorer.call(BERN, ROW) == result


@pytest.mark.parametrize("source", [later, AsyncObject(), functools.partial(later)])
def test_async_functions_are_known_as_such(source):
    assert Scorer.of(source).is_async


def test_a_name_can_be_given():
    assert Scorer.of(with_row, name="right").name == "right"
    assert Scorer.of(scorers.exact("capital"), name="right").name == "right"
    assert scorers.exact("capital").named("right").columns[0] == "score_right"


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        ("label", r"'label' is not a scorer: .* scorers.exact\('label'\)"),
        (5, "5 is not a scorer"),
        (None, "None is not a scorer"),
        (Object, r"Object is a class, not a scorer: use an instance, Object\(…\)"),
        (lambda: 1, "it takes nothing, but a scorer takes response and row"),
        (lambda a, b, c: 1, "it takes a, b, c, but"),
        (lambda response, *, key: 1, "it takes response, key, but"),
        ((lambda response: (yield 1)), "it is a generator"),
    ],
)
def test_what_cannot_be_a_scorer_is_refused_in_one_sentence(source, sentence):
    with pytest.raises(LLMError, match=sentence) as caught:
        Scorer.of(source)
    assert caught.value.category == "bad_request"
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["", " ", "a\nb", "x" * 61, 5])
def test_a_name_must_do_as_a_column(name):
    with pytest.raises(LLMError, match="name"):
        Scorer.of(with_row, name=name)


@pytest.mark.parametrize("timeout", [0, -1, True, "5", float("nan")])
def test_a_timeout_is_a_number_of_seconds(timeout):
    with pytest.raises(LLMError, match="timeout must be a number of seconds above 0, or None"):
        Scorer.of(with_row, timeout=timeout)


def test_two_scorers_cannot_share_a_column():
    with pytest.raises(LLMError, match=r"column 'score_exact'.*name='exact_2'"):
        as_scorers([scorers.exact("a"), scorers.exact("b")])
    with pytest.raises(LLMError, match=r"column 'score_exact_error'"):
        as_scorers([scorers.exact("a"), scorers.exact("b", name="exact_error")])
    assert [s.name for s in as_scorers([scorers.exact("a"), scorers.exact("b", name="b")])] == ["exact", "b"]


@pytest.mark.parametrize("wrong", ["exact", {"a": 1}, 5, scorers.exact("label"), with_row])
def test_scorers_come_in_a_list(wrong):
    with pytest.raises(LLMError, match="scorers must be a list"):
        as_scorers(wrong)


@pytest.mark.parametrize(
    ("value", "number"),
    [
        (True, 1.0),
        (False, 0.0),
        (np.True_, 1.0),
        (3, 3.0),
        (-2.5, -2.5),
        (np.float32(0.5), 0.5),
        (np.int64(7), 7.0),
        (np.array([0.25]), 0.25),
        (np.array(0.25), 0.25),
        (Fraction(1, 4), 0.25),
        (Decimal("0.25"), 0.25),
        (None, None),
        (pd.NA, None),
        (Score(value=True, reason="because"), 1.0),
    ],
)
def test_numbers_of_every_kind_count(value, number):
    score = validate_score(value)
    assert score.value == number
    assert type(score.value) is type(number)


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("good", "It returned 'good', a str; return a number, True, False or None."),
        ("0.5", "a str"),
        ([1], "a list"),
        ({"score": 1}, "a dict"),
        (np.array([1.0, 2.0]), "an? ndarray"),
        (1j, "a complex"),
        (float("nan"), "It returned nan; return a finite number"),
        (float("inf"), "return a finite number"),
        (np.float64("nan"), "return a finite number"),
        (10**400, "return a finite number"),
        (Score("good", cost_usd=0.5), "a str"),
    ],
)
def test_anything_else_is_a_failure_that_says_what_it_was(value, reason):
    with pytest.raises(ScoreFailure, match=reason) as caught:
        validate_score(value)
    assert caught.value.cost_usd == (0.5 if isinstance(value, Score) else None)


def test_a_result_whose_repr_fails_is_a_failure_all_the_same():
    class Odd:
        def __repr__(self):
            raise RuntimeError

    with pytest.raises(ScoreFailure, match="<Odd>, a Odd"):
        validate_score(Odd())


def test_keys_and_control_sequences_do_not_reach_a_reason():
    assert str(ScoreFailure("\x1b[2Jno: sk-abcdefghijklmnop")) == "no: [key hidden]"
    assert validate_score(Score(1, reason="\x1b[2Jsk-abcdefghijklmnop")).reason == "[key hidden]"


@pytest.mark.parametrize(
    "scorer",
    [
        scorers.exact("capital", strip="."),
        scorers.contains("capital", words=True),
        scorers.regex("B.rn"),
        scorers.numeric("n"),
        scorers.json_valid(),
        scorers.json_schema({"type": "object"}),
        scorers.json_schema(list[int]),
        scorers.similarity("capital"),
        Scorer.of(with_row),
        Scorer.of(Object()),
    ],
    ids=lambda scorer: scorer.name,
)
def test_scorers_travel_to_other_processes(scorer):
    again = pickle.loads(pickle.dumps(scorer))
    row = {**ROW, "n": 1}
    assert again.call(BERN, row) == scorer.call(BERN, row)
