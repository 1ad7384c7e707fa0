"""``%llm_explain``: builds the prompt about the last exception, with its code and the types of its variables.

With ``-f code`` it asks for the corrected cell.

Values of variables are sent only on request, because they may be confidential.
"""

from __future__ import annotations

import builtins
import linecache
import re
from typing import TYPE_CHECKING, Any

from ipyllm.text.format import shorten
from ipyllm.text.redact import redact
from ipyllm_magics.display.output_formats import fenced
from ipyllm_magics.errors import MagicError
from ipyllm_magics.prompt.notebook_context import LastError
from ipyllm_magics.prompt.summarize_value import summarize_value

if TYPE_CHECKING:
    from types import FrameType

__all__ = ["prompt"]

_DEFAULT_QUESTION = "Explain this Python error: what went wrong, why, and how to fix it. Be brief and concrete."
_CORRECTION = (
    "Correct this Python error. Answer with the whole corrected cell as one Python code block, and nothing else; a "
    "comment in it says what was wrong."
)
_NAME = re.compile(r"[A-Za-z_]\w*")
_MAX_LINES = 6  # up to the failing line; their variables are described
_MAX_VARIABLES = 25
_VALUE_TOKENS = 200
_LIBRARY_PATHS = ("site-packages", "/lib/python", "IPython/core", "<frozen")


def prompt(question: str, *, values: bool, code: bool) -> str:
    """Return the prompt about the last exception, with keys masked; ``code`` asks for the corrected cell."""
    error = LastError()
    if error.value is None:
        raise MagicError("There is no error to explain: no cell has failed yet.")
    asked = " ".join(part for part in (_CORRECTION if code else "", question.strip()) if part)
    parts = [asked or _DEFAULT_QUESTION, f"```\n{error}\n```"]
    if code:
        if not error.cell.strip():
            raise MagicError("The source of the cell with the error is not known: run it again, and then this.")
        parts.append(f"The cell:\n{fenced(error.cell.strip(), 'python')}")
    variables = _variables(error.value, values=values)
    if variables:
        title = "Variables, with their values" if values else "Types of the variables"
        parts.append(f"{title}:\n" + "\n".join(variables))
    return redact("\n\n".join(parts))


def _variables(error: BaseException, *, values: bool) -> list[str]:
    """Describe the variables in the failing lines of the user's code, innermost frame first."""
    found: dict[str, str] = {}
    trace, frames = error.__traceback__, []
    while trace is not None:
        frames.append((trace.tb_frame, trace.tb_lineno))
        trace = trace.tb_next
    for frame, line in reversed(frames):
        if any(part in frame.f_code.co_filename.replace("\\", "/") for part in _LIBRARY_PATHS):
            continue
        for name in _names_near(frame, line):
            value = frame.f_locals[name] if name in frame.f_locals else frame.f_globals[name]
            found.setdefault(name, f"- {name}: {_describe(value, values=values)}")
    return list(found.values())[:_MAX_VARIABLES]


def _names_near(frame: FrameType, line: int) -> list[str]:
    lines = linecache.getlines(frame.f_code.co_filename)[max(0, line - _MAX_LINES) : line]
    names = dict.fromkeys(name for text in reversed(lines) for name in _NAME.findall(text.partition("#")[0]))
    return [
        name
        for name in names
        if (name in frame.f_locals or name in frame.f_globals)
        and not hasattr(builtins, name)
        and not name.startswith("__")
    ]


def _describe(value: Any, *, values: bool) -> str:
    kind = type(value)
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    if values:
        return f"{name} = {_short_value(value)}"
    shape = getattr(value, "shape", None)
    if isinstance(shape, tuple):
        return f"{name} of shape {shape}"
    sized = isinstance(value, str | bytes | list | tuple | dict | set | frozenset)
    return f"{name} of length {len(value)}" if sized else name


def _short_value(value: Any) -> str:
    try:
        text = repr(value) if isinstance(value, str) else str(summarize_value(value, _VALUE_TOKENS))
    except Exception as exc:  # noqa: BLE001 - a repr is the user's code, perhaps what fails
        return f"(cannot be shown: {type(exc).__name__})"
    return shorten(text, 3 * _VALUE_TOKENS, fold=False)
