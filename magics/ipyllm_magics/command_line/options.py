"""Option tables of the magics, read by the parser, the help, the completion and the documentation."""

from __future__ import annotations

from dataclasses import replace

from ipyllm_magics.command_line.converters import (
    FORMATS,
    non_empty_text,
    number,
    one_of,
    parameter,
    positive,
    qualified_names,
    seconds,
    tag,
    variable_name,
    variation,
)
from ipyllm_magics.command_line.parser import Option

__all__ = ["COMPARE", "CONFIG", "EXPLAIN", "HISTORY", "LLM", "MODELS", "NOT_IN_COMPARE", "TABLES", "USAGE", "VOTE"]

_CONVERSATION = Option("-c, --conversation", "conversation to continue", str, "NAME", "-c review")
_HELP = Option("-h, --help", "show this", example="--help")
LLM: tuple[Option, ...] = (
    Option("-m, --model", "model, `service/model` or an alias", str, "MODEL", "-m ollama/llama3.2"),
    Option("-s, --system", "system message of the conversation", str, "TEXT", '-s "Be brief."'),
    _CONVERSATION,
    Option("--new", "clear the conversation first", example="--new"),
    Option(
        "--no-history", "do not read the conversation or add to it", example="--no-history", dest="history", value=False
    ),
    Option(
        "-o, --output",
        "variable for the ChatResponse (the last one is always in _llm)",
        variable_name,
        "VAR",
        "-o answer",
    ),
    Option(
        "-f, --format",
        "shown as markdown, text, code (also in the next cell), json, html (sandboxed), tokens (probability)",
        one_of(*FORMATS),
        "FORMAT",
        "-f code",
    ),
    Option(
        "--schema",
        "class, type (`list[City]`) or JSON schema of the answer; the value is in -o's `parsed`",
        str,
        "NAME",
        "--schema City",
    ),
    Option("--tools", "your functions that the model may call", qualified_names, "f,g", "--tools weather,add"),
    Option(
        "--image",
        "image to ask about: a file, a URL, or a variable (figure, array, PIL); may be repeated",
        str,
        "PATH|URL|VAR",
        "--image plot.png",
        repeatable=True,
    ),
    Option("--effort", "how much the model reasons: none, low, high, …", non_empty_text, "LEVEL", "--effort low"),
    Option("--verbosity", "how much it writes: low, medium, high", non_empty_text, "LEVEL", "--verbosity low"),
    Option("-t, --temperature", "sampling temperature, 0 to 2", number, "NUMBER", "-t 0"),
    Option("--max-tokens", "longest answer, in tokens", int, "N", "--max-tokens 200"),
    Option(
        "--top-p", "sample from the most likely tokens with this total probability", number, "NUMBER", "--top-p 0.9"
    ),
    Option("--seed", "seed of the sampling", int, "N", "--seed 7"),
    Option(
        "--stop",
        "text at which the answer ends; may be repeated",
        non_empty_text,
        "TEXT",
        '--stop "\\n\\n"',
        repeatable=True,
    ),
    Option(
        "--logprobs",
        "log probabilities of the answer's tokens, with N alternatives of each, 0 to 20: `logprobs` of -o",
        int,
        "N",
        "--logprobs 5",
    ),
    Option(
        "-p, --param",
        "any other parameter of the model, its value as JSON; may be repeated",
        parameter,
        "NAME=VALUE",
        "-p presence_penalty=0.5",
        dest="params",
        repeatable=True,
    ),
    Option("--timeout", "longest wait for new data, in seconds", seconds, "SECONDS", "--timeout 120"),
    Option("--cache", "answer from ipyllm's cache if possible", example="--cache"),
    Option("--no-cache", "do not answer from the cache", example="--no-cache", dest="cache", value=False),
    Option(
        "--tag",
        "label of the call, the column tags.KEY of `usage()`; may be repeated",
        tag,
        "KEY=VALUE",
        "--tag arm=terse",
        dest="tags",
        repeatable=True,
    ),
    Option("--raw", "send the prompt as written: {{ }} is not filled in", example="--raw"),
    Option("--quiet", "show nothing; the answer is in -o and in _llm", example="--quiet"),
    Option("--dry-run", "show what would be sent and what it may cost; send nothing", example="--dry-run"),
    _HELP,
)
_BY_NAME = {option.name: option for option in LLM}
_SAMPLING = ("effort", "verbosity", "temperature", "max_tokens", "top_p", "seed", "stop", "logprobs", "params")


def _llm_options(*names: str) -> tuple[Option, ...]:
    """Return options of ``%%llm`` that have the same meaning for another magic."""
    return tuple(option for option in LLM if option.name in names)


