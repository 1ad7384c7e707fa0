"""Conclusions and notes agree with their tables, whatever the data: read back, word by word."""

from __future__ import annotations

import math
import re

import numpy as np
import pandas as pd
import pytest

from ipyllm import statistics as st

SEEDS = range(40)


def _calls(seed):
    """Return random calls of up to three arms: some without scores, times or costs, failed, cut off."""
    rng = np.random.default_rng(seed)
    n = int(rng.integers(2, 70))

    def some(*values):
        # Each column has few values, so that arms tie, and in some cases none.
        shares = rng.dirichlet(np.ones(len(values)))
        return [values[i] for i in rng.choice(len(values), n, p=shares)]

    return pd.DataFrame(
        {
            "arm": some("small", "large", "other"),
            "prompt_id": rng.integers(0, 13, n),
            "status": some("ok", "ok", "ok", "error", "cancelled"),
            "finish_reason": some("stop", "length", None),
            "score_x": some(None, 0.0, 1.0),
            "score_grade": some(None, 1.0, 4.0, 5.0),
            "ttft_s": some(None, 0.1, 0.2, 3.0),
            "cost_usd": some(None, 0.0, 0.001, 1.0),
        }
    )


_CLAIMS = {
    r"On x, .* the high(er|est) mean": ("score_x", False),
    r"On grade, .* the high(er|est) mean": ("score_grade", False),
    r".* is fast(er|est)|.* median time to first token": ("ttft_p50_s", True),
    r".* costs (less|least) per call|.* mean cost per call": ("cost_per_call_usd", True),
}
_CLEAR = re.compile(r"is fast(er|est)|costs le(ss|ast)")
_QUESTIONS = {
    "mean on x": "score_x",
    "mean on grade": "score_grade",
    "to the first token": "ttft_p50_s",
    "per call": "cost_per_call_usd",
}


def _names(text):
    return re.findall(r"\b(?:small|large|other)\b", text)


def _check_first(sentence, table):
    """Check a sentence about the first arm and the intervals of the others; return its column."""
    column, lowest = next(found for pattern, found in _CLAIMS.items() if re.match(pattern, sentence))
    values = table[column].dropna()
    claim, *parts = sentence.split("; ")
    first = _names(claim)[0]
    assert values[first] == (values.min() if lowest else values.max())
    near, far = ("_high", "_low") if lowest else ("_low", "_high")
    limit = table.loc[first, column + near]
    assert not math.isnan(limit)
    assert ("est " in claim) == (len(values) > 2)
    told = []
    for part in parts:
        for arm in _names(part):
            told.append(arm)
            other = table.loc[arm, column + far]
            if part.startswith(("above", "below")):
                assert other > limit if lowest else other < limit
                assert part.startswith("below") == lowest
            elif "overlap" in part:
                assert other <= limit if lowest else other >= limit
            else:
                assert "no interval" in part
                assert math.isnan(other)
    assert sorted(told) == sorted(set(values.index) - {first})
    assert any("no interval" not in part for part in parts), "it is compared with something"
    if column in {"ttft_p50_s", "cost_per_call_usd"}:
        assert bool(_CLEAR.search(claim)) == all(part.startswith("below") for part in parts)
    return column


def _check_not_told(sentence, table):
    """Check that an arm that matters has no interval; return the column."""
    column = next(column for words, column in _QUESTIONS.items() if words in sentence.split(":")[0])
    values = table[column].dropna()
    lowest = not column.startswith("score")
    best = values[values == (values.min() if lowest else values.max())].index
    others = values.index.difference(best)
    near, far = ("_high", "_low") if lowest else ("_low", "_high")
    assert table.loc[best, column + near].isna().any() or table.loc[others, column + far].isna().all()
    return column


