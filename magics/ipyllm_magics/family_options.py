"""The options of the magics around ``%%llm``, in the same kind of table."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from ipyllm_magics import words
from ipyllm_magics.options import HELP, LLM, Option

__all__ = ["COMPARE", "VOTE", "variation"]


def variation(word: str) -> tuple[str, list[Any]]:
    """Read ``name=value,value``: each value is JSON, or else a text.

    Examples
    --------
    >>> variation("temperature=0,1"), variation('system="Be brief.","Be kind."'), variation("effort=low,high")
    (('temperature', [0, 1]), ('system', ['Be brief.', 'Be kind.']), ('effort', ['low', 'high']))
    """
    expected = "NAME=VALUE,VALUE, such as temperature=0,1"
    name, equals, text = word.partition("=")
    if not equals or not name.isidentifier():
        raise words.UnfitError(expected)
    try:
        values: list[Any] = json.loads(f"[{text}]", parse_constant=_no_constant)
    except ValueError:
        values = [words.parameter(f"{name}={value.strip()}")[1] for value in text.split(",")]
    if len(values) < 2:  # noqa: PLR2004 - one value is -p's business
        raise words.UnfitError(expected, f" For one value there is -p {name}=….")
    if any(value in values[:place] for place, value in enumerate(values)):
        raise words.UnfitError(f"values that differ for {name}")
    return name, values


def _no_constant(word: str) -> Any:
    raise ValueError(word)


def _shared(*names: str) -> tuple[Option, ...]:
    """Return options of ``%%llm`` that mean the same elsewhere."""
    return tuple(option for option in LLM if option.name in names)


COMPARE: tuple[Option, ...] = (
    Option(
        ("-m", "--model"),
        "models",
        "a model to compare, `service/model` or an alias; repeat it for each",
        str,
        "MODEL",
        many=True,
        example="-m openai/gpt-5-mini -m ollama/llama3.2",
        completes="model",
    ),
    Option(
        ("--vary",),
        "vary",
        "ask every model with each of these values of a parameter, or of `system`; may be repeated",
        variation,
        "NAME=VALUE,VALUE",
        many=True,
        example="--vary temperature=0,1",
        completes="parameter",
    ),
    Option(("-s", "--system"), "system", "system message, the same for all", str, "TEXT", example='-s "Be brief."'),
    Option(
        ("-c", "--conversation"),
        "conversation",
        "conversation that all of them go on from; the answers are not added to it",
        str,
        "NAME",
        example="-c review",
        completes="conversation",
    ),
    Option(
        ("-o", "--output"),
        "output",
        "variable that takes the DataFrame (the comparison itself is always in _llm_compare)",
        words.variable,
        "VAR",
        example="-o table",
        completes="variable",
    ),
    Option(("--blind",), "blind", "shuffle the columns, and show no names before you voted", example="--blind"),
    *(replace(option, help="class, type or JSON schema every answer must fit") for option in _shared("schema")),
    *_shared(
        "tools", "image", "temperature", "max_tokens", "top_p", "seed", "stop", "params", "timeout", "cache",
        "tags", "raw",
    ),
    Option(("--quiet",), "quiet", "show nothing; the outcome is in -o and in _llm_compare", example="--quiet"),
    HELP,
)  # fmt: skip
VOTE: tuple[Option, ...] = (HELP,)
