"""The tool loop: ask the model, run the tools it calls, send their results, until an answer fits the schema.

Each request is an exchange with its own ledger row. The loop runs on the service thread; the user's code, which is the
tools and all validators, does not: see :mod:`ipyllm.tools.caller_executor`.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar

from ipyllm.errors import LLMError
from ipyllm.observability.logs import log
from ipyllm.pipeline.stored_responses import interrupted_by_exit
from ipyllm.text.format import shorten

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from ipyllm.errors import LimitName
    from ipyllm.messages import Message
    from ipyllm.request import ChatRequest
    from ipyllm.response import Category, ChatResponse, Status, ToolResult
    from ipyllm.structured import Schema, SchemaMismatch, SchemaMode
    from ipyllm.tools import CallerExecutor

__all__ = ["ToolLoop", "first_request"]

_T = TypeVar("_T")
_logger = logging.getLogger("ipyllm.call")
_SHOWN = 200  # characters of a refusal in an error


def first_request(request: ChatRequest, mode: SchemaMode = "native") -> ChatRequest:
    """Return the request that a turn begins with: with the definitions of its tools, and its schema."""
    if not request.tools and request.schema is None:
        return request
    params = dict[str, Any]()
    messages = list(request.messages)
    if request.tools:
        params["tools"] = [tool.as_openai() for tool in request.tools.values()]
    if request.schema is not None:
        if mode != "prompt":
            params["response_format"] = request.schema.response_format(native=mode == "native")
        if mode != "native":
            messages = _with_instructions(messages, request.schema.instructions())
    return replace(request.with_params(**params), messages=tuple(messages))


@dataclass(frozen=True, slots=True)
class _Parsed:
    """The value in an answer."""

    value: Any


class ToolLoop:
    """The exchanges and tool results of one turn.

    ``ask`` sends a request and returns the response, or raises. ``deadline`` is in the loop's time; this class enforces
    it for tools, and exchanges for themselves. ``schema_mode`` is the first to try, and ``mode`` the one that
    the server has not refused. ``record`` takes columns for the row of an exchange that turns out not to be an answer:
    it is a step of the turn, or its answer failed.
    """

    def __init__(
        self,
        request: ChatRequest,
        ask: Callable[[ChatRequest], Awaitable[ChatResponse]],
        caller_executor: CallerExecutor,
        deadline: float | None = None,
        *,
        schema_mode: SchemaMode = "native",
        record: Callable[[str, Mapping[str, Any]], None] | None = None,
    ) -> None:
        self._request = request
        self._ask = ask
        self._caller_executor = caller_executor
        self._deadline = deadline
        self._added_messages: list[Message] = []
        self.mode = schema_mode
        self._record = record
        self._repairs = request.repairs
        self.steps: list[ChatResponse] = []
        self.results: list[ToolResult] = []

    async def run(self) -> ChatResponse:
        """Return the final answer; raise if the model keeps calling tools, or its answer never fits the schema."""
        while True:
            try:
                response = await self._ask_in_supported_mode()
            except LLMError as exc:
                self._keep_earlier_steps(exc)
                raise
            self.steps.append(response)
            if response.tool_calls and self._request.tools:
                await self._run_tools(response)
                continue
            if self._request.schema is None:
                return self._final_response(response, None)
            if response.refused:
                said = shorten(response.content, _SHOWN)
                raise self._failed(response, f"{self._request.model} refused to answer: {said}", "refusal")
            parsed = await self._parse(response, self._request.schema)
            if isinstance(parsed, _Parsed):
                return self._final_response(response, parsed.value)
            self._repair_or_raise(response, parsed)

    async def _ask_in_supported_mode(self) -> ChatResponse:
        while True:
            try:
                return await self._ask(self._next_request())
            except LLMError as exc:
                if self._request.schema is None:
                    raise
                from ipyllm.structured import next_mode

                simpler = next_mode(self.mode, exc)
                if simpler is None:
                    raise
                log(_logger, logging.INFO, "schema refused", model=self._request.model, mode=self.mode, next=simpler)
                self.mode = simpler

    def _next_request(self) -> ChatRequest:
        request = first_request(self._request, self.mode)
        if self.results and "tool_choice" in request.params:
            request = request.with_params(tool_choice=_after_first_round(request.params["tool_choice"]))
        return replace(request, messages=(*request.messages, *self._added_messages))

    async def _run_tools(self, response: ChatResponse) -> None:
        from ipyllm.tools import execute_all

        request = self._request
        rounds = sum(bool(step.tool_calls) for step in self.steps)
        if rounds > request.tool_rounds:
            raise self._failed(
                response,
                f"{request.model} called tools in {rounds} rounds without answering. Allow more with tool_rounds=…, or "
                "give it fewer tools.",
            )
        self._note(response, step="tools")
        results = await self._in_time(
            response, "its tools", execute_all(response.tool_calls, request.tools, self._caller_executor)
        )
        self.results += results
        self._added_messages += [_tool_call_message(response), *(result.as_message() for result in results)]

    async def _parse(self, response: ChatResponse, schema: Schema) -> _Parsed | SchemaMismatch:
        """Return the value in an answer, or why there is none."""
        from ipyllm.structured import SchemaMismatch
        from ipyllm.tools import ToolTimeout
        from ipyllm.tools.result_text import describe_error

        def parse() -> _Parsed | SchemaMismatch | LLMError | str:
            try:
                return _Parsed(schema.parse(response.content))
            except SchemaMismatch as exc:
                return SchemaMismatch(str(exc))  # without what it came from: the user's exceptions
            except LLMError as exc:
                return exc
            except BaseException as exc:  # noqa: BLE001 - a validator is the user's code
                return describe_error(exc)

        name = f"checking the answer against {schema.name}"
        try:
            parsed = await self._in_time(response, name, self._caller_executor.check(name, parse))
        except ToolTimeout as exc:
            raise self._failed(
                response, f"The answer of {self._request.model} was given up: {exc}.", "bad_request"
            ) from None
        if isinstance(parsed, LLMError):
            raise self._failed(response, str(parsed), parsed.category)
        if isinstance(parsed, str):
            raise self._failed(
                response,
                f"The answer of {self._request.model} could not be checked, because a validator of {schema.name} "
                f"raised {parsed.rstrip('.')}. A validator raises ValueError to refuse a value.",
                "bad_request",
            )
        return parsed

    async def _in_time(self, response: ChatResponse, what: str, work: Awaitable[_T]) -> _T:
        """Await the user's code; raise with the response so far, which was paid for, when its time is over."""
        request = self._request
        try:
            async with asyncio.timeout_at(self._deadline) as limit:
                return await work
        except TimeoutError:
            if not limit.expired():  # a limit of the work itself
                raise
            sentence = (
                f"{request.model} took too long: {what} exceeded the call's limit of {request.timeout.total:g} s."
            )
            raise self._failed(response, sentence, "timeout") from None
        except asyncio.CancelledError:
            raise self._failed(response, f"The call to {request.model} was cancelled.", "cancelled") from None

    def _repair_or_raise(self, response: ChatResponse, mismatch: SchemaMismatch) -> None:
        request = self._request
        assert request.schema is not None
        if response.finish_reason == "length":
            raise self._failed(
                response,
                f"{request.model} reached max_tokens before its JSON was complete. Allow more tokens.",
                "schema_mismatch",
            )
        if self._repairs == 0:
            sentence = f"The answer of {request.model} does not fit the schema: {mismatch}"
            raise self._failed(response, sentence, "schema_mismatch")
        self._repairs -= 1
        self._note(response, step="repair")
        log(_logger, logging.INFO, "answer does not fit its schema, asking again", model=request.model)
        self._added_messages += request.schema.repair_messages(response.content, mismatch)

    def _failed(self, response: ChatResponse, sentence: str, category: Category = "api_error") -> LLMError:
        """Return the error of a turn that failed after its last exchange, whose row says so, too."""
        status: Status = "cancelled" if category == "cancelled" else "error"
        partial = self._final_response(response, None)
        partial = replace(partial, status=status, error_category=category, error_message=sentence)
        partial = interrupted_by_exit(partial)
        outcome = {name: getattr(partial, name) for name in ("status", "error_category", "error_message")}
        self._note(response, **outcome, step=None)
        limit: LimitName | None = "total" if category == "timeout" else None
        return LLMError(sentence, category=category, model=self._request.model, partial=partial, limit=limit)

    def _note(self, response: ChatResponse, **columns: Any) -> None:
        if self._record is not None:
            self._record(response.call_id, columns)

    def _keep_earlier_steps(self, failure: LLMError) -> None:
        """Keep the responses of earlier exchanges in the outcome of a failed turn: they were received, and paid for."""
        if not self.steps:
            return
        if failure.partial is None:  # a route had no candidate left
            failure.partial = self._failed(self.steps[-1], str(failure), failure.category).partial
        else:
            self.steps.append(failure.partial)
            failure.partial = self._final_response(failure.partial, None)

    def _final_response(self, response: ChatResponse, parsed: Any) -> ChatResponse:
        if len(self.steps) == 1 and parsed is None and not self.results:
            return response
        return replace(response, parsed=parsed, tool_results=tuple(self.results), steps=tuple(self.steps))


