"""The columns of an experiment's input beside its calls, and its rows with the answers to each.

Equal rows, which are asked about once, all have the answer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet

    import pandas as pd

    from ipyllm.experiment.grid import Grid

__all__ = ["InputTable", "in_order"]

_ANSWERS: Final = ("call_id", "response", "status", "error_message")
_COMPUTED: Final = ("parsed", "score_")
"""How the names of columns begin that are computed from answers."""
_SAME: Final = ("prompt", "prompt_id")
"""Columns of the calls that may be those of the input themselves."""


class InputTable:
    """The rows of an experiment's input: ``table``, or else, of a list or a file, those of the grid's prompts."""

    def __init__(self, grid: Grid, table: pd.DataFrame | None) -> None:
        self._grid = grid
        self.table = table

    def beside(self, calls: pd.DataFrame) -> pd.DataFrame:
        """Return ``calls``, whose ``row`` counts from 0, with the input's columns after ``n_rows``.

        ``row`` becomes the input's index. An input's column whose name is taken, or begins as a computed one does, is
        renamed to ``input_<name>``; one that has the prompts or their ids is left out. Names of texts are taken also
        where ``calls`` get their texts later.
        """
        import pandas as pd

        from ipyllm.experiment.answer_texts import TEXTS

        rows = self._rows(list(calls["row"]))
        same = [name for name in _SAME if name in rows and rows[name].astype(str).tolist() == calls[name].tolist()]
        rows = _renamed(rows.drop(columns=same), {*calls.columns, *TEXTS})
        place = list(calls.columns).index("n_rows") + 1
        parts = [calls.iloc[:, :place].assign(row=rows.index), rows.set_axis(calls.index), calls.iloc[:, place:]]
        return type(calls)(pd.concat(parts, axis=1))

    def answered(self, calls: pd.DataFrame) -> pd.DataFrame:
        """Return one row for each row of the input, arm and repeat, in the order of the input.

        ``calls`` are scored, without warm-ups; their ``row`` counts from 0. Columns are renamed as in :meth:`beside`.
        """
        import pandas as pd

        grid = self._grid
        prompts = dict(sorted((row, prompt) for prompt in grid.prompts for row in prompt.rows))
        trials = [
            (row, prompt.row, arm.label, repeat)
            for row, prompt in prompts.items()
            for arm in grid.arms
            for repeat in range(grid.repeats)
        ]
        names = [*_ANSWERS, *(name for name in calls.columns if name.startswith(_COMPUTED))]
        keys = pd.MultiIndex.from_tuples([trial[1:] for trial in trials], names=["row", "arm", "repeat"])
        answers = calls.set_index(list(keys.names))[names].reindex(keys).reset_index(["arm", "repeat"])
        answers["arm"] = in_order(answers["arm"], grid)
        rows = _renamed(self._rows([trial[0] for trial in trials]), set(answers.columns))
        return pd.concat([rows, answers.set_axis(rows.index)], axis=1)

    def _rows(self, numbers: list[int]) -> pd.DataFrame:
        """Return the rows of these numbers, from 0, with the input's index."""
        import pandas as pd

        table = self.table
        if table is not None:
            return table.iloc[numbers]
        of_row = {row: prompt.data for prompt in self._grid.prompts for row in prompt.rows}
        return pd.DataFrame([dict(of_row[row]) for row in of_row], index=list(of_row)).loc[numbers]


def in_order(arms: Any, grid: Grid) -> pd.Categorical:
    """Return labels of arms as a categorical: groups and pivots of them stand in the order of the experiment."""
    import pandas as pd

    return pd.Categorical(arms, categories=[arm.label for arm in grid.arms])


def _renamed(rows: pd.DataFrame, taken: AbstractSet[str]) -> pd.DataFrame:
    rows = rows.loc[:, ~rows.columns.duplicated(keep="last")]
    return rows.rename(
        columns={name: f"input_{name}" for name in rows.columns if name in taken or name.startswith(_COMPUTED)}
    )
