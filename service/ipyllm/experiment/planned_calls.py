"""The calls that a run of an experiment would make, and their highest cost."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ipyllm.conversations.tokens import estimate_body
from ipyllm.experiment.spending_limit import max_cost, max_output_tokens_of
from ipyllm.pipeline.tool_loop import first_request

if TYPE_CHECKING:
    from collections.abc import Container

    import pandas as pd

    from ipyllm.experiment.grid import Grid

__all__ = ["planned_calls"]


def planned_calls(grid: Grid, done: Container[str]) -> pd.DataFrame:
    """Return the table of :meth:`ipyllm.Experiment.dry_run`; ``done`` are the keys of the trials that are not asked."""
    import pandas as pd

    rows = {}
    for arm in grid.arms:
        trials = [trial for trial in grid.trials.values() if trial.arm is arm]
        to_do = [replace(arm.request, messages=trial.messages) for trial in trials if trial.key not in done]
        costs = [max_cost(arm.service, request) for request in to_do]
        longest = max_output_tokens_of(arm)
        rows[arm.label] = {
            "model": arm.model,
            "calls": len(trials),
            "done": len(trials) - len(to_do),
            "to_do": len(to_do),
            "input_tokens": sum(estimate_body(arm.service.body(first_request(request))) for request in to_do),
            "max_output_tokens": None if longest is None else longest * len(to_do),
            "max_cost_usd": None if None in costs else sum(cost for cost in costs if cost is not None),
        }
    frame = pd.DataFrame.from_dict(rows, orient="index").rename_axis("arm")
    frame = frame.astype({"max_output_tokens": "Int64", "max_cost_usd": "float64"})
    total: dict[str, Any] = {name: frame[name].sum(skipna=False) for name in frame.columns if name != "model"}
    frame.loc["total"] = {"model": "", **total}
    return frame.astype({"calls": "int64", "done": "int64", "to_do": "int64", "input_tokens": "int64"})