COMPARE: tuple[Option, ...] = (
    replace(
        _BY_NAME["model"],
        help="model to compare, `service/model` or an alias; repeat it for each",
        example="-m openai/gpt-6-luna -m ollama/llama3.2",
        dest="models",
        repeatable=True,
    ),
    Option(
        "--vary",
        "ask every model with each of these values of a parameter, of `system`, or of `prompt`, which stands in the "
        "body as `{{ prompt }}`: texts, or names of variables that hold templates; may be repeated",
        variation,
        "NAME=VALUE,VALUE",
        "--vary effort=low,high",
        repeatable=True,
    ),
    replace(_BY_NAME["system"], help="system message, the same for all"),
    replace(_CONVERSATION, help="conversation that every arm continues; the answers are not added to it"),
    replace(
        _BY_NAME["output"],
        help="variable for the DataFrame (the comparison itself is always in _llm_compare)",
        example="-o table",
    ),
    Option("--blind", "shuffle the columns and hide the names until you vote", example="--blind"),
    replace(
        _BY_NAME["format"],
        help="how the answers are shown: markdown, text, code, json, html (sandboxed), tokens; no cell is created",
    ),
    replace(
        _BY_NAME["schema"],
        help="class, type (`list[City]`) or JSON schema of every answer; the values are in -o's `parsed`",
    ),
    *_llm_options("tools", "image", *_SAMPLING, "timeout", "cache", "tags", "raw"),
    replace(_BY_NAME["quiet"], help="show nothing; the outcome is in -o and in _llm_compare"),
    replace(_BY_NAME["dry_run"], help="show what would be sent to each and what it may cost; send nothing"),
    _HELP,
)
NOT_IN_COMPARE = {
    "--new": "a comparison starts without a conversation, unless -c names one",
    "--no-history": "a comparison is never added to a conversation, and reads one only if -c names it",
}
"""Options of ``%%llm`` that ``%%llm_compare`` does not have, and the reasons."""
VOTE: tuple[Option, ...] = (_HELP,)
HISTORY: tuple[Option, ...] = (
    _CONVERSATION,
    Option("--last", "show only the last N turns", positive, "N", "--last 3"),
    Option("--replace", "overwrite the file, or the conversation that is loaded into", example="--replace"),
    _HELP,
)
MODELS: tuple[Option, ...] = (
    Option("--timeout", "seconds to wait for each server's list (3)", seconds, "SECONDS", "--timeout 10"),
    Option("--all", "every model of a server that has many", example="--all"),
    _HELP,
)
USAGE: tuple[Option, ...] = (
    Option(
        "--by", "summarise by model, status, day, params.temperature, tags.arm, …", str, "COLUMN[,COLUMN]", "--by model"
    ),
    Option("--last", "only the last N of these calls", positive, "N", "--last 10"),
    Option("--notebook", "calls of this notebook, from all its kernels", example="--notebook"),
    Option("--all", "calls of every kernel, not only this one", example="--all"),
    Option(
        "--since",
        "calls that started then or later, or that long ago",
        non_empty_text,
        "DATE|2h|yesterday",
        "--since 2h",
    ),
    Option("--until", "calls that started before", non_empty_text, "DATE", "--until 2026-11-23T14:30"),
    replace(
        _BY_NAME["model"],
        help="calls to this model; may be repeated",
        example="-m openai/gpt-6-luna",
        dest="models",
        repeatable=True,
    ),
    Option(
        "--status",
        "calls with this outcome: ok, error, …; may be repeated",
        str,
        "STATUS",
        "--status error",
        repeatable=True,
    ),
    replace(_BY_NAME["tags"], help="calls with this tag; may be repeated"),
    Option("--full", "every column of the ledger", example="--full"),
    Option("--csv", "write every column to this file", non_empty_text, "FILE", "--csv calls.csv"),
    Option("--parquet", "write every column to this file", non_empty_text, "FILE", "--parquet calls.parquet"),
    _HELP,
)
CONFIG: tuple[Option, ...] = (
    Option("--save", "also write it into your config.toml", example="--save"),
    Option("--unset", "restore what was set before this kernel changed it", example="--unset"),
    _HELP,
)
EXPLAIN: tuple[Option, ...] = (
    Option("--values", "send the values of variables too, not only their types", example="--values"),
    replace(
        _BY_NAME["format"],
        help="how the explanation is shown: markdown, text, …; code: the corrected cell, put below",
    ),
    *_llm_options("model", "system", "output", *_SAMPLING, "timeout", "cache", "tags", "quiet", "dry_run"),
    _HELP,
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
"""The options of each magic, by its name."""
