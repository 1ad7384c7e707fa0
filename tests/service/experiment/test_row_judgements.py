"""Votes and notes on rows of an experiment: kept in the ledger, the last one counts."""

from __future__ import annotations

import pytest

from ipyllm import LLMError, scorers, votes
from ipyllm.ledger.current import current_ledger
from ipyllm.ledger.query import VoteQuery
from tests.answered_experiment import answered

ANSWERS = [["Bern", "Basel", "Rome"], ["Paris", "Lyon", None]]


def results_of(repeats=1, name="cities"):
    def row_of(arm, prompt, repeat):
        return None if ANSWERS[prompt][arm] is None else {"response": ANSWERS[prompt][arm]}

    return answered(["Swiss?", "French?"], row_of, models=["a", "b", "c"], name=name, repeats=repeats)


def judgements_of(results):
    matrix = results.matrix()
    return results.judgements(matrix), matrix.rows


def test_a_vote_is_stored_with_the_calls_and_counts_in_the_ranking():
    results = results_of()
    judged, rows = judgements_of(results)
    judged.vote(rows[0], "b")
    judged.vote(rows[1], "tie")
    cast = votes()
    assert cast["outcome"].tolist() == ["openai/b", "tie"]
    assert cast["prompt"].tolist() == ["Swiss?", "French?"]
    assert cast["arms"][0] == {f"openai/{name}": cell.call_id for name, cell in zip("abc", rows[0].cells, strict=True)}
    assert set(cast["arms"][1]) == {"openai/a", "openai/b"}
    assert results.ranking()["votes"].to_dict() == {"a": 2, "b": 2, "c": 1}


def test_a_later_vote_replaces_the_earlier_one_also_for_another_reader():
    results = results_of(repeats=2)
    judged, rows = judgements_of(results)
    judged.vote(rows[0], "b")
    judged.vote(rows[0], "both_bad")
    judged.vote(rows[1], "c")
    again, rows = judgements_of(results)
    assert [again.vote_on(row) for row in rows] == ["both_bad", "c", "", ""]
    assert [again.vote_key_on(row) for row in rows] == ["both_bad", "2", "", ""]
    assert [judged.vote_on(row) for row in rows] == ["both_bad", "c", "", ""]


def test_a_vote_that_was_withdrawn_counts_nowhere():
    results = results_of()
    judged, rows = judgements_of(results)
    judged.vote(rows[0], "b")
    judged.vote(rows[1], "tie")
    judged.vote(rows[0], None)
    assert judged.vote_on(rows[0]) == ""
    again, rows = judgements_of(results)
    assert [again.vote_on(row) for row in rows] == ["", "tie"]
    assert results.ranking()["votes"].to_dict() == {"a": 1, "b": 1}
    judged.vote(rows[0], "c")
    assert results.ranking()["votes"].to_dict() == {"a": 2, "b": 2, "c": 1}


def test_there_is_nothing_to_withdraw_without_a_vote():
    judged, rows = judgements_of(results_of())
    judged.vote(rows[0], None)
    assert current_ledger().read(VoteQuery()) == []


def test_scores_of_people_are_those_of_the_votes_as_they_are_now():
    results = results_of().rescore([scorers.human()])
    judged, rows = judgements_of(results)
    assert results.calls["score_human"].isna().all()
    judged.vote(rows[0], "b")
    assert results.calls["score_human"].dropna().tolist() == [0, 1, 0]
    judged.vote(rows[0], None)
    assert results.calls["score_human"].isna().all()


def test_votes_that_cannot_be_are_refused_and_not_stored():
    judged, rows = judgements_of(results_of())
    with pytest.raises(LLMError, match="There is no arm 'd'"):
        judged.vote(rows[0], "d")
    with pytest.raises(LLMError, match="c has no complete answer to this prompt"):
        judged.vote(rows[1], "c")
    assert votes().empty
    assert judged.vote_on(rows[0]) == ""


def test_a_vote_needs_two_complete_answers():
    results = answered(["?"], lambda arm, *_: {"response": "Yes"} if arm else None, name="one")
    judged, rows = judgements_of(results)
    with pytest.raises(LLMError, match="two complete answers"):
        judged.vote(rows[0], "tie")


def test_notes_belong_to_prompts_of_one_experiment_and_can_be_removed():
    results = results_of(repeats=2)
    judged, rows = judgements_of(results)
    judged.note(rows[0], "  Ask about cantons. ")
    judged.note(rows[2], "Drop it.")
    judged.note(rows[2], "")
    again, rows = judgements_of(results)
    assert [again.note_on(row) for row in rows] == ["Ask about cantons."] * 2 + ["", ""]
    notes = results.notes
    assert notes[["prompt_id", "note"]].values.tolist() == [[rows[0].prompt_id, "Ask about cantons."]]
    other, rows = judgements_of(results_of(name="others"))
    assert other.note_on(rows[0]) == ""


def test_a_note_that_is_too_long_is_refused():
    judged, rows = judgements_of(results_of())
    with pytest.raises(LLMError, match=r"at most 10,000 characters; this one has 10,001"):
        judged.note(rows[0], "x" * 10_001)
