"""The progress bar of a run: calls, errors and cost so far, drawn by the waiting thread; and its interrupts."""

from __future__ import annotations

from contextlib import contextmanager
from time import monotonic
from typing import TYPE_CHECKING, Any

from ipyllm.text.format import count, shorten

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ipyllm.experiment.remote_run import RemoteRun
    from ipyllm.experiment.run import Run
    from ipyllm.experiment.run_progress import RunProgress

__all__ = ["show_done", "watch"]

_EVERY_S = 0.2
_NAME_CHARS = 80

_DRAIN_S = 5.0
"""Seconds that calls in flight have after an interrupt, since most of an answer may have been paid."""

_GRACE_S = 10.0
"""Seconds that cancelled calls have to write their rows."""


def watch(run: Run | RemoteRun, *, name: str, n_done: int, show: bool, earlier: str = "") -> None:
    """Wait until a run ends, with a progress bar if ``show``; ``n_done`` calls were done before.

    ``earlier`` says how many of these, and under which conditions.

    After an interrupt nothing more is sent, and calls in flight have five seconds to end; a second interrupt cancels
    them at once. Then KeyboardInterrupt is raised.
    """
    total = n_done + run.progress.to_do
    with _bar(total, n_done, name) if show else _no_bar() as bar:
        try:
            _wait(run, bar, n_done, earlier)
        except KeyboardInterrupt:
            run.drain()
            _say(bar, f"stopping: waits up to {_DRAIN_S:.0f} s for {_in_flight(run)}; interrupt again to cancel")
            try:
                _wait(run, bar, n_done, earlier, monotonic() + _DRAIN_S)
            except KeyboardInterrupt:
                _say(bar, f"cancels {_in_flight(run)}")
            if not run.done.is_set():
                run.cancel()
                run.done.wait(_GRACE_S)
            raise KeyboardInterrupt from None


def show_done(*, name: str, total: int, earlier: str) -> None:
    """Show the bar of a run that has nothing to do."""
    with _bar(total, total, name) as bar:
        bar.set_postfix(_earlier(earlier))


@contextmanager
def _bar(total: int, n_done: int, name: str) -> Iterator[Any]:
    from tqdm.auto import tqdm

    # `display` is an argument of the notebook's bar, which has a `container`; a terminal's would refuse it.
    in_notebook = any(base.__name__ == "tqdm_notebook" for base in tqdm.__mro__)
    hidden: dict[str, Any] = {"display": False} if in_notebook else {}
    made: Any = tqdm(total=total, initial=n_done, unit="call", dynamic_ncols=True, **hidden)
    with made as bar:
        # Not as `desc`: in a notebook the bar shows that as HTML, but escapes a description that is set later.
        bar.set_description(shorten(name, _NAME_CHARS))
        shown = _show(bar) if in_notebook else None
        try:
            yield bar
        finally:
            if shown is not None:
                shown.update(bar.container)  # a saved notebook shows the text of this output without its kernel


def _show(bar: Any) -> Any:
    import tqdm.notebook

    shell: Any = tqdm.notebook  # it has IPython's `display`, which this layer does not import
    handle = shell.display(bar.container, display_id=True)
    bar.displayed = True
    return handle


@contextmanager
def _no_bar() -> Iterator[None]:
    yield


def _wait(run: Run | RemoteRun, bar: Any, n_done: int, earlier: str, until: float | None = None) -> None:
    """Wait until a run ends, or ``until`` a time, and draw meanwhile."""
    if bar is None:
        run.done.wait(None if until is None else until - monotonic())
        return
    ended = False
    while not ended and (until is None or monotonic() < until):
        ended = run.done.wait(_EVERY_S)
        progress = run.progress
        bar.set_postfix(_earlier(earlier) | _figures(progress), refresh=False)
        bar.update(n_done + progress.ended + progress.elsewhere - bar.n)
    bar.refresh()


def _say(bar: Any, sentence: str) -> None:
    if bar is not None:
        bar.set_description(sentence)


def _in_flight(run: Run | RemoteRun) -> str:
    n = run.progress.in_flight
    return count(n, "call") + " in flight" if n else "calls in flight"


def _earlier(words: str) -> dict[str, Any]:
    return {"from an earlier run": words} if words else {}


def _figures(progress: RunProgress) -> dict[str, Any]:
    alone = {"calls at once": "1 (embedded model)"} if progress.one_at_a_time else {}
    others = {"by others": progress.elsewhere} if progress.elsewhere else {}
    cost = {"cost": str(progress.cost)} if progress.cost.usd or progress.cost.n_unknown else {}
    failed = {"failed": progress.failed} if progress.failed else {}
    left = {name: error.category for name, error in (progress.unreachable | progress.left).items()}
    reasons = {"left": ", ".join(f"{n} ({why})" for n, why in left.items())} if left else {}
    return alone | others | cost | failed | reasons
