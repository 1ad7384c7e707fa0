"""Prints branch coverage by package, from the JSON report that `make coverage` writes."""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from pathlib import Path, PurePath

_COUNTS = ("num_statements", "missing_lines", "num_branches", "missing_branches")


def package_of(path: str) -> str:
    """Return the package of a module's file: ``ipyllm.ledger``, and ``ipyllm`` for what lies directly in it.

    Examples
    --------
    >>> package_of("service/ipyllm/ledger/store.py"), package_of("service/ipyllm/errors.py")
    ('ipyllm.ledger', 'ipyllm')
    """
    folders = PurePath(path).parts[:-1]
    top = next(place for place, folder in enumerate(folders) if folder.startswith("ipyllm"))
    return ".".join(folders[top:])


def percent(counts: list[int]) -> float:
    """Return the share of statements and branches that ran, in percent, as coverage.py counts it."""
    statements, missing_lines, branches, missing_branches = counts
    return 100 * (1 - (missing_lines + missing_branches) / max(1, statements + branches))


def main(report: Path) -> None:
    """Print one row for each package, the least covered first, and one for all."""
    rows: dict[str, list[int]] = defaultdict(lambda: [0] * len(_COUNTS))
    for path, file in json.loads(report.read_text(encoding="utf-8"))["files"].items():
        counts = [file["summary"][name] for name in _COUNTS]
        for package in (package_of(path), "all"):
            rows[package] = [before + more for before, more in zip(rows[package], counts, strict=True)]
    total = rows.pop("all")
    print(f"{'package':32}{'statements':>12}{'missed':>8}{'branches':>10}{'missed':>8}{'covered':>10}")
    for package, counts in [*sorted(rows.items(), key=lambda row: percent(row[1])), ("all", total)]:
        statements, missing_lines, branches, missing_branches = counts
        print(f"{package:32}{statements:12}{missing_lines:8}{branches:10}{missing_branches:8}{percent(counts):9.1f}%")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
