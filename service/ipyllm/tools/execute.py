"""One tool call that a model asked for: its JSON read and checked, the function called, the result as text.

Runs on the service thread; the function itself, and the turning of its result into text, run on the user's side. What
goes wrong is told to the model, which may do better next time: a call to a tool never makes a call to a model fail.
"""

from __future__ import annotations

import asyncio
import difflib
from functools import partial
from time import perf_counter
from typing import TYPE_CHECKING, Any

from ipyllm.response import ToolResult
from ipyllm.tools.caller_executor import ToolTimeout
from ipyllm.tools.result_text import as_text, cut, told

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pydantic import ValidationError
    from pydantic_core import ErrorDetails

    from ipyllm.response import ToolCall
    from ipyllm.tools.caller_executor import CallerExecutor
    from ipyllm.tools.schema import Tool

__all__ = ["OUTPUT_CHARS", "execute", "execute_all"]

OUTPUT_CHARS = 32_000
"""Characters of a result that a model is shown: some 8,000 tokens."""
_ERROR_CHARS = 2_000
_MAX_PROBLEMS = 5


async def execute_all(
    calls: Iterable[ToolCall], tools: Mapping[str, Tool], caller_executor: CallerExecutor, *, limit: int = OUTPUT_CHARS
) -> tuple[ToolResult, ...]:
    """Run the tool calls of one answer: async functions together, plain ones one after the other.

    Parameters
    ----------
    calls : iterable of ToolCall
        As the model asked.
    tools : mapping
        By name, as :func:`~ipyllm.tools.toolbox` makes it.
    caller_executor : CallerExecutor
        Where the functions run.
    limit : int
        Characters of each result; longer ones are cut, with a note.

    Returns
    -------
    tuple of ToolResult
        In the order of the calls.

    Raises
    ------
    asyncio.CancelledError
        The user interrupted, or is gone.
    """
    tasks = [asyncio.ensure_future(execute(call, tools, caller_executor, limit=limit)) for call in calls]
    try:
        return tuple(await asyncio.gather(*tasks))
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)  # who returns has nothing out on the user's side


async def execute(
    call: ToolCall, tools: Mapping[str, Tool], caller_executor: CallerExecutor, *, limit: int = OUTPUT_CHARS
) -> ToolResult:
    """Run one tool call; like :func:`execute_all`."""
    began = perf_counter()
    output, error = await _outcome(call, tools, caller_executor, limit)
    return ToolResult(call.id, call.name, call.arguments, output, error, perf_counter() - began)


async def _outcome(
    call: ToolCall, tools: Mapping[str, Tool], caller_executor: CallerExecutor, limit: int
) -> tuple[str, str | None]:
    try:
        tool = _find(call.name, tools)
        kwargs = _read(tool, call.arguments)
        return await caller_executor.run(tool, kwargs, then=partial(as_text, limit=limit)), None
    except _Misfit as exc:
        error = str(exc)
    except ToolTimeout as exc:
        error = f"TimeoutError: {exc}"  # a word that models know
    except Exception as exc:  # noqa: BLE001 - whatever the user's code raises, the model is told
        error = told(exc)
    error = cut(error, min(limit, _ERROR_CHARS))
    return error, error


class _Misfit(Exception):  # noqa: N818 - no fault of the program, but of a model
    """A tool or arguments that do not exist."""


def _find(name: str, tools: Mapping[str, Tool]) -> Tool:
    tool = tools.get(name)
    if tool is None:
        raise _Misfit(f"There is no tool {_bounded(name)} ({_meant(name, list(tools))}).")
    return tool


def _read(tool: Tool, text: str) -> dict[str, Any]:
    """Return the arguments as the function takes them; those that were not given are left to its own defaults."""
    from pydantic import ValidationError

    try:
        read = tool.arguments.model_validate_json(text.strip() or "{}")
    except ValidationError as exc:
        raise _Misfit(_misfit(tool, exc)) from None
    fields = tool.arguments.model_fields
    return {field.alias or name: getattr(read, name) for name, field in fields.items() if name in read.model_fields_set}


def _misfit(tool: Tool, exc: ValidationError) -> str:
    problems = exc.errors(include_url=False, include_context=False)
    told = [_problem(problem, tool) for problem in problems[:_MAX_PROBLEMS]]
    if len(problems) > _MAX_PROBLEMS:
        told.append(f"and {len(problems) - _MAX_PROBLEMS} more")
    return f"{tool.name} was not called: {'; '.join(told)}. Correct the arguments and call it again."


def _problem(problem: ErrorDetails, tool: Tool) -> str:
    where = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in problem["loc"]).lstrip(".")
    message = problem["msg"]
    match problem["type"]:
        case "json_invalid":
            return f"the arguments are no valid JSON ({message.removeprefix('Invalid JSON: ')})"
        case "model_type" if not where:
            return "the arguments must be a JSON object"
        case "missing":
            return f"{where!r} is missing"
        case "extra_forbidden":
            return f"there is no argument {where!r} ({_meant(where, list(tool.parameters['properties']))})"
    return f"{where}: {message[:1].lower()}{message[1:]}, not {_bounded(problem['input'])}"


def _meant(name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    if near:
        return f"did you mean {near[0]!r}?"
    return f"there are: {', '.join(known)}" if known else "there are none"


def _bounded(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:60]}…"  # noqa: PLR2004 - as much as a sentence bears
