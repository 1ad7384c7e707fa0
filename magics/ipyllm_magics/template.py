"""Prompts as Jinja2 templates over the user's variables, in a sandbox.

Only ``{{ expression }}`` and ``{% statement %}`` are special; single braces are left alone, so JSON and code
pass as they are. A value is inserted once and never expanded again (FACTS §5: a variable that held
``{os.environ}`` put the environment into somebody's prompt).
"""

from __future__ import annotations

import os
import re
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from ipyllm.redact import redact
from ipyllm_magics.compact import BUDGET_TOKENS, compact
from ipyllm_magics.errors import MagicError
from ipyllm_magics.lookup import own
from ipyllm_magics.words import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Mapping

    from jinja2.sandbox import SandboxedEnvironment

__all__ = ["fill_in"]

_SPECIAL = re.compile(r"\{\{|\{%")
_IPYTHONS = ("exit", "quit", "open", "get_ipython", "In", "Out")  # not what a prompt should reach
_ENVIRONMENT = type(os.environ)
_SECRET_NAME = re.compile(r"KEY|TOKEN|SECRET|PASSW|CREDENTIAL", re.IGNORECASE)
_SHORTEST_SECRET = 8
_HIDDEN_MODULES = {"os", "posix", "nt", "subprocess", "pty", "shutil", "sys", "importlib", "ctypes", "builtins", "io"}
_MAY_NOT = "The prompt's template may not do that: "
_ENVIRONMENT_IS_PRIVATE = "the environment holds keys; assign what you need to a variable."


def fill_in(
    prompt: str,
    variables: Mapping[str, Any],
    surroundings: Mapping[str, Any] | None = None,
    budget: int = BUDGET_TOKENS,
) -> str:
    """Return ``prompt`` with its expressions replaced by their values.

    Parameters
    ----------
    prompt : str
        As written.
    variables : mapping
        The user's.
    surroundings : mapping, optional
        What a template may name besides, such as ``cells``; a variable of the user's of that name comes first.
    budget : int
        Tokens of one value, see :func:`~ipyllm_magics.compact.compact`.

    Raises
    ------
    MagicError
        For a name that does not exist (with the nearest that does), a template that does not parse, what the
        sandbox does not allow, a key among the values, and whatever an expression raises.

    Examples
    --------
    >>> fill_in('{"q": "{{ word }}"}', {"word": "tea"})
    '{"q": "tea"}'
    >>> fill_in("Hi {{ nmae }}", {"name": "Ada"})
    Traceback (most recent call last):
        ...
    ipyllm_magics.errors.MagicError: The prompt uses {{ nmae }}, which is not defined; did you mean 'name'?
    """
    if not _SPECIAL.search(prompt):
        return prompt
    from jinja2.exceptions import SecurityError, TemplateError, TemplateSyntaxError, UndefinedError

    names = {**(surroundings or {}), **variables}
    for name in _IPYTHONS:
        names.pop(name, None)
    try:
        # A copy of the namespace: a template's {% set %} must not write into the user's variables.
        filled = _environment(budget).from_string(prompt).render(names)
    except TemplateSyntaxError as exc:
        raise MagicError(
            f"The prompt's template does not parse, line {exc.lineno}: {exc.message}; "
            "use --raw to send braces as they are."
        ) from None
    except SecurityError as exc:
        raise MagicError(f"{_MAY_NOT}{exc}") from None
    except UndefinedError as exc:
        raise MagicError(_undefined(exc, names)) from None
    except TemplateError as exc:
        raise MagicError(f"The prompt's template failed: {exc}") from None
    except MagicError:
        raise
    except Exception as exc:  # noqa: BLE001 - an expression runs the user's own code
        raise MagicError(f"The prompt's template failed: {type(exc).__name__}: {exc}") from None
    key = _key_in(filled)
    if key is not None and _key_in(prompt) is None:
        raise MagicError(f"{_MAY_NOT}a value that it inserts holds {key}.")
    return filled


@lru_cache(maxsize=4)
def _environment(budget: int) -> SandboxedEnvironment:
    from jinja2 import StrictUndefined, Undefined
    from jinja2.exceptions import SecurityError
    from jinja2.sandbox import SandboxedEnvironment

    class Sandbox(SandboxedEnvironment):
        """Jinja's sandbox, which knows nothing of a process's environment and its keys."""

        def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
            return super().is_safe_attribute(obj, attr, value) and not _is_environment(obj) and not _is_hidden(value)

        def is_safe_callable(self, obj: Any) -> bool:
            return super().is_safe_callable(obj) and not _is_hidden(obj) and not _is_environment(_owner(obj))

        def getitem(self, obj: Any, argument: Any) -> Any:
            self._check(obj)
            return super().getitem(obj, argument)

        def getattr(self, obj: Any, attribute: str) -> Any:
            self._check(obj)
            return super().getattr(obj, attribute)

        def _check(self, obj: Any) -> None:
            if _is_environment(obj):
                raise SecurityError(_ENVIRONMENT_IS_PRIVATE)

    def finalize(value: Any) -> Any:
        if isinstance(value, Undefined):
            return value
        if _is_environment(value):
            raise SecurityError(_ENVIRONMENT_IS_PRIVATE)
        return compact(value, budget)

    return Sandbox(
        undefined=StrictUndefined,
        finalize=finalize,
        keep_trailing_newline=True,
        autoescape=False,  # a prompt is no HTML
        # Comments are not offered: "{#" is common in prompts about LaTeX, CSS and C.
        comment_start_string="{#ipyllm-no-comments",
        comment_end_string="ipyllm-no-comments#}",
    )


def _is_environment(value: Any) -> bool:
    return isinstance(value, _ENVIRONMENT)


def _owner(value: Any) -> Any:
    return getattr(value, "__self__", None)


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


def _undefined(exc: Exception, names: Mapping[str, Any]) -> str:
    found = re.match(r"'(\w+)' is undefined", str(exc))
    if found:
        name = found[1]
        near = did_you_mean(name, [known for known, _ in own(names)]).strip().rstrip("?")
        hint = (
            near[:1].lower() + near[1:] + "?"
            if near
            else ("define it in a cell above, or use --raw to send braces as they are.")
        )
        return f"The prompt uses {{{{ {name} }}}}, which is not defined; {hint}"
    attribute = re.match(r"'?([\w.]+)(?: object)?'? has no (?:attribute|element) '?(\w+)'?", str(exc))
    if attribute is None:
        return f"The prompt's template failed: {exc}."
    kind, name = attribute.groups()
    candidates = {
        known
        for _, value in own(names)
        if type(value).__name__ == kind.rpartition(".")[2]
        for known in (*dir(value), *(value if isinstance(value, dict) else ()))
        if isinstance(known, str) and not known.startswith("_")
    }
    hint = did_you_mean(name, sorted(candidates))
    return f"The prompt uses {name!r} of a {kind.rpartition('.')[2]}, which has nothing of that name.{hint}"
