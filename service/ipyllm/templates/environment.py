"""The environment of Jinja2 in which templates run: every attribute, item, call, operator and output is checked.

What Jinja compiles to plain Python, which its sandbox does not see, is rewritten to filters by names that no template
can write: the values of a loop, ``~``, comparisons, slices, and lists. What would be too large is refused before it is
made.
"""

from __future__ import annotations

import re
from functools import cache, wraps
from typing import TYPE_CHECKING, Any, cast

from jinja2 import nodes, pass_context
from jinja2.exceptions import TemplateSyntaxError
from jinja2.filters import FILTERS
from jinja2.runtime import Context, Macro
from jinja2.sandbox import SandboxedEnvironment, SandboxedFormatter
from jinja2.tests import TESTS
from jinja2.utils import Namespace
from jinja2.visitor import NodeTransformer

from ipyllm.templates.limits import MAX_NODES
from ipyllm.templates.readable import TemplateObject, name_list
from ipyllm.templates.refusal import ADVICE, RefusedError, describe_kind
from ipyllm.templates.rendering import Function, Missing, Record, current, members_of, refused_attribute
from ipyllm.templates.tables import CHOICES, Table, check_places

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

__all__ = ["environment"]

_ALLOWED = (
    nodes.Template, nodes.Output, nodes.For, nodes.If, nodes.Assign, nodes.AssignBlock, nodes.With, nodes.FilterBlock,
    nodes.Macro, nodes.CallBlock, nodes.Scope, nodes.Expr, nodes.Pair, nodes.Keyword, nodes.Operand,
)  # fmt: skip
_STATEMENTS = {"FromImport": "from", "ScopedEvalContextModifier": "autoescape"}  # nodes by the words of the user
_WIDE = re.compile(r"%\([^()]*\(|%(?:\([^()]*\))?[#0\- +]*(?:\d*\.)?(?:\d{4}|\*)")
_LONG_NUMBER = re.compile(r"\d{4}")
_MAX_FORMAT = 100  # characters
_UNDEFINED_ALLOWED = {"d", "default", "defined", "undefined"}


# ---- sizes -----------------------------------------------------------------------------------------------------


def _indented(text: Any, width: Any = 4, *_more: Any, **_named: Any) -> int:
    return len(str(text)) + (str(text).count("\n") + 1) * (len(width) if isinstance(width, str) else width)


def _replaced(text: Any, old: str, new: str, *_more: Any, **_named: Any) -> int:
    return len(str(text)) + (str(text).count(old) if old else len(str(text)) + 1) * len(new)


_GROWTH: dict[str, Callable[..., int]] = {
    **dict.fromkeys(("center", "ljust", "rjust", "zfill"), lambda text, width=80, *_fill: len(str(text)) + width),
    "indent": _indented,
    "join": lambda items, text="", *_more, d="", **_named: (len(items) + 1) * (len(text or d) + 1),
    "replace": _replaced,
    "tojson": lambda value, indent=0: current().size(value) * (1 + int(indent or 0)),
}
"""Estimates of the size that methods of texts and filters make, from their arguments."""


def _check_format(text: Any) -> str:
    """Return a format such as ``.2f`` or ``%d.%m.%Y``; refuse a long one and one with a huge width."""
    if not isinstance(text, str) or len(text) > _MAX_FORMAT or _LONG_NUMBER.search(text):
        raise RefusedError("may not use a format of more than 100 characters or a width above 999: shorten it.")
    return text


def _check_operands(symbol: str, left: Any, right: Any) -> None:
    """Refuse ``left symbol right`` if it would be too large."""
    run = current()
    if symbol == "%" and isinstance(left, str):
        if _WIDE.search(left):
            raise RefusedError("may not use a placeholder with a width above 999 or of '*': shorten it.")
        run.expect(len(left) + left.count("%") * (run.size(right) + 1_000))
    elif symbol == "*":
        for repeated, times in ((left, right), (right, left)):
            if isinstance(repeated, str | list | tuple):
                run.expect(len(repeated) * int(times))
    elif symbol == "**" and isinstance(left, int) and isinstance(right, int):
        run.expect_bits(left.bit_length() * abs(right))


# ---- filters ---------------------------------------------------------------------------------------------------


