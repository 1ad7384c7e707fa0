"""The dashboard's list of calls and its tooltips, in both themes, by pointer and by keyboard."""

from __future__ import annotations

import pytest

from tests.browser.axe import needs_axe, violations
from tests.browser.chat import screenshot
from tests.browser.dashboard import SETUP
from tests.browser.lab import needs_chromium

pytestmark = [pytest.mark.browser, pytest.mark.thorough, needs_chromium, pytest.mark.timeout(300)]

CELL = f"""{SETUP}
put(120, models=("lab/a", "lab/b-with-a-rather-long-name", "lab/c"), failing=9)
dashboard = UsageDashboard(every_s=2)
dashboard"""

SIGNS = """() => {
    const sign = document.querySelector('.ipyllm-working');
    window.signs = [];
    new MutationObserver(() => signs.push(sign.textContent)).observe(sign, {childList: true});
}"""


def first_call(root):
    return root.locator(".ipyllm-calls tbody tr").first.inner_text()


@needs_axe
def test_calls_are_sorted_searched_and_turned_over_and_charts_read(stage):
    lab, _ = stage
    lab.page.set_viewport_size({"width": 1100, "height": 900})
    found = []

    def look(where):
        found.extend((where, *violation) for violation in violations(lab.page, ".ipyllm-dashboard"))
        screenshot(lab, f"dashboard-{where}")

    lab.notebook.rewrite([CELL])
    root = lab.notebook.run(0).locator(".ipyllm-dashboard")
    root.get_by_text("Page 1 of 3").wait_for()

    plot = root.locator(".plot").first
    plot.hover()
    tip = root.locator(".tip")
    tip.get_by_text("lab/b-with-a-rather-long-name").wait_for()
    look("tooltip")
    root.locator(".ipyllm-tiles").hover()
    assert tip.count() == 0
    root.locator("[data-export=parquet]").focus()
    lab.page.keyboard.press("Tab")
    while not lab.page.evaluate("document.activeElement.matches('.plot')"):
        lab.page.keyboard.press("Tab")
    status = root.locator("[role=status].ipyllm-unseen")
    last = status.inner_text()
    assert "lab/" in last
    lab.page.keyboard.press("ArrowLeft")
    assert status.inner_text() != last
    lab.page.keyboard.press("End")
    assert status.inner_text() == last
    sizes = plot.locator("text").evaluate_all("texts => texts.map(text => text.getBoundingClientRect().height)")
    assert min(sizes) >= 10, "ticks are readable"
    look("tooltip-keyboard")
    lab.page.keyboard.press("Escape")
    assert tip.count() == 0

    lab.page.evaluate(SIGNS)
    root.get_by_role("button", name="total").click()
    root.locator("th[aria-sort=descending]", has_text="total").wait_for()
    assert "4.0" in first_call(root)
    root.get_by_role("button", name="Next").click()
    root.get_by_text("Page 2 of 3").wait_for()
    look("calls")
    search = root.get_by_role("searchbox")
    search.fill("question 11")
    root.get_by_text("11 of 120").wait_for()
    assert search.input_value() == "question 11"
    root.locator(".ipyllm-working:empty").wait_for(state="attached")
    assert lab.page.evaluate("signs") == ["sorting …", "", "turning over …", "", "searching …", ""]
    root.locator(".ipyllm-calls td button").first.click()
    root.locator(".ipyllm-opened h3").first.wait_for()
    look("opened")
    below = "opened => opened.getBoundingClientRect().top >= opened.parentElement.querySelector('.ipyllm-calls')"
    assert root.locator(".ipyllm-opened").evaluate(f"{below}.getBoundingClientRect().bottom"), "the list stays in place"
    lab.page.keyboard.press("Escape")

    lab.page.set_viewport_size({"width": 420, "height": 900})
    plot.scroll_into_view_if_needed()
    plot.hover()
    tip.wait_for()
    screenshot(lab, "dashboard-tooltip-420")
    inside = "tip => tip.getBoundingClientRect().right <= tip.parentElement.getBoundingClientRect().right"
    assert tip.evaluate(inside), "an output cuts off what stands out"
    lab.page.emulate_media(forced_colors="active")
    screenshot(lab, "dashboard-tooltip-forced")
    lab.page.emulate_media(forced_colors="none")
    assert found == []
