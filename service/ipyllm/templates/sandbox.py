"""The one sandboxed template environment: prompts of a cell and of an experiment are filled in here, or refused.

Only ``{{ expression }}`` and ``{% statement %}`` are special; single braces and ``{#`` are left alone, so JSON, code
and LaTeX pass as they are. A value is inserted once and never expanded again. The process's environment, functions of
the operating system and keys are out of reach (FACTS §5: a variable that held ``{os.environ}`` put the environment
into somebody's prompt).
"""

from __future__ import annotations

import difflib
import os
import re
from functools import cache, wraps
from itertools import islice
from typing import TYPE_CHECKING, Any

from ipyllm.errors import LLMError
from ipyllm.text.redact import redact

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from jinja2.sandbox import SandboxedEnvironment

__all__ = ["SandboxedTemplate", "UndefinedNameError"]

_ENVIRONMENT = type(os.environ)
_HIDDEN_MODULES = {
    "os", "posix", "nt", "subprocess", "pty", "shutil", "sys", "importlib", "ctypes", "builtins", "io", "_io",
}  # fmt: skip
_UNMASKED = "get_secret_value"  # what pydantic's SecretStr calls its way out
_SECRET_NAME = re.compile(r"KEY|TOKEN|SECRET|PASSW|CREDENTIAL", re.IGNORECASE)
_SHORTEST_SECRET = 8
_DEEPEST, _MOST_ITEMS = 3, 1_000  # of a collection, where the environment is looked for
_MAY_NOT = "may not do that:"
_ENVIRONMENT_IS_PRIVATE = "the environment holds keys; assign what you need to a variable."
_UNDEFINED_NAME = re.compile(r"'(\w+)' is undefined")
_UNDEFINED_PART = re.compile(r"""'?([\w.]+)(?: object)?'? has no (?:attribute|element) ["']?(.+?)["']?$""")


class UndefinedNameError(Exception):
    """A template uses what is not there.

    Attributes
    ----------
    name : str
        As the template has it.
    kind : str
        The type of the value that has no part of this name; empty for a name that stands by itself.
    near : str or None
        What was probably meant.
    """

    def __init__(self, name: str, kind: str, near: str | None) -> None:
        super().__init__(name)
        self.name = name
        self.kind = kind
        self.near = near

    def sentence(self, whose: str, instead: str) -> str:
        """Say it: what is not there, and what was probably meant, or else what to do ``instead``.

        Examples
        --------
        >>> UndefinedNameError("nmae", "", "name").sentence("The prompt", "")
        "The prompt uses {{ nmae }}, which is not defined; did you mean 'name'?"
        >>> UndefinedNameError("nmae", "dict", None).sentence("The prompt", "")
        "The prompt uses 'nmae' of a dict, which has nothing of that name."
        """
        meant = f"did you mean {self.near!r}?" if self.near is not None else ""
        if not self.kind:
            return f"{whose} uses {{{{ {self.name} }}}}, which is not defined; {meant or instead}"
        what = f"{whose} uses {self.name!r} of a {self.kind}, which has nothing of that name"
        return f"{what}; {meant}" if meant else f"{what}."


