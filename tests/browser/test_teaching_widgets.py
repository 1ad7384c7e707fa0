"""The widgets for a class in a page: keyboard, live figures, accessibility, small pages; the saved picture."""

from __future__ import annotations

import math

import pytest

from ipyllm import SamplingExplorer
from ipyllm.prediction.distribution import Distribution
from tests.browser.axe import needs_axe, violations
from tests.browser.chat import SCREENSHOTS
from tests.browser.contrast import shown_texts
from tests.browser.drawing import SLIDE
from tests.browser.lab import chromium, needs_chromium
from tests.browser.teaching import MAKE, show

pytestmark = [pytest.mark.browser, needs_chromium, pytest.mark.timeout(240)]


@pytest.fixture(scope="module")
def browser():
    with chromium() as opened:
        yield opened


def columns(widget, nth):
    return widget.locator(f"tbody tr > :nth-child({nth})").all_inner_texts()


@pytest.mark.smoke
def test_the_sliders_of_all_widgets_work_by_keyboard_and_tell_the_kernel(browser):
    page = browser.new_page()
    problems = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    sampling = show(page, MAKE["sampling"]())
    assert columns(sampling, 4)[:5] == ["53 %", "27 %", "13 %", "6.7 %", "removed"]
    sampling.get_by_label("Temperature", exact=True).focus()
    page.keyboard.press("Home")
    assert columns(sampling, 4)[:2] == ["100 %", "removed"]
    assert columns(sampling, 5)[0] == "100×"
    assert sampling.get_by_label("Temperature", exact=True).get_attribute("aria-valuetext") == "0: always the first"
    page.wait_for_function("window.sent.length")
    assert page.evaluate("window.sent.at(-1).settings.temperature") == 0
    page.evaluate(
        "window.receive({kind: 'settings', settings: {...window.sent.at(-1).settings, temperature: 2, top_p: 1}})"
    )
    assert columns(sampling, 4)[0] == "29 %"

    context = show(page, MAKE["context"]())
    assert context.get_by_role("status").inner_text().startswith("Turn 3: ")
    assert "1 turn" in columns(context, 4)[2]
    context.get_by_label("Window").press("End")
    assert columns(context, 4) == ["–", "–", "–"]

    latency = show(page, MAKE["latency"]())
    assert latency.locator(".ipyllm-tnow").all_inner_texts() == [
        "waiting for the first token",
        "thinking",
        "waiting for the first token",
    ]
    latency.get_by_label("Order").select_option("total")
    assert columns(latency, 1)[0].startswith("lab/broken")
    latency.get_by_label("Moment").press("End")
    assert latency.locator(".ipyllm-tnow").all_inner_texts() == [
        "failed: timeout",
        "done, 99 tokens",
        "done, 60 tokens",
    ]
    latency.get_by_role("button", name="Play").press("Enter")
    page.wait_for_function("document.querySelector('.ipyllm-tnow').innerText !== 'failed: timeout'")
    latency.get_by_role("button", name="Pause").press("Enter")
    assert problems == []
    page.close()


@pytest.mark.thorough
@needs_axe
@pytest.mark.parametrize("name", MAKE)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_they_are_accessible_and_fit_a_small_page(browser, name, scheme):
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    for width in (900, 420):
        page = browser.new_page(color_scheme=scheme, viewport={"width": width, "height": 800})
        show(page, MAKE[name]())
        page.screenshot(path=SCREENSHOTS / f"{name}-explorer-{scheme}-{width}.png", full_page=True)
        assert violations(page, "main") == []
        assert [text for text in shown_texts(page, "main") if text["contrast"] < text["least"]] == []
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
        page.close()


@pytest.mark.thorough
def test_bars_are_there_in_forced_colours(browser):
    page = browser.new_page(forced_colors="active")
    for make in MAKE.values():
        widget = show(page, make())
        pieces = widget.locator("tbody .ipyllm-tone:not([hidden])")
        assert pieces.count() > 3
        assert pieces.first.evaluate("piece => getComputedStyle(piece).outlineStyle") == "solid"
    page.close()


@pytest.mark.thorough
def test_a_list_that_is_not_whole_is_said_to_be_what_the_server_told(browser):
    page = browser.new_page()
    found = Distribution("Hi", "lab/m", (" all", " you"), (-0.2, -2.0), is_whole=False)
    assert "2 of 2 tokens that the server told remain; " in show(page, SamplingExplorer(found)).inner_text()
    whole = Distribution("Hi", "lab/m", (" all", " you"), (-0.2, -2.0), is_whole=True)
    assert "2 of 2 tokens remain; " in show(page, SamplingExplorer(whole)).inner_text()
    page.close()


@pytest.mark.thorough
@pytest.mark.parametrize("n", [49_152, 150_000])
def test_a_slider_repaints_within_a_frame_or_two_with_a_whole_vocabulary(browser, n):
    logprobs = tuple(-1.0 - math.log(rank + 1) for rank in range(n))
    found = Distribution("The", "local/m", tuple(f" t{rank}" for rank in range(n)), logprobs, is_whole=True)
    page = browser.new_page()
    show(page, SamplingExplorer(found))
    times = page.evaluate(SLIDE, 20)
    assert min(times) < 100, times
    page.close()
