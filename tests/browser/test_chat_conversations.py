"""The chat's panel of conversations, by mouse and by keyboard, for everyone."""

from __future__ import annotations

import pytest

from tests.browser.axe import needs_axe, violations
from tests.browser.chat import Chat, screenshot
from tests.browser.lab import needs_chromium
from tests.fakes import answer

pytestmark = [pytest.mark.browser, needs_chromium, pytest.mark.timeout(300)]

ASKED = "How do I write bold text?"  # lists the conversation "default", which nobody named


class Panel:
    """Page object of the panel."""

    def __init__(self, chat):
        self.chat = chat
        self.root = chat.root.locator(".ipyllm-conversations")
        self.items = self.root.locator(".ipyllm-conversation")
        self.query = self.root.get_by_role("searchbox")

    def wait_for_names(self, *names):
        script = """([panel, names]) =>
            [...panel.querySelectorAll('.ipyllm-conversation b')].map(b => b.textContent).join() === names"""
        self.chat.page.wait_for_function(script, arg=[self.root.element_handle(), ",".join(names)], timeout=60_000)


def opened(lab, fake):
    """A chat with two conversations, and its panel, open."""
    lab.notebook.rewrite(["from ipyllm import ChatWidget\nChatWidget(conversation='default')"])
    chat = Chat(lab.notebook.run(0))
    fake.default = answer("To **bold** it, write asterisks.")
    chat.ask(ASKED)
    chat.button("Conversations").click()
    panel = Panel(chat)
    panel.items.first.wait_for()
    return chat, panel


@needs_axe
def test_conversations_are_begun_found_renamed_deleted_and_brought_back(stage):
    lab, fake = stage
    chat, panel = opened(lab, fake)
    panel.wait_for_names(ASKED)
    chat.button("New chat").click()
    panel.wait_for_names("chat 2", ASKED)
    chat.root.get_by_text("Ask something.").wait_for()
    assert chat.root.get_by_label("System prompt of this conversation").input_value() == "", "a new one has none"
    fake.default = answer("By train.")
    chat.ask("How do I get to Köln?")
    chat.box.fill("and back?")
    panel.items.nth(1).click()
    chat.log.get_by_text("write asterisks").wait_for()
    assert chat.box.input_value() == "", "the draft belongs to the other conversation"
    panel.root.locator("[aria-current=true]", has_text="default").wait_for()
    chat.button("Rename “chat 2”").click()
    panel.root.get_by_label("New name of").fill("Köln")
    assert violations(lab.page, ".ipyllm-chat") == []
    panel.root.get_by_label("New name of").press("Enter")
    panel.wait_for_names("Köln", ASKED)
    assert violations(lab.page, ".ipyllm-chat") == []
    screenshot(lab, "chat-conversations")
    panel.query.fill("asterisks")
    panel.wait_for_names(ASKED)
    panel.query.fill("nowhere")
    panel.root.get_by_text("No conversation contains “nowhere”.").wait_for()
    panel.query.fill("")
    panel.wait_for_names("Köln", ASKED)
    panel.items.first.click()
    chat.log.get_by_text("By train.").wait_for()
    chat.wait_for("chat => chat.querySelector('.ipyllm-composer textarea').value === 'and back?'")
    chat.button("Delete “Köln”").click()
    panel.wait_for_names("chat 2", ASKED)
    chat.root.get_by_text("“Köln” was deleted.").wait_for()
    assert violations(lab.page, ".ipyllm-chat") == []
    chat.button("Undo").click()
    chat.log.get_by_text("By train.").wait_for()
    chat.wait_for("chat => chat.querySelector('.ipyllm-composer textarea').value === 'and back?'")