class SandboxedTemplate:
    """A Jinja2 template that reaches the values it is given, and nothing that is the process's own.

    Parameters
    ----------
    text : str
        The template.
    whose : str
        Begins the sentences of errors.
    present : callable, optional
        Makes of a value what is inserted for it; by default its text.
    instead : str
        What to do about a template that does not parse, besides mending it.

    Raises
    ------
    LLMError
        ``bad_request``: it does not parse.

    Examples
    --------
    >>> SandboxedTemplate('{"q": "{{ word }}"} {# a comment? no #}').render({"word": "{{ tea }}"})
    '{"q": "{{ tea }}"} {# a comment? no #}'
    >>> SandboxedTemplate("{{ os.environ }}").render({"os": os})
    Traceback (most recent call last):
        ...
    ipyllm.errors.LLMError: The template may not do that: access to attribute 'environ' of 'module' object is unsafe.
    """

    def __init__(
        self, text: str, *, whose: str = "The template", present: Callable[[Any], Any] | None = None, instead: str = ""
    ) -> None:
        from jinja2.exceptions import TemplateSyntaxError

        self._whose = whose
        self._writers_own = _key_in(text) is not None  # a key that is written out is the writer's own business
        try:
            self._template = _environment(present).from_string(text)
        except TemplateSyntaxError as exc:
            told = f"{whose} does not parse, line {exc.lineno}: {(exc.message or '').rstrip('.')}"
            raise self._error(f"{told}; {instead}." if instead else f"{told}.") from None

    def render(self, values: Mapping[str, Any]) -> str:
        """Return the text with ``values`` filled in.

        Raises
        ------
        UndefinedNameError
            It uses what is not there; the caller knows how to say so.
        LLMError
            ``bad_request``, in one sentence: what the sandbox does not allow, a key among what it inserts, and
            whatever an expression raises.
        """
        from jinja2.exceptions import SecurityError, TemplateError, UndefinedError

        try:
            filled = self._template.render(self._reachable(values))
        except SecurityError as exc:
            raise self._error(f"{self._whose} {_MAY_NOT} {exc}") from None
        except UndefinedError as exc:
            raise _undefined(str(exc), values) or self._error(f"{self._whose} failed: {exc}.") from None
        except TemplateError as exc:
            raise self._error(f"{self._whose} failed: {exc}") from None
        except LLMError:
            raise
        except Exception as exc:  # noqa: BLE001 - an expression runs the user's own code
            raise self._error(f"{self._whose} failed: {type(exc).__name__}: {exc}") from None
        key = None if self._writers_own else _key_in(filled)
        if key is not None:
            raise self._error(f"{self._whose} {_MAY_NOT} a value that it inserts holds {key}.")
        return filled

    def _reachable(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return a copy, into which a ``{% set %}`` may write; what is the environment raises at any use."""
        from jinja2 import StrictUndefined
        from jinja2.exceptions import SecurityError

        private = StrictUndefined(hint=_ENVIRONMENT_IS_PRIVATE, exc=SecurityError)
        return {name: private if _is_environment(value) else value for name, value in values.items()}

    def _error(self, sentence: str) -> LLMError:
        return LLMError(sentence, category="bad_request")


def _environment(present: Callable[[Any], Any] | None) -> SandboxedEnvironment:
    from jinja2 import StrictUndefined, Undefined
    from jinja2.exceptions import SecurityError

    def finalize(value: Any) -> Any:
        if isinstance(value, Undefined):
            return value
        if _holds_environment(value):
            raise SecurityError(_ENVIRONMENT_IS_PRIVATE)
        return value if present is None else present(value)

    made = _sandbox()(
        undefined=StrictUndefined,
        finalize=finalize,
        keep_trailing_newline=True,
        autoescape=False,  # a prompt is no HTML
        # Comments are not offered: "{#" is common in prompts about LaTeX, CSS and C.
        comment_start_string="{#ipyllm-no-comments",
        comment_end_string="ipyllm-no-comments#}",
    )
    made.filters = _filters()
    return made


@cache
def _sandbox() -> type[SandboxedEnvironment]:
    from jinja2.sandbox import SandboxedEnvironment

    class Sandbox(SandboxedEnvironment):
        """Jinja's sandbox, which knows nothing of a process's environment and its keys."""

        def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
            return super().is_safe_attribute(obj, attr, value) and not _is_environment(obj) and not _is_hidden(value)

        def is_safe_callable(self, obj: Any) -> bool:
            if getattr(obj, "__name__", None) == _UNMASKED or _is_environment(getattr(obj, "__self__", None)):
                return False
            return super().is_safe_callable(obj) and not _is_hidden(obj)

        def getitem(self, obj: Any, argument: Any) -> Any:
            _refuse_environment(obj)
            found = super().getitem(obj, argument)
            return self.unsafe_undefined(obj, str(argument)) if _is_hidden(found) else found

        def getattr(self, obj: Any, attribute: str) -> Any:
            _refuse_environment(obj)
            return super().getattr(obj, attribute)

    return Sandbox


@cache
def _filters() -> dict[str, Callable[..., Any]]:
    from jinja2.filters import FILTERS

    return {name: _guarded(function) for name, function in FILTERS.items()}


def _guarded(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a filter that neither takes nor gives the environment: filters reach values past the sandbox."""

    @wraps(function)  # with the marks by which Jinja knows what else the filter wants
    def guarded(*args: Any, **kwargs: Any) -> Any:
        for value in (*args, *kwargs.values()):
            _refuse_environment(value)
        found = function(*args, **kwargs)
        _refuse_environment(found)
        return found

    return guarded


def _refuse_environment(value: Any) -> None:
    from jinja2 import Undefined
    from jinja2.exceptions import SecurityError

    # Filters such as `items` take what is undefined for nothing; what was hidden is to be refused.
    hidden = isinstance(value, Undefined) and value._undefined_exception is SecurityError  # noqa: SLF001
    if hidden or _is_environment(value):
        raise SecurityError(_ENVIRONMENT_IS_PRIVATE)


def _holds_environment(value: Any, depth: int = _DEEPEST) -> bool:
    """Whether the text of ``value`` would be that of the environment, or hold it."""
    if _is_environment(value) or not depth or not isinstance(value, dict | list | tuple | set | frozenset):
        return _is_environment(value)
    items = value.values() if isinstance(value, dict) else value
    return any(_holds_environment(item, depth - 1) for item in islice(items, _MOST_ITEMS))


def _is_environment(value: Any) -> bool:
    return isinstance(value, _ENVIRONMENT)


def _is_hidden(value: Any) -> bool:
    """Whether it is the environment, or a function of the operating system: ``os.getenv``, ``os.popen``, ``open``."""
    if _is_environment(value):
        return True
    return callable(value) and getattr(value, "__module__", None) in _HIDDEN_MODULES and not isinstance(value, type)


def _key_in(text: str) -> str | None:
    """Say which key is in ``text``: of a variable named like one, or given to us, or shaped like one."""
    for name, value in os.environ.items():
        if len(value) >= _SHORTEST_SECRET and value in text and _SECRET_NAME.search(name):
            return f"the value of {name}"
    return "a key" if redact(text) != text else None


def _undefined(said: str, values: Mapping[str, Any]) -> UndefinedNameError | None:
    """Read what Jinja says of a name; None where it says something else."""
    found = _UNDEFINED_NAME.match(said)
    if found:
        return UndefinedNameError(found[1], "", _nearest(found[1], _public(values)))
    found = _UNDEFINED_PART.match(said)
    if not found:
        return None
    kind, name = found[1].rpartition(".")[2], found[2]
    parts = {part for value in values.values() if type(value).__name__ == kind for part in _parts(value)}
    return UndefinedNameError(name, kind, _nearest(name, sorted(parts)))


def _parts(value: Any) -> Iterator[str]:
    yield from _public(dir(value))
    if isinstance(value, dict):
        yield from _public(value)


def _public(names: Any) -> list[str]:
    return [name for name in list(names) if isinstance(name, str) and not name.startswith("_")]


def _nearest(name: str, known: list[str]) -> str | None:
    return next(iter(difflib.get_close_matches(name, known, n=1)), None)
