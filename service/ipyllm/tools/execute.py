"""Executes the tool calls of a model: checks the arguments, calls the function, converts the result to text.

Runs on the service thread; the function, and the conversion of its result, run where :class:`CallerExecutor` runs them.
Every error is returned to the model, which may correct its call: a failed tool call never fails the call to the model.
"""

from __future__ import annotations

import asyncio
from functools import partial
from time import perf_counter
from typing import TYPE_CHECKING, Any

from ipyllm.response import ToolResult
from ipyllm.text.format import json_path, shorten
from ipyllm.text.suggest import closest
from ipyllm.tools.caller_executor import ToolTimeout, UserCode
from ipyllm.tools.result_text import as_text, describe_error, truncate

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pydantic_core import ErrorDetails

    from ipyllm.response import ToolCall
    from ipyllm.tools.caller_executor import CallerExecutor
    from ipyllm.tools.tool_schema import Tool

__all__ = ["OUTPUT_CHARS", "execute", "execute_all"]

OUTPUT_CHARS = 32_000
"""Characters of a result that a model receives: about 8,000 tokens."""
_ERROR_CHARS = 2_000
_MAX_PROBLEMS = 5


async def execute_all(
    calls: Iterable[ToolCall], tools: Mapping[str, Tool], caller_executor: CallerExecutor, *, limit: int = OUTPUT_CHARS
) -> tuple[ToolResult, ...]:
    """Run the tool calls of one response: async functions concurrently, plain ones one after the other.

    ``tools`` are those of :func:`~ipyllm.tools.tools_by_name`. Results are in the order of the calls; each is truncated
    to ``limit`` characters, with a note.
    """
    tasks = [asyncio.ensure_future(execute(call, tools, caller_executor, limit=limit)) for call in calls]
    try:
        return tuple(await asyncio.gather(*tasks))
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)  # on return no job of ours is pending


async def execute(
    call: ToolCall, tools: Mapping[str, Tool], caller_executor: CallerExecutor, *, limit: int = OUTPUT_CHARS
) -> ToolResult:
    """Run one tool call; see :func:`execute_all`."""
    started = perf_counter()
    error: str | None = None
    try:
        tool = _find(call.name, tools)
        function = partial(tool.function, **_parse(tool, call.arguments))
        code = UserCode(tool.name, function, tool.is_async, tool.timeout)
        output = await caller_executor.run(code, convert=partial(as_text, limit=limit))
    except _InvalidCall as exc:
        error = str(exc)
    except ToolTimeout as exc:
        error = f"TimeoutError: {exc}"  # a name that models know
    except Exception as exc:  # noqa: BLE001 - the model receives whatever the user's code raises
        error = describe_error(exc)
    if error is not None:
        output = error = truncate(error, min(limit, _ERROR_CHARS))
    return ToolResult(call.id, call.name, call.arguments, output, error, perf_counter() - started)


class _InvalidCall(Exception):  # noqa: N818 - the model's error, not the program's
    """Raised for an unknown tool or invalid arguments."""


def _find(name: str, tools: Mapping[str, Tool]) -> Tool:
    tool = tools.get(name)
    if tool is None:
        raise _InvalidCall(f"There is no tool {shorten(repr(name), 60)} ({_alternatives(name, tools)}).")
    return tool


def _parse(tool: Tool, text: str) -> dict[str, Any]:
    """Return the arguments as the function takes them, without those that are left to its defaults."""
    from pydantic import ValidationError

    try:
        parsed = tool.arguments.model_validate_json(text.strip() or "{}")
    except ValidationError as exc:
        problems = exc.errors(include_url=False, include_context=False)
        shown = [_describe(problem, tool) for problem in problems[:_MAX_PROBLEMS]]
        if len(problems) > _MAX_PROBLEMS:
            shown.append(f"and {len(problems) - _MAX_PROBLEMS} more")
        raise _InvalidCall(
            f"{tool.name} was not called: {'; '.join(shown)}. Correct the arguments and call it again."
        ) from None
    fields = tool.arguments.model_fields
    given = parsed.model_fields_set
    return {field.alias or name: getattr(parsed, name) for name, field in fields.items() if name in given}


def _describe(problem: ErrorDetails, tool: Tool) -> str:
    path, message = json_path(problem["loc"]), problem["msg"]
    match problem["type"]:
        case "json_invalid":
            return f"the arguments are not valid JSON ({message.removeprefix('Invalid JSON: ')})"
        case "model_type" if not path:
            return "the arguments must be a JSON object"
        case "missing":
            return f"{path!r} is missing"
        case "extra_forbidden":
            return f"there is no argument {path!r} ({_alternatives(path, tool.parameters['properties'])})"
    return f"{path}: {message[:1].lower()}{message[1:]}, not {shorten(repr(problem['input']), 60)}"


def _alternatives(name: str, known: Iterable[str]) -> str:
    names = list(known)
    near = closest(name, names)
    if near is not None:
        return f"did you mean {near!r}?"
    return f"there are: {', '.join(names)}" if names else "there are none"
