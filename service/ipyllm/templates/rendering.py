"""One rendering of a template: its variables, its undefined names, and what it has used of its limits."""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from jinja2 import StrictUndefined
from jinja2.exceptions import UndefinedError
from jinja2.sandbox import safe_range
from jinja2.utils import Cycler, Joiner, Namespace, missing

from ipyllm.templates.chosen_rows import CHOICES, ChosenRows
from ipyllm.templates.functions import registered
from ipyllm.templates.operations import library_of
from ipyllm.templates.plain_values import PlainValues, RegisteredFunction
from ipyllm.templates.readable import readable
from ipyllm.templates.records import Record
from ipyllm.templates.refusal import Denied
from ipyllm.templates.undefined_name import UndefinedNameError
from ipyllm.text.suggest import closest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from jinja2 import Template

    from ipyllm.templates.methods import Method

__all__ = ["JINJA_NAMES", "Missing", "Rendering", "current"]

JINJA_NAMES = {"range": safe_range, "dict": dict, "namespace": Namespace, "cycler": Cycler, "joiner": Joiner}
"""The functions of Jinja that a template may call."""

_TABLES = {"pandas DataFrame", "pandas Series", "Polars DataFrame", "Polars Series"}
_rendering: ContextVar[Rendering] = ContextVar("rendering")


def current() -> Rendering:
    """Return the rendering that is under way."""
    return _rendering.get()


class Rendering(PlainValues):
    """One rendering of a template: its variables, and what it has used of its limits.

    Parameters
    ----------
    variables : mapping
        The user's names and values.
    to_text : callable or None
        Converts a value to the text that is inserted; by default ``str``.
    """

    def __init__(self, variables: Mapping[str, Any], to_text: Callable[[Any], Any] | None = None) -> None:
        super().__init__()
        self._variables = variables
        self._to_text = to_text
        self._looked_up: dict[str, Any] = {}
        self._chosen: dict[int, ChosenRows] = {}

    def fill_in(self, template: Template) -> str:
        """Return the text of the template."""
        token = _rendering.set(self)
        try:
            return "".join(template.root_render_func(template.new_context({}, shared=True)))
        finally:
            _rendering.reset(token)

    def look_up(self, name: str) -> Any:
        """Return the value of a variable, a registered function or one of Jinja's; ``missing`` if there is none."""
        if name not in self._looked_up:
            self._looked_up[name] = self._find(name)
        return self._looked_up[name]

    def _find(self, name: str) -> Any:
        if name in self._variables:
            if name.startswith("_"):
                return Denied(f"{name}, because of the underscore at its beginning", "assign it to another name")
            return self.admit(self._variables[name], name)
        function = registered(name)
        if function is not None:
            return RegisteredFunction(name, function)
        return JINJA_NAMES.get(name, missing)

    def names(self) -> list[str]:
        """Return the names of variables, for suggestions."""
        return [name for name in list(self._variables) if isinstance(name, str) and not name.startswith("_")]

    def choose(self, method: Method, rows: Any) -> Any:
        """Note that a template chose these rows, by ``head`` or the like, if a table has the method; return them."""
        row = readable(type(method.owner))
        if method.name in CHOICES and row is not None and row.title in _TABLES:
            self._chosen[id(rows)] = ChosenRows(rows, method.owner, CHOICES[method.name])
        return rows

    def output(self, value: Any) -> str:
        """Return the text that is inserted for a value."""
        if type(value) is not str:
            self.expect(self.size(value))
        chosen = self._chosen.get(id(value), value)
        text = str(chosen if self._to_text is None else self._to_text(chosen))
        self.make(len(text))
        return text


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
            return UndefinedNameError(name, "", closest(name, current().names()))
        kind = "None" if owner is None else type(owner).__name__
        return UndefinedNameError(name, kind, closest(name, _member_names(owner)))


def _member_names(owner: Any) -> Iterator[str]:
    row = readable(type(owner))
    yield from sorted(row.members if row is not None else getattr(owner, "members", ()))
    if isinstance(owner, dict):
        yield from (name for name in owner if isinstance(name, str))
    elif isinstance(owner, Record):
        yield from vars(owner)
    elif isinstance(owner, tuple):
        yield from getattr(owner, "_fields", ())
    elif library_of(owner):
        yield from (name for name in getattr(owner, "columns", ()) if isinstance(name, str))
