"""Values, names and dates as people read and write them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from ipyllm.text.format import compact_count, count, is_missing, join_names, json_path, money, number, seconds, shorten
from ipyllm.text.suggest import closest, suggest
from ipyllm.text.surrogates import replace_surrogates
from ipyllm.text.times import parse_time

NAN, INFINITY = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("usd", "text"),
    [
        (None, "–"),
        (0, "$0"),
        (0.0000023, "$0.0000023"),
        (0.000118, "$0.00012"),
        (0.0123, "$0.012"),
        (0.5, "$0.50"),
        (12.345, "$12.35"),
        (1234.5, "$1,234.50"),
        (-0.02, "-$0.02"),
        (INFINITY, "∞"),
        (-INFINITY, "-∞"),
        (NAN, "–"),
    ],
)
def test_money_has_cents_or_two_significant_digits(usd, text):
    assert money(usd) == text


def test_seconds_have_as_many_digits_as_matter():
    durations = (None, 0.0001, 0.004, 0.08, 1.213, 59.94, 61, 3605)
    texts = ["–", "<0.001 s", "0.004 s", "0.08 s", "1.21 s", "59.9 s", "1 min 01 s", "60 min 05 s"]
    assert list(map(seconds, durations)) == texts


def test_numbers_have_three_significant_digits():
    values = (0.123456, 0.5, 1234567.0, 0.0, -0.00012345, NAN, -INFINITY)
    assert list(map(number, values)) == ["0.123", "0.5", "1,234,567", "0", "-0.000123", "–", "-∞"]


def test_counts_take_little_space_or_have_their_noun():
    assert list(map(compact_count, (None, 0, 4321, 43210, 4321000))) == ["–", "0", "4,321", "43.2k", "4.32M"]
    assert (count(1, "call"), count(2000, "call")) == ("1 call", "2,000 calls")
    assert count(2, "reply", "replies") == "2 replies"


def test_names_are_joined_as_a_sentence_does():
    assert join_names(["a"]) == "a"
    assert join_names(["a", "b", "c"]) == "a, b and c"
    assert join_names(["a", "b"], conjunction="or") == "a or b"
    assert join_names(list("abcdefg"), limit=4) == "a, b, c, d and 3 more"


def test_missing_values_paths_and_long_texts():
    assert [is_missing(value) for value in (NAN, None, "", 0)] == [True, True, False, False]
    assert json_path(["people", 0, "age"]) == "people[0].age"
    assert shorten("one  two\nthree", 9) == "one two …"


def test_a_suggestion_is_the_closest_name_or_all_of_them():
    assert suggest("eror", ["ok", "error"]) == "Did you mean 'error'?"
    assert suggest("x", ["ok", "error"]) == "Choose one of: error, ok."
    assert suggest("x", ["ok", "error"], otherwise="See the manual.") == "See the manual."
    assert closest("x", ["ok", "error"]) is None


def test_lone_surrogates_are_replaced_and_pairs_joined():
    broken = {"text": "half a sign: \ud83d", "pair": "\ud83d\ude00", "n": [1]}
    assert replace_surrogates(broken) == {"text": "half a sign: �", "pair": "😀", "n": [1]}


def test_times_are_dates_or_durations():
    assert parse_time("since", "2026-11-23T14:30+01:00") == datetime(2026, 11, 23, 13, 30, tzinfo=UTC)
    ago = parse_time("since", "2h")
    assert ago is not None
    assert round((datetime.now(UTC) - ago).total_seconds()) == 7200
    with pytest.raises(ValueError, match=r"^since='tuesday' is not a date\. Use 2026-11-23, .* such as 2h\.$"):
        parse_time("since", "tuesday")


def test_days_begin_at_midnight_in_local_time():
    today, yesterday = parse_time("since", "today"), parse_time("since", " Yesterday ")
    assert today is not None
    assert yesterday is not None
    assert today <= datetime.now(UTC) < today + timedelta(hours=25)
    assert [(each.astimezone().hour, each.astimezone().minute) for each in (today, yesterday)] == [(0, 0), (0, 0)]
    assert timedelta(hours=23) <= today - yesterday <= timedelta(hours=25)