@pytest.mark.parametrize("seed", SEEDS)
def test_the_summary_says_of_each_arm_what_its_row_says(seed):
    calls = _calls(seed)
    table = st.summarise_arms(calls)
    if len(table) == 1 or calls["status"].eq("error").all():
        return
    sentences = re.split(r"(?<=\.) (?=[A-Z]|small|large|other)", table.conclusion)
    compared = set()
    for sentence in sentences:
        if sentence.startswith("Intervals are at 95%"):
            overlap = any("overlaps with it" in other or "overlap with it" in other for other in sentences)
            assert ("overlapping ones do not mean equal arms" in sentence) == overlap
        elif re.search("too few|cannot be told", sentence):
            compared.add(_check_not_told(sentence, table))
        elif "nothing" in sentence:
            free = table.index[table["cost_per_call_usd"] == 0]
            assert _names(sentence) == list(free)
            compared.add("cost_per_call_usd")
        elif re.search("the same|share the", sentence):
            column = {"On x": "score_x", "On g": "score_grade"}.get(
                sentence[:4], "ttft_p50_s" if "time" in sentence else "cost_per_call_usd"
            )
            tied = table.loc[_names(sentence), column]
            assert len(tied) > 1
            assert tied.max() == pytest.approx(tied.min())
            compared.add(column)
        elif "more than one arm" not in sentence:
            compared.add(_check_first(sentence, table))
    columns = {"score_x", "score_grade", "ttft_p50_s", "cost_per_call_usd"} & set(table.columns)
    assert compared == {column for column in columns if table[column].notna().sum() > 1}
    assert ("more than one arm" in table.conclusion) == (not compared)


@pytest.mark.parametrize("seed", SEEDS)
def test_the_notes_count_what_is_in_the_calls(seed):
    calls = _calls(seed)
    notes = st.summarise_arms(calls).notes
    cut = int((calls["finish_reason"].eq("length") & calls["status"].ne("error")).sum())
    assert any(f"{cut} answer{'s were' if cut > 1 else ' was'} cut off" in note for note in notes) == (cut > 0)
    ok = calls["status"].eq("ok")
    missing = int((calls["score_x"].isna() & ok).sum()) if calls["score_x"].notna().any() else 0
    assert any(note.startswith(f"{missing} of {ok.sum()} answer") and " x " in note for note in notes) == (missing > 0)


@pytest.mark.parametrize("seed", SEEDS)
def test_the_ranking_says_what_its_intervals_say(seed):
    rng = np.random.default_rng(seed)
    together = ["ab", "bc", "ac", "abc", "cd"][: int(rng.integers(1, 6))]
    rows = []
    for _ in range(int(rng.integers(1, 120))):
        arms = together[rng.integers(len(together))]
        outcome = ["tie", "both_bad", arms[0], arms[0], *arms][rng.integers(4 + len(arms))]
        prompt = [None, *map(str, range(14))][rng.integers(15)]
        rows.append({"arms": dict.fromkeys(arms), "outcome": outcome, "prompt": prompt, "blind": rng.random() < 0.9})
    votes = pd.DataFrame(rows)
    level = (0.5, 0.8, 0.95)[seed % 3]
    table = st.ranking(votes, level=level)
    conclusion = table.conclusion
    needed = st.prompts_to_rank(len(table), level=level)
    enough = table["prompts"] >= needed
    clear = table.index[table["behind_low"] > 0]
    assert (" is preferred to " in conclusion) == (len(clear) > 0)
    if len(clear):
        whom = re.search(r" is preferred to (every other arm|[a-d](?:(?:, | and )[a-d])*)", conclusion)[1]
        named = list(table.index[1:]) if whom == "every other arm" else re.split(", | and ", whom)
        assert sorted(named) == sorted(clear)
    assert table.loc[~enough, ["low", "high", "behind", "behind_low", "behind_high"]].isna().all(axis=None)
    assert table["p_best"].isna().any() == table["p_best"].isna().all()
    ranked = table["low"].notna()
    assert (table.loc[ranked, "low"] <= table.loc[ranked, "strength"]).all()
    assert (table.loc[ranked, "high"] >= table.loc[ranked, "strength"]).all()
    if table["wins"].any() and "never compared" not in conclusion:
        assert (~enough).any() == (re.search(rf"at least {needed} (prompts )?are needed", conclusion) is not None)
    if len(table) == 2 and ranked.all():
        best, other = table.index
        assert (table.loc[best, "low"] > 0) == (table.loc[other, "behind_low"] > 0)
    not_blind = int((~votes["blind"]).sum())
    cautions = [note for note in table.notes if "not blind" in note]
    assert [int(note.split()[0]) for note in cautions] == ([not_blind] if not_blind else [])
