"""Votes: stored in the ledger, one for each comparison, and read by any kernel."""

from __future__ import annotations

import json
import warnings
from datetime import UTC, datetime, timedelta

import pandas as pd
import pytest

from ipyllm import LLMError, cast_vote, votes
from ipyllm.ledger import Ledger
from ipyllm.ledger.columns import VOTES
from ipyllm.ledger.ids import kernel_id

_ARMS = {"openai/gpt-6-luna": "01A", "local/smollm2-135m": None}


def test_a_vote_is_kept_whole_and_found_again(ledger, sql):
    vote_id = cast_vote(
        _ARMS,
        "openai/gpt-6-luna",
        prompt="Which is better?",
        blind=True,
        origin="widget",
        comparison="c1",
        tags={"run": 7},
        ledger=ledger,
    )
    assert ledger.flush()
    assert sql("SELECT vote_id, comparison, outcome, arms FROM votes") == [
        (vote_id, "c1", "openai/gpt-6-luna", json.dumps(_ARMS))
    ]
    frame = votes(ledger=ledger)
    assert list(frame.columns) == list(VOTES.columns)
    row = frame.iloc[0].to_dict()
    assert (datetime.now(UTC) - row.pop("cast_at")) < timedelta(minutes=5)
    assert row == {
        "vote_id": vote_id,
        "kernel_id": kernel_id(),
        "origin": "widget",
        "comparison": "c1",
        "prompt": "Which is better?",
        "arms": _ARMS,
        "outcome": "openai/gpt-6-luna",
        "blind": True,
        "tags": {"run": "7"},
    }
    assert len(vote_id) == 26


@pytest.mark.parametrize("flushed", [True, False], ids=["written", "in memory"])
def test_whoever_votes_again_on_a_comparison_has_thought_better_of_it(ledger, flushed):
    cast_vote(_ARMS, "tie", comparison="c1", ledger=ledger)
    cast_vote(_ARMS, "tie", comparison="c2", ledger=ledger)
    if flushed:
        assert ledger.flush()
    last = cast_vote(_ARMS, "both_bad", comparison="c1", ledger=ledger)
    frame = votes(ledger=ledger)
    assert frame.set_index("comparison")["outcome"].to_dict() == {"c2": "tie", "c1": "both_bad"}
    assert last in set(frame["vote_id"])


@pytest.mark.parametrize("flushed", [True, False], ids=["written", "in memory"])
def test_a_vote_that_was_withdrawn_is_in_no_table_until_somebody_votes_again(ledger, flushed):
    for comparison in ("c1", "c2"):
        cast_vote(_ARMS, "tie", comparison=comparison, ledger=ledger)
    if flushed:
        assert ledger.flush()
    cast_vote(_ARMS, None, comparison="c1", ledger=ledger)
    assert list(votes(ledger=ledger)["comparison"]) == ["c2"]
    cast_vote(_ARMS, "both_bad", comparison="c1", ledger=ledger)
    assert votes(ledger=ledger).set_index("comparison")["outcome"].to_dict() == {"c2": "tie", "c1": "both_bad"}


def test_a_vote_that_was_kept_in_memory_does_not_undo_a_later_one_of_another_kernel(path, sql):
    with Ledger(path) as early, Ledger(path) as late:
        cast_vote(_ARMS, "tie", comparison="c1", ledger=late)
        assert late.flush()
        row = {"comparison": "c1", "outcome": "both_bad", "cast_at": datetime.now(UTC) - timedelta(hours=1)}
        early.put(row, VOTES)
        assert early.flush()
    assert sql("SELECT outcome FROM votes") == [("tie",)]


def test_a_vote_without_a_comparison_is_one_of_its_own(ledger):
    first, second = (cast_vote(_ARMS, "tie", ledger=ledger) for _ in range(2))
    frame = votes(ledger=ledger)
    assert list(frame["vote_id"]) == list(frame["comparison"]) == [first, second]


def test_votes_are_found_by_kernel_time_and_comparison(ledger):
    cast_vote(_ARMS, "tie", comparison="mine", ledger=ledger)
    cast_at = datetime.now(UTC) - timedelta(days=2)
    row = {"comparison": "theirs", "outcome": "tie", "kernel_id": "another", "cast_at": cast_at}
    ledger.put(row, VOTES)

    def found(*args, **conditions):
        return list(votes(*args, ledger=ledger, **conditions)["comparison"])

    assert found() == ["mine"]
    assert found(None) == ["theirs", "mine"]
    assert found("another") == ["theirs"]
    assert found(None, since=timedelta(days=1)) == ["mine"]
    assert found(None, until=timedelta(days=1)) == ["theirs"]
    assert found(None, comparison=["theirs", "none"]) == ["theirs"]


