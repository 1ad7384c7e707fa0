"""Experiments: the same prompts to several models in random order, with scores, times and costs."""

from __future__ import annotations

from ipyllm.experiment.experiment import Experiment
from ipyllm.experiment.results import Results

__all__ = ["Experiment", "Results"]
