"""The answer that a scorer gets: a ChatResponse read from its row of the ledger, with its prompt.

Old and new calls give the same answers, so they can be scored again without calling a model.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

from ipyllm.pipeline.stored_responses import response_values
from ipyllm.response import ChatResponse, Usage
from ipyllm.timing import Timing

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pandas as pd

__all__ = ["Answer", "answers"]


@dataclass(frozen=True, slots=True)
class Answer(ChatResponse):
    """A :class:`~ipyllm.response.ChatResponse` with its prompt.

    Attributes
    ----------
    prompt : str
        The last user message, as it was sent.
    params, tags : mapping
        Parameters and tags of the call.
    experiment, arm, prompt_id : str or None
        Its place in an experiment.

    Examples
    --------
    >>> answer = Answer.of({"prompt": "2 + 2?", "response": "4", "status": "ok", "model": "local/smollm2-135m"})
    >>> answer.prompt, answer.content, str(answer), answer.status
    ('2 + 2?', '4', '4', 'ok')
    """

    prompt: str = ""
    params: Mapping[str, Any] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    experiment: str | None = None
    arm: str | None = None
    prompt_id: str | None = None

    @classmethod
    def of(cls, call: Mapping[str, Any]) -> Answer:
        """Make an answer from a row of the ledger; missing and null values get their defaults."""
        own = {name: call[name] for name in _OWN if call.get(name) is not None}
        return cls(**response_values(call), **own)


_OWN = [f.name for f in fields(Answer) if f.name not in {g.name for g in fields(ChatResponse)}]
_COLUMNS = {"response", "usage_source"}.union(*({f.name for f in fields(kind)} for kind in (Answer, Usage, Timing)))


def answers(calls: pd.DataFrame) -> list[Answer]:
    """Return the answers in a table of calls, in its order."""
    columns = [name for name in calls.columns if name in _COLUMNS]
    # Python values, and None for every kind of null.
    values = [calls[name].astype("object").where(calls[name].notna(), None).tolist() for name in columns]
    return [Answer.of(dict(zip(columns, row, strict=True))) for row in zip(*values, strict=True)] if values else []