def _guarded(name: str, function: Any) -> Callable[..., Any]:
    """Return a filter or test of Jinja that takes and returns plain values."""
    first = 1 if hasattr(function, "jinja_pass_arg") else 0

    @wraps(function)  # including the attribute that tells Jinja what to pass
    def guarded(*args: Any, **kwargs: Any) -> Any:
        run = current()
        run.step()
        for value in [*args[first:], *kwargs.values()]:
            run.usable(value, undefined=name in _UNDEFINED_ALLOWED)
        for places in [*args[1:], *kwargs.values()] if name == "round" else ():
            check_places(places)
        if name in _GROWTH:
            run.expect(_GROWTH[name](*args[first:], **kwargs))
        return run.plain(function(*args, **kwargs))

    return guarded


def _method_filter(name: str) -> Callable[..., Any]:
    """Return a filter that calls a method of a table: ``df | head(20)``."""

    @pass_context
    def call(context: Context, table: Any, *args: Any, **kwargs: Any) -> Any:
        made = environment()
        return made.call(context, made.getattr(table, name), *args, **kwargs)

    return call


def _format(text: Any, *args: Any, **kwargs: Any) -> Any:
    return environment().call_binop(None, "%", str(text), kwargs or args)


def _sum(items: Iterable[Any], attribute: Any = None, start: Any = 0) -> Any:
    made = environment()
    for item in items:
        start = made.call_binop(None, "+", start, item if attribute is None else made.getitem(item, attribute))
    return start


def _json_value(value: Any) -> Any:
    """Return what JSON has no form of as one that it has: a date or a decimal as text, a set as a list."""
    if isinstance(value, Record):
        return vars(value)
    if isinstance(value, set | frozenset):
        return list(value)
    return value.isoformat() if hasattr(value, "isoformat") else str(value)


def _each(value: Any) -> Iterator[Any]:
    """Yield the items of a loop."""
    for item in current().usable(value):
        current().step()
        yield item


_EACH, _CONCATENATE, _SLICE, _MADE = "for …", "… ~ …", "[… : …]", "[…]"
_REWRITTEN: dict[str, Callable[..., Any]] = {
    _EACH: _each,
    _CONCATENATE: lambda parts: current().joined(map(str, current().plain(parts))),
    _SLICE: lambda *parts: slice(*map(current().usable, parts)),
    _MADE: lambda value: current().made(value),
}


class _Rewriter(NodeTransformer):
    """Rewrites the operations that Jinja compiles to plain Python."""

    def _filter(self, node: nodes.Node, name: str, *args: nodes.Expr) -> nodes.Filter:
        return nodes.Filter(cast("nodes.Expr", node), name, list(args), [], None, None, lineno=node.lineno)

    def visit_For(self, node: nodes.For) -> nodes.Node:  # noqa: N802 - named after the node
        self.generic_visit(node)
        node.iter = self._filter(node.iter, _EACH)
        return node

    def visit_Concat(self, node: nodes.Concat) -> nodes.Node:  # noqa: N802
        self.generic_visit(node)
        return self._filter(nodes.List(node.nodes, lineno=node.lineno), _CONCATENATE)

    def visit_Slice(self, node: nodes.Slice) -> nodes.Node:  # noqa: N802
        self.generic_visit(node)
        start, stop, step = (part or nodes.Const(None) for part in (node.start, node.stop, node.step))
        return self._filter(start, _SLICE, stop, step)

    def _visit_made(self, node: nodes.Node) -> nodes.Node:
        self.generic_visit(node)
        return node if getattr(node, "ctx", "load") == "store" else self._filter(node, _MADE)

    visit_List = visit_Tuple = visit_Dict = visit_Compare = _visit_made  # noqa: N815


# ---- environment -----------------------------------------------------------------------------------------------


class _Formatter(SandboxedFormatter):
    """``str.format`` with values that are looked up as in templates, and formats without huge widths."""

    def format_field(self, value: Any, format_spec: str) -> Any:
        """Return a value as text in a format."""
        return current().made(format(current().usable(value), _check_format(format_spec)))


@pass_context  # so that Jinja does not compute constants when it compiles
def _output(_context: Context, value: Any) -> str:
    return current().output(value)


