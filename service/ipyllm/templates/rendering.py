"""One rendering of a template: its variables, its undefined names, its output, and what it has used of its limits."""

from __future__ import annotations

from contextvars import ContextVar
from time import thread_time
from typing import TYPE_CHECKING, Any

from jinja2 import StrictUndefined
from jinja2.exceptions import UndefinedError
from jinja2.sandbox import safe_range
from jinja2.utils import Cycler, Joiner, Namespace, missing

from ipyllm.templates.border import Border, Record
from ipyllm.templates.functions import registered
from ipyllm.templates.readable import readable
from ipyllm.templates.refusal import Denied, Function, UndefinedNameError
from ipyllm.templates.tables import CHOICES, ChosenRows, call_table, is_table
from ipyllm.text.suggest import closest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from jinja2 import Template

__all__ = ["JINJA_FUNCTIONS", "Missing", "Rendering", "current"]

JINJA_FUNCTIONS = {"range": safe_range, "dict": dict, "namespace": Namespace, "cycler": Cycler, "joiner": Joiner}
"""The functions of Jinja that a template may call."""

_rendering: ContextVar[Rendering] = ContextVar("rendering")


def current() -> Rendering:
    """Return the rendering that is under way."""
    return _rendering.get()


class Rendering(Border):
    """One rendering of a template.

    Parameters
    ----------
    variables : mapping
        The user's names and values.
    to_text : callable or None
        Converts a value to the text that is inserted; by default ``str``.
    """

    def __init__(self, variables: Mapping[str, Any], to_text: Callable[[Any], Any] | None = None) -> None:
        super().__init__()
        self.variables = variables
        self._to_text = to_text
        self._chosen: dict[int, ChosenRows] = {}

    def fill_in(self, template: Template, names: Iterable[str]) -> str:
        """Return the text of a template that uses these names."""
        found = {name: self._find(name) for name in names}
        context = template.new_context({name: value for name, value in found.items() if value is not missing})
        token = _rendering.set(self)
        try:
            return self.joined(template.root_render_func(context))
        finally:
            _rendering.reset(token)

    def _find(self, name: str) -> Any:
        if name in self.variables:
            if name.startswith("_"):
                return Denied(f"{name}, because of the underscore at its beginning", "assign it to another name")
            return self.admit(self.variables[name], name)
        function = registered(name)
        return JINJA_FUNCTIONS.get(name, missing) if function is None else Function(name, function)

    def joined(self, parts: Iterable[str]) -> str:
        """Return the text of a template, macro or block."""
        counted = []
        for part in parts:
            self.make(len(part))
            counted.append(part)
        return "".join(counted)

    def output(self, value: Any) -> str:
        """Return the text that is inserted for a value."""
        self.usable(value)
        if type(value) is not str:
            self.expect(self.size(value))
            value = self._chosen.get(id(value), value)
        return str(value if self._to_text is None else self._to_text(value))

    def called(self, function: Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Return the result of a function that the user registered, or of a method of a table."""
        if function.owner is None:
            start = thread_time()
            try:
                returned = function.call(*args, **kwargs)
            finally:
                self.deadline += thread_time() - start  # the time of the user's own function does not count
            return self.admit(returned, f"the result of {function.name}()")
        rows = self.result(call_table(function, args, kwargs))
        if function.name in CHOICES and hasattr(function.owner, "shape"):
            self._chosen[id(rows)] = ChosenRows(rows, function.owner, CHOICES[function.name])
        return rows


class Missing(StrictUndefined):
    """An undefined value: using it raises ``UndefinedNameError``."""

    __slots__ = ()

    def __init__(
        self,
        hint: str | None = None,
        obj: Any = missing,
        name: str | None = None,
        exc: Callable[[str], Exception] = UndefinedError,
    ) -> None:
        super().__init__(hint, obj, name, exc if hint is not None else self._named)  # type: ignore[arg-type]

    def _named(self, _message: str) -> Exception:
        owner, name = self._undefined_obj, str(self._undefined_name)
        if owner is missing:
            names = [key for key in list(current().variables) if isinstance(key, str) and not key.startswith("_")]
            return UndefinedNameError(name, "", closest(name, names))
        kind = "None" if owner is None else type(owner).__name__
        return UndefinedNameError(name, kind, closest(name, _member_names(owner)))


def _member_names(owner: Any) -> Iterator[str]:
    row = readable(type(owner))
    yield from sorted(row.members if row is not None else getattr(owner, "members", ()))
    own = (
        vars(owner) if isinstance(owner, Record) else getattr(owner, "_fields", ()) if isinstance(owner, tuple) else ()
    )
    items = owner if isinstance(owner, dict) else getattr(owner, "columns", ()) if is_table(owner) else ()
    yield from (name for name in (*own, *items) if isinstance(name, str))
