"""Questions that wait, and answers that go on, as the page shows them."""

from __future__ import annotations

import pytest

from tests import fakes
from tests.browser.axe import needs_axe, violations
from tests.browser.chat import FILES, Chat, screenshot
from tests.browser.lab import needs_chromium
from tests.fakes import answer

pytestmark = [pytest.mark.browser, needs_chromium, pytest.mark.timeout(300)]


@needs_axe
def test_questions_wait_and_a_stopped_answer_goes_on(stage):
    lab, fake = stage
    lab.notebook.rewrite(["from ipyllm import ChatWidget\nChatWidget(conversation='queue')"])
    chat = Chat(lab.notebook.run(0))
    fake.default = fakes.drip("word ", every=0.02)
    chat.type("Long")
    chat.log.get_by_text("word word").wait_for()
    chat.type("And then?")
    chat.root.get_by_label("Files", exact=True).set_input_files(FILES)
    chat.type("To be taken back")
    queue = chat.root.locator(".ipyllm-queue")
    queue.get_by_text("Asked next").wait_for()
    queue.get_by_text("To be taken back").wait_for()
    assert violations(lab.page, ".ipyllm-chat") == []
    queue.get_by_role("button", name="Take back").nth(1).click()
    chat.wait_for("chat => chat.querySelector('.ipyllm-composer textarea').value === 'To be taken back'")
    assert chat.root.locator(".ipyllm-composer .ipyllm-chip").count() == 2, "with its files"
    assert chat.root.locator(".ipyllm-composer img").count() == 1
    chat.box.press("Escape")
    chat.button("Send now").wait_for()
    assert violations(lab.page, ".ipyllm-chat") == []
    chat.button("Continue").wait_for()
    screenshot(lab, "chat-queue")
    fake.default = answer("and **so on**.")
    chat.button("Continue").click()
    chat.log.get_by_text("so on").nth(1).wait_for()
    chat.wait_until_idle()
    assert chat.turns.count() == 2, "what waited is asked once the answer is whole"
    assert "word word" in chat.turns.first.inner_text()
    assert chat.button("Continue").count() == 0
    assert not queue.is_visible()