def test_a_hit_of_the_search_is_scrolled_to_and_marked(stage):
    lab, fake = stage
    chat, panel = opened(lab, fake)
    chat.button("New chat").click()
    chat.root.get_by_text("Ask something.").wait_for()
    fake.default = answer("Galton measured peas.")
    chat.ask("Who was it?")
    fake.default = answer("word\n\n" * 60)
    chat.ask("And then?")
    chat.button("New chat").click()
    chat.root.get_by_text("Ask something.").wait_for()
    panel.query.fill("galton")
    panel.root.locator(".ipyllm-excerpt", has_text="Galton").wait_for()
    panel.items.first.click()
    chat.log.locator(".ipyllm-found", has_text="Galton measured").wait_for()
    chat.wait_for("""chat => {
        const log = chat.querySelector('.ipyllm-log'), found = log.querySelector('.ipyllm-exchange');
        return Math.abs(found.getBoundingClientRect().top - log.getBoundingClientRect().top) < 30;
    }""")


@needs_axe
def test_an_answer_goes_on_while_another_conversation_is_shown(stage):
    lab, fake = stage
    chat, panel = opened(lab, fake)
    fake.reply(answer(chunks=["It begins, ", "**and goes on**."], gap=60))
    chat.type("Tell me a story")
    chat.log.get_by_text("begins").wait_for()
    chat.button("New chat").click()
    chat.root.get_by_text("Ask something.").wait_for()
    panel.root.locator("li", has_text=ASKED).get_by_text("answering …").wait_for()
    fake.reply(answer("Late.", ttft=60))
    chat.type("Who waits?")
    panel.items.filter(has_text="Who waits?").get_by_text("1 turn").wait_for()
    panel.items.filter(has_text=ASKED).click()
    chat.log.get_by_text("begins").wait_for()
    assert chat.log.locator(".ipyllm-running").count() == 1, "it runs on"
    chat.log.get_by_text("It begins").wait_for()
    chat.button("New chat").click()
    chat.root.get_by_text("Ask something.").wait_for()
    assert panel.root.get_by_text("answering …").count() == 2
    assert violations(lab.page, ".ipyllm-chat") == []
    fake.skip_pauses()
    panel.root.get_by_text("new answer").nth(1).wait_for()
    assert "new answer" in chat.button("Conversations").get_attribute("title")
    assert violations(lab.page, ".ipyllm-chat") == []
    screenshot(lab, "chat-left-running")
    panel.items.filter(has_text="Who waits?").click()
    chat.log.get_by_text("Late.").wait_for()
    panel.items.filter(has_text=ASKED).click()
    chat.log.get_by_text("and goes on").wait_for()
    panel.root.get_by_text("new answer").wait_for(state="detached")
    chat.button("Delete “default”").click()
    chat.root.get_by_text(f"“{ASKED}” was deleted.").wait_for()
    chat.box.press("Alt+F10")
    assert chat.model.evaluate("model => model === document.activeElement")
    chat.model.press("Alt+F10")
    assert chat.box.evaluate("box => box === document.activeElement")


def test_the_keyboard_alone_is_enough(stage):
    lab, fake = stage
    chat, panel = opened(lab, fake)
    panel.query.fill("bold")
    lab.page.wait_for_timeout(400)
    panel.wait_for_names(ASKED)
    panel.query.press("ArrowDown")
    assert panel.items.first.evaluate("item => item === document.activeElement")
    lab.page.keyboard.press("ArrowUp")
    assert panel.query.evaluate("query => query === document.activeElement")
    lab.page.keyboard.press("ArrowDown")
    lab.page.keyboard.press("Enter")
    chat.wait_for("chat => chat.querySelector('.ipyllm-composer textarea') === document.activeElement")


def test_a_narrow_window_has_room_for_the_list(stage):
    lab, fake = stage
    size = lab.page.viewport_size
    lab.page.set_viewport_size({"width": 420, "height": 900})
    try:
        chat, panel = opened(lab, fake)
        assert chat.root.evaluate("chat => chat.scrollWidth <= chat.clientWidth + 1")
        assert panel.root.evaluate("panel => panel.scrollWidth <= panel.clientWidth + 1")
        for button in panel.root.locator("button:visible").all():
            assert min(button.bounding_box()[side] for side in ("width", "height")) >= 24
        chat.root.scroll_into_view_if_needed()
        screenshot(lab, "chat-conversations-narrow")
    finally:
        lab.page.set_viewport_size(size)