class _Environment(SandboxedEnvironment):
    """Jinja's sandbox, in which everything is denied that is not allowed.

    All values are plain ones, tables in their wrapper, or methods of these, which ``is_safe_attribute`` lets through.
    """

    intercepted_binops = frozenset(SandboxedEnvironment.default_binop_table)
    intercepted_unops = frozenset(SandboxedEnvironment.default_unop_table)

    def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
        tree = super()._parse(source, name, filename)
        for count, node in enumerate(tree.find_all(nodes.Node)):
            line = getattr(node, "lineno", None) or 1
            if count > MAX_NODES:
                raise TemplateSyntaxError("it is too long", line)
            if not isinstance(node, _ALLOWED) or getattr(node, "recursive", False):
                kind = type(node).__name__
                word = "recursive" if isinstance(node, nodes.For) else _STATEMENTS.get(kind, kind.lower())
                raise TemplateSyntaxError(f"{word} is not allowed", line)
        _Rewriter().visit(tree)
        return tree

    @staticmethod
    def concat(parts: Iterable[str]) -> str:
        """Return the text of a macro or block."""
        return current().joined(parts)

    def is_safe_attribute(self, obj: Any, attr: str, _value: Any) -> bool:
        """Return whether a template may read an attribute; a table checks by itself."""
        return not attr.startswith("_") and (isinstance(obj, Namespace | Table) or attr in members_of(obj))

    def getitem(self, obj: Any, argument: Any) -> Any:
        """Return an item, or an attribute of this name."""
        return super().getitem(obj, current().usable(argument))

    def unsafe_undefined(self, obj: Any, attribute: str) -> Any:
        """Return the item of a dict whose name is that of a method; refuse any other attribute."""
        if isinstance(obj, dict) and attribute in obj:
            return obj[attribute]
        if isinstance(obj, TemplateObject):
            return self.undefined(obj=obj, name=attribute)
        raise refused_attribute(obj, attribute)

    def wrap_str_format(self, value: Any) -> Callable[..., str] | None:
        """Return what is called instead of ``str.format``; None for anything else."""
        owner = getattr(value, "__self__", None)
        if not isinstance(owner, str) or value.__name__ != "format":
            return None
        return lambda *args, **kwargs: _Formatter(self).vformat(owner, args, kwargs)

    def call(self, context: Context, function: Any, /, *args: Any, **kwargs: Any) -> Any:
        """Return the plain value of what a function or method returns."""
        run = current()
        run.step()
        for name in ("_loop_vars", "_block_vars"):  # that Jinja adds
            kwargs.pop(name, None)
        if not isinstance(function, Macro):
            for argument in (*args, *kwargs.values()):
                run.usable(argument)
        if not callable(function):
            raise RefusedError(f"may not call {describe_kind(function)}: {ADVICE}.")
        name, owner = getattr(function, "__name__", ""), getattr(function, "__self__", None)
        if isinstance(owner, str) and name in _GROWTH:
            run.expect(_GROWTH[name](owner, *args, **kwargs))
        elif name == "strftime":
            _check_format(*args, **kwargs)
        elif name in {"day_name", "month_name"} and (args or kwargs):  # a language, for which they change the process's
            raise RefusedError(f"may not give {name}() an argument: {ADVICE}.")
        made = context.call(function, *args, **kwargs)
        return made if isinstance(function, Function) or isinstance(made, Namespace) else run.plain(made)

    def call_binop(self, _context: Any, operator: str, left: Any, right: Any) -> Any:
        """Return the plain value of an operation."""
        _check_operands(operator, current().usable(left), current().usable(right))
        return current().made(self.binop_table[operator](left, right))

    def call_unop(self, _context: Context, operator: str, arg: Any) -> Any:
        """Return the plain value of a sign."""
        return current().made(self.unop_table[operator](arg))


@cache
def environment() -> _Environment:
    """Return the environment of all templates."""
    made = _Environment(
        undefined=Missing,
        finalize=_output,
        optimized=False,  # constants would be computed without limits
        keep_trailing_newline=True,
        autoescape=False,  # prompts are not HTML
        # No comments: "{#" is common in prompts about LaTeX, CSS and C.
        comment_start_string="{#ipyllm-no-comments",
        comment_end_string="ipyllm-no-comments#}",
    )
    allowed = {name: FILTERS[name] for name in name_list("filters")} | {"format": _format, "sum": _sum}
    choosing = {name: _method_filter(name) for name in ("describe", *CHOICES)}
    made.filters = {name: _guarded(name, function) for name, function in allowed.items()} | choosing | _REWRITTEN
    made.tests = {name: _guarded(name, function) for name, function in TESTS.items()}
    made.globals = {}
    made.policies["json.dumps_kwargs"] = {"sort_keys": True, "default": _json_value}
    return made
