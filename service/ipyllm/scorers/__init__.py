"""Scorers: functions from an answer and its row of data to a number. ``from ipyllm import scorers``.

:mod:`~ipyllm.scorers.scorer` defines a scorer, :mod:`~ipyllm.scorers.scoring` applies scorers to a table of calls.
"""

from ipyllm.scorers.grading import judge
from ipyllm.scorers.json_checks import json_schema, json_valid
from ipyllm.scorers.matching import contains, exact, regex, similarity
from ipyllm.scorers.numeric import numeric
from ipyllm.scorers.pairwise import PairwiseJudge, pairwise_judge
from ipyllm.scorers.preference import human
from ipyllm.scorers.scored_answer import Answer
from ipyllm.scorers.scorer import Score, ScoreFailure, Scorer, SupportsScore
from ipyllm.scorers.scoring import Scoring, apply

__all__ = [
    "Answer",
    "PairwiseJudge",
    "Score",
    "ScoreFailure",
    "Scorer",
    "Scoring",
    "SupportsScore",
    "apply",
    "contains",
    "exact",
    "human",
    "json_schema",
    "json_valid",
    "judge",
    "numeric",
    "pairwise_judge",
    "regex",
    "similarity",
]
