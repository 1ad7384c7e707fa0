"""The environment of Jinja2 in which templates run: every attribute, item, call, operator and output is checked.

What Jinja compiles to plain Python, which its sandbox does not see (comparisons, slices, ``~``, lists and the values of
a loop), is rewritten to filters, by names that no template can write.
"""

from __future__ import annotations

import operator
import re
from fractions import Fraction
from functools import cache, wraps
from typing import TYPE_CHECKING, Any, cast

from jinja2 import Undefined, nodes, pass_context, pass_environment
from jinja2.exceptions import TemplateSyntaxError
from jinja2.filters import FILTERS
from jinja2.runtime import Context, LoopContext, Macro
from jinja2.sandbox import SandboxedEnvironment, SandboxedFormatter
from jinja2.tests import TESTS
from jinja2.utils import Joiner, Namespace, missing
from jinja2.visitor import NodeTransformer

from ipyllm.templates.border import Record
from ipyllm.templates.limits import MAX_NODES
from ipyllm.templates.readable import TemplateObject, name_list, readable
from ipyllm.templates.refusal import ADVICE, Denied, Function, RefusedError, describe_kind
from ipyllm.templates.rendering import JINJA_FUNCTIONS, Missing, Rendering, current
from ipyllm.templates.tables import (
    CHOICES,
    check_format,
    check_index,
    check_pair,
    check_places,
    check_whole,
    is_table,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

__all__ = ["environment"]

_ALLOWED = (
    nodes.Template, nodes.Output, nodes.For, nodes.If, nodes.Assign, nodes.AssignBlock, nodes.With, nodes.FilterBlock,
    nodes.Macro, nodes.CallBlock, nodes.Scope, nodes.Expr, nodes.Pair, nodes.Keyword, nodes.Operand,
)  # fmt: skip
_STATEMENTS = {"FromImport": "from", "ScopedEvalContextModifier": "autoescape"}  # nodes by the words of the user
_OPERATORS: dict[str, Callable[[Any, Any], Any]] = {
    "+": operator.add, "-": operator.sub, "*": operator.mul, "/": operator.truediv, "//": operator.floordiv,
    "%": operator.mod, "**": operator.pow,
}  # fmt: skip
_COMPARISONS: dict[str, Callable[[Any, Any], Any]] = {
    "eq": operator.eq, "ne": operator.ne, "gt": operator.gt, "gteq": operator.ge, "lt": operator.lt,
    "lteq": operator.le, "in": lambda item, items: item in items, "notin": lambda item, items: item not in items,
}  # fmt: skip
_WIDE = re.compile(r"%\([^()]*\(|%(?:\([^()]*\))?[#0\- +]*(?:\d*\.)?(?:\d{4}|\*)")
_UNDEFINED_ALLOWED = {"d", "default", "defined", "undefined"}


# ---- operators -------------------------------------------------------------------------------------------------


def _operate(symbol: str, left: Any, right: Any) -> Any:
    """Return ``left symbol right``; refuse what would be too large before it is made."""
    run = current()
    run.step()
    run.usable(left)
    run.usable(right)
    check_pair(left, right, arithmetic=True)
    if symbol == "%" and isinstance(left, str | bytes):
        text = left if isinstance(left, str) else left.decode("latin-1")
        if _WIDE.search(text):
            raise RefusedError("may not use a placeholder with a width above 999 or of '*': shorten it.")
        run.expect(len(text) + text.count("%") * (run.size(right) + 1_000))
    elif symbol == "*":
        for repeated, times in ((left, right), (right, left)):
            if isinstance(repeated, str | bytes | list | tuple):
                run.expect(len(repeated) * int(times))
    elif symbol == "**" and isinstance(left, int | Fraction) and isinstance(right, int | Fraction):
        run.expect_bits((left.numerator.bit_length() + left.denominator.bit_length()) * int(abs(cast("int", right))))
    return run.result(_OPERATORS[symbol](left, right))


def _compare(left: Any, *others: Any) -> Any:
    """Return ``left op right op right …``; ``others`` are names of operators and values in turn."""
    result: Any = True
    for name, right in zip(others[::2], others[1::2], strict=True):
        result = _COMPARISONS[name](left, right)
        if len(others) > 2 and not result:  # noqa: PLR2004 - a chain, as in 1 < x < 3
            break
        left = right
    return result


def _concatenate(parts: list[Any]) -> str:
    current().expect(sum(map(current().size, parts)))
    return "".join(map(str, parts))


def _each(value: Any) -> Iterator[Any]:
    """Yield the items of a loop."""
    run = current()
    run.usable(value)
    for item in value:
        run.step()
        yield run.result(item) if is_table(value) else item


# ---- filters ---------------------------------------------------------------------------------------------------


def _width(text: Any, width: int = 80, *_more: Any) -> int:
    return len(str(text)) + width


def _wrapped(text: Any, width: int = 79, _long: Any = True, wrapstring: Any = None, *_more: Any, **_named: Any) -> int:
    lines = 2 * (len(str(text)) // max(1, width) + len(str(text).splitlines()))  # two of a paragraph exceed the width
    return len(str(text)) + lines * (len(wrapstring or "\n") - 1)


_GROWTH: dict[str, Callable[..., int]] = {
    "batch": lambda items, linecount, *_more, **_named: len(items) + linecount,
    "center": _width,
    "expandtabs": lambda text, tabsize=8: len(text) * (1 + tabsize),
    "indent": lambda text, width=4, *_more, **_named: (
        len(str(text)) + (str(text).count("\n") + 1) * (len(width) if isinstance(width, str) else width)
    ),
    "join": lambda items, separator="", *_more, d="", **_named: (len(items) + 1) * (len(separator or d) + 1),
    "ljust": _width,
    "replace": lambda text, old, new, *_more, **_named: (
        len(str(text)) + (str(text).count(old) if old else len(str(text)) + 1) * len(new)
    ),
    "rjust": _width,
    "slice": lambda items, slices, *_more, **_named: len(items) + slices,
    "tojson": lambda value, indent=0: current().size(value) * (1 + int(indent or 0)),
    "wordwrap": _wrapped,
    "zfill": _width,
}
"""Estimates of the size that methods of texts and filters make, from their arguments."""


def _guarded(name: str, function: Any) -> Callable[..., Any]:
    """Return a filter or test of Jinja that takes and returns plain values."""
    first = 1 if hasattr(function, "jinja_pass_arg") else 0

    @wraps(function)  # including the attribute that tells Jinja what to pass
    def guarded(*args: Any, **kwargs: Any) -> Any:
        run = current()
        run.step()
        given = [*args[first:], *kwargs.values()]
        for value in given:
            if not (name in _UNDEFINED_ALLOWED and isinstance(value, Undefined)):
                run.usable(value)
            check_pair(given[0], value, arithmetic=False)
        if name in _GROWTH:
            run.expect(_GROWTH[name](*args[first:], **kwargs))
        for value in given[1:] if name == "round" else ():
            check_places(value)
        return run.result(function(*args, **kwargs))

    return guarded


def _method_filter(name: str) -> Callable[..., Any]:
    """Return a filter that calls a method of a table: ``df | head(20)``."""

    @pass_context
    def call(context: Context, table: Any, *args: Any, **kwargs: Any) -> Any:
        return _made().call(context, _made().getattr(table, name), *args, **kwargs)

    return call


@pass_environment
def _sum(env: _Environment, items: Iterable[Any], attribute: Any = None, start: Any = 0) -> Any:
    for item in items:
        start = _operate("+", start, item if attribute is None else env.getitem(item, attribute))
    return start


def _json_value(value: Any) -> Any:
    """Return what JSON has no form of as one that it has: a date or a decimal as text, a set as a list."""
    if isinstance(value, Record):
        return vars(value)
    if isinstance(value, set | frozenset):
        return list(value)
    if hasattr(value, "isoformat"):
        return value.isoformat()
    return value.item() if hasattr(value, "item") and not is_table(value) else str(value)


# ---- rewriting -------------------------------------------------------------------------------------------------

_EACH, _CONCATENATE, _COMPARE, _SLICE, _LITERAL = "for …", "… ~ …", "… < …", "[… : …]", "[…]"
_REWRITTEN: dict[str, Callable[..., Any]] = {
    _CONCATENATE: _concatenate,
    _COMPARE: _compare,
    _SLICE: slice,
    _LITERAL: lambda value: value,
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

    def visit_Compare(self, node: nodes.Compare) -> nodes.Node:  # noqa: N802
        self.generic_visit(node)
        others = [part for operand in node.ops for part in (nodes.Const(operand.op), operand.expr)]
        return self._filter(node.expr, _COMPARE, *others)

    def visit_Slice(self, node: nodes.Slice) -> nodes.Node:  # noqa: N802
        self.generic_visit(node)
        start, stop, step = (part or nodes.Const(None) for part in (node.start, node.stop, node.step))
        return self._filter(start, _SLICE, stop, step)

    def _visit_literal(self, node: nodes.Node) -> nodes.Node:
        self.generic_visit(node)
        return node if getattr(node, "ctx", "load") == "store" else self._filter(node, _LITERAL)

    visit_List = visit_Tuple = visit_Dict = _visit_literal  # noqa: N815


# ---- environment -----------------------------------------------------------------------------------------------


@pass_context  # so that Jinja does not compute constants when it compiles
def _output(_context: Context, value: Any) -> str:
    return current().output(value)


class _Environment(SandboxedEnvironment):
    """Jinja's sandbox, in which everything is denied that is not allowed."""

    intercepted_binops = frozenset(SandboxedEnvironment.default_binop_table)
    intercepted_unops = frozenset(SandboxedEnvironment.default_unop_table)

    def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
        tree = super()._parse(source, name, filename)
        for count, node in enumerate(tree.find_all(nodes.Node)):
            line = getattr(node, "lineno", None) or 1
            if count > MAX_NODES:
                raise TemplateSyntaxError("it is too long", line)
            if not isinstance(node, _ALLOWED):
                kind = type(node).__name__
                raise TemplateSyntaxError(f"{_STATEMENTS.get(kind, kind.lower())} is not allowed", line)
        _Rewriter().visit(tree)
        return tree

    @staticmethod
    def concat(parts: Iterable[str]) -> str:  # of macros and blocks
        """Return the text of a macro or block."""
        return current().joined(parts)

    def getattr(self, obj: Any, attribute: str) -> Any:
        return self._found(obj, attribute, self._member, self._item)

    def getitem(self, obj: Any, argument: Any) -> Any:
        return self._found(obj, argument, self._item, self._member)

    def _found(self, obj: Any, name: Any, *ways: Callable[[Any, Any], Any]) -> Any:
        current().step()
        if isinstance(obj, Undefined) or type(obj) is Denied:
            str(obj)  # raises
        for way in ways:
            value = way(obj, name)
            if value is not missing:
                return value
        if isinstance(obj, Function | Macro):
            raise RefusedError(f"may not use {str(name)!r} of a function: {ADVICE}.")
        if isinstance(name, str) and hasattr(type(obj), name) and not isinstance(obj, TemplateObject | Record):
            raise RefusedError(f"may not use {name!r} of {describe_kind(obj)}: {ADVICE}.")
        return self.undefined(obj=obj, name=name)

    def _member(self, obj: Any, name: Any) -> Any:
        if type(name) is not str:
            return missing
        if name.startswith("_"):
            raise RefusedError(f"may not use {name!r}, because of the underscore at its beginning: {ADVICE}.")
        if isinstance(obj, Record | Namespace):
            return getattr(obj, name, missing)
        row = readable(type(obj))
        members = row.members if row is not None else obj.members if isinstance(obj, TemplateObject) else ()
        if name not in members and not (isinstance(obj, tuple) and name in getattr(obj, "_fields", ())):
            return missing
        if name == "T":
            check_whole(name, obj)
        value = getattr(obj, name, missing)
        if callable(value) and readable(type(value)) is None:
            return Function(name, value, obj)
        return value if value is missing or isinstance(value, Undefined) else current().result(value)

    def _item(self, obj: Any, index: Any) -> Any:
        row = readable(type(obj))
        if not (isinstance(obj, TemplateObject | tuple) or (row is not None and row.items)):
            return missing
        current().usable(index)
        if is_table(obj):
            check_index(current(), obj, index)
            if type(index) is str and index not in getattr(obj, "schema", (index,)):
                return missing  # Polars raises an error of its own
        try:
            found = obj[index]
        except (TypeError, LookupError):
            return missing
        return current().result(found) if is_table(obj) or isinstance(index, slice) else found

    def call(self, context: Context, function: Any, /, *args: Any, **kwargs: Any) -> Any:
        run = current()
        run.step()
        if isinstance(function, Macro):
            return context.call(function, *args, **kwargs)
        if isinstance(function, LoopContext):  # recursion
            return context.call(function, *map(_each, args), **kwargs)
        for name in ("_loop_vars", "_block_vars"):  # that Jinja adds
            kwargs.pop(name, None)
        for argument in (*args, *kwargs.values()):
            run.usable(argument)
        if isinstance(function, Function):
            return self._call_function(run, function, args, kwargs)
        if isinstance(function, Joiner) or any(function is known for known in JINJA_FUNCTIONS.values()):
            made = function(*args, **kwargs)
            return run.result(made) if isinstance(made, dict) else made
        if isinstance(function, Denied | Undefined):
            str(function)  # raises
        raise RefusedError(f"may not call {describe_kind(function)}: {ADVICE}.")

    def _call_function(self, run: Rendering, function: Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        owner, name = function.owner, function.name
        if owner is None or is_table(owner):
            return run.called(function, args, kwargs)
        if isinstance(owner, str) and name == "format":
            return run.result(_Formatter(self).vformat(owner, args, kwargs))
        if isinstance(owner, str) and name in _GROWTH:
            run.expect(_GROWTH[name](owner, *args, **kwargs))
        if name in {"count", "index"} and args:  # of a list
            check_pair(owner, args[0], arithmetic=False)
        if name == "strftime":
            check_format(*args, **kwargs)
        return run.result(function.call(*args, **kwargs))

    def call_binop(self, _context: Context, operator: str, left: Any, right: Any) -> Any:
        return _operate(operator, left, right)

    def call_unop(self, _context: Context, operator: str, arg: Any) -> Any:
        current().step()
        return current().result(self.unop_table[operator](current().usable(arg)))


class _Formatter(SandboxedFormatter):
    """``str.format`` with values that are looked up as in templates, and formats without huge widths."""

    def format_field(self, value: Any, format_spec: str) -> Any:
        run = current()
        run.step()
        run.expect(run.size(run.usable(value)))
        return run.result(format(value, check_format(format_spec)))

    def convert_field(self, value: Any, conversion: Any) -> Any:
        current().expect(current().size(current().usable(value)))
        return super().convert_field(value, conversion)


@cache
def _made() -> _Environment:
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
    own = {"format": lambda text, *args, **kwargs: _operate("%", str(text), kwargs or args), "sum": _sum, **_REWRITTEN}
    jinjas = {name: FILTERS[name] for name in name_list("filters")}
    made.filters = {name: _guarded(name, function) for name, function in (jinjas | own).items()}
    made.filters |= {name: _method_filter(name) for name in ("describe", *CHOICES)} | {_EACH: _each}
    made.tests = {name: _guarded(name, function) for name, function in TESTS.items()}
    made.globals = {}
    made.policies["json.dumps_kwargs"] = {"sort_keys": True, "default": _json_value}
    return made


def environment() -> SandboxedEnvironment:
    """Return the environment of all templates."""
    return _made()
