"""Prompts as Jinja2 templates over the user's variables, in a sandbox.

Only ``{{ expression }}`` and ``{% statement %}`` are special; single braces are left alone, so JSON and code
pass as they are. A value is inserted once and never expanded again (FACTS §5: a variable that held
``{os.environ}`` put the environment into somebody's prompt).
"""

from __future__ import annotations

import difflib
import re
from functools import cache
from typing import TYPE_CHECKING, Any

from ipyllm_magics.errors import MagicError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from jinja2.sandbox import SandboxedEnvironment

__all__ = ["fill_in"]

_SPECIAL = re.compile(r"\{\{|\{%")
_HEAD_ROWS = 5
_NOT_THEIRS = {"In", "Out", "exit", "quit", "open", "get_ipython"}  # IPython's own


def fill_in(prompt: str, variables: Mapping[str, Any]) -> str:
    """Return ``prompt`` with its expressions replaced by their values.

    Raises
    ------
    MagicError
        For a name that does not exist (with the nearest that does), a template that does not parse, and
        whatever an expression raises.

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

    try:
        template = _environment().from_string(prompt)
        return template.render(_Variables(variables))
    except TemplateSyntaxError as exc:
        raise MagicError(
            f"The prompt's template does not parse, line {exc.lineno}: {exc.message}; "
            "use --raw to send braces as they are."
        ) from None
    except SecurityError as exc:
        raise MagicError(f"The prompt's template may not do that: {exc}") from None
    except UndefinedError as exc:
        raise MagicError(_undefined(exc, variables)) from None
    except TemplateError as exc:
        raise MagicError(f"The prompt's template failed: {exc}") from None
    except MagicError:
        raise
    except Exception as exc:  # noqa: BLE001 - an expression runs the user's own code
        raise MagicError(f"The prompt's template failed: {type(exc).__name__}: {exc}") from None


class _Variables(dict[str, Any]):
    """A copy of the namespace: a template's ``{% set %}`` must not write into the user's variables."""


@cache
def _environment() -> SandboxedEnvironment:
    from jinja2 import StrictUndefined
    from jinja2.sandbox import SandboxedEnvironment

    return SandboxedEnvironment(
        undefined=StrictUndefined,
        finalize=compact,
        keep_trailing_newline=True,
        autoescape=False,  # a prompt is no HTML
        # Comments are not offered: "{#" is common in prompts about LaTeX, CSS and C.
        comment_start_string="{#ipyllm-no-comments",
        comment_end_string="ipyllm-no-comments#}",
    )


def compact(value: Any) -> Any:
    """Describe a DataFrame or Series briefly; leave everything else to ``str``."""
    kind = type(value)
    if kind.__module__.partition(".")[0] != "pandas" or kind.__name__ not in {"DataFrame", "Series"}:
        return value
    frame = value.to_frame() if kind.__name__ == "Series" else value
    rows, columns = frame.shape
    missing = frame.isna().sum()
    fields = [
        f"- {name}: {dtype}" + (f", {missing.iloc[place]} missing" if missing.iloc[place] else "")
        for place, (name, dtype) in enumerate(frame.dtypes.items())
    ]
    head = frame.head(_HEAD_ROWS).to_csv(index=False).strip()
    listed = "\n".join(fields)
    return (
        f"DataFrame of {rows} rows and {columns} columns:\n{listed}\nFirst {min(rows, _HEAD_ROWS)} rows as CSV:\n{head}"
    )


def _undefined(exc: Exception, variables: Mapping[str, Any]) -> str:
    found = re.match(r"'(\w+)' is undefined", str(exc))
    if not found:
        return f"The prompt's template failed: {exc}."
    name = found[1]
    near = difflib.get_close_matches(
        name, [key for key in variables if not key.startswith("_") and key not in _NOT_THEIRS], n=1
    )
    hint = (
        f"did you mean {near[0]!r}?" if near else "define it in a cell above, or use --raw to send braces as they are."
    )
    return f"The prompt uses {{{{ {name} }}}}, which is not defined; {hint}"
