"""Which answers contain a label as a word of its own."""

from __future__ import annotations

import pytest

from ipyllm import ChatResponse, scorers
from ipyllm.scorers import ScoreFailure

PAIRS = [
    # numbers are whole
    ("3.14", "3", False),
    ("3.14", "14", False),
    ("3.14", "3.14", True),
    ("It is 3.14.", "3.14", True),
    ("It is 3.", "3", True),
    ("1,042", "042", False),
    ("1,042", "1", False),
    ("1,042", "1,042", True),
    ("1,042,000", "1,042", False),
    ("10 000 people", "10", False),
    ("10 000 people", "000", False),
    ("10 000 people", "10 000", True),
    ("10\u202f000", "000", False),
    ("1'234", "234", False),
    ("1{,}042", "042", False),
    (r"10\,000", "10", False),
    ("in 2020 300 people", "300", True),
    ("in 2020 300 people", "2020", True),
    ("-3", "3", False),
    ("−3", "3", False),
    ("x = -3", "3", False),
    ("x = -3", "-3", True),
    ("5-3", "3", True),
    ("5-3", "5", True),
    ("5-3=2", "2", True),
    ("pages 10-12", "12", True),
    ("pages 10–12", "10", True),
    ("1 + 3", "3", True),
    ("+3", "3", True),
    (".5", "5", False),
    ("...5", "5", True),
    ("0.5", "0.5", True),
    ("0.50", "0.5", False),
    ("1/2", "2", False),
    ("1/2", "1", False),
    ("1/2", "1/2", True),
    ("12:30", "30", False),
    ("12:30", "12:30", True),
    ("10^6", "6", False),
    ("10^6", "10", False),
    ("10^{-6}", "6", False),
    ("10⁶", "10", False),
    ("3½", "3", False),
    ("1.5e3", "1.5", False),
    ("3 %", "3", True),
    ("3%", "3", True),
    ("$3", "3", True),
    ("3 €", "3", True),
    ("25°C", "25", True),
    ("(3)", "3", True),
    ("[3]", "3", True),
    ("3, 4", "3", True),
    ("x2", "2", False),
    ("H2O", "2", False),
    ("3rd", "3", False),
    ("v1.2.3", "1.2", False),
    ("192.168.0.1", "168", False),
    ("COVID-19", "19", False),
    ("５ 个", "5", False),  # full width: another character
    ("٣٫١٤", "٣", False),
    # signs and hyphens
    ("C++", "C", False),
    ("C++", "C+", False),
    ("C++", "C++", True),
    ("C++11", "C", False),
    ("I like C++ most", "C++", True),
    ("C#", "C", False),
    ("C# and C", "C", True),
    ("C/C++", "C", True),
    ("C.", "C", True),
    ("Grade A+", "A", False),
    ("Grade A-", "A", False),
    ("Grade A−.", "A", False),
    ("Grade A-", "A-", True),
    ("Grade A - good", "A", True),
    ("a+b", "a", True),
    ("a+b", "b", True),
    ("2+3=5", "5", True),
    ("non-negative", "negative", False),
    ("non‑negative", "negative", False),
    ("non-negative", "non-negative", True),
    ("non–negative or negative", "negative", True),
    ("not negative", "negative", True),
    ("anti-positive", "positive", False),
    ("well-known", "known", False),
    ("GPT-4", "GPT", False),
    ("GPT-4", "GPT-4", True),
    ("GPT-4o", "GPT-4", False),
    ("pre- and postwar", "pre", True),
    ("yes—no", "yes", True),
    ("yes/no", "no", True),
    ("un\u00adhappy", "happy", False),
    ("un\u00adhappy", "unhappy", True),
    ("#positive", "positive", True),
    # letters
    ("Earth", "art", False),
    ("art, Earth", "art", True),
    ("Bernese", "Bern", False),
    ("(Bern)", "Bern", True),
    ("**Bern**", "Bern", True),
    ("_Bern_", "Bern", True),
    ("__Bern__!", "Bern", True),
    ("snake_case", "snake", False),
    ("Bern's old town", "Bern", True),
    ("Bern’s old town", "Bern", True),
    ("can't", "can", False),
    ("can’t", "can", False),
    ("can't", "can't", True),
    ("it's", "s", False),
    ("don't", "t", False),
    ("l'eau", "eau", True),
    ("L’Allemagne", "Allemagne", True),
    ("dell'acqua", "acqua", True),
    ("aujourd'hui", "hui", False),
    ("qu'elle", "elle", True),
    ("o'clock", "clock", False),
    ("New York", "York", True),
    ("New\u00a0York", "New York", True),
    ("example.com", "example", False),
    ("e.g. Bern", "Bern", True),
    ("end.Next", "Next", False),
    ("Zürich", "Z", False),
    ("Zu\u0308rich", "Zu", False),
    ("Zu\u0308rich", "Zürich", True),
    ("naïve", "na", False),
    ("Москва́", "Москва", False),
    ("в Москве", "Москве", True),
    ("نعم، هذا", "نعم", True),
    ("והתשובה", "התשובה", False),
    # scripts without spaces
    ("日本語です", "日本", True),
    ("日本語です", "日本語", True),
    ("答案是5个", "5", True),
    ("答案是15个", "5", False),
    ("答案是北京。", "北京", True),
    ("コーヒーカップ", "コーヒー", False),
    ("コーヒーを飲む", "コーヒー", True),
    ("東京タワー", "東京", True),
    ("GPTは", "GPT", True),
    ("서울은 수도", "서울", True),
    ("한국어", "국어", False),
    ("5개", "5", True),
    ("สวัสดีครับ", "สวัสดี", True),
    ("วัด", "ว", False),
    ("👍🏽", "👍", False),
]


def test_the_table_is_long():
    assert len(PAIRS) >= 100
    assert len({(text, label) for text, label, _ in PAIRS}) == len(PAIRS)


@pytest.mark.parametrize(("text", "label", "right"), PAIRS)
def test_a_label_is_contained_as_a_word_of_its_own(text, label, right):
    scorer = scorers.contains("label", words=True)
    assert scorer.call(ChatResponse(content=text), {"label": label}) is right


def test_case_is_ignored_when_wanted():
    scorer = scorers.contains("label", words=True, ignore_case=True)
    for text, label, right in [
        ("BERN'S OLD TOWN", "bern", True),
        ("STRASSE 5", "straße", True),
        ("İzmir", "izmir", True),
        ("IZMIR", "İzmir", True),
        ("NON-NEGATIVE", "negative", False),
    ]:
        assert scorer.call(ChatResponse(content=text), {"label": label}) is right


def test_the_second_of_two_places_may_be_the_word():
    scorer = scorers.contains("label", words=True)
    assert scorer.call(ChatResponse(content="3.14 is more than 3."), {"label": "3"}) is True
    assert scorer.call(ChatResponse(content="non-negative"), {"label": ["positive", "non-negative"]}) is True


def test_a_search_that_takes_too_long_is_given_up():
    with pytest.raises(ScoreFailure, match="The search for words in this answer took longer than 1 s"):
        scorers.contains("label", words=True).call(ChatResponse(content="🇨🇭" * 300_000), {"label": "🇭🇨"})


@pytest.mark.parametrize("text", ["a" * 1_000_000, "a-" * 500_000, "1 " * 500_000, "l'" * 500_000, "_" * 1_000_000])
def test_long_answers_are_searched_in_time(text):
    scorer = scorers.contains("label", words=True)
    for label in ("aa", "1", "l", "b"):
        scorer.call(ChatResponse(content=text), {"label": label})  # a time-out would raise
