"""Describes Python functions to a model: name, description, and a JSON schema of the arguments.

Types come from the type hints, descriptions from the docstring. A tool accepts every type that pydantic can read from
JSON: ``Literal``, enums, dataclasses, models, dates, and lists of them.
"""

from __future__ import annotations

import functools
import inspect
import re
import typing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ipyllm.errors import LLMError, bad_request
from ipyllm.text.format import shorten

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from pydantic import BaseModel
    from pydantic.json_schema import GenerateJsonSchema

__all__ = ["Tool", "tools_by_name"]

# What OpenAI accepts; other servers take at least this.
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")


@dataclass(frozen=True, slots=True)
class Tool:
    """A function that a model may call. Create it with :meth:`of`.

    Attributes
    ----------
    name : str
        Name that the model uses.
    description : str
        The docstring up to its sections.
    parameters : mapping
        JSON schema of the arguments.
    function : callable
        Called with keywords.
    is_async : bool
        Whether it returns a coroutine.
    timeout : float or None
        Seconds it may run.
    arguments : type of BaseModel
        Parses and checks the JSON that the model writes. The alias of each field is the name of a parameter.

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
        """Make a tool from a plain or async function, a method, a ``functools.partial`` or a callable object.

        Parameters
        ----------
        function : callable
            Arguments that a partial binds are hidden from the model.
        name : str, optional
            Name for the model; by default the name of the function.
        timeout : float, optional
            Longest run time, in seconds; the model receives the timeout as an error. A plain function with a timeout
            runs in a thread of its own, because it cannot be stopped in the caller's.

        Raises
        ------
        LLMError
            ``bad_request``, with the reason why it cannot be a tool.
        """
        if timeout is not None and (
            isinstance(timeout, bool) or not isinstance(timeout, int | float) or not timeout > 0
        ):
            raise bad_request(f"timeout must be a number of seconds above 0, not {timeout!r}.")
        core = _unwrap_partial(function)
        tool_name = _checked_name(name if name is not None else getattr(core, "__name__", type(core).__name__), core)
        code = core if inspect.isroutine(core) else type(core).__call__
        if inspect.isgeneratorfunction(code) or inspect.isasyncgenfunction(code):
            raise _unusable(tool_name, "it is a generator; return a list instead.")
        description, descriptions = _docstring(core)
        arguments = _arguments_model(tool_name, _parameters(tool_name, function), code, descriptions)
        return cls(
            name=tool_name,
            description=description,
            parameters=_json_schema(arguments),
            function=function,
            is_async=inspect.iscoroutinefunction(code),
            timeout=timeout,
            arguments=arguments,
        )

    def __reduce__(self) -> tuple[object, ...]:
        # The model of the arguments cannot be pickled; the function, of which it is made, can.
        return (functools.partial(Tool.of, name=self.name, timeout=self.timeout), (self.function,))

    def as_openai(self) -> dict[str, Any]:
        """Return the tool in the format of the chat-completions protocol."""
        return {
            "type": "function",
            "function": {"name": self.name, "description": self.description, "parameters": dict(self.parameters)},
        }


def tools_by_name(tools: Iterable[Tool | Callable[..., Any]]) -> dict[str, Tool]:
    """Return tools by name; functions are converted to tools. Raises ``bad_request`` if two have the same name."""
    by_name: dict[str, Tool] = {}
    for item in tools:
        tool = item if isinstance(item, Tool) else Tool.of(item)
        if tool.name in by_name:
            raise bad_request(
                f'There are two tools named {tool.name!r}; give one another name with Tool.of(function, name="…").'
            )
        by_name[tool.name] = tool
    return by_name


def _unwrap_partial(function: Any) -> Any:
    """Return the callable inside partials; methods are not unwrapped."""
    while isinstance(function, functools.partial):
        function = function.func
    if isinstance(function, type) or not callable(function):
        given = f"the class {function.__name__}" if isinstance(function, type) else shorten(repr(function), 60)
        raise bad_request(f"A tool is a function, not {given}.")
    return function


def _checked_name(name: str, core: Any) -> str:
    if name == "<lambda>":
        raise bad_request('A lambda has no name for the model to call; write a def, or Tool.of(function, name="…").')
    if not _NAME.fullmatch(name):
        raise bad_request(
            f"{name!r} cannot be the name of a tool: servers accept up to 64 of a-z, A-Z, 0-9, _ and -; "
            f'write Tool.of({getattr(core, "__name__", "function")}, name="…").'
        )
    return name


def _parameters(tool_name: str, function: Callable[..., Any]) -> list[inspect.Parameter]:
    """Return the parameters that the model may give."""
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        raise _unusable(tool_name, "its parameters cannot be inspected; wrap it in a def.") from None
    bound: set[str] = set()
    inner: Any = function
    while isinstance(inner, functools.partial):
        bound |= set(inner.keywords)
        inner = inner.func
    parameters = [parameter for parameter in signature.parameters.values() if parameter.name not in bound]
    for position, parameter in enumerate(parameters):
        by_name = "a model names each argument, and "
        if parameter.kind is inspect.Parameter.VAR_POSITIONAL:
            raise _unusable(tool_name, f"{by_name}*{parameter.name} has no names; take a list.")
        if parameter.kind is inspect.Parameter.POSITIONAL_ONLY:
            raise _unusable(tool_name, f"{by_name}{parameter.name!r} is positional-only; wrap it in a def.")
        if position == 0 and parameter.name == "self":
            raise _unusable(tool_name, "it needs a self; pass the method of an object.")
    return [parameter for parameter in parameters if parameter.kind is not inspect.Parameter.VAR_KEYWORD]


def _docstring(core: Any) -> tuple[str, dict[str, str]]:
    """Return the description of the function and of each parameter: numpy, Google or Sphinx style."""
    text = inspect.getdoc(core) or ""
    if not inspect.isroutine(core):
        text = inspect.getdoc(type(core).__call__) or text
    if not text:
        return "", {}
    from docstring_parser import parse

    parsed = parse(text)  # of the styles that it tries, numpy's refuses no text
    descriptions = {param.arg_name: " ".join((param.description or "").split()) for param in parsed.params}
    return (parsed.description or "").strip(), descriptions


def _arguments_model(
    tool_name: str, parameters: list[inspect.Parameter], code: Any, descriptions: Mapping[str, str]
) -> type[BaseModel]:
    from pydantic import ConfigDict, Field, create_model
    from pydantic.fields import FieldInfo

    names = getattr(inspect.unwrap(code), "__globals__", {})
    fields: dict[str, Any] = {}
    for position, parameter in enumerate(parameters):
        hint = _resolve_hint(tool_name, parameter, names)
        options: dict[str, Any] = {"alias": parameter.name}
        if descriptions.get(parameter.name) and FieldInfo.from_annotation(hint).description is None:
            options["description"] = descriptions[parameter.name]
        default = ... if parameter.default is parameter.empty else parameter.default
        # Generic field names, because pydantic reserves some: _private, schema, model_config, …
        fields[f"p{position}"] = (hint, Field(default, **options))
    return create_model(tool_name, __config__=ConfigDict(extra="forbid"), **fields)


def _resolve_hint(tool_name: str, parameter: inspect.Parameter, names: dict[str, Any]) -> Any:
    """Resolve a parameter's hint by itself, so that one that does not resolve (the result's) does not affect it."""
    if parameter.annotation is parameter.empty:
        return Any

    def annotated() -> None: ...

    annotated.__annotations__ = {parameter.name: parameter.annotation}
    try:
        hint = typing.get_type_hints(annotated, globalns=names, include_extras=True)[parameter.name]
    except Exception as exc:  # noqa: BLE001 - a hint may be any expression
        raise _unusable(
            tool_name,
            f"the type hint {parameter.annotation!r} of {parameter.name!r} does not resolve ({type(exc).__name__}: "
            f"{exc}); define the type at the top level, before the function is used.",
        ) from None
    _check_type(tool_name, parameter, hint)
    return hint


def _check_type(tool_name: str, parameter: inspect.Parameter, hint: Any) -> None:
    from pydantic import TypeAdapter
    from pydantic.errors import PydanticUndefinedAnnotation, PydanticUserError

    try:
        TypeAdapter(hint).json_schema(schema_generator=_generator())
    except (PydanticUserError, PydanticUndefinedAnnotation, TypeError, AttributeError):
        shown = getattr(hint, "__name__", str(hint))
        raise _unusable(
            tool_name,
            f"a model cannot write its parameter {parameter.name!r}, a {shown}, as JSON; "
            "bind it with functools.partial, or take a simpler type.",
        ) from None


def _json_schema(arguments: type[BaseModel]) -> dict[str, Any]:
    schema = arguments.model_json_schema(by_alias=True, schema_generator=_generator())
    schema.pop("title", None)
    return schema


@functools.cache
def _generator() -> type[GenerateJsonSchema]:
    from pydantic.json_schema import GenerateJsonSchema

    class _ToolSchemas(GenerateJsonSchema):
        """Omits titles, which cost tokens and repeat the names, and ignores defaults that are not JSON."""

        ignored_warning_kinds = {"skipped-choice", "non-serializable-default"}  # noqa: RUF012 - pydantic's own

        def field_title_should_be_set(self, schema: Any) -> bool:  # noqa: ARG002 - pydantic's signature
            return False

    return _ToolSchemas


def _unusable(tool_name: str, why: str) -> LLMError:
    return bad_request(f"{tool_name!r} cannot be a tool: {why}")
