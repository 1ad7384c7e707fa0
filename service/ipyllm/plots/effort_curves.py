"""Finds the arms that are one model at several efforts of reasoning."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

__all__ = ["effort_curves"]

_EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh", "max")


def effort_curves(calls: pd.DataFrame, arms: Sequence[str]) -> list[list[str]]:
    """Return the arms that differ in nothing but ``params["effort"]``, in groups of two or more, lowest effort first.

    ``calls`` are those of an experiment, with ``arm``, ``model`` and ``params``, and ``system``, ``variant`` and
    ``address`` where arms differ in these; without them there are no groups. Efforts of other names stand last, in the
    order of ``arms``.

    Examples
    --------
    >>> import pandas as pd
    >>> params = [{"effort": "high"}, {"effort": "low"}, {"effort": "low", "temperature": 1}, {}]
    >>> effort_curves(pd.DataFrame({"arm": list("abcd"), "model": "m", "params": params}), list("abcd"))
    [['b', 'a']]
    """
    if not {"arm", "model", "params"} <= set(calls.columns):
        return []
    others = [name for name in ("model", "address", "system", "variant") if name in calls.columns]
    first = calls.drop_duplicates("arm").set_index("arm")
    groups: dict[str, list[tuple[int, str]]] = {}
    for arm in arms:
        params: Any = first["params"][arm]
        if not isinstance(params, dict) or not isinstance(effort := params.get("effort"), str):
            continue
        rest = {name: value for name, value in params.items() if name != "effort"}
        key = json.dumps([rest, *map(str, first.loc[arm, others])], sort_keys=True, default=str)
        place = _EFFORTS.index(effort) if effort in _EFFORTS else len(_EFFORTS)
        groups.setdefault(key, []).append((place, arm))
    ordered = [sorted(group, key=lambda one: one[0]) for group in groups.values() if len(group) > 1]
    return [[arm for _, arm in group] for group in ordered]
