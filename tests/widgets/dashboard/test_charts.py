"""The charts: every value is drawn in its place, even if all values are 0."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from ipyllm_widgets.dashboard.charts import lines
from ipyllm_widgets.dashboard.series import Series


def series_of(*values):
    start = datetime(2026, 1, 1, tzinfo=UTC)
    return Series(start, timedelta(minutes=1), len(values), ("a/b",), (0,), {"x": {"a/b": list(values)}})


@pytest.mark.parametrize("values", [(0.0, 0.0, 0.0), (0.0, None, 0.0), (-0.5, 0.0)])
def test_values_of_0_lie_on_the_base_line_of_a_chart_up_to_1(values):
    svg = lines(series_of(*values), "x", "Label", lambda value: f"[{value:g}]").svg
    assert "[1]" in svg
    assert "[0.5]" in svg
    n_zeros = sum(value == 0 for value in values)
    assert svg.count('cy="148.0"') == n_zeros


@pytest.mark.parametrize(("highest", "top", "half"), [(0.07, 0.08, 0.04), (3.2, 4, 2), (41, 60, 30), (1000, 1000, 500)])
def test_a_scale_ends_at_a_round_number_with_a_round_half(highest, top, half):
    svg = lines(series_of(0.0, highest), "x", "Label", lambda value: f"[{value:g}]").svg
    assert f"[{top:g}]</text>" in svg
    assert f"[{half:g}]</text>" in svg
