"""The comparison widget in JupyterLab: columns, a failing model, stop, a blind vote, a saved notebook."""

from __future__ import annotations

import re

import pytest

from tests.browser.axe import needs_axe, violations
from tests.browser.chat import lab_with_fake, screenshot
from tests.browser.compare import BUSY, open_comparison, reply_by_model
from tests.browser.lab import RUNNING, needs_chromium

pytestmark = [pytest.mark.browser, needs_chromium, pytest.mark.timeout(300)]

WIDE, NARROW = ("light", 1200), ("dark", 560)


@pytest.fixture(scope="module", params=[WIDE, NARROW], ids=["light", "dark"])
def lab(request, tmp_path_factory):
    theme, width = request.param
    options = {"theme": theme, "width": width, "height": 1000, "env": {"IPYLLM_MAX_RETRIES": "0"}}
    with lab_with_fake(tmp_path_factory.mktemp("compare"), **options) as (opened, fake):
        fake.on(reply_by_model)
        yield opened


@pytest.mark.smoke
def test_answers_stand_side_by_side_and_a_vote_ranks_them(lab):
    notebook, shown = open_comparison(lab, ["openai/good", "openai/bad", "openai/broken"])
    shown.ask()
    shown.columns.nth(2).get_by_text("error").first.wait_for()
    screenshot(lab, "compare-streaming")
    shown.columns.nth(0).get_by_text("tokens/s").wait_for()
    assert "134,591" in shown.columns.nth(0).inner_text()
    assert "It is Basel." in shown.columns.nth(1).inner_text()
    left = [shown.columns.nth(place).bounding_box()["x"] for place in range(3)]
    wide = lab.size["width"] > 1000
    assert (left[0] < left[1] < left[2]) if wide else (left[0] == left[1] == left[2]), "columns, or stacked when narrow"

    shown.button("Expand", shown.columns.nth(1)).click()
    shown.columns.nth(0).wait_for(state="hidden")
    screenshot(lab, "compare-expanded")
    shown.button("Show all", shown.columns.nth(1)).click()
    shown.columns.nth(0).wait_for()

    shown.button("A").focus()
    lab.page.keyboard.press("Enter")
    shown.ranking.get_by_text("openai/good").first.wait_for()
    shown.columns.nth(0).get_by_text("preferred").wait_for()
    screenshot(lab, "compare-voted")
    assert "openai/good" in notebook.run(1).inner_text()


def test_a_blind_comparison_shows_names_after_the_vote_only(lab):
    notebook, shown = open_comparison(lab, ["openai/good", "openai/bad"], blind=True)
    shown.ask()
    shown.wait_for_vote()
    assert not {"openai", "good", "bad"} & set(re.findall(r"\w+", shown.live.inner_text()))
    screenshot(lab, "compare-blind")
    shown.button("Both bad").click()
    shown.live.get_by_text("good", exact=True).wait_for()
    assert "True" in notebook.run(1).inner_text()


def test_a_narrow_window_loses_nothing_and_words_run_their_own_way(lab):
    _, shown = open_comparison(lab, ["openai/arabic", "openai/japanese", "openai/broken"])
    lab.page.set_viewport_size({"width": 420, "height": 900})
    try:
        shown.ask("ما هي عاصمة سويسرا؟")
        shown.wait_for_vote()
        shown.button("Settings for all").click()
        shown.button("A").click()
        shown.ranking.get_by_text("openai/arabic").first.wait_for()
        direction = "e => getComputedStyle(e).direction"
        assert shown.prompt.locator(".ipyllm-words").evaluate(direction) == "rtl"
        assert shown.columns.nth(0).locator(".ipyllm-answer p").first.evaluate(direction) == "rtl"
        assert shown.columns.nth(1).locator(".ipyllm-answer p").first.evaluate(direction) == "ltr"
        assert shown.root.evaluate("root => root.scrollWidth <= root.clientWidth + 1")
        edge = shown.root.bounding_box()
        for control in shown.root.locator("button:visible, input:visible, textarea:visible").all():
            box = control.bounding_box()
            assert box["x"] >= edge["x"]
            assert box["x"] + box["width"] <= edge["x"] + edge["width"] + 1, control
        shown.root.scroll_into_view_if_needed()
        screenshot(lab, "compare-narrow")
    finally:
        lab.page.set_viewport_size(lab.size)


@needs_axe
def test_axe_finds_nothing_wrong_in_any_state(lab):
    _, shown = open_comparison(lab, ["openai/slow", "openai/broken", "openai/good", "openai/bad"], blind=True)
    found = []

    def look(where):
        found.extend((where, *violation) for violation in violations(lab.page, ".ipyllm-compare"))

    look("empty")
    shown.button("Settings for all").click()
    look("settings")
    screenshot(lab, "compare-settings")
    shown.ask("What is the capital of Switzerland? " * 200)
    shown.live.get_by_text("It is").first.wait_for()
    shown.columns.filter(has_text="Its river").get_by_role("button", name="Copy answer").wait_for()
    look("streaming, an error, a long question")
    shown.box.press("Escape")
    shown.wait_for_vote()
    look("blind")
    shown.button("Tie").click()
    shown.live.get_by_text("good", exact=True).first.wait_for()
    shown.columns.locator("summary:visible").click()
    look("voted, reasoning open")
    shown.button("Expand", shown.columns.first).click()
    look("expanded")
    model = shown.root.get_by_role("combobox", name="Model").first
    model.fill("opnai/good")
    model.press("Tab")
    shown.notice.get_by_text("did you mean").wait_for()
    look("a model that cannot be")
    lab.page.set_viewport_size({"width": 420, "height": 900})
    look("narrow")
    lab.page.set_viewport_size(lab.size)
    assert found == []


@pytest.mark.parametrize("lab", [WIDE], indirect=True, ids=["light"])
def test_stop_keeps_what_came(lab):
    _, shown = open_comparison(lab, ["openai/slow", "openai/bad"])
    shown.ask()
    column = shown.columns.first
    column.get_by_text("It is").wait_for()
    shown.box.press("Escape")
    column.get_by_text("cancelled").wait_for()
    assert "It is" in column.inner_text()


@pytest.mark.parametrize("lab", [WIDE], indirect=True, ids=["light"])
def test_questions_stops_and_votes_work_beside_a_busy_cell(lab):
    notebook, shown = open_comparison(lab, ["openai/good", "openai/slow", "openai/bad"], [BUSY])
    notebook.start(2)
    shown.ask()
    shown.columns.nth(1).get_by_text("It is").wait_for()
    shown.button("Stop this answer", shown.columns.nth(1)).click(delay=300)
    shown.columns.nth(1).get_by_text("cancelled").wait_for()
    shown.button("C").click()
    shown.columns.nth(2).get_by_text("preferred").wait_for()
    assert notebook.prompt(2) == RUNNING, "all this while the cell ran"
    notebook.interrupt(2)


@pytest.mark.parametrize("lab", [WIDE], indirect=True, ids=["light"])
def test_the_saved_notebook_can_be_read(lab):
    lab.shared_notebook = None
    _, shown = open_comparison(lab, ["openai/bad", "openai/good"])
    shown.ask("What is *emphasis*?")
    shown.wait_for_vote()
    # From within the widget, whose other keys are its own.
    shown.box.press("Control+s")
    saved = lab.path
    lab.page.wait_for_function("() => !window.jupyterapp.shell.currentWidget.context.model.dirty")
    text = saved.read_text(encoding="utf-8")
    assert "What is *emphasis*?" in text
    assert "134,591" in text
    assert lab.errors == []
