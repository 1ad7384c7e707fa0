"""Sandboxed Jinja2 templates for the prompts of cells and experiments.

Only ``{{ expression }}`` and ``{% statement %}`` are special; single braces and ``{#`` are left alone, so JSON, code
and LaTeX need no escaping. A value is inserted once and never expanded again. The process's environment, functions of
the operating system and keys are not accessible.
"""

from __future__ import annotations

import os
import re
from functools import cache, wraps
from itertools import islice
from typing import TYPE_CHECKING, Any

from ipyllm.errors import LLMError, bad_request
from ipyllm.text.redact import redact
from ipyllm.text.suggest import closest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from jinja2.sandbox import SandboxedEnvironment

__all__ = ["SandboxedTemplate", "UndefinedNameError"]

_ENVIRONMENT = type(os.environ)
_HIDDEN_MODULES = {
    "os", "posix", "nt", "subprocess", "pty", "shutil", "sys", "importlib", "ctypes", "builtins", "io", "_io",
}  # fmt: skip
_UNMASK_METHOD = "get_secret_value"  # the method of pydantic's SecretStr that returns the secret
_SECRET_NAME = re.compile(r"KEY|TOKEN|SECRET|PASSW|CREDENTIAL", re.IGNORECASE)
_MIN_SECRET_CHARS = 8
_MAX_DEPTH, _MAX_ITEMS = 3, 1_000  # of a collection that is searched for the environment and for undefined values
_FORBIDDEN = "may not do that:"
_ENVIRONMENT_IS_PRIVATE = "the environment holds keys; assign what you need to a variable."
_UNDEFINED_NAME = re.compile(r"'(\w+)' is undefined")
_UNDEFINED_MEMBER = re.compile(r"""'?([\w.]+)(?: object)?'? has no (?:attribute|element) ["']?(.+?)["']?$""")


class UndefinedNameError(Exception):
    """A template uses a name that is not defined.

    ``kind`` is the type of the value that has no attribute or item of this name, empty for a variable; ``near`` is the
    name that was probably meant.
    """

    def __init__(self, name: str, kind: str, near: str | None) -> None:
        super().__init__(name)
        self.name = name
        self.kind = kind
        self.near = near

    def sentence(self, subject: str, advice: str) -> str:
        """Return the sentence of the error: what is missing, and what was probably meant or else ``advice``."""
        meant = f"did you mean {self.near!r}?" if self.near is not None else ""
        if not self.kind:
            return f"{subject} uses {{{{ {self.name} }}}}, which is not defined; {meant or advice}"
        what = f"{subject} uses {self.name!r} of a {self.kind}, which has no such attribute or item"
        return f"{what}; {meant}" if meant else f"{what}."


