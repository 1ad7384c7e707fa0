"""What a Python function is to a model: a name, a description, and a JSON schema of its arguments.

The types come from the hints, the words from the docstring. What pydantic can read from JSON, a tool can take:
``Literal``, enums, dataclasses, models, dates, and lists of them.
"""

from __future__ import annotations

import functools
import inspect
import re
import typing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ipyllm.errors import LLMError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from pydantic import BaseModel
    from pydantic.json_schema import GenerateJsonSchema

__all__ = ["Tool", "toolbox"]

# What OpenAI accepts; other servers take at least this.
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_POSITIONAL_ONLY = inspect.Parameter.POSITIONAL_ONLY
_VAR_POSITIONAL = inspect.Parameter.VAR_POSITIONAL
_VAR_KEYWORD = inspect.Parameter.VAR_KEYWORD


@dataclass(frozen=True, slots=True)
class Tool:
    """A function that a model may call. Made by :meth:`of`.

    Attributes
    ----------
    name : str
        As the model calls it.
    description : str
        What the docstring says before its sections.
    parameters : mapping
        JSON schema of the arguments.
    function : callable
        What is called, by keywords.
    is_async : bool
        Whether calling it gives a coroutine.
    timeout : float or None
        Seconds it may run.
    arguments : type of BaseModel
        Reads and checks the JSON that the model writes; each field stands for the parameter its alias names.

    Examples
    --------
    >>> def weather(city: str, days: int = 1) -> str:
    ...     '''Weather forecast for a city.
    ...
    ...     Parameters
    ...     ----------
    ...     city : str
    ...         Its name in English.
    ...     '''
    >>> tool = Tool.of(weather)
    >>> tool.name, tool.description
    ('weather', 'Weather forecast for a city.')
    >>> tool.parameters["properties"]["city"]
    {'description': 'Its name in English.', 'type': 'string'}
    >>> tool.parameters["required"], tool.parameters["additionalProperties"]
    (['city'], False)
    """

    name: str
    description: str
    parameters: Mapping[str, Any]
    function: Callable[..., Any]
    is_async: bool
    timeout: float | None = None
    arguments: type[BaseModel] = field(kw_only=True, repr=False, compare=False)

    @classmethod
    def of(cls, function: Callable[..., Any], *, name: str | None = None, timeout: float | None = None) -> Tool:
        """Make a tool of a function, plain or async, a method, a ``functools.partial``, or an object with ``__call__``.

        Parameters
        ----------
        function : callable
            Arguments that a partial binds are hidden from the model.
        name : str, optional
            As the model shall call it; the function's own name if not given.
        timeout : float, optional
            Seconds it may run; then the model is told so. A plain function with a timeout runs in a thread of its
            own, because only there can it be given up.

        Raises
        ------
        LLMError
            ``bad_request``, with one sentence that says why it cannot be a tool.
        """
        if timeout is not None and (
            isinstance(timeout, bool) or not isinstance(timeout, int | float) or not timeout > 0
        ):
            raise _refusal(f"timeout must be a number of seconds above 0, not {timeout!r}.")
        core = _core(function)
        called = _checked_name(name if name is not None else getattr(core, "__name__", type(core).__name__), core)
        code = core if inspect.isroutine(core) else type(core).__call__
        if inspect.isgeneratorfunction(code) or inspect.isasyncgenfunction(code):
            raise _refusal(f"{called!r} cannot be a tool: it yields; return a list instead.")
        description, words = _docstring(core)
        arguments = _arguments(called, _parameters(called, function), code, words)
        return cls(
            name=called,
            description=description,
            parameters=_json_schema(arguments),
            function=function,
            is_async=inspect.iscoroutinefunction(code),
            timeout=timeout,
            arguments=arguments,
        )

    def as_openai(self) -> dict[str, Any]:
        """Return the tool as the chat-completions protocol has it."""
        return {
            "type": "function",
            "function": {"name": self.name, "description": self.description, "parameters": dict(self.parameters)},
        }


def toolbox(tools: Iterable[Tool | Callable[..., Any]]) -> dict[str, Tool]:
    """Return tools by name, made of functions where they are not tools yet.

    Raises
    ------
    LLMError
        ``bad_request``: two have the same name, or one cannot be a tool.

    Examples
    --------
    >>> def add(a: int, b: int) -> int: return a + b
    >>> toolbox([add])["add"].parameters["required"]
    ['a', 'b']
    >>> toolbox([add, add])
    Traceback (most recent call last):
        ...
    ipyllm.errors.LLMError: There are two tools named 'add'; give one another name with Tool.of(function, name="…").
    """
    box: dict[str, Tool] = {}
    for item in tools:
        tool = item if isinstance(item, Tool) else Tool.of(item)
        if tool.name in box:
            raise _refusal(
                f'There are two tools named {tool.name!r}; give one another name with Tool.of(function, name="…").'
            )
        box[tool.name] = tool
    return box


def _core(function: Any) -> Any:
    """Return what is called in the end: partials unwrapped, methods as they are."""
    while isinstance(function, functools.partial):
        function = function.func
    if isinstance(function, type) or not callable(function):
        raise _refusal(f"A tool is a function, not {_short(function)}.")
    return function


