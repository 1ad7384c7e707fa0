"""Experiments: the same questions to several models, in random order, with what it cost and how sure we are."""

from __future__ import annotations

from ipyllm.experiment.experiment import Experiment
from ipyllm.experiment.results import Results

__all__ = ["Experiment", "Results"]
