"""Rounds of a comparison in JupyterLab: earlier ones stay, letters vote, one answer is asked for again, images."""

from __future__ import annotations

import pytest

from tests.browser.axe import needs_axe, violations
from tests.browser.chat import FILES, PROMPTS, lab_with_fake, screenshot
from tests.browser.compare import Compare, open_comparison, reply_by_model
from tests.browser.lab import needs_chromium

pytestmark = [pytest.mark.browser, needs_chromium, pytest.mark.timeout(300)]


@pytest.fixture(
    scope="module",
    params=[("light", 1200), pytest.param(("dark", 420), marks=pytest.mark.thorough)],
    ids=["light", "dark"],
)
def lab(request, tmp_path_factory):
    theme, width = request.param
    options = {"theme": theme, "width": width, "height": 1000, "env": {"IPYLLM_MAX_RETRIES": "0"}}
    with lab_with_fake(tmp_path_factory.mktemp("rounds"), **options) as (opened, fake):
        fake.on(reply_by_model)
        yield opened


@needs_axe
def test_rounds_are_voted_on_by_letters_and_followed_up(lab):
    _, shown = open_comparison(lab, ["openai/good", "openai/bad"], blind=True)
    shown.root.get_by_label("Follow-up questions").check()
    shown.ask("First?")
    shown.wait_for_vote()
    shown.ask("Second?")
    shown.prompt.get_by_text("Second?").wait_for()
    shown.wait_for_vote()
    assert shown.rounds.count() == 2
    shown.rounds.last.get_by_text("each model was sent its own earlier answers").wait_for()
    shown.rounds.first.get_by_text("First?").wait_for()

    shown.box.press("Escape")  # leaves the box, so that a letter is no longer text
    lab.page.keyboard.press("b")
    shown.columns.nth(1).get_by_text("preferred").wait_for()
    assert shown.rounds.first.get_by_text("preferred").count() == 0
    shown.rounds.first.get_by_text("good", exact=True).wait_for()
    assert violations(lab.page, ".ipyllm-compare") == []
    screenshot(lab, "compare-rounds")
    lab.page.keyboard.press("0")
    shown.columns.nth(1).get_by_text("preferred").wait_for(state="detached")
    lab.page.keyboard.press("x")
    shown.root.locator(".ipyllm-round:last-of-type [aria-pressed=true]").get_by_text("Both bad").wait_for()
    shown.rounds.first.locator(".ipyllm-column").first.focus()
    lab.page.keyboard.press("t")
    shown.rounds.first.locator("[aria-pressed=true]").get_by_text("Tie").wait_for()
    assert shown.root.evaluate("root => root.scrollWidth <= root.clientWidth + 1")

    shown.button("Clear").click()
    shown.rounds.first.wait_for(state="detached")
    shown.button("Undo").click()
    shown.root.locator(".ipyllm-round:last-of-type [aria-pressed=true]").get_by_text("Both bad").wait_for()


def test_one_answer_is_asked_for_again_and_its_vote_is_gone(lab):
    _, shown = open_comparison(lab, ["openai/other", "openai/bad"])
    shown.ask()
    shown.wait_for_vote()
    shown.button("A").click()
    shown.columns.first.get_by_text("preferred").wait_for()
    before = shown.columns.first.get_attribute("data-turn")
    shown.button("Answer again", shown.columns.first).click()
    shown.wait_for("(root, before) => !root.querySelector(`[data-turn='${before}']`)", before)
    shown.wait_for_vote()
    assert shown.columns.count() == 2
    assert shown.columns.nth(1).inner_text().startswith("B"), "each at its place"
    assert shown.columns.get_by_text("preferred").count() == 0


