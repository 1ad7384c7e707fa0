"""The options of the magics around ``%%llm``, in the same kind of table."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from ipyllm_magics.command_line import converters
from ipyllm_magics.command_line.options import CONVERSATION, HELP, LLM, Option

__all__ = [
    "COMPARE",
    "COMPARE_WITHOUT",
    "CONFIG",
    "EXPLAIN",
    "HISTORY",
    "MODELS",
    "TABLES",
    "USAGE",
    "VOTE",
    "variation",
]


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
        raise converters.UnfitError(expected)
    try:
        values: list[Any] = json.loads(f"[{text}]", parse_constant=_no_constant)
    except ValueError:
        values = [converters.parameter(f"{name}={value.strip()}")[1] for value in text.split(",")]
    if len(values) < 2:  # noqa: PLR2004 - one value is -p's business
        raise converters.UnfitError(expected, f" For one value there is -p {name}=….")
    if any(value in values[:place] for place, value in enumerate(values)):
        raise converters.UnfitError(f"values that differ for {name}")
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
        converters.variable,
        "VAR",
        example="-o table",
        completes="variable",
    ),
    Option(("--blind",), "blind", "shuffle the columns, and show no names before you voted", example="--blind"),
    *(
        replace(option, help="how the answers are shown: markdown, text, code, json, html (boxed in); no cell is made")
        for option in _shared("format")
    ),
    *(
        replace(option, help="class, type or JSON schema every answer must fit; the values are in -o's `parsed`")
        for option in _shared("schema")
    ),
    *_shared(
        "tools",
        "image",
        "temperature",
        "max_tokens",
        "top_p",
        "seed",
        "stop",
        "params",
        "timeout",
        "cache",
        "tags",
        "raw",
    ),
    Option(("--quiet",), "quiet", "show nothing; the outcome is in -o and in _llm_compare", example="--quiet"),
    Option(
        ("--dry-run",),
        "dry_run",
        "show what would be sent to each and what it may cost; send nothing",
        example="--dry-run",
    ),
    HELP,
)
COMPARE_WITHOUT = {
    "--new": "a comparison begins without a conversation, unless -c names one",
    "--no-history": "a comparison reads no conversation, unless -c names one, and is never added to one",
}
"""Options of ``%%llm`` that ``%%llm_compare`` has not, and why."""
VOTE: tuple[Option, ...] = (HELP,)
HISTORY: tuple[Option, ...] = (
    CONVERSATION,
    Option(("--replace",), "replace", "write over a file, or load over a conversation, that is there already"),
    HELP,
)
MODELS: tuple[Option, ...] = (
    Option(
        ("--timeout",),
        "timeout",
        "seconds that each server may take to say what it has (3)",
        converters.seconds,
        "SECONDS",
        example="--timeout 10",
    ),
    Option(("--all",), "all", "every model of a server that has many", example="--all"),
    HELP,
)
USAGE: tuple[Option, ...] = (
    Option(
        ("--by",),
        "by",
        "summarise by model, status, day, params.temperature, tags.arm, …",
        str,
        "COLUMN[,COLUMN]",
        example="--by model",
    ),
    Option(("--notebook",), "notebook", "calls of this notebook, whichever kernels it had", example="--notebook"),
    Option(("--all",), "all", "calls of every kernel, not only this one", example="--all"),
    Option(
        ("--since",),
        "since",
        "calls that began then or later",
        converters.something,
        "MOMENT",
        example="--since 2026-11-23",
    ),
    Option(
        ("--until",),
        "until",
        "calls that began before",
        converters.something,
        "MOMENT",
        example="--until 2026-11-23T14:30",
    ),
    Option(
        ("-m", "--model"),
        "models",
        "calls to this model; may be repeated",
        str,
        "MODEL",
        many=True,
        example="-m openai/gpt-5-mini",
        completes="model",
    ),
    Option(
        ("--status",),
        "status",
        "calls that ended so: ok, error, …; may be repeated",
        str,
        "STATUS",
        many=True,
        example="--status error",
    ),
    Option(
        ("--tag",),
        "tags",
        "calls with this tag; may be repeated",
        converters.tag,
        "KEY=VALUE",
        many=True,
        example="--tag arm=terse",
    ),
    Option(("--full",), "full", "every column of the ledger", example="--full"),
    Option(
        ("--csv",),
        "csv",
        "write it to this file, every column",
        converters.something,
        "FILE",
        example="--csv calls.csv",
    ),
    Option(
        ("--parquet",),
        "parquet",
        "write it to this file, every column",
        converters.something,
        "FILE",
        example="--parquet calls.parquet",
    ),
    HELP,
)
CONFIG: tuple[Option, ...] = (
    Option(("--save",), "save", "also write it into the user's config.toml", example="--save"),
    Option(("--unset",), "unset", "give it back to what it was before this kernel set it", example="--unset"),
    HELP,
)
EXPLAIN: tuple[Option, ...] = (
    Option(("--values",), "values", "send the values of variables too, not only their types", example="--values"),
    *_shared(
        "model",
        "system",
        "output",
        "temperature",
        "max_tokens",
        "top_p",
        "seed",
        "stop",
        "params",
        "timeout",
        "cache",
        "tags",
        "quiet",
        "dry_run",
    ),
    HELP,
)
TABLES: dict[str, tuple[Option, ...]] = {
    "llm": LLM,
    "llm_compare": COMPARE,
    "llm_vote": VOTE,
    "llm_models": MODELS,
    "llm_history": HISTORY,
    "llm_usage": USAGE,
    "llm_config": CONFIG,
    "llm_explain": EXPLAIN,
}
"""The options of every magic, by its name."""
