"""Summarizes a value for a prompt in a few hundred tokens.

Strings and short values are inserted in full. Of a table, an array, a figure or a large object the summary gives the
shape, the types, the missing values, and as many of the first items as the budget allows. A figure is described in
words, because not every model accepts images; ``--image fig`` sends it as an image.
"""

from __future__ import annotations

import dataclasses
import numbers
import reprlib
import sys
from itertools import islice
from typing import TYPE_CHECKING, Any

from ipyllm.conversations.tokens import estimate
from ipyllm.templates.tables import ChosenRows
from ipyllm.text.format import count
from ipyllm.text.redact import redact
from ipyllm_magics.prompt.summarize_table import summarize_table
from ipyllm_magics.prompt.table_views import CELL_CHARS

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["BUDGET_TOKENS", "summarize_value"]

BUDGET_TOKENS = 1_000
"""Default tokens of one value in a prompt (an upper estimate); ``LLMMagics.value_tokens`` changes it."""

_EDGE_ITEMS = 3
_MAX_ATTRIBUTES = 20
_TOKENS_PER_ITEM = 20  # of a list, both ends together; an estimate
_CUT = " …"


class _MaskingRepr(reprlib.Repr):
    """Masks keys in texts before it cuts them."""

    def repr_str(self, x: str, level: int) -> str:
        return super().repr_str(redact(x), level)


def summarize_value(value: Any, budget: int = BUDGET_TOKENS) -> Any:
    """Return ``value``, or a text that summarizes it in at most ``budget`` tokens; chosen rows may take more.

    Examples
    --------
    >>> summarize_value("word " * 2000) == "word " * 2000, summarize_value(3), summarize_value([1, 2])
    (True, 3, '[1, 2]')
    >>> summarize_value(list(range(100_000)), 60)
    'list of 100,000 items: [0, 1, 2, …, 99997, 99998, 99999]'
    """
    if isinstance(value, str | numbers.Number | type(None)):
        return value
    described = summarize_table(value, budget) or _library_value(value)
    if described is not None:
        return described if isinstance(value, ChosenRows) else _cut(described, budget)
    if isinstance(value, dict | list | tuple | set | frozenset) and not _is_named_tuple(value):
        return _cut(_collection(value, budget), budget)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        named = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
        return _cut(_object(value, named, budget), budget)
    if _has_default_text(value):
        return _cut(_object(value, _public_attributes(value), budget), budget)
    return _cut(str(value), budget)


def _library_value(value: Any) -> str | None:
    """Summarize a value of numpy or matplotlib, if these are loaded."""
    numpy = sys.modules.get("numpy")
    if numpy is not None and isinstance(value, getattr(numpy, "ndarray", ())):
        return _array(value)
    if type(value).__module__.startswith("matplotlib.") and hasattr(value, "savefig"):
        return _figure(value)
    if type(value).__module__.startswith("matplotlib.") and hasattr(value, "get_xlabel"):
        return "Axes with " + _axes(value)
    return None


def _array(array: Any) -> str:
    import numpy as np

    shape = " × ".join(map(str, array.shape)) or "no dimension"
    text = f"array of {shape}, {array.dtype}"
    if array.dtype.kind in "iufb" and array.size:
        present = array[~np.isnan(array)] if array.dtype.kind == "f" else array
        if present.size < array.size:
            text += f", {array.size - present.size:,} missing (nan)"
        if present.size:
            text += f", from {present.min():.6g} to {present.max():.6g}, mean {present.mean():.6g}"
    values = np.array2string(array, threshold=60, edgeitems=_EDGE_ITEMS, precision=5, separator=", ")
    return f"{text}:\n{values}"


def _figure(figure: Any) -> str:
    axes = figure.get_axes()
    parts = [f"{index}. {_axes(ax)}" for index, ax in enumerate(axes, 1)]
    title = figure.get_suptitle() if hasattr(figure, "get_suptitle") else ""
    named = f" {title!r}" if title else ""
    return f"matplotlib figure{named} with {count(len(axes), 'plot')}:\n" + "\n".join(parts)


def _axes(axes: Any) -> str:
    parts = [f"title {axes.get_title()!r}"] if axes.get_title() else []
    for side in ("x", "y"):
        low, high = getattr(axes, f"get_{side}lim")()
        label = getattr(axes, f"get_{side}label")()
        parts.append(f"{side} {label + ' ' if label else ''}from {low:.6g} to {high:.6g}")
    for kind, drawn in (("line", axes.lines), ("collection", axes.collections), ("patch", axes.patches)):
        if drawn:
            parts.append(f"{len(drawn)} {kind}{'s' if len(drawn) > 1 and kind != 'patch' else ''}")
    parts += [f"{len(axes.images)} images"] if axes.images else []
    labels = [str(item.get_label()) for item in axes.lines if not str(item.get_label()).startswith("_")]
    parts += [f"lines {', '.join(map(repr, labels))}"] if labels else []
    return "; ".join(parts)


def _collection(value: Any, budget: int) -> str:
    # str() of a huge collection would take seconds.
    if len(value) <= budget:
        text = str(value)
        if estimate(text) <= budget:
            return text
    kind = type(value).__name__
    short = _MaskingRepr()
    short.maxlevel, short.maxstring, short.maxother, short.maxlong = 3, CELL_CHARS, CELL_CHARS, CELL_CHARS
    short.maxdict = short.maxlist = short.maxtuple = short.maxset = short.maxfrozenset = 2 * _EDGE_ITEMS
    edge = max(_EDGE_ITEMS, budget // _TOKENS_PER_ITEM)
    if isinstance(value, list | tuple) and len(value) > 2 * edge:
        ends = [short.repr(item) for item in (*value[:edge], *value[-edge:])]
        inside = ", ".join([*ends[:edge], "…", *ends[edge:]])
        return f"{kind} of {len(value):,} items: " + (f"[{inside}]" if kind == "list" else f"({inside})")
    short.maxdict = short.maxset = short.maxfrozenset = 2 * edge
    return f"{kind} of {len(value):,} items: {short.repr(value).replace('...', '…')}"


def _object(value: Any, named: Mapping[str, Any], budget: int) -> str:
    kind = type(value).__name__
    item_budget = max(10, budget // max(1, len(named)))
    lines = [f"- {name}: {summarize_value(item, item_budget)}" for name, item in islice(named.items(), _MAX_ATTRIBUTES)]
    more = [f"- … and {len(named) - _MAX_ATTRIBUTES} more"] if len(named) > _MAX_ATTRIBUTES else []
    return "\n".join([f"{kind}:" if lines else f"an object of type {kind}", *lines, *more])


def _has_default_text(value: Any) -> bool:
    kind: Any = type(value)
    return kind.__str__ is object.__str__ and kind.__repr__ is object.__repr__


def _public_attributes(value: Any) -> dict[str, Any]:
    attributes = getattr(value, "__dict__", {})
    return {name: item for name, item in attributes.items() if not name.startswith("_") and not callable(item)}


def _is_named_tuple(value: Any) -> bool:
    """Whether it is a named tuple, whose text names its fields."""
    return isinstance(value, tuple) and hasattr(value, "_fields")


def _cut(text: str, budget: int) -> str:
    """Return the start of ``text`` that fits, with a note if it was cut."""
    if len(text) <= budget or estimate(text) <= budget:
        return text
    text = redact(text)
    low, high = budget, min(len(text), 4 * budget)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if estimate(text[:middle]) <= budget else (low, middle - 1)
    return f"{text[:low].rstrip()}{_CUT}\n[cut: the first {low:,} of {len(text):,} characters]"
