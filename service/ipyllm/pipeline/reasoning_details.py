"""Collects OpenRouter's ``reasoning_details`` from the pieces of a stream.

https://openrouter.ai/docs/use-cases/reasoning-tokens: they are signed or encrypted by the provider that made them, and
sent back unchanged with the results of tools.
"""

from __future__ import annotations

from typing import Any, Final

__all__ = ["add_details"]

_TEXTS: Final = ("text", "summary")  # which come in pieces


def add_details(known: list[dict[str, Any]], details: list[Any]) -> None:
    """Add the details of one chunk; the pieces of one text are joined, and its signature comes with the last.

    Examples
    --------
    >>> known = []
    >>> add_details(known, [{"type": "reasoning.text", "text": "So ", "index": 0}])
    >>> add_details(known, [{"type": "reasoning.text", "text": "4.", "index": 0}])
    >>> add_details(known, [{"type": "reasoning.text", "signature": "c2ln", "index": 0}])
    >>> known
    [{'type': 'reasoning.text', 'text': 'So 4.', 'index': 0, 'signature': 'c2ln'}]
    """
    for detail in details:
        if not isinstance(detail, dict):
            continue
        last = known[-1] if known else None
        if last is None or not _continues(last, detail):
            known.append(dict(detail))
            continue
        for name, value in detail.items():
            if name in _TEXTS and isinstance(value, str):
                last[name] = (last.get(name) or "") + value
            elif value is not None:
                last[name] = value


def _continues(last: dict[str, Any], detail: dict[str, Any]) -> bool:
    is_same = all(last.get(name) == detail.get(name) for name in ("type", "index"))
    same_id = not last.get("id") or not detail.get("id") or last["id"] == detail["id"]
    return is_same and same_id and "data" not in detail and not last.get("signature")
