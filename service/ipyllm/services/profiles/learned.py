"""What servers have refused in this session, by address and model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["forget", "has_learned", "learned_misfits", "remember"]

_Key = tuple[str, str | None, str | None]  # a parameter; its value, if only that was refused; the effort at the time

_refusals: dict[tuple[str, str], dict[_Key, str]] = {}


def forget() -> None:
    """Forget all refusals."""
    _refusals.clear()


def remember(sentence: str, name: str, params: Mapping[str, Any], *, model: str, server: str, only_value: bool) -> None:
    """Remember that ``server`` refused a parameter of ``model``, and the sentence about it."""
    value = repr(params[name]) if only_value else None
    _refusals.setdefault((server, model), {})[name, value, _effort_beside(name, params)] = sentence


def has_learned(model: str) -> bool:
    """Return whether any server has refused a parameter of ``model``: nearly always none has, and this is fast."""
    return bool(_refusals) and any(name == model for _, name in list(_refusals))


def learned_misfits(params: Mapping[str, Any], model: str, server: str) -> Iterator[tuple[str, str]]:
    """Yield each parameter that ``server`` has refused, with the sentence of that refusal."""
    for (name, value, effort), sentence in list(_refusals.get((server, model), {}).items()):
        if name in params and value in {None, repr(params[name])} and effort == _effort_beside(name, params):
            yield name, sentence


def _effort_beside(name: str, params: Mapping[str, Any]) -> str | None:
    """Return the effort of the request, on which the use of other parameters depends."""
    return None if name == "effort" else params.get("effort")
