"""The answers as a matrix: which rows differ, which cells are flagged."""

from __future__ import annotations

from itertools import count

import pytest

from ipyllm.experiment.answer_matrix import CUT_OFF, FAILED, REGRESSED, UNSURE
from ipyllm.scorers import Scorer
from tests.answered_experiment import answered, grades

NUMBERS = count()
FAILURE = {"status": "error", "response": None, "error_message": "It failed.", "finish_reason": None}


def matrix_of(*answers, scorers=()):
    """Return the only row of the matrix of one prompt, to which the arms gave these answers: texts, columns or None."""

    def row_of(arm, prompt, repeat):
        return {"response": answers[arm]} if isinstance(answers[arm], str) else answers[arm]

    models = [f"model-{index}" for index in range(len(answers))]
    results = answered(["Which city?"], row_of, models=models, scorers=scorers, name=f"cities {next(NUMBERS)}")
    return results.matrix()


def flags(matrix):
    return [None if cell is None else cell.flags for cell in matrix.rows[0].cells]


@pytest.mark.parametrize(
    ("one", "other", "differs"),
    [
        ("Bern", "Basel", True),
        ("Bern", "bern.", False),
        ("It’s  Bern", "it's\nBern", False),
        ("Bern", FAILURE, True),
        (FAILURE, FAILURE, False),
        ("Bern", None, False),
        ("Bern", {"status": "running", "response": "Ba"}, False),
    ],
    ids=["other", "case and stop", "look-alikes and spaces", "failure", "two failures", "not asked", "running"],
)
def test_without_scorers_arms_differ_by_their_normalised_answers(one, other, differs):
    matrix = matrix_of(one, other)
    assert matrix.compared_by == "answers"
    assert matrix.rows[0].differs is differs


def test_any_two_of_several_arms_make_a_row_differ():
    assert matrix_of("Bern", "Bern", "Basel").rows[0].differs


def length(response):
    return len(response.content)


def test_with_scorers_arms_differ_by_their_scores():
    assert not matrix_of("Bern", "Rome", scorers=[length]).rows[0].differs
    assert matrix_of("Bern", "Basel", scorers=[length]).rows[0].differs


def test_an_arm_with_a_score_differs_from_one_without():
    def capital(response):
        return None if response.content == "I do not know" else 1.0

    assert matrix_of("Bern", "I do not know", scorers=[capital]).rows[0].differs


def test_scores_that_differ_by_rounding_are_the_same():
    def share(response):
        return 0.3 if response.content == "a" else 0.1 + 0.2

    row = matrix_of("a", "b", scorers=[Scorer.of(share, higher_is_better=False)]).rows[0]
    assert not row.differs
    assert row.cells[1].flags == 0


def test_a_score_worse_than_the_baselines_is_a_regression():
    for higher_is_better, expected in ((True, [0, REGRESSED, 0]), (False, [0, 0, REGRESSED]), (None, [0, 0, 0])):
        scorer = Scorer.of(length, higher_is_better=higher_is_better)
        assert flags(matrix_of("Bern", "Ulm", "Basel", scorers=[scorer])) == expected


def test_nothing_regresses_from_a_baseline_without_a_score():
    scorer = Scorer.of(length, higher_is_better=True)
    assert flags(matrix_of(FAILURE, "Ulm", scorers=[scorer])) == [FAILED, 0]
    assert flags(matrix_of(None, "Ulm", scorers=[scorer])) == [None, 0]


def test_failures_and_cut_answers_are_flagged():
    cut = {"response": "Ber", "finish_reason": "length"}
    assert flags(matrix_of("Bern", FAILURE, cut, {"status": "cancelled", "response": "B"})) == [
        0,
        FAILED,
        CUT_OFF,
        FAILED,
    ]


@pytest.mark.parametrize(
    ("scale", "unsure"), [((1, 5), {3}), ((0, 1), set()), ((1, 10), {5, 6}), ((1, 3), {2})], ids=str
)
def test_a_judge_is_unsure_in_the_middle_third_of_its_scale(scale, unsure):
    marks = [str(mark) for mark in range(scale[0], scale[1] + 1)]
    matrix = matrix_of(*marks, scorers=[grades(lambda response: (int(response.content), "So."), scale=scale)])
    assert {int(mark) for mark, flag in zip(marks, flags(matrix), strict=True) if flag & UNSURE} == unsure


def test_a_judge_without_a_verdict_is_unsure_and_another_scorer_never():
    def none(response):
        raise ValueError("no verdict")

    scorer = Scorer.of(none, timeout=None)
    assert flags(matrix_of("Bern", FAILURE, scorers=[grades(none)])) == [UNSURE, FAILED]
    assert flags(matrix_of("Bern", "Rome", scorers=[scorer])) == [0, 0]


def test_a_cell_explains_its_scores_by_reason_or_error():
    def none(response):
        raise ValueError("no verdict")

    matrix = matrix_of("Bern", scorers=[grades(lambda _: (4, "It is right.")), grades(none, name="other")])
    assert matrix.rows[0].cells[0].scores == (4.0, None)
    assert matrix.rows[0].cells[0].reasons == ("It is right.", "ValueError: no verdict")
    assert [(each.name, each.is_judge, each.scale) for each in matrix.scorers] == [
        ("judge", True, (1, 5)),
        ("other", True, (1, 5)),
    ]


def test_there_is_a_row_for_each_prompt_and_repeat_in_the_order_of_the_input():
    table = [{"text": "b", "label": 2}, {"text": "a", "label": 1}]
    results = answered(
        table, lambda arm, prompt, repeat: {"response": f"{arm}{prompt}{repeat}"}, template="{{ text }}", repeats=2
    )
    matrix = results.matrix()
    assert [(row.prompt, row.repeat, row.columns["label"]) for row in matrix.rows] == [
        ("b", 0, 2),
        ("b", 1, 2),
        ("a", 0, 1),
        ("a", 1, 1),
    ]
    assert [[cell.response for cell in row.cells] for row in matrix.rows] == [
        ["000", "100"],
        ["001", "101"],
        ["010", "110"],
        ["011", "111"],
    ]
    assert matrix.calls["call_id"].tolist() == results.calls["call_id"].tolist()
