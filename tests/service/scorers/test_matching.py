"""The built-in scorers on realistic answers and rows."""

from __future__ import annotations

import time
from fractions import Fraction

import numpy as np
import pandas as pd
import pytest

from ipyllm import ChatResponse, LLMError, scorers
from ipyllm.scorers import ScoreFailure


def score(scorer, text, /, **row):
    return scorer.call(ChatResponse(content=text), row)


# ---- exact and contains ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "label", "options", "right"),
    [
        ("Bern", "Bern", {}, True),
        (" Bern\n", "Bern", {}, True),
        (" Bern\n", "Bern", {"strip": False}, False),
        ("Bern.", "Bern", {}, False),
        ("**Bern** .", "Bern", {"strip": ".*"}, True),
        ("BERN", "Bern", {}, False),
        ("STRASSE", "straße", {"ignore_case": True}, True),
        ("Zu\u0308rich", "Zürich", {}, True),  # the same letter in two spellings of Unicode
        ("<think>Bern or Basel?</think>\nBern", "Bern", {}, True),
        ("4", 4, {}, True),
        ("4", 4.0, {}, True),  # a null in the column made it one of floats
        ("4", np.int64(4), {}, True),
        ("0.5", 0.5, {}, True),
        ("4", np.float32(4), {}, True),
        ("1/2", Fraction(1, 2), {}, True),
        ("New\u00a0York", "New York", {}, True),
        ("L’Aquila", "L'Aquila", {}, True),
        ("\ufeffBern\u200b", "Bern", {}, True),
        ("non\u2011negative", "non-negative", {}, True),
        ("İZMİR", "izmir", {"ignore_case": True}, True),
        ("ΣΊΣΥΦΟΣ", "Σίσυφος", {"ignore_case": True}, True),
        ("ᾳ", "ΑΙ", {"ignore_case": True}, True),
        ("“Bern”", "Bern", {"strip": '"'}, True),
        ("<think>Bern is", "Bern", {}, False),
        ("Bern", "Берн", {}, False),
        ("Berne", ["Bern", "Berne"], {}, True),
        ("Basel", ["Bern", "Berne"], {}, False),
        ("Berne", np.array(["Bern", "Berne"]), {}, True),
        ("", "Bern", {}, False),
    ],
)
def test_exact_compares_what_was_said(text, label, options, right):
    assert score(scorers.exact("label", **options), text, label=label) is right


@pytest.mark.parametrize(
    ("text", "label", "options", "right"),
    [
        ("It is Bern.", "Bern", {}, True),
        ("It is bern.", "Bern", {}, False),
        ("It is bern.", "Bern", {"ignore_case": True}, True),
        ("Earth", "art", {}, True),
        ("Earth", "art", {"words": True}, False),
        ("art, Earth", "art", {"words": True}, True),
        ("Earth and art", "art", {"words": True}, True),
        ("I like C++ most", "C++", {"words": True}, True),
        ("snake_case", "snake", {"words": True}, False),
        ("Answer: 42", 42, {"words": True}, True),
        ("Answer: 421", 42, {"words": True}, False),
        ("<think>Bern?</think> Basel", "Bern", {}, False),
        ("<think>Bern, or", "Bern", {}, False),
        ("It is New\u202fYork.", "New York", {}, True),
        ("STRASSE", "straße", {"ignore_case": True}, True),
    ],
)
def test_contains_finds_the_label_in_the_answer(text, label, options, right):
    assert score(scorers.contains("label", **options), text, label=label) is right


@pytest.mark.parametrize("make", [scorers.exact, scorers.contains, scorers.numeric, scorers.similarity])
def test_a_row_without_the_right_answer_is_no_wrong_answer(make):
    with pytest.raises(ScoreFailure, match=r"no column 'label'; it has 'labels'"):
        score(make("label"), "Bern", labels="Bern")
    for nothing in (None, float("nan"), pd.NA, pd.NaT, []):
        with pytest.raises(ScoreFailure, match="has no value in its column 'label'"):
            score(make("label"), "Bern", label=nothing)


