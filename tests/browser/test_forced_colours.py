"""In forced colours, which have neither shadows nor backgrounds of ours, what is chosen has an outline."""

from __future__ import annotations

import pytest

from tests.browser.compare import Compare, reply_by_model
from tests.browser.explorer import Explorer
from tests.browser.lab import needs_chromium
from tests.browser.test_explorer_in_lab import MAKE

pytestmark = [pytest.mark.browser, needs_chromium, pytest.mark.timeout(240)]

COMPARE = "from ipyllm import CompareWidget\nCompareWidget(models=['openai/good', 'openai/bad'])"
OUTLINE = """element => {
    const {outlineStyle, outlineWidth} = getComputedStyle(element);
    return [outlineStyle, outlineWidth];
}"""


@pytest.fixture
def lab_in_forced_colours(lab):
    lab.page.emulate_media(forced_colors="active")
    yield lab
    lab.page.emulate_media(forced_colors="none")


def test_the_active_row_and_a_pressed_filter_of_the_explorer_are_seen(lab_in_forced_colours):
    lab = lab_in_forced_colours
    explorer = Explorer(lab.show([MAKE]).run(0).locator(".ipyllm-explorer"), lab.page)
    explorer.press("j")
    assert explorer.active.evaluate(OUTLINE) == ["solid", "2px"]
    other = explorer.root.locator(".ipyllm-xspace > .ipyllm-xrow:not(.active)").first
    assert other.evaluate(OUTLINE)[0] == "none"
    regressed = explorer.filter("regressed")
    regressed.click()
    explorer.grid.focus()
    assert regressed.evaluate(OUTLINE) == ["solid", "2px"]


def test_the_preferred_answer_of_a_comparison_is_seen(lab_in_forced_colours, fake):
    fake.on(reply_by_model)
    shown = Compare(lab_in_forced_colours.show([COMPARE]).run(0))
    shown.ask()
    shown.wait_for_vote()
    shown.button("A").click()
    shown.root.locator(".ipyllm-chosen").wait_for()
    assert shown.columns.nth(0).evaluate(OUTLINE) == ["solid", "2px"]
    assert shown.columns.nth(1).evaluate(OUTLINE)[0] == "none"
