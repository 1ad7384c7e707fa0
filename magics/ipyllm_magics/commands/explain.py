"""``%llm_explain``: the prompt that has the last exception explained, with its code and the types of its variables.

Values of variables are sent only when they are asked for: they may be anybody's data.
"""

from __future__ import annotations

import builtins
import linecache
import re
from typing import TYPE_CHECKING, Any

from ipyllm.text.redact import redact
from ipyllm_magics.errors import MagicError
from ipyllm_magics.prompt.notebook_context import LastError
from ipyllm_magics.prompt.summarize_value import compact

if TYPE_CHECKING:
    from types import FrameType

__all__ = ["prompt"]

_ASK = "Explain this Python error: what went wrong, why, and how to fix it. Be brief and concrete."
_NAME = re.compile(r"[A-Za-z_]\w*")
_LINES = 6  # above the failing line, whose names are told of
_MOST = 25  # variables
_VALUE_TOKENS = 200
_NOT_THEIRS = ("site-packages", "/lib/python", "IPython/core", "<frozen")


def prompt(question: str, *, values: bool) -> str:
    """Return what to ask about the last exception; keys in it are masked.

    Parameters
    ----------
    question : str
        What the user wants to know; empty for the usual.
    values : bool
        Whether to send the values of variables, briefly, besides their types.

    Raises
    ------
    MagicError
        Nothing has failed yet.
    """
    error = LastError()
    if error.value is None:
        raise MagicError("There is no error to explain: no cell has failed yet.")
    parts = [question.strip() or _ASK, f"```\n{error}\n```"]
    told = _variables(error.value, values=values)
    if told:
        what = "Variables, with their values" if values else "Types of the variables"
        parts.append(f"{what}:\n" + "\n".join(told))
    return redact("\n\n".join(parts))


def _variables(error: BaseException, *, values: bool) -> list[str]:
    """Describe the variables that the failing lines of the user's own code name, innermost frame first."""
    found: dict[str, str] = {}
    trace, frames = error.__traceback__, []
    while trace is not None:
        frames.append((trace.tb_frame, trace.tb_lineno))
        trace = trace.tb_next
    for frame, line in reversed(frames):
        if any(part in frame.f_code.co_filename.replace("\\", "/") for part in _NOT_THEIRS):
            continue
        for name in _named(frame, line):
            value = frame.f_locals[name] if name in frame.f_locals else frame.f_globals[name]
            found.setdefault(name, f"- {name}: {_described(value, values=values)}")
    return list(found.values())[:_MOST]


def _named(frame: FrameType, line: int) -> list[str]:
    lines = linecache.getlines(frame.f_code.co_filename)[max(0, line - _LINES) : line]
    names = dict.fromkeys(name for text in reversed(lines) for name in _NAME.findall(text.partition("#")[0]))
    return [
        name
        for name in names
        if (name in frame.f_locals or name in frame.f_globals)
        and not hasattr(builtins, name)
        and not name.startswith("__")
    ]


def _described(value: Any, *, values: bool) -> str:
    kind = type(value)
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    if values:
        return f"{name} = {_briefly(value)}"
    shape = getattr(value, "shape", None)
    if isinstance(shape, tuple):
        return f"{name} of shape {shape}"
    sized = isinstance(value, str | bytes | list | tuple | dict | set | frozenset)
    return f"{name} of length {len(value)}" if sized else name


def _briefly(value: Any) -> str:
    try:
        text = repr(value) if isinstance(value, str) else str(compact(value, _VALUE_TOKENS))
    except Exception as exc:  # noqa: BLE001 - a repr is the user's own code, perhaps the very thing that fails
        return f"(cannot be shown: {type(exc).__name__})"
    limit = 3 * _VALUE_TOKENS
    return text if len(text) <= limit else text[:limit] + " …"