def test_an_empty_label_is_not_contained_in_everything():
    with pytest.raises(ScoreFailure, match="every answer contains"):
        score(scorers.contains("label"), "Bern", label=" ")


@pytest.mark.parametrize("make", [scorers.exact, scorers.contains, scorers.numeric, scorers.similarity])
def test_a_scorer_wants_the_name_of_a_column(make):
    with pytest.raises(LLMError, match=rf"{make.__name__} needs the column with the right answer.* not 42\.") as caught:
        make(42)
    assert caught.value.category == "bad_request"


# ---- regex -----------------------------------------------------------------------------------------------


def test_regex_takes_one_pattern_or_a_column_of_them():
    assert score(scorers.regex(r"^\d+$"), "42") is True
    assert score(scorers.regex(r"^\d+$"), "42.") is False
    assert score(scorers.regex(r"BERN", ignore_case=True), "Bern") is True
    assert score(scorers.regex(column="wanted"), "Bern", wanted=["Basel", "B[e]rn"]) is True
    assert score(scorers.regex(column="wanted"), "Bern", wanted="Basel") is False
    assert score(scorers.regex("stra\N{LATIN SMALL LETTER SHARP S}e", ignore_case=True), "STRASSE") is True
    assert score(scorers.regex("Zu\u0308rich"), "Zürich") is True


def test_a_broken_pattern_is_refused_at_once_and_in_a_row_costs_that_score():
    with pytest.raises(LLMError, match=r"'\(' is not a regular expression: missing \)"):
        scorers.regex("(")
    with pytest.raises(ScoreFailure, match=r"'\(' is not a regular expression"):
        score(scorers.regex(column="wanted"), "Bern", wanted="(")
    for wrong in ({}, {"pattern": "a", "column": "b"}):
        with pytest.raises(LLMError, match="regex needs either a pattern"):
            scorers.regex(**wrong)


def test_a_pattern_that_takes_for_ever_is_given_up():
    began = time.monotonic()
    with pytest.raises(ScoreFailure, match=r"took longer than 1 s on this answer"):
        score(scorers.regex(r"(a|aa)+$"), "a" * 60 + "!")
    assert time.monotonic() - began < 60, "it would take years"


# ---- numeric ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("2 + 2 = 4", 4),
        ("It is 4.", 4),
        ("4,", 4),
        ("(4)", 4),
        ("1,234,567.89 in all", 1234567.89),
        ("1_000", 1000),
        ("1'000", 1000),
        ("12\u202f345", 12345),
        ("in 2020 300", 300),
        ("1,2,3", 3),
        ("12,34", 12.34),
        ("-5", -5),
        ("−5", -5),
        ("x = -5", -5),
        ("x=-5", -5),
        ("7-5", 5),
        ("$-3.50", -3.5),
        ("-$3.50", -3.5),
        (".5", 0.5),
        ("0.50", 0.5),
        ("1.5e3", 1500),
        ("1.5E-3", 0.0015),
        ("1.5 × 10^3", 1500),
        ("1.5*10**3", 1500),
        (r"6.02 × 10^{23}", 6.02e23),
        ("5kg", 5),
        ("the 3rd", 3),
        ("**42**", 42),
        (r"\boxed{42}", 42),
        ("<think>41? 43?</think>42", 42),
        ("9" * 400, None),  # no finite number
        ("1e99999", None),
        ("H2O", None),
        ("twelve", None),
        ("", None),
    ],
)
def test_numeric_reads_the_last_number(text, number):
    scorer = scorers.numeric("n")
    assert score(scorer, text, n=12345.678).value is False
    if number is not None:
        assert score(scorer, text, n=number).value is True
        assert score(scorer, text, n=str(number)).value is True
    else:
        assert score(scorer, text, n=12).value is False


def test_numeric_keeps_to_its_tolerances():
    assert score(scorers.numeric("n"), "3.33", n=10 / 3).value is False
    assert score(scorers.numeric("n", abs_tol=0.005), "3.33", n=10 / 3).value is True
    assert score(scorers.numeric("n", rel_tol=0.1), "95", n=100).value is True
    assert score(scorers.numeric("n", rel_tol=0.01), "95", n=100).value is False
    assert score(scorers.numeric("n"), "0.000001", n=0).value is False
    assert score(scorers.numeric("n"), "7", n=[3, 7]).value is True


