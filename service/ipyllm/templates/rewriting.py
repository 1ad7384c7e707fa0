"""Rewrites the operations of templates that Jinja compiles to plain Python, which its sandbox does not see.

These are comparisons, slices, ``~``, the keys of dicts and the values of a loop. Each becomes a filter, by a name that
no template can write. Statements that load other templates are refused.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from jinja2 import Undefined, nodes
from jinja2.exceptions import TemplateSyntaxError
from jinja2.visitor import NodeTransformer

from ipyllm.templates.limits import MAX_NODES
from ipyllm.templates.operations import compare, library_of
from ipyllm.templates.plain_values import describe_kind
from ipyllm.templates.readable import TemplateObject, readable
from ipyllm.templates.refusal import ADVICE, Denied, RefusedError
from ipyllm.templates.rendering import current

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["OPERATIONS", "each", "rewrite"]

_ALLOWED = (
    nodes.Template, nodes.Output, nodes.For, nodes.If, nodes.Assign, nodes.AssignBlock, nodes.With, nodes.FilterBlock,
    nodes.Macro, nodes.CallBlock, nodes.Scope, nodes.Expr, nodes.Pair, nodes.Keyword, nodes.Operand,
)  # fmt: skip
_STATEMENTS = {"FromImport": "from", "ScopedEvalContextModifier": "autoescape"}  # nodes by the words of the user


def rewrite(tree: nodes.Template) -> nodes.Template:
    """Return ``tree`` with its operations as filters; raise TemplateSyntaxError for what is not allowed."""
    for count, node in enumerate(tree.find_all(nodes.Node)):
        line = getattr(node, "lineno", None) or 1
        if count > MAX_NODES:
            raise TemplateSyntaxError("it is too long", line)
        if not isinstance(node, _ALLOWED):
            name = type(node).__name__
            raise TemplateSyntaxError(f"{_STATEMENTS.get(name, name.lower())} is not allowed", line)
    _Rewriter().visit(tree)
    return tree


def each(value: Any) -> Iterator[Any]:
    """Yield the items of a loop."""
    values = current()
    kind = type(value)
    row = readable(kind)
    if kind is Denied or isinstance(value, Undefined):
        str(value)  # raises
    if row is None and not isinstance(value, TemplateObject | tuple):
        raise RefusedError(f"may not loop over {describe_kind(value)}: {ADVICE}.")
    plain = row is not None and not library_of(value)
    for item in value:
        values.step()
        yield item if plain else values.result(item)


def _concatenate(parts: list[Any]) -> str:
    values = current()
    values.step()
    values.expect(sum(map(values.size, parts)))
    text = "".join(map(str, parts))
    values.make(len(text))
    return text


def _value(value: Any) -> Any:
    current().size(value)
    return value


def _compare(left: Any, *others: Any) -> Any:
    return compare(current(), left, *others)


_EACH, _CONCATENATE, _COMPARE, _SLICE, _VALUE = "for …", "… ~ …", "… < …", "[… : …]", "{…: }"
OPERATIONS: dict[str, Callable[..., Any]] = {
    _EACH: each,
    _CONCATENATE: _concatenate,
    _COMPARE: _compare,
    _SLICE: slice,
    _VALUE: _value,
}


class _Rewriter(NodeTransformer):
    """Rewrites the operations that Jinja compiles to plain Python."""

    def __init__(self) -> None:
        self._repeated = 0  # how many loops and macros this is in

    def _filter(self, node: nodes.Node, name: str, *args: nodes.Expr) -> nodes.Filter:
        return nodes.Filter(cast("nodes.Expr", node), name, list(args), [], None, None, lineno=node.lineno)

    def _visit_repeated(self, node: nodes.Node) -> nodes.Node:
        self._repeated += 1
        self.generic_visit(node)
        self._repeated -= 1
        return node

    def visit_For(self, node: nodes.For) -> nodes.Node:  # noqa: N802 - named after the node
        self._visit_repeated(node)
        node.iter = self._filter(node.iter, _EACH)
        return node

    visit_Macro = visit_CallBlock = _visit_repeated  # noqa: N815

    def visit_TemplateData(self, node: nodes.TemplateData) -> nodes.Node:  # noqa: N802
        # In a loop a text is counted at each repetition.
        return nodes.Const(node.data, lineno=node.lineno) if self._repeated else node

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
        return nodes.Filter(start, _SLICE, [stop, step], [], None, None, lineno=node.lineno)

    def visit_Pair(self, node: nodes.Pair) -> nodes.Node:  # noqa: N802
        self.generic_visit(node)
        node.key = self._filter(node.key, _VALUE)  # hashing deeply nested tuples ends the process
        return node
