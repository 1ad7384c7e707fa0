"""The comparison widget through what happens around it: further views, reloads, a lost or interrupted kernel."""

from __future__ import annotations

import pytest

from tests.browser.chat import COUNTED, screenshot
from tests.browser.compare import QUESTION, Compare, open_comparison, reply_by_model
from tests.browser.lab import KERNEL, PID, end_of_kernel, needs_chromium
from tests.fakes import answer

pytestmark = [pytest.mark.browser, needs_chromium, pytest.mark.timeout(300)]

ENV = {"IPYLLM_MAX_RETRIES": "0"}
DEFAULT = answer(COUNTED, gap=0.05)


@pytest.fixture
def fake(fake):
    fake.on(reply_by_model)
    return fake


@pytest.mark.thorough
def test_two_views_and_two_tabs_show_the_same_comparison(lab, fake):
    lab.shared_notebook = None
    notebook, shown = open_comparison(lab, ["openai/bad", "openai/other"], ["widget"])
    second = Compare(notebook.run(2))
    shown.ask("From the first")
    second.columns.nth(1).get_by_text("w3").wait_for()
    second.button("Stop this answer", second.columns.nth(1)).click()
    shown.columns.nth(1).get_by_text("cancelled").wait_for()
    assert shown.texts() == second.texts()
    with lab.another_tab(".ipyllm-compare .ipyllm-column") as cell:
        other = Compare(cell)
        other.ask("From another tab")
        shown.columns.nth(1).get_by_text("w3", exact=False).wait_for()
        fake.skip_pauses()
        other.columns.nth(1).get_by_text("w149").wait_for()
        shown.columns.nth(1).get_by_text("w149").wait_for()
        shown.wait_for_vote()
        assert shown.texts() == second.texts() == other.texts()
        other.button("A").click()
        for view in (shown, second, other):
            view.columns.nth(0).get_by_text("preferred").wait_for()
            view.ranking.get_by_text("openai/bad").first.wait_for()


def test_a_reloaded_page_shows_the_comparison_again_and_loses_no_word(lab, fake):
    lab.shared_notebook = None
    notebook, shown = open_comparison(lab, ["openai/bad", "openai/other"])
    shown.ask()
    shown.columns.nth(1).get_by_text("w5").wait_for()
    lab.save()
    lab.reload(notebook)
    shown = Compare(notebook.output(0))
    fake.skip_pauses()
    shown.columns.nth(1).get_by_text("w149").wait_for()
    assert shown.texts() == ["It is Basel.", COUNTED]
    assert shown.prompt.inner_text() == QUESTION
    shown.button("B").click()
    shown.columns.nth(1).get_by_text("preferred").wait_for()


def test_a_view_that_was_closed_and_is_shown_again_has_everything(lab, fake):
    notebook, shown = open_comparison(lab, ["openai/bad", "openai/other"], ["widget"])
    shown.ask()
    shown.columns.nth(1).get_by_text("w3").wait_for()
    element = shown.root.element_handle().evaluate_handle("compare => compare.parentElement")
    lab.page.evaluate("""() => {
        const notebook = window.jupyterapp.shell.currentWidget.content;
        notebook.widgets[0].model.clearExecution();
        notebook.widgets[0].outputArea?.model.clear();
    }""")
    shown.root.wait_for(state="detached")
    assert element.evaluate("element => element.childElementCount") == 0, "ipywidgets keeps it, but empty"
    again = Compare(notebook.run(2))
    fake.skip_pauses()
    again.columns.nth(1).get_by_text("w149").wait_for()
    assert again.texts() == ["It is Basel.", COUNTED]


@pytest.mark.parametrize("how", ["killed", pytest.param("restart", marks=pytest.mark.thorough), "shutdown"])
def test_when_the_kernel_is_gone_what_came_stays_and_nothing_pretends_to_go_on(lab, fake, how):
    lab.shared_notebook = None
    notebook, shown = open_comparison(lab, ["openai/bad", "openai/endless"], [PID])
    end = end_of_kernel(notebook, 2, how)
    shown.ask()
    shown.columns.nth(0).get_by_text("It is Basel.").wait_for()
    shown.columns.nth(1).get_by_text("word word").wait_for()
    end()
    shown.notice.get_by_text("The kernel is gone: run the cell again.").wait_for(timeout=60_000)
    screenshot(lab, f"compare-gone-{how}")
    assert "It is Basel." in shown.texts()[0]
    assert "word word" in shown.texts()[1]
    # Who is shut down in peace has time to say goodbye.
    said = "its process ended" if how == "shutdown" else "stopped before the end"
    assert shown.columns.nth(1).get_by_text(said).count() == 1
    assert shown.root.locator(".ipyllm-waiting:visible").count() == 0, "nothing spins"
    assert shown.button("Stop this answer").count() == 0
    shown.wait_until_idle()
    shown.ask("Is anybody there?")
    shown.notice.get_by_text("The kernel is gone").wait_for()
    assert shown.box.input_value() == "Is anybody there?", "what was typed is not lost"
    if how == "killed":  # not even the page is left
        lab.save()
        lab.page.reload()
        kept = notebook.output(0).locator(".ipyllm-transcript")
        kept.get_by_text("The answer was incomplete when the notebook was saved.").wait_for()
        assert "word word" in kept.inner_text()
        assert QUESTION in kept.inner_text()
        screenshot(lab, "compare-kept")
    if how == "restart":
        notebook.wait_idle()
        shown = Compare(notebook.run(0))
        shown.ask()
        shown.columns.nth(0).get_by_text("It is Basel.").wait_for()
        shown.button("Stop the answer").click(delay=300)


def test_an_interrupted_kernel_goes_on_comparing(lab, fake):
    lab.shared_notebook = None
    _, shown = open_comparison(lab, ["openai/bad", "openai/other"])
    shown.ask()
    shown.columns.nth(1).get_by_text("w3").wait_for()
    for _ in range(3):
        lab.page.evaluate(f"{KERNEL}.interrupt()")
    shown.columns.nth(1).get_by_text("w40").wait_for()
    fake.skip_pauses()
    shown.columns.nth(1).get_by_text("w149").wait_for()
    assert shown.texts()[1] == COUNTED
    shown.button("B").click()
    shown.columns.nth(1).get_by_text("preferred").wait_for()
