"""In forced colours, which have neither shadows nor backgrounds of ours, what is chosen has an outline."""

from __future__ import annotations

import pytest

from tests.browser.chat_page import ask_and_hold, opened
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


DOT = """opener => {
    const { borderTopWidth, borderTopColor } = getComputedStyle(opener, "::after");
    return [parseFloat(borderTopWidth) > 0, borderTopColor !== getComputedStyle(opener).backgroundColor];
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


def test_the_dot_that_tells_of_an_answer_elsewhere_is_seen(servers, model):
    with opened(servers, width=420) as page:
        page.emulate_media(forced_colors="active")
        ask_and_hold(page, model, "In forced colours")
        page.click("text=New chat")
        page.wait_for_selector(".ipyllm-fold.ipyllm-busy")
        model.skip_pauses()
        opener = page.wait_for_selector(".ipyllm-fold.ipyllm-set")
        page.click(".ipyllm-fold")
        assert opener.evaluate(DOT) == [True, True]
