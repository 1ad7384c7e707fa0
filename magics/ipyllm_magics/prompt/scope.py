"""Variables as the code that runs a magic sees them: those of its function, of its module, and of the notebook."""

from __future__ import annotations

import ctypes
import inspect
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import FrameType

    from IPython.core.interactiveshell import InteractiveShell

__all__ = ["Scope"]

_IPYTHON = "IPython.core.interactiveshell"
_WRITES_THROUGH = sys.version_info >= (3, 13)
"""Whether assigning to ``frame.f_locals`` changes the variables of a running function (PEP 667)."""


class Scope:
    """The variables where a magic was called. Names are looked up in the function, its module, and the notebook.

    Attributes
    ----------
    variables : mapping
        All variables by name.
    assigned : dict
        Those for templates: without the functions and histories of IPython.
    """

    def __init__(self, shell: InteractiveShell) -> None:
        self._notebook = shell.user_ns
        self._frame = _owner(_calling_frame())
        own, notebook = shell.user_ns_hidden, self._notebook
        nearer = self._nearer_variables()
        self.variables: Mapping[str, Any] = {**notebook, **nearer} if nearer else notebook
        self.assigned = {
            name: value
            for name, value in notebook.items()
            if name.startswith("_") or name not in own or own[name] is not value
        } | nearer

    @property
    def in_function(self) -> bool:
        """Whether a function called the magic."""
        return self._frame is not None and _is_function(self._frame)

    def _nearer_variables(self) -> dict[str, Any]:
        """Return the variables that are not the notebook's own: of a module, of a function."""
        frame = self._frame
        if frame is None:
            return {}
        found = {} if frame.f_globals is self._notebook else dict(frame.f_globals)
        return found if frame.f_locals is frame.f_globals else {**found, **frame.f_locals}

    def assign(self, name: str, value: Any) -> None:
        """Assign to a variable, as ``name = value`` would where the magic stands.

        A name that the function's code never assigns is a global one for that code, so the value goes there.
        """
        frame = self._frame
        if frame is None:
            self._notebook[name] = value
        elif not _is_function(frame):
            frame.f_locals[name] = value
        elif name in _local_names(frame):
            _assign_local(frame, name, value)
        else:
            frame.f_globals[name] = value


def _calling_frame() -> FrameType | None:
    """Return the frame outside of IPython that ran the magic; None for a magic that was called as a method."""
    frame: FrameType | None = inspect.currentframe()
    while frame is not None and not (_is_ipythons(frame) and frame.f_code.co_name.endswith("_magic")):
        frame = frame.f_back
    while frame is not None and _is_ipythons(frame):
        frame = frame.f_back
    return frame


def _is_ipythons(frame: FrameType) -> bool:
    return frame.f_globals.get("__name__") == _IPYTHON


def _is_function(frame: FrameType) -> bool:
    return bool(frame.f_code.co_flags & inspect.CO_OPTIMIZED)


def _owner(frame: FrameType | None) -> FrameType | None:
    """Return the frame whose variables these are: ``%time %llm …`` runs code on the variables of a function."""
    if frame is None or _is_function(frame):
        return frame
    variables, outer = frame.f_locals, frame.f_back
    if variables is frame.f_globals:
        return frame
    while outer is not None:
        if _is_function(outer) and _are_same(outer.f_locals, variables):
            return outer
        outer = outer.f_back
    return frame


def _are_same(variables: Any, others: Any) -> bool:
    """Whether both are the variables of one frame; since Python 3.13 each look makes a new proxy of them."""
    return variables is others or (_WRITES_THROUGH and type(variables) is type(others) and bool(variables == others))


def _local_names(frame: FrameType) -> tuple[str, ...]:
    code = frame.f_code
    return code.co_varnames + code.co_cellvars + code.co_freevars


def _assign_local(frame: FrameType, name: str, value: Any) -> None:
    frame.f_locals[name] = value
    if not _WRITES_THROUGH:  # there `f_locals` is a copy, which debuggers write back like this
        ctypes.pythonapi.PyFrame_LocalsToFast(ctypes.py_object(frame), ctypes.c_int(0))
