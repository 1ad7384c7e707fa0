"""Measured claims, and the table of all of them."""

from __future__ import annotations

import json
import platform
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

__all__ = ["Claim", "median", "show"]


@dataclass(frozen=True)
class Claim:
    """A measured figure, its bound, and the figures of the alternatives."""

    what: str
    measured: float
    bound: float
    unit: str
    against: str = ""
    at_least: bool = False

    @property
    def met(self) -> bool:
        return self.measured >= self.bound if self.at_least else self.measured <= self.bound


def show(claims: list[Claim]) -> bool:
    """Print the table, save it as build/bench.json, and return whether every bound was met."""
    width = max(len(claim.what) for claim in claims)
    for claim in claims:
        sign = "≥" if claim.at_least else "≤"
        bound = f"{sign} {claim.bound:g} {claim.unit}"
        verdict = "met   " if claim.met else "MISSED"
        print(f"{verdict}  {claim.what:<{width}}  {claim.measured:>8.3g} {claim.unit:<10} {bound:<16} {claim.against}")
    build = Path("build")
    build.mkdir(exist_ok=True)
    record = {
        "python": platform.python_version(),
        "claims": [asdict(claim) | {"met": claim.met} for claim in claims],
    }
    (build / "bench.json").write_text(json.dumps(record, indent=1))
    return all(claim.met for claim in claims)