def test_a_percentage_is_right_as_number_and_as_fraction():
    for label in (12, 0.12, "12%", "12 %"):
        assert score(scorers.numeric("n"), "12%", n=label).value is True
        assert score(scorers.numeric("n"), r"12\%", n=label).value is True
    assert score(scorers.numeric("n"), "12", n=0.12).value is False
    assert score(scorers.numeric("n"), "12", n="12%").value is True


def test_the_decimal_mark_can_be_a_comma():
    scorer = scorers.numeric("n", decimal=",")
    assert score(scorer, "Das sind 1.234,5 Liter.", n=1234.5).value is True
    assert score(scorer, "3,14", n="3,14").value is True


def test_a_right_answer_that_is_no_number_is_a_failure():
    with pytest.raises(ScoreFailure, match="'many' in its column 'n', which is not a number"):
        score(scorers.numeric("n"), "4", n="many")


@pytest.mark.parametrize("options", [{"rel_tol": -1}, {"abs_tol": float("nan")}, {"rel_tol": "1"}, {"decimal": ";"}])
def test_numeric_refuses_what_is_no_tolerance(options):
    with pytest.raises(LLMError, match=next(iter(options))):
        scorers.numeric("n", **options)


def test_numeric_is_linear_in_the_length_of_an_answer():
    for text in ("1," * 200_000, "1" * 200_000, "1,111" * 50_000, "- " * 200_000, "1 × 10^" * 50_000):
        score(scorers.numeric("n"), text, n=5)  # quadratic would outlast the test's time-out


# ---- form ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "lenient", "strict"),
    [
        ('{"a": 1}', True, True),
        ("3", True, True),
        ("[" + "1" * 5000 + "]", False, True),  # which Python cannot read
        ('```json\n{"a": 1}\n```', True, False),
        ('Sure: {"a": 1}', True, False),
        ('{"a": 1', False, False),
        ("{'a': 1}", False, False),
        ('{"a": NaN}', False, False),
        ("No.", False, False),
        ("", False, False),
        ("[" * 100_000, False, False),
    ],
)
def test_json_valid_says_whether_and_why(text, lenient, strict):
    for options, right in (({}, lenient), ({"strict": True}, strict)):
        got = score(scorers.json_valid(**options), text)
        assert got.value is right
        assert bool(got.reason) is not right


def test_json_schema_takes_types_and_dicts_and_gives_the_reason():
    for schema in ({"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}, dict[str, int]):
        scorer = scorers.json_schema(schema)
        assert score(scorer, '{"n": 1}').value is True
        got = score(scorer, '{"n": "many"}')
        assert got.value is False
        assert "many" in got.reason
    with pytest.raises(LLMError, match="cannot be used as a schema"):
        scorers.json_schema(5)


# ---- similarity ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["levenshtein", "jaro_winkler", "token_sort", "token_set"])
def test_similarity_runs_from_nothing_to_one(method):
    scorer = scorers.similarity("label", method)
    assert score(scorer, "Ada Lovelace", label="Ada Lovelace") == 1
    assert score(scorer, " Ada Lovelace\n", label="Ada Lovelace") == 1
    assert score(scorer, "xyz", label="Ada") == 0
    assert 0 < score(scorer, "Ada Lovelock", label="Ada Lovelace") < 1
    assert score(scorer, "Ada", label=["Bob", "Ada"]) == 1


def test_similarity_by_levenshtein_is_one_minus_edits_over_length():
    assert score(scorers.similarity("label"), "kitten", label="sitting") == pytest.approx(1 - 3 / 7)
    assert score(scorers.similarity("label", ignore_case=True), "KITTEN", label="kitten") == 1


def test_an_unknown_method_is_refused_with_those_that_exist():
    with pytest.raises(LLMError, match=r"no method 'cosine'.*jaro_winkler, levenshtein"):
        scorers.similarity("label", "cosine")
