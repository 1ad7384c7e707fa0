"""The widgets on ipykernel 6, where a running cell blocks messages: answers continue, clicks wait, and a hint says so.

The steps are those of the tests on the newest ipykernel.
"""

from __future__ import annotations

import pytest

from tests.browser import (
    chat,
    test_chat_bad_input,
    test_chat_views,
    test_compare_and_kernel,
    test_compare_bad_input,
    test_dashboard_bad_input,
)
from tests.browser import test_chat_and_kernel as chats_and_kernels
from tests.browser import test_chat_settings as settings
from tests.browser import test_chat_widget as chats
from tests.browser import test_compare_widget as comparisons
from tests.browser import test_dashboard as dashboards
from tests.browser.chat import lab_with_fake, run_with_fixtures
from tests.browser.compare import BUSY, open_comparison, reply_by_model
from tests.browser.lab import RUNNING, needs_chromium
from tests.fakes import answer
from tests.older_kernel import older_kernel

pytestmark = [pytest.mark.browser, needs_chromium, pytest.mark.timeout(300)]

THE_SAME = [
    chats.test_an_answer_streams_and_is_rendered_stopped_edited_branched_and_deleted,
    chats.test_stop_works_before_the_first_token_and_in_the_middle_and_an_error_can_be_tried_again,
    chats_and_kernels.test_a_notebook_reopened_without_its_kernel_shows_what_was_said,
    comparisons.test_answers_stand_side_by_side_and_a_vote_ranks_them,
    dashboards.test_a_dashboard_lives_in_a_cell,  # beside a busy cell too
    *(
        pytest.param(steps, marks=pytest.mark.thorough)
        for steps in [
            settings.test_settings_reach_the_server_and_mistakes_are_said,
            chats.test_images_come_by_file_paste_and_drop_and_a_large_one_is_refused_in_one_sentence,
            chats.test_exports_are_downloaded,
            comparisons.test_a_blind_comparison_shows_names_after_the_vote_only,
            comparisons.test_stop_keeps_what_came,
            comparisons.test_the_saved_notebook_can_be_read,
            chats_and_kernels.test_a_reloaded_page_shows_the_chat_again_and_goes_on_with_it,
            chats_and_kernels.test_two_views_and_two_tabs_show_the_same_chat,
            chats_and_kernels.test_a_hundred_quick_clicks_leave_a_whole_chat,
            chats_and_kernels.test_a_killed_and_restarted_kernel_leaves_what_was_said_and_says_that_it_is_gone,
            dashboards.test_a_reloaded_page_shows_the_dashboard_again,
        ]
    ),
]
BADLY_TREATED = [
    steps
    for module in (
        test_chat_bad_input,
        test_chat_views,
        test_compare_and_kernel,
        test_compare_bad_input,
        test_dashboard_bad_input,
    )
    for name, steps in vars(module).items()
    if name.startswith("test_") and steps.__module__ == module.__name__ and "axe" not in name  # of axe the page is all
]


@pytest.fixture(scope="module")
def lab_and_fake(tmp_path_factory):
    env = {**older_kernel(), "IPYLLM_MAX_RETRIES": "0"}
    with lab_with_fake(tmp_path_factory.mktemp("older"), width=1200, height=1000, env=env) as (lab, fake):
        fake.on(reply_by_model)
        version = lab.open(["import ipykernel\nprint('version', ipykernel.__version__)"]).run(0)
        assert "version 6." in version.inner_text()
        yield lab, fake


@pytest.mark.parametrize("steps", THE_SAME, ids=lambda steps: steps.__name__.removeprefix("test_"))
def test_the_same_on_ipykernel_6(steps, lab, fake, tmp_path):
    run_with_fixtures(steps, lab=lab, lab_and_fake=lab, fake=fake, tmp_path=tmp_path)


@pytest.mark.thorough
@pytest.mark.parametrize(
    "steps", BADLY_TREATED, ids=lambda steps: f"{steps.__module__.rpartition('.')[2]}:{steps.__name__}"
)
def test_bad_treatment_on_ipykernel_6(steps, lab, fake, tmp_path):
    fake.on(lambda request: fake.answers(request) or reply_by_model(request))
    fake.answers = lambda request: None
    fake.default = answer(chat.COUNTED, gap=0.05)
    run_with_fixtures(
        steps, lab=lab, lab_and_fake=(lab, fake), fake=fake, tmp_path=tmp_path, how="killed", line="undo 2"
    )


def test_a_chat_goes_on_beside_a_busy_cell_and_clicks_wait_for_its_end(lab, fake):
    notebook, chat = chats_and_kernels.what_a_magic_says_appears(lab, fake)
    fake.default = answer(" ".join(f"w{n}" for n in range(120)), gap=0.05)
    chat.type("Slowly")
    chat.log.get_by_text("w3").wait_for()
    notebook.start(3)
    chat.log.get_by_text("w119").wait_for()
    chat.wait_until_idle()
    assert notebook.prompt(3) == RUNNING
    before = len(fake.requests)
    fake.default = answer("After the cell.")
    chat.type("And now?")
    chat.hint.get_by_text("Waiting for the running cell").wait_for()
    assert "And now?" in chat.text(), "the question is shown at once"
    assert len(fake.requests) == before
    notebook.interrupt(3)
    chat.log.get_by_text("After the cell.").wait_for()
    assert chat.hint.is_hidden()


def test_a_comparison_goes_on_beside_a_busy_cell_and_clicks_wait_for_its_end(lab):
    notebook, shown = open_comparison(lab, ["openai/good", "openai/slow", "openai/bad"], [BUSY])
    good, slow = shown.columns.nth(0), shown.columns.nth(1)
    shown.ask()
    slow.get_by_text("It is").wait_for()
    notebook.start(2)
    good.get_by_text("tokens/s").wait_for()
    assert "134,591" in good.inner_text()
    shown.button("Stop the answer").click()
    shown.hint.get_by_text("Waiting for the running cell").wait_for()
    assert notebook.prompt(2) == RUNNING, "all this happened while the cell ran"
    notebook.interrupt(2)
    slow.get_by_text("cancelled").wait_for()
    assert shown.hint.is_hidden()
    assert "It is" in slow.inner_text()
    notebook.start(2)
    shown.button("A").click()
    shown.hint.get_by_text("Waiting for the running cell").wait_for()
    assert good.get_by_text("preferred").count() == 0
    notebook.interrupt(2)
    good.get_by_text("preferred").wait_for()
    assert "openai/good" in notebook.run(1).inner_text()


def test_a_dashboard_beside_a_busy_cell_says_that_a_filter_waits(lab, fake):
    fake.default = answer("A slope.")
    notebook = lab.open([dashboards.CALLS, "dashboard = UsageDashboard(every_s=0.2)\ndashboard", BUSY])
    notebook.run(0)
    shown = notebook.run(1)
    tiles, said = shown.locator(".ipyllm-tiles"), shown.locator(".ipyllm-said")
    tiles.get_by_text("6", exact=True).first.wait_for()
    notebook.start(2)
    shown.locator('[data-filter="model"]').select_option("openai/gpt-6-sol")
    said.get_by_text("Waiting for the running cell").wait_for()
    assert notebook.prompt(2) == RUNNING
    notebook.interrupt(2)
    tiles.get_by_text("2", exact=True).first.wait_for()
    said.get_by_text("Waiting").wait_for(state="detached")
