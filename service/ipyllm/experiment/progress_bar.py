"""The progress bar of a run: calls, errors and cost so far, drawn by the waiting thread."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ipyllm.text.format import shorten

if TYPE_CHECKING:
    from ipyllm.experiment.run import RunProgress
    from ipyllm.runtime.interruptible import InterruptibleEvent

__all__ = ["show_done", "watch"]

_EVERY_S = 0.2
_NAME_CHARS = 80


def watch(
    done: InterruptibleEvent,
    progress: RunProgress,
    *,
    name: str,
    n_done: int,
    total: int,
    show: bool,
    earlier: str | None = None,
) -> None:
    """Wait until ``done`` is set, with a progress bar if ``show``; ``n_done`` of ``total`` calls were done before.

    ``earlier`` says how many of these, and under which conditions.
    """
    if not show:
        done.wait()
        return
    from tqdm.auto import tqdm

    with tqdm(total=total, initial=n_done, unit="call", dynamic_ncols=True) as bar:
        _describe(bar, name)
        ended = False
        while not ended:
            ended = done.wait(_EVERY_S)
            bar.set_postfix(_earlier(earlier) | _figures(progress), refresh=False)
            bar.update(n_done + progress.ended - bar.n)
        bar.refresh()


def show_done(*, name: str, total: int, earlier: str) -> None:
    """Show the bar of a run that has nothing to do."""
    from tqdm.auto import tqdm

    with tqdm(total=total, initial=total, unit="call", dynamic_ncols=True) as bar:
        _describe(bar, name)
        bar.set_postfix(_earlier(earlier))


def _describe(bar: Any, name: str) -> None:
    # Not as `desc`: in a notebook the bar shows that as HTML, but escapes a description that is set later.
    bar.set_description(shorten(name, _NAME_CHARS))


def _earlier(words: str | None) -> dict[str, Any]:
    return {"from an earlier run": words} if words else {}


def _figures(progress: RunProgress) -> dict[str, Any]:
    alone = {"embedded": "one at a time"} if progress.one_at_a_time else {}
    cost = {"cost": str(progress.cost)} if progress.cost.usd or progress.cost.n_unknown else {}
    failed = {"failed": progress.failed} if progress.failed else {}
    left = {name: error.category for name, error in (progress.unreachable | progress.left).items()}
    return alone | cost | failed | ({"left": ", ".join(f"{n} ({why})" for n, why in left.items())} if left else {})