def _checked_name(name: str, core: Any) -> str:
    if name == "<lambda>":
        raise _refusal('A lambda has no name for the model to call; write a def, or Tool.of(function, name="…").')
    if not _NAME.fullmatch(name):
        raise _refusal(
            f"{name!r} cannot be the name of a tool: servers take up to 64 of a-z, A-Z, 0-9, _ and -; "
            f'write Tool.of({getattr(core, "__name__", "function")}, name="…").'
        )
    return name


def _parameters(called: str, function: Callable[..., Any]) -> list[inspect.Parameter]:
    """Return the parameters that the model may give."""
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        raise _refusal(f"{called!r} cannot be a tool: Python does not know its parameters; wrap it in a def.") from None
    bound: set[str] = set()
    inner: Any = function
    while isinstance(inner, functools.partial):
        bound |= set(inner.keywords)
        inner = inner.func
    asked = [parameter for parameter in signature.parameters.values() if parameter.name not in bound]
    for place, parameter in enumerate(asked):
        if parameter.kind is _VAR_POSITIONAL:
            raise _refusal(
                f"{called!r} cannot be a tool: a model names each argument, and *{parameter.name} has no names; "
                "take a list."
            )
        if parameter.kind is _POSITIONAL_ONLY:
            raise _refusal(
                f"{called!r} cannot be a tool: a model names each argument, and {parameter.name!r} is positional-only; "
                "wrap it in a def."
            )
        if place == 0 and parameter.name == "self":
            raise _refusal(f"{called!r} cannot be a tool: it wants a self; pass the method of an object.")
    return [parameter for parameter in asked if parameter.kind is not _VAR_KEYWORD]


def _docstring(core: Any) -> tuple[str, dict[str, str]]:
    """Return the description and what the docstring says of each parameter: numpy, Google or Sphinx style."""
    text = inspect.getdoc(core) or ""
    if not inspect.isroutine(core):
        text = inspect.getdoc(type(core).__call__) or text
    if not text:
        return "", {}
    from docstring_parser import ParseError, parse

    try:
        parsed = parse(text)
    except ParseError:
        return text.strip(), {}
    words = {param.arg_name: " ".join((param.description or "").split()) for param in parsed.params}
    return (parsed.description or "").strip(), words


def _arguments(
    called: str, parameters: list[inspect.Parameter], code: Any, words: Mapping[str, str]
) -> type[BaseModel]:
    from pydantic import ConfigDict, Field, create_model
    from pydantic.fields import FieldInfo

    names = getattr(inspect.unwrap(code), "__globals__", {})
    fields: dict[str, Any] = {}
    for place, parameter in enumerate(parameters):
        hint = _hint(called, parameter, names)
        options: dict[str, Any] = {"alias": parameter.name}
        if words.get(parameter.name) and FieldInfo.from_annotation(hint).description is None:
            options["description"] = words[parameter.name]
        default = ... if parameter.default is parameter.empty else parameter.default
        # Fields have names of our own, since pydantic keeps some for itself: _private, schema, model_config, …
        fields[f"p{place}"] = (hint, Field(default, **options))
    return create_model(called, __config__=ConfigDict(extra="forbid"), **fields)


def _hint(called: str, parameter: inspect.Parameter, names: dict[str, Any]) -> Any:
    """Resolve a parameter's hint, alone: one that does not resolve (such as the result's) must not spoil the others."""
    if parameter.annotation is parameter.empty:
        return Any

    def only() -> None: ...

    only.__annotations__ = {parameter.name: parameter.annotation}
    try:
        hint = typing.get_type_hints(only, globalns=names, include_extras=True)[parameter.name]
    except Exception as exc:  # noqa: BLE001 - a hint may be any expression
        raise _refusal(
            f"{called!r} cannot be a tool: the type hint {parameter.annotation!r} of {parameter.name!r} does not "
            f"resolve ({type(exc).__name__}: {exc}); define the type at the top level, before the function is used."
        ) from None
    _check_type(called, parameter, hint)
    return hint


def _check_type(called: str, parameter: inspect.Parameter, hint: Any) -> None:
    from pydantic import TypeAdapter
    from pydantic.errors import PydanticUndefinedAnnotation, PydanticUserError

    try:
        TypeAdapter(hint).json_schema(schema_generator=_plain_schemas())
    except (PydanticUserError, PydanticUndefinedAnnotation, TypeError, AttributeError):
        shown = getattr(hint, "__name__", str(hint))
        raise _refusal(
            f"{called!r} cannot be a tool: a model cannot write its parameter {parameter.name!r}, a {shown}, as JSON; "
            "bind it with functools.partial, or take a plainer type."
        ) from None


def _json_schema(arguments: type[BaseModel]) -> dict[str, Any]:
    schema = arguments.model_json_schema(by_alias=True, schema_generator=_plain_schemas())
    schema.pop("title", None)
    return schema


@functools.cache
def _plain_schemas() -> type[GenerateJsonSchema]:
    from pydantic.json_schema import GenerateJsonSchema

    class Plain(GenerateJsonSchema):
        """Without titles, which cost tokens and repeat the names; silent about defaults that JSON cannot write."""

        ignored_warning_kinds = {"skipped-choice", "non-serializable-default"}  # noqa: RUF012 - pydantic's own

        def field_title_should_be_set(self, schema: Any) -> bool:  # noqa: ARG002 - pydantic's signature
            return False

    return Plain


def _refusal(sentence: str) -> LLMError:
    return LLMError(sentence, category="bad_request")


def _short(value: Any) -> str:
    return f"the class {value.__name__}" if isinstance(value, type) else f"{str(value)[:60]!r}"
