"""What a reader does with an answer while it grows: selecting text, opening a tool call."""

from __future__ import annotations

import pytest

from tests.browser.chat import COUNTED, Chat, opened
from tests.browser.lab import needs_chromium
from tests.fakes import answer

pytestmark = [pytest.mark.browser, needs_chromium, pytest.mark.timeout(300)]

SELECT = """log => {
    const text = document.createTreeWalker(log.querySelector('.ipyllm-text'), NodeFilter.SHOW_TEXT).nextNode();
    getSelection().setBaseAndExtent(text, 4, text, 9);
}"""
TOOL = '''
import time
def slow(n: int) -> str:
    """Wait."""
    time.sleep(3)
    return f"result {n}"
'''


def test_a_selection_survives_the_rest_of_the_answer(lab, fake):
    _, chat = opened(lab)
    fake.default = answer(f"The first paragraph of three.\n\nThe second.\n\n{COUNTED}", gap=0.05)
    chat.type("Hello")
    chat.wait_for("chat => chat.querySelector('.ipyllm-text')?.textContent.includes('The first par')")
    chat.log.evaluate(SELECT)
    chat.wait_until_idle()
    assert "The second." in chat.turns.last.inner_text()
    assert lab.page.evaluate("getSelection().toString()") == "first"


def test_an_opened_tool_call_stays_open_when_its_result_comes(lab, fake):
    fake.reply(answer("", tool_calls=[("slow", {"n": 7})]))
    fake.default = answer("Done.")
    shown = "chat = ChatWidget(conversation='tool', tools=[slow])\nchat"
    notebook = lab.show([f"from ipyllm import ChatWidget\n{TOOL}\n{shown}"])
    chat = Chat(notebook.run(0))
    chat.type("Do it")
    call = chat.turns.last.locator("details.ipyllm-tool")
    call.locator("summary").click()
    call.get_by_text("result 7").wait_for()
    assert call.get_by_text("result 7").is_visible(), "it is still open"
    chat.wait_until_idle()
