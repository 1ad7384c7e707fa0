"""Collects OpenRouter's ``reasoning_details`` from the pieces of a stream.

https://openrouter.ai/docs/use-cases/reasoning-tokens: they are signed or encrypted by the provider that made them, and
sent back unchanged with the results of tools.
"""

from __future__ import annotations

from typing import Any, Final

from ipyllm.pipeline.field_bounds import ValueCounter

__all__ = ["ReasoningDetails"]

_TEXTS: Final = ("text", "summary")  # which come in pieces


class ReasoningDetails:
    """The details of the reasoning of one answer; the pieces of one text are joined, its signature comes with the last.

    Examples
    --------
    >>> details = ReasoningDetails()
    >>> details.add([{"type": "reasoning.text", "text": "So ", "index": 0}])
    >>> details.add([{"type": "reasoning.text", "text": "4.", "index": 0}])
    >>> details.add([{"type": "reasoning.text", "signature": "c2ln", "index": 0}])
    >>> details.joined()
    [{'type': 'reasoning.text', 'text': 'So 4.', 'index': 0, 'signature': 'c2ln'}]
    """

    __slots__ = ("_known", "_pieces", "_values")

    def __init__(self) -> None:
        self._values = ValueCounter("values in the details of its reasoning")
        self._known: list[dict[str, Any]] = []
        self._pieces: list[dict[str, list[str]]] = []  # of the texts of each detail

    def __bool__(self) -> bool:
        return bool(self._known)

    def add(self, details: list[Any]) -> None:
        """Add the details of one chunk; raise ImplausibleAnswerError if there are too many."""
        for detail in details:
            if not isinstance(detail, dict):
                continue
            if not (self._known and _continues(self._known[-1], detail)):
                self._known.append({})
                self._pieces.append({})
            last, pieces = self._known[-1], self._pieces[-1]
            for name, value in detail.items():
                if name in _TEXTS and isinstance(value, str):
                    pieces.setdefault(name, []).append(value)
                    last.setdefault(name, "")
                elif value is not None or name not in last:
                    if name not in last or isinstance(value, list | dict):
                        self._values.add(value)
                    last[name] = value

    def joined(self) -> list[dict[str, Any]]:
        """Return the details so far, as they are sent back."""
        return [
            known | {name: "".join(texts) for name, texts in pieces.items()}
            for known, pieces in zip(self._known, self._pieces, strict=True)
        ]


def _continues(last: dict[str, Any], detail: dict[str, Any]) -> bool:
    is_same = all(last.get(name) == detail.get(name) for name in ("type", "index"))
    same_id = not last.get("id") or not detail.get("id") or last["id"] == detail["id"]
    return is_same and same_id and "data" not in detail and not last.get("signature")
