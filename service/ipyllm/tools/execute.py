"""Executes the tool calls of a model: checks the arguments, calls the function, converts the result to text.

Runs on the service thread; the checks, the function, and the conversion of its result or error are the user's code,
and run where :class:`CallerExecutor` runs them. Every error is returned to the model, which may correct its call: a
failed tool call never fails the call to the model.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from functools import partial
from time import perf_counter
from typing import TYPE_CHECKING, Any

from ipyllm.response import ToolResult
from ipyllm.text.format import json_path, shorten
from ipyllm.text.suggest import closest
from ipyllm.tools.caller_executor import ToolTimeout, UserCode
from ipyllm.tools.result_text import as_text, describe_error, truncate

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from pydantic_core import ErrorDetails

    from ipyllm.response import ToolCall
    from ipyllm.tools.caller_executor import CallerExecutor
    from ipyllm.tools.tool_schema import Tool

__all__ = ["OUTPUT_CHARS", "execute_all"]

OUTPUT_CHARS = 32_000
"""Characters of a result that a model receives: about 8,000 tokens."""
_ERROR_CHARS = 2_000
_MAX_PROBLEMS = 5


@dataclass(frozen=True, slots=True)
class _Failure:
    """Why there is no result, for the model."""

    text: str


class _Arguments:
    """The arguments of a call, which the user's validators have made: dropped where the function is called."""

    def __init__(self, values: dict[str, Any]) -> None:
        self._values: dict[str, Any] | None = values

    def apply(self, tool: Tool) -> Any:
        values, self._values = self._values, None
        assert values is not None, "a call runs once"
        return tool.function(**values)


async def execute_all(
    calls: Iterable[ToolCall], tools: Mapping[str, Tool], caller_executor: CallerExecutor, *, limit: int = OUTPUT_CHARS
) -> tuple[ToolResult, ...]:
    """Run the tool calls of one response: async functions concurrently, plain ones one after the other.

    ``tools`` are those of :func:`~ipyllm.tools.tools_by_name`. First the arguments of all are checked. Results are in
    the order of the calls; each is truncated to ``limit`` characters, with a note.
    """
    started = perf_counter()
    calls = list(calls)
    checked = await _check_all(calls, tools, caller_executor)
    tasks = [
        asyncio.ensure_future(_execute(call, tools, arguments, caller_executor, limit, started))
        for call, arguments in zip(calls, checked, strict=True)
    ]
    try:
        return tuple(await asyncio.gather(*tasks))
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)  # on return no job of ours is pending


async def _execute(
    call: ToolCall,
    tools: Mapping[str, Tool],
    arguments: _Arguments | _Failure,
    caller_executor: CallerExecutor,
    limit: int,
    started: float,
) -> ToolResult:
    result: str | _Failure
    if isinstance(arguments, _Failure):
        result = arguments
    else:
        tool = tools[call.name]
        code = UserCode(tool.name, partial(arguments.apply, tool), tool.is_async, tool.timeout)
        try:
            result = await caller_executor.run(code, convert=partial(as_text, limit=limit), describe=_failure)
        except ToolTimeout as exc:
            result = _timed_out(exc)
    error: str | None = None
    if isinstance(result, _Failure):
        result = error = truncate(result.text, min(limit, _ERROR_CHARS))
    return ToolResult(call.id, call.name, call.arguments, result, error, perf_counter() - started)


async def _check_all(
    calls: Sequence[ToolCall], tools: Mapping[str, Tool], caller_executor: CallerExecutor
) -> list[_Arguments | _Failure]:
    """Check the arguments of all calls, in their order."""
    if not any(call.name in tools for call in calls):
        return [_check(call, tools) for call in calls]
    try:
        return await caller_executor.check(
            "checking the arguments of tools", lambda: [_check(call, tools) for call in calls]
        )
    except ToolTimeout as exc:
        return [_timed_out(exc)] * len(calls)


def _check(call: ToolCall, tools: Mapping[str, Tool]) -> _Arguments | _Failure:
    """Check the arguments of one call; return an exit of a validator as a failure too."""
    tool = tools.get(call.name)
    if tool is None:
        return _Failure(f"There is no tool {shorten(repr(call.name), 60)} ({_alternatives(call.name, tools)}).")
    try:
        return _parse(tool, call.arguments)
    except BaseException as exc:  # noqa: BLE001 - the model receives whatever the user's validators raise
        return _failure(exc)


def _failure(exc: BaseException) -> _Failure:
    return _Failure(describe_error(exc))


def _timed_out(exc: ToolTimeout) -> _Failure:
    return _Failure(f"TimeoutError: {exc}")  # a name that models know


def _parse(tool: Tool, text: str) -> _Arguments | _Failure:
    """Return the arguments as the function takes them, without those that are left to its defaults."""
    from pydantic import ValidationError

    try:
        parsed = tool.arguments.model_validate_json(text.strip() or "{}")
    except ValidationError as exc:
        problems = exc.errors(include_url=False, include_context=False)
        shown = [_describe(problem, tool) for problem in problems[:_MAX_PROBLEMS]]
        if len(problems) > _MAX_PROBLEMS:
            shown.append(f"and {len(problems) - _MAX_PROBLEMS} more")
        return _Failure(f"{tool.name} was not called: {'; '.join(shown)}. Correct the arguments and call it again.")
    fields = tool.arguments.model_fields
    given = parsed.model_fields_set
    return _Arguments({field.alias or name: getattr(parsed, name) for name, field in fields.items() if name in given})


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
