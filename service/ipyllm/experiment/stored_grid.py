"""The grid of an experiment as JSON's values, so that its results can be read again without the code that made it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ipyllm.comparison.arms import Arm
from ipyllm.experiment.grid import Grid
from ipyllm.experiment.prompts import Prompt
from ipyllm.experiment.row_content import SentContent
from ipyllm.experiment.row_identity import contents_of_row
from ipyllm.plain_values import plain_value
from ipyllm.request import ChatRequest
from ipyllm.services.base import BaseLLMService
from ipyllm.structured import Schema
from ipyllm.text.format import is_missing

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pandas as pd

__all__ = ["data_hash", "document_of", "grid_of", "table_of"]


@dataclass(frozen=True, slots=True)
class _StoredArm(Arm):
    """An arm whose identities are those that were stored; its service asks nobody."""

    stored: Mapping[str, Any] = field(default_factory=dict)

    def identity(self) -> dict[str, Any]:
        """Return the identity that the arm had."""
        return dict(self.stored["identity"])

    def earlier_identity(self) -> list[Any]:
        """Return the identity that the arm had by earlier versions."""
        return list(self.stored["earlier"])

    def addresses(self) -> set[str | None]:
        """Return the addresses that may have answered."""
        return set(self.stored["addresses"])


class _StoredService(BaseLLMService):
    """Names the model of a stored arm."""

    name = "stored"
    title = "A stored experiment"

    def __init__(self, full_name: str) -> None:
        self._full_name = full_name
        super().__init__(full_name)

    @property
    def full_name(self) -> str:
        return self._full_name


def document_of(grid: Grid, table: pd.DataFrame | None) -> dict[str, Any]:
    """Return what :func:`grid_of` and :func:`table_of` need, as JSON's values; ``table`` is the input, if it is one."""
    return {
        "repeats": grid.repeats,
        "arms": [_arm_document(arm) for arm in grid.arms],
        "prompts": [
            [
                *(prompt.prompt_id, prompt.text, prompt.row, prompt.nth, list(prompt.rows), prompt.variant),
                None if prompt.content is None else prompt.content.digest,
            ]
            for prompt in grid.all_prompts
        ],
        "data": [{name: _plain(value) for name, value in prompt.data.items()} for prompt in grid.prompts],
        "index": None if table is None else [_plain(label) for label in table.index],
        "index_name": None if table is None or table.index.name is None else str(table.index.name),
    }


def grid_of(document: Mapping[str, Any], *, check_answers: bool = True) -> Grid:
    """Return the grid of a document. Its arms ask nobody, and its prompts have no images.

    Unless ``check_answers``, any JSON is an answer that fits.
    """
    data = {row[0]: of_row for row, of_row in zip(document["prompts"], document["data"], strict=False)}
    prompts = [
        Prompt(id_, text, row, data.get(id_, {}), nth, tuple(rows), variant, digest and SentContent((), digest))
        for id_, text, row, nth, rows, variant, digest in document["prompts"]
    ]
    return Grid([_arm_of(arm, check_answers=check_answers) for arm in document["arms"]], prompts, document["repeats"])


def table_of(document: Mapping[str, Any], grid: Grid) -> pd.DataFrame | None:
    """Return the input as a table with its index, where it was one."""
    import pandas as pd

    if document["index"] is None:
        return None
    of_row = {row: prompt.data for prompt in grid.prompts for row in prompt.rows}
    labels = [tuple(label) if isinstance(label, list) else label for label in document["index"]]
    rows = [dict(of_row.get(row, {})) for row in range(len(labels))]
    index = pd.Index(labels, name=document["index_name"]) if labels else None
    return pd.DataFrame(rows, index=index)


def data_hash(grid: Grid) -> str:
    """Return the version of the data set: a hash of its rows in any order, whatever arms they are sent to."""
    contents = sorted(contents_of_row(prompt.data) for prompt in grid.prompts for _ in prompt.rows)
    return hashlib.sha256("\0".join(contents).encode("utf-8", "replace")).hexdigest()[:12]


def _arm_document(arm: Arm) -> dict[str, Any]:
    schema = arm.request.schema
    return {
        "label": arm.label,
        "mark": arm.mark,
        "model": arm.model,
        "variant": arm.variant,
        "system": arm.system,
        "params": {name: _plain(value) for name, value in arm.params.items()},
        "schema": None if schema is None else schema.json_schema,
        "identity": arm.identity(),
        "earlier": arm.earlier_identity(),
        "addresses": sorted(arm.addresses(), key=str),
    }


def _arm_of(document: Mapping[str, Any], *, check_answers: bool) -> Arm:
    system, model = document["system"], document["model"]
    schema = None if document["schema"] is None else Schema.of(document["schema"])
    if schema is not None and not check_answers:
        schema = schema.unchecked()
    messages = () if system is None else ({"role": "system", "content": system},)
    request = ChatRequest(model, messages, document["params"], schema=schema)
    service = _StoredService(model)
    names = {name: document[name] for name in ("label", "mark", "model", "variant")}
    return _StoredArm(service=service, given=service, request=request, stored=document, **names)


def _plain(value: Any) -> Any:
    """Return a value of the input as JSON has it; what has no form in JSON is named by its type."""
    if is_missing(value):
        return None
    if hasattr(value, "isoformat"):
        return value.isoformat()
    try:
        return plain_value(value)
    except TypeError:
        return f"<{type(value).__name__}>"
