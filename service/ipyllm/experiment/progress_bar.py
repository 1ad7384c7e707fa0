"""The progress bar of a run: calls, errors and cost so far, in notebook or terminal, drawn in the waiting thread."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ipyllm.text.format import money

if TYPE_CHECKING:
    from ipyllm.experiment.run import Progress
    from ipyllm.runtime.interruptible import InterruptibleEvent

__all__ = ["watch"]

_EVERY_S = 0.2


def watch(done: InterruptibleEvent, progress: Progress, *, name: str, already: int, total: int, show: bool) -> None:
    """Wait until ``done`` is set, and show how far it has come.

    Parameters
    ----------
    done, progress
        Of the run.
    name : str
        Of the experiment.
    already, total : int
        Calls that were there before; and all of them.
    show : bool
        Whether there is a bar at all.
    """
    if not show:
        done.wait()
        return
    from tqdm.auto import tqdm

    with tqdm(total=total, initial=already, desc=name, unit="call", dynamic_ncols=True) as bar:
        over = False
        while not over:
            over = done.wait(_EVERY_S)
            bar.set_postfix(_figures(progress), refresh=False)
            bar.update(already + progress.asked - bar.n)
        bar.refresh()


def _figures(progress: Progress) -> dict[str, Any]:
    cost = {"cost": money(progress.cost_usd)} if progress.cost_usd else {}
    return cost | ({"failed": progress.failed} if progress.failed else {})
