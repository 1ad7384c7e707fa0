"""Which arms of two runs are compared with each other."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING, Final

from ipyllm.errors import bad_request
from ipyllm.text.format import count, join_names
from ipyllm.text.suggest import suggest

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from ipyllm.comparison.arms import Arm
    from ipyllm.experiment.run_changes import ComparedRun

__all__ = ["arms_to_compare", "unpaired"]

_MAX_NAMES: Final = 5

_Run = tuple[str, "Sequence[Arm]"]  # its name and arms


def arms_to_compare(before: _Run, after: _Run, chosen: Mapping[str, str] | None = None) -> list[tuple[str, str]]:
    """Return the pairs of labels: the ``chosen``, those of the same label, or else those of which it is clear.

    These are the only arm of a run and each of the other, or the arms of a model that one of the runs has once.

    Raises
    ------
    LLMError
        ``bad_request``: nothing can be paired, or a chosen label is unknown.
    """
    (first, ours), (second, theirs) = before, after
    if chosen is not None:
        return list(_checked(chosen, before, after))
    labels = {arm.label for arm in theirs}
    if shared := [(arm.label, arm.label) for arm in ours if arm.label in labels]:
        return shared
    models = [arm.model for arm in (*ours, *theirs)] if len(ours) > 1 and len(theirs) > 1 else [None]
    pairs: list[tuple[str, str]] = []
    for model in dict.fromkeys(models):
        same = [[arm.label for arm in arms if model in {None, arm.model}] for arms in (ours, theirs)]
        if min(map(len, same)) == 1:
            pairs += product(same[0], same[1])
    if not pairs:
        example = f"{{{ours[0].label!r}: {theirs[0].label!r}}}"
        raise bad_request(
            f"Which arms of {first!r} and {second!r} belong together is not clear: {_named(ours)}; and "
            f"{_named(theirs)}. Say which to compare: compare_runs(…, arms={example})."
        )
    return pairs


def unpaired(runs: tuple[ComparedRun, ComparedRun], pairs: Sequence[tuple[str, str]]) -> Iterator[str]:
    """Yield a sentence about the arms of each run that are not compared."""
    for run, compared in zip(runs, zip(*pairs, strict=True), strict=True):
        rest = [arm for arm in run.grid.arms if arm.label not in compared]
        if rest:
            are = "is" if len(rest) == 1 else "are"
            yield f"{count(len(rest), 'arm')} of {run.name!r} {are} not compared: {_named(rest)}."


def _checked(chosen: Mapping[str, str], before: _Run, after: _Run) -> Iterator[tuple[str, str]]:
    if not chosen:
        raise bad_request("arms= names no arms: give labels of the first run and of the second, {'a': 'b'}.")
    for pair in chosen.items():
        for label, (name, arms) in zip(pair, (before, after), strict=True):
            labels = [arm.label for arm in arms]
            if label not in labels:
                raise bad_request(f"{name!r} has no arm {label!r}. {suggest(str(label), labels)}")
        yield pair


def _named(arms: Sequence[Arm]) -> str:
    return join_names([arm.label for arm in arms], limit=_MAX_NAMES)
