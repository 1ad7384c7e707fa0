"""Accessibility checks of a part of the page, by axe-core."""

from __future__ import annotations

from pathlib import Path

import pytest

AXE = Path(__file__).parents[2] / "widgets" / "node_modules" / "axe-core" / "axe.min.js"
needs_axe = pytest.mark.skipif(
    not AXE.exists(), reason="NO AXE FOUND: accessibility was not checked (npm ci in widgets/)"
)


def violations(page, selector):
    """Return the violations in the elements that the selector finds: (rule, where, what to do) each."""
    if page.evaluate("typeof axe === 'undefined'"):
        page.evaluate(AXE.read_text())
    assert page.locator(selector).count(), f"no element: {selector}"
    report = page.evaluate("selector => axe.run(selector, {resultTypes: ['violations']})", selector)
    return [
        (violation["id"], node["target"], node["failureSummary"])
        for violation in report["violations"]
        for node in violation["nodes"]
    ]
