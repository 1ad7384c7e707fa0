"""Runs an experiment to its end."""

from __future__ import annotations

from ipyllm import Experiment


def run(*arguments, **options):
    return Experiment(*arguments, **options).run(progress=False)


def measured(results):
    calls = results.calls
    return calls[~calls["warmup"]]
