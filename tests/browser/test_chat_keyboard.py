"""Where the focus goes in a chat, and what is said while nothing can be sent."""

from __future__ import annotations

import pytest

from tests import fakes
from tests.browser.chat import opened, screenshot
from tests.browser.lab import KERNEL, needs_chromium

pytestmark = [pytest.mark.browser, needs_chromium, pytest.mark.thorough, pytest.mark.timeout(300)]

CUT = f"""() => {{
    const kernel = {KERNEL};
    window.whole = kernel.serverSettings.WebSocket;
    kernel.serverSettings.WebSocket = class {{ close() {{}} }};  // as a server that is gone: never open
    kernel._ws.close();
}}"""
MEND = f"() => {{ const kernel = {KERNEL}; kernel.serverSettings.WebSocket = window.whole; void kernel.reconnect(); }}"
HAS_FOCUS = "element => element === document.activeElement"


def test_escape_after_the_arrow_up_gives_the_focus_back_to_the_box(lab):
    _, chat = opened(lab)
    chat.ask("Hello")
    chat.box.press("ArrowUp")
    chat.root.get_by_label("Edit the question").press("Escape")
    assert chat.box.evaluate(HAS_FOCUS)
    chat.button("Edit and ask again").click()
    chat.root.get_by_label("Edit the question").press("Escape")
    assert chat.button("Edit and ask again").evaluate(HAS_FOCUS)


def test_all_buttons_of_messages_are_one_stop_and_arrows_go_on_from_there(lab):
    _, chat = opened(lab)
    for question in ("One", "Two", "Three"):
        chat.ask(question)
    keyboard = lab.page.keyboard
    chat.wait_until_idle()
    chat.box.focus()

    def focused():
        return lab.page.evaluate(
            """() => [document.activeElement.getAttribute('aria-label') ?? document.activeElement.textContent,
                [...document.querySelectorAll('.ipyllm-exchange')]
                    .findIndex(turn => turn.contains(document.activeElement))]"""
        )

    keyboard.press("Shift+Tab")  # the plus
    keyboard.press("Shift+Tab")
    assert focused() == ["Copy answer", 2]
    keyboard.press("ArrowRight")
    assert focused() == ["Answer again", 2]
    keyboard.press("ArrowUp")
    assert focused() == ["Edit and ask again", 2]
    keyboard.press("End")
    assert focused() == ["Delete question and answer", 2]
    keyboard.press("ArrowUp")
    assert focused() == ["Copy answer", 1]
    keyboard.press("ArrowDown")
    keyboard.press("ArrowDown")
    assert focused() == ["Copy answer", 2]
    keyboard.press("ArrowUp")
    keyboard.press("Shift+Tab")
    assert chat.log.evaluate(HAS_FOCUS)
    keyboard.press("Shift+Tab")
    assert focused() == ["Clear", -1], "the bar is four stops from the box"
    keyboard.press("Tab")
    keyboard.press("Tab")
    assert focused() == ["Edit and ask again", 2], "where one was"
    chat.ask("Four")
    chat.wait_until_idle()
    keyboard.press("Shift+Tab")
    keyboard.press("Shift+Tab")
    assert focused() == ["Copy answer", 3], "the newest"
    screenshot(lab, "chat-toolbar")


def test_without_a_connection_enter_says_so_and_the_text_stays(lab, fake):
    _, chat = opened(lab, anew=True)
    chat.ask("Hello")
    asked = len(fake.requests)
    lab.page.evaluate(CUT)
    lab.page.wait_for_function(f"{KERNEL}.connectionStatus !== 'connected'")
    chat.type("Are you there?")
    chat.notice.get_by_text("There is no connection to the kernel.").wait_for()
    assert chat.box.input_value() == "Are you there?"
    screenshot(lab, "chat-not-connected")
    lab.page.evaluate(MEND)
    chat.notice.wait_for(state="hidden")
    chat.box.press("Enter")
    chat.footers().nth(1).wait_for()
    assert len(fake.requests) == asked + 1
    lab.errors.clear()  # Jupyter's own, about the connection


def test_what_was_refused_while_an_answer_streamed_is_no_longer_said_when_it_has_ended(lab, fake):
    _, chat = opened(lab)
    chat.ask("First")
    chat.button("Edit and ask again").click()
    fake.default = fakes.drip("word ", every=0.02)
    chat.type("Long")
    chat.log.get_by_text("word word").wait_for()
    chat.root.get_by_label("Edit the question").press("Enter")
    chat.notice.get_by_text("An answer is still streaming").wait_for()
    chat.box.press("Escape")
    chat.notice.wait_for(state="hidden")
