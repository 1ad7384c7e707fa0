"""Composing in a chat, in both themes: files, the menu of prompts, the estimate; and thumbs on answers."""

from __future__ import annotations

import pytest

from tests.browser.axe import needs_axe, violations
from tests.browser.chat import ANSWER, FILES, PROMPTS, Chat, screenshot
from tests.browser.lab import needs_chromium
from tests.fakes import answer

pytestmark = [pytest.mark.browser, pytest.mark.thorough, needs_chromium, pytest.mark.timeout(300)]


def opened(lab):
    name = f"talk-{next(lab.conversation_numbers)}"
    source = f"{PROMPTS}\nfrom ipyllm import ChatWidget\nchat = ChatWidget(conversation={name!r})\nchat"
    lab.notebook.rewrite([source])
    return Chat(lab.notebook.run(0))


@needs_axe
def test_files_prompts_estimate_and_thumbs(stage):
    lab, fake = stage
    found = []

    def look(where):
        found.extend((where, *violation) for violation in violations(lab.page, ".ipyllm-chat"))
        screenshot(lab, f"chat-{where}")

    chat = opened(lab)
    chat.box.fill("/")
    options = chat.root.locator(".ipyllm-prompt-option")
    options.nth(2).wait_for()
    look("prompts")
    chat.box.press_sequentially("te")
    assert chat.root.locator(".ipyllm-estimate").inner_text() == "", "a name that is looked for is not sent"
    assert options.all_inner_texts() == ["unit tests Write unit tests."]
    chat.box.press("Enter")
    chat.wait_for("chat => chat.querySelector('.ipyllm-composer textarea').value === 'Write unit tests.'")
    chat.box.fill("/nothing")
    chat.root.get_by_text("None of your prompts").wait_for()
    chat.box.press("Escape")
    assert options.count() == 0

    chat.box.fill("What stands out in these?")
    chat.root.get_by_label("Files", exact=True).set_input_files(FILES)
    chat.root.get_by_text("720 B").wait_for()
    chat.root.locator(".ipyllm-estimate", has_text="tokens to send").wait_for()
    chat.root.get_by_role("button", name="fit.py 9 B").click()
    chat.root.get_by_role("region", name="Text of fit.py").get_by_text("print(1)").wait_for()
    look("files")
    chat.button("Remove fit.py").click()
    fake.default = answer(ANSWER)
    chat.box.press("Enter")
    chat.footers().first.wait_for()
    assert chat.turns.last.locator(".ipyllm-chip").inner_text().split("\n")[-1] == "719 characters"
    assert chat.root.locator(".ipyllm-estimate").inner_text() == ""
    chat.turns.last.get_by_role("button", name="results-of-the-third").click()
    chat.turns.last.get_by_role("region").get_by_text("a,b").wait_for()
    look("file-open")
    chat.turns.last.get_by_role("button", name="results-of-the-third").click()
    assert chat.turns.last.get_by_role("region").count() == 0
    chat.button("Good answer").click()
    chat.root.locator("[aria-pressed=true][title='Good answer']").wait_for()
    look("thumbs")
    chat.box.fill("/usr/bin is a folder")
    chat.box.press("Enter")
    chat.footers().nth(1).wait_for()

    for name, change in (
        ("420", lambda: lab.page.set_viewport_size({"width": 420, "height": 900})),
        ("forced", lambda: lab.page.emulate_media(forced_colors="active")),
    ):
        change()
        chat.box.fill("")
        chat.box.fill("/")
        options.nth(2).wait_for()
        chat.root.get_by_label("Files", exact=True).set_input_files(FILES)
        chat.box.scroll_into_view_if_needed()
        screenshot(lab, f"chat-composing-{name}")
        chat.root.locator(".ipyllm-composer").screenshot(path=f"build/screenshots/composer-{name}-{lab.theme}.png")
        chat.box.press("Escape")
        removers = chat.root.locator(".ipyllm-draft button[aria-label^='Remove']")
        while removers.count():
            removers.first.click()
    lab.page.emulate_media(forced_colors="none")
    lab.page.set_viewport_size({"width": 1280, "height": 900})
    assert found == []


def test_a_chat_opens_beside_the_notebook(stage):
    lab, fake = stage
    fake.default = answer("It stays in sight.")
    name = f"talk-{next(lab.conversation_numbers)}"
    source = f"from ipyllm import ChatWidget\nchat = ChatWidget(conversation={name!r})\npanel = chat.sidecar()"
    lab.notebook.rewrite([source])
    lab.notebook.run(0)
    chat = Chat(
        lab.page.locator(".jp-MainAreaWidget, .jp-OutputArea").filter(has=lab.page.locator(".ipyllm-chat")).last
    )
    chat.ask("Where are you?")
    screenshot(lab, "chat-beside")
    assert chat.log.get_by_text("It stays in sight.").is_visible()
