"""The votes of the ledger on the answers of an experiment, under the labels of its arms."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

    from ipyllm.experiment.grid import Grid
    from ipyllm.ledger import Ledger

__all__ = ["votes_on_arms"]


def votes_on_arms(grid: Grid, calls: pd.DataFrame, ledger: Ledger) -> pd.DataFrame:
    """Return the votes between arms of ``grid`` on its prompts, with a column ``prompt_id``.

    ``calls`` are those of the experiment. A vote belongs to it by its calls; one without calls by the text of the
    prompt, and names an arm by its label, or by its model if that has a single arm.
    """
    from ipyllm.comparison.votes import votes

    arm_by_call = dict(zip(calls["call_id"], calls["arm"], strict=True))
    models = calls.groupby("model")["arm"].agg(["nunique", "first"])
    arm_by_name = models.loc[models["nunique"] == 1, "first"].to_dict()
    arm_by_name |= {name: arm.label for arm in grid.arms for name in (arm.full_label, arm.label)}
    found = votes(kernel=None, ledger=ledger)
    id_by_call = dict(zip(calls["call_id"], calls["prompt_id"], strict=True))
    id_by_text = {prompt.text: prompt.prompt_id for prompt in grid.all_prompts}
    rows = []
    for vote in found.to_dict("records"):
        ids = {id_by_call[id_] for id_ in vote["arms"].values() if id_ in id_by_call} or {
            id_by_text.get(vote["prompt"])
        }
        if len(ids) > 1 or None in ids:
            continue
        arms = {label: arm_by_call.get(id_) or arm_by_name.get(label) for label, id_ in vote["arms"].items()}
        if None not in arms.values() and len(set(arms.values())) == len(arms):
            renamed = {arms[label]: id_ for label, id_ in vote["arms"].items()}
            outcome = arms.get(vote["outcome"], vote["outcome"])
            rows.append({**vote, "arms": renamed, "outcome": outcome, "prompt_id": ids.pop()})
    return found.iloc[:0] if not rows else type(found)(rows, columns=[*found.columns, "prompt_id"])
