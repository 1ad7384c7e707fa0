"""The mouse wheel over a widget scrolls the notebook, as soon as nothing in the widget is left to scroll."""

from __future__ import annotations

import pytest

from tests.browser.chat import Chat, lab_with_fake, screenshot
from tests.browser.compare import Compare, reply_by_model
from tests.browser.lab import needs_chromium
from tests.fakes import answer

pytestmark = [pytest.mark.browser, needs_chromium, pytest.mark.thorough, pytest.mark.timeout(300)]

NOTEBOOK = """element => {
    for (let at = element.parentElement; at; at = at.parentElement)
        if (/auto|scroll/.test(getComputedStyle(at).overflowY) && at.scrollHeight > at.clientHeight + 1) return at;
}"""
MORE = ["'below'"] * 40  # cells, so that the notebook scrolls


@pytest.fixture(scope="module")
def stage(tmp_path_factory):
    """A narrow page, in which a widget fills the width."""
    with lab_with_fake(tmp_path_factory.mktemp("wheel"), width=420, height=900) as (lab, fake):
        fake.on(lambda request: reply_by_model(request) or answer("Hello there."))
        yield lab, lab.open(["1"])


class Wheel:
    """Turns the wheel over elements of a widget, and looks where the notebook then is."""

    def __init__(self, widget):
        self.page = widget.page
        self.notebook = widget.root.evaluate_handle(NOTEBOOK)

    def top(self):
        return self.notebook.evaluate("notebook => notebook.scrollTop")

    def over(self, element, pixels):
        """Turn it until the notebook moves that way, or for ten turns; return whether it did."""
        element.hover()
        before = self.top()
        for _ in range(10):
            self.page.mouse.wheel(0, pixels)
            self.page.wait_for_timeout(150)
            if (self.top() - before) * pixels > 0:
                return True
        return False

    def to_widget(self, widget):
        widget.root.evaluate("root => root.scrollIntoView({block: 'start'})")


def test_over_a_short_chat_and_its_list_of_conversations_the_notebook_scrolls(stage):
    lab, notebook = stage
    notebook.rewrite(["from ipyllm import ChatWidget\nChatWidget(conversation='wheel')", *MORE])
    chat = Chat(notebook.run(0))
    chat.ask("Hello")
    wheel = Wheel(chat)
    wheel.to_widget(chat)
    assert wheel.over(chat.turns.last, 150)
    wheel.to_widget(chat)
    chat.button("Conversations").click()
    item = chat.root.locator(".ipyllm-conversation").first
    item.wait_for()
    assert wheel.over(item, 150)
    screenshot(lab, "wheel-over-chat")


def test_over_the_columns_of_a_comparison_first_the_rounds_scroll_and_then_the_notebook(stage):
    lab, notebook = stage
    source = "from ipyllm import CompareWidget\nCompareWidget(models=['openai/bad', 'openai/good', 'openai/japanese'])"
    notebook.rewrite([source, *MORE])
    shown = Compare(notebook.run(0))
    wheel = Wheel(shown)
    shown.ask()
    shown.wait_for_vote()
    wheel.to_widget(shown)
    rounds = shown.root.locator(".ipyllm-rounds")
    column = shown.columns.first
    assert rounds.evaluate("rounds => rounds.scrollHeight > rounds.clientHeight"), "there is something to scroll"
    assert column.evaluate("column => column.scrollHeight <= column.clientHeight + 1"), "and nothing in the column"
    rounds.evaluate("rounds => { rounds.scrollTop = 0 }")
    column.hover()
    lab.page.mouse.wheel(0, 200)
    shown.wait_for("root => root.querySelector('.ipyllm-rounds').scrollTop > 0")
    wheel.to_widget(shown)
    rounds.evaluate("rounds => { rounds.scrollTop = rounds.scrollHeight }")
    assert wheel.over(shown.columns.last, 400)
    screenshot(lab, "wheel-over-columns")
