"""What changed between two runs of an experiment, beside the answers: rows, prompts, and how they were asked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from ipyllm.comparison.arms import canonical_json
from ipyllm.experiment.row_identity import contents_of_row
from ipyllm.text.format import count, join_names, shorten

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import pandas as pd

    from ipyllm.comparison.arms import Arm
    from ipyllm.experiment.grid import Grid
    from ipyllm.experiment.prompts import Prompt

__all__ = ["ComparedRun", "run_changes"]

_VALUE_CHARS: Final = 60
_PARTS: Final = {"headers": "HTTP headers", "tools": "tools", "schema": "schema"}
"""Parts of an arm's identity that are too long to be shown, by their names in sentences."""


@dataclass(frozen=True, slots=True)
class ComparedRun:
    """One of two runs: its name, its grid, and its calls as ``results.calls`` has them."""

    name: str
    grid: Grid
    calls: pd.DataFrame


def run_changes(before: ComparedRun, after: ComparedRun, pairs: Sequence[tuple[str, str]]) -> list[str]:
    """Return sentences on all that changed between two runs and may change their scores.

    ``pairs`` are the labels of the arms that are compared: what changed for all of them is said once.
    """
    notes = [*_rows(before, after)]
    arms = [{arm.label: arm for arm in run.grid.arms} for run in (before, after)]
    said: dict[str, list[str]] = {}
    for one, other in pairs:
        for sentence in _changes_of(before, after, arms[0][one], arms[1][other]):
            said.setdefault(sentence, []).append(other)
    for sentence, labels in said.items():
        notes.append(sentence if len(labels) == len(pairs) else f"{join_names(labels)}: {sentence}")
    return notes


def _rows(before: ComparedRun, after: ComparedRun) -> Iterator[str]:
    first, second = (set(run.calls["prompt_id"]) for run in (before, after))
    for run, other, only in ((before, after, first - second), (after, before, second - first)):
        if only:
            are = "is" if len(only) == 1 else "are"
            yield f"{count(len(only), 'prompt')} of {run.name!r} {are} not in {other.name!r}."
    contents = [_contents(run) for run in (before, after)]
    changed = [id_ for id_ in first & second if contents[0].get(id_) != contents[1].get(id_)]
    if changed:
        yield f"The data of {count(len(changed), 'prompt')} changed between the runs: their scores may differ for that."


def _changes_of(before: ComparedRun, after: ComparedRun, one: Arm, other: Arm) -> Iterator[str]:
    """Yield what changed for an arm: its prompts, and all that its identity has."""
    old, new = _prompts(before, one), _prompts(after, other)
    rewritten = [
        id_
        for id_ in old.keys() & new.keys()
        if old[id_].sent != new[id_].sent and contents_of_row(old[id_].data) == contents_of_row(new[id_].data)
    ]
    if rewritten:
        were = "was" if len(rewritten) == 1 else "were"
        yield (
            f"The prompts changed: {count(len(rewritten), 'row')} with the same data {were} sent "
            "with another text, messages or images."
        )
    if one.model != other.model:
        yield f"The model was {one.model}, and is {other.model}."
    was, now = one.identity(), other.identity()
    if one.model == other.model and was.get("service") != now.get("service"):
        addresses = [join_names(sorted(filter(None, arm.addresses()))) for arm in (one, other)]
        yield (
            f"The address was {addresses[0]}, and is {addresses[1]}."
            if all(addresses) and addresses[0] != addresses[1]
            else "The service changed: another file, API, or services of a route."
        )
    if one.system != other.system:
        yield f"The system prompt was {_shown(one.system)}, and is {_shown(other.system)}."
    if _examples(was) != _examples(now):
        yield "The examples changed, or the messages before each prompt."
    yield from _params(was.get("params") or {}, now.get("params") or {})
    for part, name in _PARTS.items():
        if was.get(part) != now.get(part):
            yield f"The {name} changed."
    versions = [_versions(before, one.label), _versions(after, other.label)]
    if one.model == other.model and all(versions) and versions[0] != versions[1]:
        yield f"{other.label} was answered by {join_names(versions[0])} before, and by {join_names(versions[1])} after."


def _params(was: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    for name in dict.fromkeys([*was, *now]):
        if was.get(name) != now.get(name):
            yield f"{name} was {_shown(was.get(name))}, and is {_shown(now.get(name))}."


def _examples(identity: Mapping[str, Any]) -> list[Any]:
    messages = identity.get("messages") or []
    return messages[1:] if messages and messages[0].get("role") == "system" else messages


def _prompts(run: ComparedRun, arm: Arm) -> dict[str, Prompt]:
    return {prompt.prompt_id: prompt for prompt in run.grid.all_prompts if prompt.variant == arm.variant}


def _contents(run: ComparedRun) -> dict[str, str]:
    """Return the data of each row of the input by its ``prompt_id``, as one text."""
    return {prompt.prompt_id: contents_of_row(prompt.data) for prompt in run.grid.prompts}


def _versions(run: ComparedRun, arm: str) -> list[str]:
    """Return the names by which the server called the models that answered."""
    return sorted(set(run.calls.loc[run.calls["arm"] == arm, "response_model"].dropna()))


def _shown(value: Any) -> str:
    if value is None:
        return "not set"
    return shorten(repr(value) if isinstance(value, str) else canonical_json(value), _VALUE_CHARS)
