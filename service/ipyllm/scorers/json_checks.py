"""Scorers that check whether an answer is JSON and matches a schema."""

from __future__ import annotations

import json
from functools import partial
from typing import TYPE_CHECKING, Any

from ipyllm.scorers.scorer import TIMEOUT_S, Score, Scorer

if TYPE_CHECKING:
    from ipyllm.structured import Schema

__all__ = ["json_schema", "json_valid"]


def json_valid(*, strict: bool = False, name: str = "json_valid") -> Scorer:
    """Score whether the answer is JSON; ``score_<name>_reason`` has the problem.

    Parameters
    ----------
    strict : bool
        The complete text must be JSON (RFC 8259). Otherwise code fences and text around it are ignored, as for
        structured output.
    name : str
        Name of the scorer.

    Examples
    --------
    >>> from ipyllm import ChatResponse, scorers
    >>> response = ChatResponse(content='Sure! {"city": "Bern"}')
    >>> scorers.json_valid().call(response).value, scorers.json_valid(strict=True).call(response).value
    (True, False)
    """
    return Scorer(
        name,
        partial(_json_valid, strict=strict),
        takes_row=False,
        inline=True,
        gives=("reason",),
        higher_is_better=True,
    )


def _json_valid(response: Any, *, strict: bool) -> Score:
    from ipyllm.structured.json_answer import SchemaMismatch, read_json

    text = str(response.content)
    try:
        if strict:
            # Numbers stay text: Python reads no integers of more than 4,300 digits, which JSON allows.
            json.loads(text, parse_constant=_reject_constant, parse_int=str, parse_float=str)
        else:
            read_json(text)
    except (SchemaMismatch, ValueError, RecursionError) as exc:
        return Score(value=False, reason=str(exc))
    return Score(value=True)


def _reject_constant(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


def json_schema(schema: Any, *, name: str = "json_schema") -> Scorer:
    """Score whether the answer is JSON that matches a schema; ``score_<name>_reason`` has the problem.

    Parameters
    ----------
    schema : type or dict
        As for ``chat(schema=…)``: a Pydantic model, a dataclass, a TypedDict, another type, or a JSON schema.
    name : str
        Name of the scorer.

    Raises
    ------
    LLMError
        ``bad_request``: an invalid schema.

    Examples
    --------
    >>> from ipyllm import ChatResponse, scorers
    >>> fits = scorers.json_schema({"type": "object", "required": ["city"]})
    >>> fits.call(ChatResponse(content='{"town": "Bern"}'))
    Score(value=False, reason="The answer does not fit answer: 'city' is a required property.", cost_usd=None)
    """
    from ipyllm.structured import Schema

    wanted = Schema.of(schema)
    return Scorer(
        name,
        partial(_json_schema, schema=wanted),
        takes_row=False,
        # A type may have validators of the user, which may hang.
        inline=isinstance(schema, dict),
        timeout=TIMEOUT_S,
        gives=("reason",),
        higher_is_better=True,
    )


def _json_schema(response: Any, *, schema: Schema) -> Score:
    from ipyllm.structured import SchemaMismatch

    try:
        schema.parse(str(response.content))
    except SchemaMismatch as exc:
        return Score(value=False, reason=str(exc))
    return Score(value=True)