class SandboxedTemplate:
    """A Jinja2 template that can use the given values, and nothing else of the process.

    Parameters
    ----------
    text : str
        The template. LLMError says why it does not parse.
    subject : str
        Subject of error sentences.
    to_text : callable, optional
        Converts a value to the text that is inserted; by default ``str``.
    advice : str
        Advice for a template that does not parse, besides correcting it.
    """

    def __init__(
        self, text: str, *, subject: str = "The template", to_text: Callable[[Any], Any] | None = None, advice: str = ""
    ) -> None:
        from jinja2.exceptions import TemplateSyntaxError

        self._subject = subject
        self._author_wrote_key = _key_in(text) is not None  # the author may write a key into the template
        try:
            self._template = _environment(to_text).from_string(text)
        except TemplateSyntaxError as exc:
            sentence = f"{subject} does not parse, line {exc.lineno}: {(exc.message or '').rstrip('.')}"
            raise self._error(f"{sentence}; {advice}." if advice else f"{sentence}.") from None

    def render(self, values: Mapping[str, Any]) -> str:
        """Return the text with ``values`` filled in.

        Raises
        ------
        UndefinedNameError
            A name is not defined; the caller adds the advice.
        LLMError
            ``bad_request``: the sandbox forbids an operation, a value holds a key, or an expression raises.
        """
        from jinja2.exceptions import SecurityError, TemplateError, UndefinedError

        try:
            filled = self._template.render(self._without_environment(values))
        except SecurityError as exc:
            raise self._error(f"{self._subject} {_FORBIDDEN} {exc}") from None
        except UndefinedError as exc:
            raise _undefined(str(exc), values) or self._error(f"{self._subject} failed: {exc}.") from None
        except TemplateError as exc:
            raise self._error(f"{self._subject} failed: {exc}") from None
        except LLMError:
            raise
        except Exception as exc:  # noqa: BLE001 - an expression runs the user's own code
            raise self._error(f"{self._subject} failed: {type(exc).__name__}: {exc}") from None
        key = None if self._author_wrote_key else _key_in(filled)
        if key is not None:
            raise self._error(f"{self._subject} {_FORBIDDEN} a value that it inserts holds {key}.")
        return filled

    def _without_environment(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return a copy of ``values`` for the template; using the process's environment raises."""
        from jinja2 import StrictUndefined
        from jinja2.exceptions import SecurityError

        private = StrictUndefined(hint=_ENVIRONMENT_IS_PRIVATE, exc=SecurityError)
        return {name: private if _is_environment(value) else value for name, value in values.items()}

    def _error(self, sentence: str) -> LLMError:
        return bad_request(sentence)


def _environment(to_text: Callable[[Any], Any] | None) -> SandboxedEnvironment:
    from jinja2 import StrictUndefined, Undefined

    def finalize(value: Any) -> Any:
        if isinstance(value, Undefined):
            return value
        _refuse_inside(value)
        return value if to_text is None else to_text(value)

    environment = _sandbox()(
        undefined=StrictUndefined,
        finalize=finalize,
        keep_trailing_newline=True,
        autoescape=False,  # prompts are not HTML
        # No comments: "{#" is common in prompts about LaTeX, CSS and C.
        comment_start_string="{#ipyllm-no-comments",
        comment_end_string="ipyllm-no-comments#}",
    )
    environment.filters = _filters()
    return environment


@cache
def _sandbox() -> type[SandboxedEnvironment]:
    from jinja2.sandbox import SandboxedEnvironment

    class Sandbox(SandboxedEnvironment):
        """Jinja's sandbox, which also hides the process's environment and its keys."""

        def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
            return super().is_safe_attribute(obj, attr, value) and not _is_environment(obj) and not _is_hidden(value)

        def is_safe_callable(self, obj: Any) -> bool:
            if getattr(obj, "__name__", None) == _UNMASK_METHOD or _is_environment(getattr(obj, "__self__", None)):
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
    """Return a filter that neither accepts nor returns the environment: filters bypass the sandbox."""

    @wraps(function)  # including the attributes that tell Jinja which arguments to pass
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

    # Filters such as `items` treat undefined values as empty; hidden ones must be refused.
    hidden = isinstance(value, Undefined) and value._undefined_exception is SecurityError  # noqa: SLF001
    if hidden or _is_environment(value):
        raise SecurityError(_ENVIRONMENT_IS_PRIVATE)


def _refuse_inside(value: Any, depth: int = _MAX_DEPTH) -> None:
    """Refuse a value that contains the environment, or an undefined one, which a collection shows as "Undefined"."""
    from jinja2 import Undefined

    if isinstance(value, Undefined):
        str(value)  # raises the error for its name
    _refuse_environment(value)
    if depth and isinstance(value, dict | list | tuple | set | frozenset):
        for item in islice(value.values() if isinstance(value, dict) else value, _MAX_ITEMS):
            _refuse_inside(item, depth - 1)


def _is_environment(value: Any) -> bool:
    return isinstance(value, _ENVIRONMENT)


def _is_hidden(value: Any) -> bool:
    """Return whether ``value`` is the environment or a system function: ``os.getenv``, ``os.popen``, ``open``."""
    if _is_environment(value):
        return True
    return callable(value) and getattr(value, "__module__", None) in _HIDDEN_MODULES and not isinstance(value, type)


def _key_in(text: str) -> str | None:
    """Describe the key in ``text``, from the environment, the settings or by its format; None if there is none."""
    for name, value in os.environ.items():
        if len(value) >= _MIN_SECRET_CHARS and value in text and _SECRET_NAME.search(name):
            return f"the value of {name}"
    return "a key" if redact(text) != text else None


def _undefined(message: str, values: Mapping[str, Any]) -> UndefinedNameError | None:
    """Parse Jinja's message about an undefined name; None for another message."""
    found = _UNDEFINED_NAME.match(message)
    if found:
        return UndefinedNameError(found[1], "", closest(found[1], _public_names(values)))
    found = _UNDEFINED_MEMBER.match(message)
    if not found:
        return None
    kind, name = found[1].rpartition(".")[2], found[2]
    parts = {part for value in values.values() if type(value).__name__ == kind for part in _member_names(value)}
    return UndefinedNameError(name, kind, closest(name, sorted(parts)))


def _member_names(value: Any) -> Iterator[str]:
    yield from _public_names(dir(value))
    if isinstance(value, dict):
        yield from _public_names(value)


def _public_names(names: Any) -> list[str]:
    return [name for name in list(names) if isinstance(name, str) and not name.startswith("_")]
