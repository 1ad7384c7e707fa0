"""States of a chat and a comparison that are easily forgotten, light and dark: axe finds nothing wrong with them."""

from __future__ import annotations

import pytest

from tests import fakes
from tests.browser.axe import needs_axe, violations
from tests.browser.chat import Chat, screenshot
from tests.browser.lab import needs_chromium
from tests.fakes import answer, status

pytestmark = [pytest.mark.browser, needs_chromium, pytest.mark.timeout(300)]

REFUSED = status(401, {"error": {"message": "bad key", "code": "invalid_api_key"}})


class Look:
    """Collects what axe finds, and takes screenshots."""

    def __init__(self, lab, selector):
        self.lab, self.selector = lab, selector
        self.found = []

    def __call__(self, where):
        self.found.extend((where, *violation) for violation in violations(self.lab.page, self.selector))
        screenshot(self.lab, f"{self.selector.removeprefix('.ipyllm-')}-{where}")


def restart(lab):
    lab.page.evaluate("window.jupyterapp.shell.currentWidget.sessionContext.session.kernel.restart()")


@needs_axe
def test_failed_stopped_deleted_listed_and_restarted_chats(stage):
    lab, fake = stage
    name = f"states-{next(lab.conversation_numbers)}"
    lab.notebook.rewrite([f"from ipyllm import ChatWidget\nChatWidget(conversation={name!r}, max_tokens=9)"])
    chat, look = Chat(lab.notebook.run(0)), Look(lab, ".ipyllm-chat")
    fake.reply(answer("One, two, thr", finish_reason="length"))
    chat.ask("Count to ten")
    fake.default = fakes.drip("word ", every=0.02)
    chat.type("Long")
    chat.log.get_by_text("word word").wait_for()
    chat.box.press("Escape")
    chat.log.get_by_text("cancelled").wait_for()
    chat.wait_until_idle()
    fake.default = REFUSED
    chat.type("Fails")
    chat.button("Try again").wait_for()
    look("failed")
    chat.button("Delete question and answer").last.click()
    chat.button("Undo").wait_for()
    look("undo")
    chat.button("Conversations").click()
    chat.root.locator(".ipyllm-conversation").first.wait_for()
    look("conversations")
    chat.root.get_by_label("Search all conversations").fill("nowhere to be found")
    chat.root.get_by_text("No conversation").wait_for()
    look("nothing-found")
    restart(lab)
    chat.notice.get_by_text("The kernel is gone").wait_for()
    look("kernel-gone")
    chat = Chat(lab.notebook.run(0))
    chat.button("Continue").wait_for()
    look("restarted")
    footers = chat.footers().all_text_contents()
    assert "stopped at max_tokens" in footers[0]
    assert footers[1].startswith("cancelled · ")
    assert all("tokens" in footer and " s" in footer for footer in footers)
    assert look.found == []


@needs_axe
def test_a_comparison_whose_kernel_is_gone_and_restarted(stage):
    lab, fake = stage
    lab.notebook.rewrite(["from ipyllm import CompareWidget\nCompareWidget(['openai/a', 'openai/b'])"])
    output, look = lab.notebook.run(0), Look(lab, ".ipyllm-compare")
    root = output.locator(".ipyllm-compare")
    fake.default = answer("It is **Bern**.")
    root.locator(".ipyllm-composer textarea").fill("Which capital?")
    root.locator(".ipyllm-composer textarea").press("Enter")
    root.get_by_role("button", name="Tie").click()
    root.get_by_text("Your vote, stored in the ledger").wait_for()
    restart(lab)
    root.locator(".ipyllm-notice").get_by_text("The rounds come back with it").wait_for()
    look("kernel-gone")
    root = lab.notebook.run(0).locator(".ipyllm-compare")
    root.get_by_text("Your vote, stored in the ledger").wait_for()
    assert root.get_by_text("Bern", exact=True).count() == 2
    assert root.get_by_role("button", name="Tie").get_attribute("aria-pressed") == "true"
    look("restarted")
    assert look.found == []


def test_a_model_is_chosen_from_the_list_of_all(stage):
    lab, fake = stage
    name = f"states-{next(lab.conversation_numbers)}"
    models = [f"openai/model-{number}" for number in range(30)]
    lab.notebook.rewrite([f"from ipyllm import ChatWidget\nChatWidget(conversation={name!r}, models={models!r})"])
    chat = Chat(lab.notebook.run(0))
    assert chat.model.input_value() == models[0]
    chat.button("Models").click()
    items = chat.root.get_by_role("menu", name="Models").get_by_role("menuitem")
    assert items.all_text_contents() == models, "all, not only those that contain what is in the field"
    screenshot(lab, "chat-models")
    items.nth(20).click()
    assert chat.model.input_value() == models[20]
    fake.default = answer("Hello there.")
    chat.ask("Who are you?")
    assert fake.requests[-1].json["model"] == "model-20"
    fake.default = fakes.drip("word ", every=0.02)
    assert chat.box.get_attribute("placeholder") == "Ask the model …"
    chat.type("Long")
    chat.log.get_by_text("word word").wait_for()
    assert chat.box.get_attribute("placeholder") == "Ask the next question …"
    chat.log.hover()
    chat.box.press("Escape")
    chat.wait_until_idle()


def test_the_way_to_the_newest_covers_nothing_and_moves_nothing(stage):
    lab, fake = stage
    name = f"states-{next(lab.conversation_numbers)}"
    lab.notebook.rewrite([f"from ipyllm import ChatWidget\nChatWidget(conversation={name!r})"])
    chat = Chat(lab.notebook.run(0))
    fake.default = answer("\n\n".join(f"paragraph {number}" for number in range(60)))
    chat.ask("Long")
    newest = chat.button("↓ Newest")
    before = chat.root.bounding_box()
    chat.log.evaluate("log => { log.scrollTop = 100; }")
    newest.wait_for()
    log, button, after = chat.log.bounding_box(), newest.bounding_box(), chat.root.bounding_box()
    assert log["y"] + log["height"] <= button["y"]
    assert abs(after["height"] - before["height"]) < 2
    chat.log.evaluate("log => { log.scrollTop = log.scrollHeight; }")
    newest.wait_for(state="hidden")


def test_the_text_box_stays_in_sight_when_the_chat_grows_unless_it_was_scrolled_away(stage):
    lab, fake = stage
    name = f"states-{next(lab.conversation_numbers)}"
    size = lab.page.viewport_size
    lab.page.set_viewport_size({"width": 1100, "height": 520})
    try:
        lab.notebook.rewrite([f"from ipyllm import ChatWidget\nChatWidget(conversation={name!r})", *["1"] * 20])
        chat = Chat(lab.notebook.run(0))
        fake.default = answer("\n\n".join(f"paragraph {number}" for number in range(60)), gap=0.01)
        chat.box.click()
        chat.ask("Long")
        bottom = chat.box.bounding_box()["y"] + chat.box.bounding_box()["height"]
        assert bottom < 520, "below the fold, a person would have to scroll after each answer"
        chat.button("Clear").click()
        chat.log.get_by_text("Ask something").wait_for()
        chat.type("Long")
        chat.log.get_by_text("paragraph 3", exact=True).wait_for()
        lab.notebook.cell(20).scroll_into_view_if_needed()
        away = chat.box.bounding_box()
        chat.wait_until_idle()
        after = chat.box.bounding_box()
        assert away is None or away["y"] < 0
        assert after is None or after["y"] < 0, "whoever reads elsewhere is not called back"
    finally:
        lab.page.set_viewport_size(size)