@pytest.mark.thorough
@needs_axe
def test_after_a_restart_the_comparison_goes_on_as_before(lab):
    notebook, shown = open_comparison(lab, ["openai/good", "openai/bad"])
    shown.root.get_by_label("Follow-up questions").check()
    shown.ask("First?")
    shown.wait_for_vote()
    shown.button("A").click()
    shown.columns.first.get_by_text("preferred").wait_for()
    shown.ask("Second?")
    shown.rounds.nth(1).wait_for()
    shown.wait_for_vote()
    lab.page.evaluate("window.jupyterapp.shell.currentWidget.sessionContext.session.kernel.restart()")
    notebook.wait_idle()
    shown.root.get_by_text("run the cell").first.wait_for()
    notebook.run(0)

    again = Compare(notebook.output(0))
    again.rounds.nth(1).wait_for()
    assert again.root.get_by_label("Follow-up questions").is_checked()
    again.rounds.first.get_by_text("preferred").wait_for()
    before = again.columns.first.get_attribute("data-turn")
    again.button("Answer again", again.columns.first).click()
    again.wait_for("(root, before) => !root.querySelector(`[data-turn='${before}']`)", before)
    again.wait_for_vote()
    screenshot(lab, "compare-restarted")
    again.root.get_by_role("button", name="Export").click()
    lab.page.keyboard.press("b")
    lab.page.keyboard.press("Escape")
    again.ask("Third?")
    again.rounds.nth(2).wait_for()
    again.wait_for_vote()
    assert again.rounds.nth(1).get_by_text("preferred").count() == 0, "a letter in a menu does not vote"
    again.rounds.last.get_by_text("each model was sent its own earlier answers").wait_for()
    assert violations(lab.page, ".ipyllm-compare") == []
    assert again.root.evaluate("root => root.scrollWidth <= root.clientWidth + 1")


@pytest.mark.thorough
@needs_axe
def test_a_question_waits_while_answers_stream(lab):
    _, shown = open_comparison(lab, ["openai/slow", "openai/bad"])
    shown.ask("First?")
    shown.columns.first.get_by_text("It is").wait_for()
    shown.ask("Second, which waits?")
    shown.ask("Third, which waits, too?")
    shown.root.get_by_text("Asked next").wait_for()
    shown.box.scroll_into_view_if_needed()
    screenshot(lab, "compare-queued")
    assert violations(lab.page, ".ipyllm-compare") == []
    shown.box.press("Escape")
    shown.button("Send now").wait_for()
    shown.root.get_by_text("Waiting for you: send the next, or take it back", exact=True).wait_for()
    shown.root.get_by_role("button", name="Take back").last.click()
    shown.wait_for("root => root.querySelector('.ipyllm-composer textarea').value === 'Third, which waits, too?'")
    screenshot(lab, "compare-queue-held")
    shown.button("Send now").click()
    shown.prompt.get_by_text("Second, which waits?").wait_for()
    shown.columns.first.get_by_text("It is").wait_for()
    shown.button("Clear").click()
    shown.rounds.first.wait_for(state="detached")
    shown.button("Undo").click()
    shown.rounds.nth(1).wait_for()
    shown.columns.first.get_by_text("cancelled").wait_for()


@needs_axe
def test_files_prompts_estimate_and_export(lab):
    notebook, shown = open_comparison(lab, ["openai/good", "openai/bad"], [PROMPTS])
    notebook.run(2)
    found = []

    def look(where):
        found.extend((where, *violation) for violation in violations(lab.page, ".ipyllm-compare"))
        shown.box.scroll_into_view_if_needed()
        screenshot(lab, f"compare-{where}")

    look("empty")
    shown.box.fill("/")
    shown.root.locator(".ipyllm-prompt-option").nth(2).wait_for()
    look("prompts")
    shown.box.fill("/rev")
    shown.box.press("Enter")
    shown.wait_for("root => root.querySelector('.ipyllm-composer textarea').value.startsWith('Review')")
    shown.root.get_by_label("Files", exact=True).set_input_files(FILES)
    shown.root.get_by_alt_text("plot.png").wait_for()
    shown.root.locator(".ipyllm-estimate", has_text="tokens to each of 2 models").wait_for()
    shown.root.get_by_role("button", name="fit.py 9 B").click()
    shown.root.get_by_role("region", name="Text of fit.py").get_by_text("print(1)").wait_for()
    look("files")
    shown.button("Remove fit.py").click()
    assert shown.root.locator(".ipyllm-file-text").first.is_hidden()
    shown.box.press("Enter")
    shown.prompt.get_by_alt_text("Image 1 of the question").wait_for()
    shown.wait_for_vote()
    assert shown.root.locator(".ipyllm-estimate").inner_text() == ""
    shown.prompt.get_by_role("button", name="results-of-the-third").click()
    shown.prompt.get_by_role("region").get_by_text("a,b").wait_for()
    look("file-open")
    shown.root.get_by_role("button", name="Export").click()
    look("export")
    with lab.page.expect_download() as download:
        shown.root.get_by_role("menuitem", name="Markdown").click()
    assert download.value.suggested_filename == "comparison.md"
    lab.page.emulate_media(forced_colors="active")
    look("forced")
    lab.page.emulate_media(forced_colors="none")
    assert found == []