def _after_first_round(tool_choice: Any) -> Any:
    """Return the ``tool_choice`` once there are results: to require a call again would leave no end but the limit."""
    if tool_choice in ("auto", "none"):
        return tool_choice
    if isinstance(tool_choice, dict) and tool_choice.get("type") == "allowed_tools":
        allowed = tool_choice.get("allowed_tools")
        return {**tool_choice, "allowed_tools": {**allowed, "mode": "auto"}} if isinstance(allowed, dict) else "auto"
    return "auto"


def _tool_call_message(response: ChatResponse) -> Message:
    """Return the model's own message, which the protocol requires before the results.

    It includes the reasoning, which DeepSeek requires; ``body`` drops it for servers that refuse it.
    """
    message: Message = response.as_message()
    message["content"] = response.content or None
    message["tool_calls"] = [
        {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
        for call in response.tool_calls
    ]
    if response.reasoning:
        message["reasoning_content"] = response.reasoning
    return message


def _with_instructions(messages: list[Message], instructions: str) -> list[Message]:
    """Append the instructions to the system message, or make them the system message."""
    if messages and messages[0]["role"] in {"system", "developer"}:
        first = messages[0]
        return [{**first, "content": f"{first['content']}\n\n{instructions}"}, *messages[1:]]
    return [{"role": "system", "content": instructions}, *messages]
