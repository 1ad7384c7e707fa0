"""The widgets and `%%llm` in Notebook 7; the steps are those of the JupyterLab tests."""

from __future__ import annotations

import pytest

from ipyllm.rendering.style import COPY_SCRIPT
from tests.browser import test_chat_and_kernel as chats_and_kernels
from tests.browser import test_chat_widget as chats
from tests.browser import test_compare_widget as comparisons
from tests.browser import test_dashboard as dashboards
from tests.browser.axe import AXE, violations
from tests.browser.chat import Chat, lab_with_fake, run_with_fixtures, screenshot
from tests.browser.compare import Compare, reply_by_model
from tests.browser.lab import Notebook7, needs_chromium
from tests.fakes import answer
from tests.service.rendering.payloads import PAYLOADS

pytest.importorskip("notebook", reason="NO NOTEBOOK 7 FOUND: the widgets were not tried in it")
pytestmark = [pytest.mark.browser, needs_chromium, pytest.mark.timeout(300)]

THE_SAME = [
    chats.test_an_answer_streams_and_is_rendered_stopped_edited_branched_and_deleted,
    chats.test_what_is_typed_in_the_chat_does_not_reach_the_notebook,
    comparisons.test_the_saved_notebook_can_be_read,
    *(
        pytest.param(steps, marks=pytest.mark.thorough)
        for steps in [
            chats.test_everything_works_by_keyboard_alone,
            chats_and_kernels.test_a_notebook_reopened_without_its_kernel_shows_what_was_said,
            comparisons.test_a_blind_comparison_shows_names_after_the_vote_only,
            chats.test_stop_works_before_the_first_token_and_in_the_middle_and_an_error_can_be_tried_again,
            chats_and_kernels.test_what_a_magic_says_appears_and_a_busy_cell_does_not_stop_the_chat,
            chats_and_kernels.test_a_reloaded_page_shows_the_chat_again_and_goes_on_with_it,
            chats_and_kernels.test_two_views_and_two_tabs_show_the_same_chat,
            chats_and_kernels.test_the_log_follows_the_answer_but_yields_to_who_scrolls,
            chats_and_kernels.test_a_killed_and_restarted_kernel_leaves_what_was_said_and_says_that_it_is_gone,
            chats.test_exports_are_downloaded,
            dashboards.test_a_dashboard_lives_in_a_cell,
            dashboards.test_a_reloaded_page_shows_the_dashboard_again,
        ]
    ),
]


ALL_OF_THEM = """\
%load_ext ipyllm
from IPython.display import display
from ipyllm import ChatWidget, CompareWidget, UsageDashboard
chat = ChatWidget(conversation="all of them")
display(chat, CompareWidget(models=["openai/good", "openai/bad", "openai/broken"]), UsageDashboard(every_s=0.2))
"""


@pytest.fixture(scope="module")
def lab_and_fake(tmp_path_factory):
    options = {"page": Notebook7, "width": 1200, "height": 1000, "env": {"IPYLLM_MAX_RETRIES": "0"}}
    with lab_with_fake(tmp_path_factory.mktemp("notebook-7"), **options) as (lab, fake):
        fake.on(reply_by_model)
        yield lab, fake


@pytest.mark.parametrize("steps", THE_SAME, ids=lambda steps: steps.__name__.removeprefix("test_"))
def test_the_same_in_notebook_7(steps, lab, fake, tmp_path):
    run_with_fixtures(steps, lab=lab, lab_and_fake=lab, fake=fake, tmp_path=tmp_path)


def test_a_cell_streams_and_hostile_answers_do_nothing(lab, fake):
    notebook = lab.open(["%load_ext ipyllm", "%%llm\nHow?"])
    notebook.run(0)
    fake.default = answer("## Fitting\n\nThe slope is $x^2$. " + "word " * 60 + "end.", reasoning="Why?", gap=0.03)
    notebook.run(1, wait=False)
    output = notebook.output(1)
    output.get_by_text("Fitting").wait_for()
    assert "end." not in output.inner_text(), "it is still growing"
    output.get_by_text("tokens/s").wait_for()
    assert output.get_by_text("Fitting").count() == 1
    assert output.locator("math").count() == 1

    fake.default = answer("\n\n".join(PAYLOADS.values()) + "\n\nThat is all.")
    notebook.run(1)
    output.get_by_text("That is all.").wait_for()
    assert output.locator("iframe, object, embed, form").count() == 0
    scripts = output.locator("script").evaluate_all("scripts => scripts.map(script => script.outerHTML)")
    assert scripts == [COPY_SCRIPT.strip()], "ours, which adds the buttons, and no other"
    assert output.locator("img:not([src^='data:image/'])").count() == 0
    assert lab.page.evaluate("window.pwned") is None
    assert lab.dialogs == []


@pytest.mark.parametrize(
    ("theme", "width"), [("light", 1100), pytest.param("dark", 500, marks=pytest.mark.thorough)], ids=["light", "dark"]
)
def test_all_three_look_right_in_one_notebook(theme, width, tmp_path):
    with lab_with_fake(tmp_path, page=Notebook7, theme=theme, width=width, height=1000) as (lab, fake):
        fake.on(reply_by_model)
        notebook = lab.open([ALL_OF_THEM])
        shown = notebook.run(0)
        fake.default = answer(
            "It is **Bern**.\n\n```python\nlong = '" + "x" * 200 + "'\n```\n\n| a | b |\n|---|---|\n| 1 | 2 |"
        )
        Chat(shown).ask("Where?")
        compare = Compare(shown)
        compare.ask()
        compare.columns.first.get_by_text("tokens/s").wait_for()
        compare.columns.last.locator(".ipyllm-error").wait_for()
        shown.locator(".ipyllm-tiles").get_by_text("4", exact=True).first.wait_for()
        compare.button("Tie").click()
        compare.ranking.locator("table").wait_for()
        for name in ("chat", "compare", "dashboard"):
            widget = shown.locator(f".ipyllm-{name}")
            widget.scroll_into_view_if_needed()
            screenshot(lab, f"notebook-7-{name}")
            assert widget.evaluate("w => w.scrollWidth <= w.clientWidth"), f"{name} fits its cell"
            if AXE.exists():
                assert violations(lab.page, f".ipyllm-{name}") == []
        assert lab.errors == []
