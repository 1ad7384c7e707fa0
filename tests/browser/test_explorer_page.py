"""The explorer in a page without a kernel, under a strict policy: keyboard, filters, order, diffs, accessibility."""

from __future__ import annotations

import html
import re

import pytest

from ipyllm_widgets.explorer.page import static_html
from tests.answered_experiment import MODELS, answered, reviews
from tests.browser.axe import needs_axe, violations
from tests.browser.chat import SCREENSHOTS
from tests.browser.explorer import Explorer
from tests.browser.lab import chromium, needs_chromium
from tests.service.rendering.payloads import PAYLOADS

pytestmark = [pytest.mark.browser, needs_chromium, pytest.mark.timeout(240)]


@pytest.fixture(scope="module")
def browser():
    with chromium() as opened:
        yield opened


@pytest.fixture
def show(browser, tmp_path):
    """Show results in a page of their own; afterwards, nothing was logged, refused or asked for."""
    contexts, problems = [], []

    def make(results, *, scheme="light", width=1200):
        matrix = results.matrix()
        output = static_html(matrix, results.judgements(matrix))
        path = tmp_path / "page.html"
        path.write_text(html.unescape(re.search(r' srcdoc="([^"]*)"', output)[1]), encoding="utf-8")
        contexts.append(browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme))
        page = contexts[-1].new_page()
        page.on("console", lambda message: problems.append(message.text))
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("request", lambda request: problems.append(request.url) if request.url != path.as_uri() else None)
        page.goto(path.as_uri())
        explorer = Explorer(page.locator(".ipyllm-explorer"), page)
        explorer.active.wait_for()
        return explorer

    yield make
    for context in contexts:
        context.close()
    assert problems == []


def test_the_keyboard_alone_moves_opens_and_closes(show):
    explorer = show(reviews(60, MODELS[:3]))
    assert explorer.shown()[:3] == [1, 2, 3]
    explorer.press("End")
    assert explorer.active.get_by_text("60", exact=True).is_visible()
    assert explorer.grid.get_attribute("aria-activedescendant") == explorer.active.get_attribute("id")
    explorer.press("Home", "j", "ArrowDown", "ArrowDown", "k", "Enter")
    explorer.details.get_by_text("Row 3").wait_for()
    explorer.press("ArrowDown")
    explorer.details.get_by_text("Row 4").wait_for()
    assert explorer.details.get_by_text("The server took longer than 60 s").is_visible()
    explorer.details.get_by_role("button", name="Previous row").focus()
    explorer.page.keyboard.press("Escape")
    explorer.details.wait_for(state="hidden")
    assert explorer.grid.evaluate("grid => grid === document.activeElement")
    explorer.press("/")
    assert explorer.search.evaluate("box => box === document.activeElement")
    explorer.page.keyboard.type("jkxd")
    assert explorer.search.input_value() == "jkxd"
    explorer.page.keyboard.press("Escape")
    assert explorer.grid.evaluate("grid => grid === document.activeElement")


@pytest.mark.smoke
def test_filters_search_and_order_work_together(show):
    explorer = show(reviews(20))
    explorer.filter("unsure").click()
    assert explorer.shown() == [2, 5, 7, 10, 12, 15, 17, 20]
    explorer.filter("regressed").click()
    assert explorer.shown() == [2, 7, 12, 17]
    assert "4 of 20 rows" in explorer.status.inner_text()
    explorer.filter("unsure").click()
    explorer.filter("regressed").click()
    explorer.search.fill("HEDGES (6)")
    explorer.status.get_by_text("1 of 20 rows").wait_for()
    assert explorer.shown() == [7]
    explorer.search.fill("nowhere to be found")
    explorer.root.get_by_text("No row passes these filters.").wait_for()
    explorer.press("j", "Enter", "x")
    explorer.search.fill("")
    explorer.status.get_by_text(re.compile("^20 rows")).wait_for()
    explorer.root.get_by_label("Sort by").select_option("difference:1")
    assert explorer.shown()[:4] == [2, 7, 12, 17]
    explorer.root.get_by_label("Reverse the order").click()
    assert explorer.shown()[:3] == [1, 3, 6]


def test_a_word_diff_of_any_two_arms(show):
    explorer = show(reviews(5, MODELS[:3]))
    explorer.press("j", "d")
    explorer.details.locator("ins").first.wait_for()
    second = explorer.answers.nth(1)
    assert second.locator("del").all_inner_texts()[1:3] == ["Negative", "Because"]
    assert second.locator("ins").all_inner_texts()[1] == "Positive"
    explorer.press("ArrowRight")
    explorer.answers.nth(2).locator("ins").first.wait_for()
    assert explorer.answers.nth(1).locator("ins").count() == 0
    explorer.root.get_by_label("Arm A").select_option("1")
    explorer.answers.nth(2).get_by_text("Compared with").wait_for()
    assert explorer.answers.nth(2).locator("del").count() == 1  # that of the legend: their answers are the same


def test_answers_of_strangers_are_text(show):
    payloads = list(PAYLOADS.values())
    explorer = show(
        answered(
            [{"prompt": text, "note": text} for text in payloads], lambda arm, prompt, _: {"response": payloads[prompt]}
        )
    )
    explorer.press("Enter", *["j"] * (len(payloads) - 1))
    explorer.details.get_by_text(f"Row {len(payloads)}", exact=False).wait_for()
    assert explorer.page.evaluate("window.pwned") is None
    found = explorer.root.evaluate("root => [...new Set([...root.querySelectorAll('*')].map(each => each.localName))]")
    assert set(found) & {"script", "img", "iframe", "a", "style", "link", "object", "form"} == set()


@needs_axe
@pytest.mark.parametrize(("scheme", "width"), [("light", 1200), ("dark", 1200), ("light", 420), ("dark", 420)])
def test_it_is_accessible_and_fits_its_page(show, scheme, width):
    explorer = show(reviews(12, MODELS), scheme=scheme, width=width)
    explorer.press("j", "d", "?")
    explorer.answers.nth(3).wait_for()
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    explorer.page.screenshot(path=SCREENSHOTS / f"explorer-page-{scheme}-{width}.png", full_page=True)
    found = violations(explorer.page, ".ipyllm-explorer")
    assert found == [], "\n".join(map(str, found))
    assert explorer.page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
