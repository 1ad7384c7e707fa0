"""Scorers of an answer's form: whether it is JSON, and whether it fits a schema."""

from __future__ import annotations

import json
from functools import partial
from typing import TYPE_CHECKING, Any

from ipyllm.scorers.scorer import TIMEOUT_S, Score, Scorer

if TYPE_CHECKING:
    from ipyllm.structured import Schema

__all__ = ["json_schema", "json_valid"]


def json_valid(*, strict: bool = False, name: str = "json_valid") -> Scorer:
    """Whether the answer is JSON; what is wrong with it stands in ``score_<name>_reason``.

    Parameters
    ----------
    strict : bool
        The whole text must be JSON (RFC 8259). Otherwise it is read as structured output is, past code fences and
        chatter.
    name : str
        Of the column of scores.

    Examples
    --------
    >>> from ipyllm import ChatResponse, scorers
    >>> response = ChatResponse(content='Sure! {"city": "Bern"}')
    >>> scorers.json_valid().call(response).value, scorers.json_valid(strict=True).call(response).value
    (True, False)
    """
    return Scorer(name, partial(_json_valid, strict=strict), takes_row=False, inline=True, gives=("reason",))


def _json_valid(response: Any, *, strict: bool) -> Score:
    from ipyllm.structured.answer import SchemaMismatch, read_json

    text = str(response.content)
    try:
        if strict:
            json.loads(text, parse_constant=_refuse)
        else:
            read_json(text)
    except (SchemaMismatch, ValueError, RecursionError) as exc:
        return Score(value=False, reason=str(exc))
    return Score(value=True)


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


def json_schema(schema: Any, *, name: str = "json_schema") -> Scorer:
    """Whether the answer is JSON that fits a schema; what is wrong with it stands in ``score_<name>_reason``.

    Parameters
    ----------
    schema : type or dict
        What ``chat(schema=…)`` takes: a Pydantic model, a dataclass, a TypedDict, another type, or a JSON schema.
    name : str
        Of the column of scores.

    Raises
    ------
    LLMError
        ``bad_request``: it cannot be used as a schema.

    Examples
    --------
    >>> from ipyllm import ChatResponse, scorers
    >>> fits = scorers.json_schema({"type": "object", "required": ["city"]})
    >>> fits.call(ChatResponse(content='{"town": "Bern"}'))
    Score(value=False, reason="The answer does not fit answer: 'city' is a required property.", cost_usd=None)
    """
    from ipyllm.structured import Schema

    made = Schema.of(schema)
    return Scorer(
        name,
        partial(_json_schema, schema=made),
        takes_row=False,
        # A type may bring validators of the user's own, which may hang.
        inline=isinstance(schema, dict),
        timeout=TIMEOUT_S,
        gives=("reason",),
    )


def _json_schema(response: Any, *, schema: Schema) -> Score:
    from ipyllm.structured import SchemaMismatch

    try:
        schema.parse(str(response.content))
    except SchemaMismatch as exc:
        return Score(value=False, reason=str(exc))
    return Score(value=True)