def test_no_votes_have_the_same_columns_and_dtypes_as_some(ledger):
    empty = votes(ledger=ledger)
    cast_vote(_ARMS, "tie", prompt="What?", ledger=ledger)
    assert dict(empty.dtypes) == dict(votes(ledger=ledger).dtypes)
    assert str(empty.dtypes["blind"]) == "boolean"
    assert str(empty.dtypes["cast_at"]) == "datetime64[us, UTC]"


@pytest.mark.thorough
def test_votes_wait_in_memory_beside_the_calls_while_the_ledger_cannot_be_written(tmp_path, call, sql, path):
    path.parent.touch()
    with Ledger(path) as ledger:
        ledger.put(call(kernel_id=kernel_id()))
        cast_vote(_ARMS, "tie", comparison="c1", ledger=ledger)
        with pytest.warns(UserWarning, match="cannot be written") as said:
            assert list(votes(ledger=ledger)["comparison"]) == ["c1"]
        assert len(said) == 1
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert len(votes(ledger=ledger)) == 1
        path.parent.unlink()
        while not (path.exists() and ledger.flush()):
            pass
        assert sql("SELECT (SELECT count(*) FROM calls), (SELECT count(*) FROM votes)") == [(1, 1)]


def test_a_vote_stores_no_prompt_when_the_settings_say_so_and_never_a_key(path, sql):
    with Ledger(path, store_text=False) as ledger:
        cast_vote(_ARMS, "tie", prompt="private", tags={"note": "sk-abcdefghijklmnop"}, ledger=ledger)
        assert ledger.flush()
    assert sql("SELECT prompt, tags FROM votes") == [(None, '{"note": "[key hidden]"}')]


@pytest.mark.parametrize(
    ("arms", "outcome", "other", "sentence"),
    [
        (["a", "b"], "a", {}, "arms must be a dict from label to call id, not ['a', 'b']."),
        ({"a": None}, "a", {}, "A vote compares at least two arms, but this one has 1: ['a']."),
        ({"a": None, "tie": None}, "a", {}, "'tie' cannot be the label of an arm"),
        ({"a": None, "": None}, "a", {}, "'' cannot be the label of an arm"),
        ({"a": 7, "b": None}, "a", {}, "The call id of the arm 'a' must be a str or None, not 7."),
        ({"gpt-5": None, "llama": None}, "gpt5", {}, "'gpt5' is not one of the arms. Did you mean"),
        ({"a": None, "b": None}, "zzz", {}, "Choose one of: a, b, both_bad, tie."),
        ({"a": None, "b": None}, None, {}, "A vote is withdrawn by the name of its comparison: give comparison=…"),
        ({"a": 7, "b": None}, None, {"comparison": "c"}, "The call id of the arm 'a' must be a str or None, not 7."),
        ({"a": None, "b": None}, "tie", {"origin": "mail"}, "There is no origin 'mail'"),
        ({"a": None, "b": None}, "tie", {"prompt": None}, "prompt must be a string, not None."),
        ({"a": None, "b": None}, "tie", {"blind": "no"}, "blind must be True or False, not 'no'."),
        ({"a": None, "b": None}, "tie", {"comparison": ""}, "comparison must be a name, not ''."),
        ({"a": None, "b": None}, "tie", {"tags": "blue"}, "tags must be a dict, not 'blue'."),
    ],
)
def test_what_is_no_vote_is_refused_in_one_sentence_and_leaves_no_row(ledger, arms, outcome, other, sentence):
    with pytest.raises(LLMError) as raised:
        cast_vote(arms, outcome, ledger=ledger, **other)
    assert sentence in str(raised.value)
    assert raised.value.category == "bad_request"
    assert len(votes(None, ledger=ledger)) == 0


def test_two_kernels_vote_into_one_ledger(path, run_script):
    with Ledger(path) as ledger:
        cast_vote(_ARMS, "tie", comparison="mine", ledger=ledger)
        assert ledger.flush()
    run_script(
        """
        import sys
        from ipyllm import cast_vote
        from ipyllm.ledger import Ledger
        with Ledger(sys.argv[1]) as ledger:
            cast_vote({"a": None, "b": None}, "a", comparison="theirs", ledger=ledger)
        """,
        path,
    )
    with Ledger(path) as ledger:
        frame = votes(None, ledger=ledger)
    assert list(frame["comparison"]) == ["mine", "theirs"]
    assert frame["kernel_id"].nunique() == 2
    assert isinstance(frame, pd.DataFrame)
