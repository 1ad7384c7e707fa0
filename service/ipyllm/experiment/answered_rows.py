"""The rows of an experiment's input with the answers to each: equal rows, which are asked about once, all have them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import pandas as pd

    from ipyllm.experiment.grid import Grid

__all__ = ["answered_rows"]

_COLUMNS: Final = ("call_id", "response", "status", "error_message")


def answered_rows(calls: pd.DataFrame, grid: Grid, table: pd.DataFrame | None) -> pd.DataFrame:
    """Return one row for each row of the input, arm and repeat, in the order of the input.

    ``calls`` are scored, without warm-ups; ``table`` is the input, if it was one. A column of the input that has the
    name of one of the answers is renamed to ``input_<name>``.
    """
    import pandas as pd

    prompts = dict(sorted((row, prompt) for prompt in grid.prompts for row in prompt.rows))
    trials = [
        (row, prompt.row, arm.label, repeat)
        for row, prompt in prompts.items()
        for arm in grid.arms
        for repeat in range(grid.repeats)
    ]
    names = [*_COLUMNS, *(name for name in calls.columns if name.startswith(("parsed", "score_")))]
    keys = pd.MultiIndex.from_tuples([trial[1:] for trial in trials], names=["row", "arm", "repeat"])
    answers = calls.set_index(list(keys.names))[names].reindex(keys).reset_index(["arm", "repeat"])
    if table is None:
        table = pd.DataFrame([dict(prompt.data) for prompt in prompts.values()], index=list(prompts))
        rows = table.loc[[trial[0] for trial in trials]]
    else:
        rows = table.iloc[[trial[0] for trial in trials]]
    rows = rows.rename(columns={name: f"input_{name}" for name in rows.columns if name in answers.columns})
    return pd.concat([rows, answers.set_axis(rows.index)], axis=1)
