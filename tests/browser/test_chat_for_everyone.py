"""The chat with hostile answers, screen readers, the keyboard alone, narrow windows and dark themes."""

from __future__ import annotations

import pytest

from tests import fakes
from tests.browser.axe import needs_axe, violations
from tests.browser.chat import ANSWER, PNG, Chat, screenshot
from tests.browser.lab import needs_chromium
from tests.fakes import answer, status
from tests.service.rendering.payloads import CANARY, PAYLOADS

pytestmark = [pytest.mark.browser, needs_chromium, pytest.mark.timeout(300)]

FORBIDDEN = "script, iframe, object, embed, form, link, meta, base, style, svg"


def opened(lab, *more):
    name = f"talk-{next(lab.conversation_numbers)}"
    tool = "def add(a: int, b: int) -> int:\n    'Add.'\n    return a + b"
    source = f"from ipyllm import ChatWidget\n{tool}\nchat = ChatWidget(conversation={name!r}, tools=[add])\nchat"
    lab.notebook.rewrite([source, *more])
    return Chat(lab.notebook.run(0))


def fill(lab, fake):
    """A chat that shows one of everything."""
    chat = opened(lab)
    fake.reply(
        answer("", tool_calls=[("add", {"a": 2, "b": 40})], reasoning="I should add these."),
        answer(ANSWER + "\n[a link](https://example.com)\n", chunks=60, gap=0.005),
    )
    chat.root.get_by_label("Files", exact=True).set_input_files(
        {"name": "s.png", "mimeType": "image/png", "buffer": PNG}
    )
    chat.ask("How do I fit a line?")
    fake.default = answer("Two.")
    chat.button("Answer again").click()
    chat.log.get_by_text("Two.", exact=True).wait_for()
    chat.wait_until_idle()
    chat.button("Earlier version").click()
    chat.log.get_by_text("Fitting a line").wait_for()
    fake.default = status(401, {"error": {"message": "bad key", "code": "invalid_api_key"}})
    chat.type("Once more")
    chat.button("Try again").wait_for()
    return chat


@needs_axe
def test_axe_finds_nothing_wrong_with_an_empty_a_full_and_a_streaming_chat(stage):
    lab, fake = stage
    found = []

    def look(where):
        found.extend((where, *violation) for violation in violations(lab.page, ".ipyllm-chat"))

    chat = opened(lab)
    look("empty")
    chat = fill(lab, fake)
    chat.button("Settings").click()
    for details in chat.root.locator("summary").all():
        if details.is_visible():
            details.click()
    chat.model.fill("opnai/x")
    chat.model.press("Tab")
    chat.notice.get_by_text("did you mean").wait_for()
    look("full")
    screenshot(lab, "chat-full")
    chat.button("Dismiss").click()
    chat.model.fill("openai/fake-model")
    fake.default = fakes.drip("word ", every=0.02)
    chat.button("Edit and ask again").first.click()
    look("editing")
    chat.button("Cancel").click()
    chat.button("Try again").click()
    chat.log.get_by_text("word word").wait_for()
    look("streaming")
    chat.box.press("Escape")
    chat.wait_until_idle()
    assert found == []


def test_start_and_end_are_announced_and_not_every_word(stage):
    lab, fake = stage
    chat = opened(lab)
    chat.root.evaluate("""chat => {
        window.announcements = [];
        const status = chat.querySelector('.ipyllm-away[role=status]');
        new MutationObserver(() => announcements.push(status.textContent))
            .observe(status, {childList: true, characterData: true, subtree: true});
    }""")
    fake.default = answer(" ".join(f"w{n}" for n in range(60)), gap=0.01)
    chat.ask("Hello")
    announcements = lab.page.evaluate("window.announcements")
    said = [text for text in announcements if not text.startswith("The answer has not begun: ")]
    assert len(said) == 2, announcements
    assert said[0] == "The answer has begun."
    assert said[1].startswith("The answer has ended.")
    assert chat.log.get_attribute("aria-live") == "off"


def test_a_narrow_window_loses_nothing(stage):
    lab, fake = stage
    size = lab.page.viewport_size
    lab.page.set_viewport_size({"width": 420, "height": 900})
    try:
        chat = fill(lab, fake)
        assert chat.root.evaluate("chat => chat.scrollWidth <= chat.clientWidth + 1")
        edge = chat.root.bounding_box()
        for button in chat.root.locator("button:visible").all():
            box = button.bounding_box()
            assert box["x"] >= edge["x"]
            assert box["x"] + box["width"] <= edge["x"] + edge["width"] + 1
        chat.root.scroll_into_view_if_needed()
        screenshot(lab, "chat-narrow")
    finally:
        lab.page.set_viewport_size(size)


def test_hostile_answers_run_no_script_and_make_no_request(stage):
    """Live, frozen, as reasoning, as a tool's name and arguments, as a question, an error, and in the transcript."""
    lab, fake = stage
    assert len(PAYLOADS) >= 60
    evil = {name: payload.replace(CANARY, fake.url) for name, payload in PAYLOADS.items()}
    everything = "\n\n".join(evil.values())
    chat = opened(lab)
    lab.external_requests.clear()
    before = len(fake.requests)
    script = '<img src=x onerror="window.pwned=1"><script>window.pwned=1</script>'
    fake.default = answer(everything, reasoning=everything, chunks=300, gap=0.005)
    chat.ask("Hello")
    fake.default = answer("Fine.", reasoning="x")
    chat.ask(everything)
    fake.reply(answer("", tool_calls=[("add", {"a": script, "b": everything})]), answer(script))
    chat.ask(script)
    chat.root.evaluate("chat => chat.querySelectorAll('details').forEach(details => { details.open = true })")
    fake.default = status(400, {"error": {"message": script}})
    chat.type("Error, please")
    chat.button("Try again").wait_for()
    chat.model.fill(script)
    chat.model.press("Tab")
    chat.notice.get_by_text("onerror").wait_for()
    lab.notebook.rewrite(
        ["from IPython.display import HTML\nHTML(chat.export('html'))", "HTML(chat._controller.static_content()[0])"]
    )
    lab.notebook.run(0)
    lab.notebook.run(1)
    lab.page.wait_for_timeout(1000)
    assert lab.dialogs == []
    assert lab.external_requests == []
    assert lab.page.evaluate("window.pwned === undefined")
    paths = [request.path for request in fake.requests[before:]]
    assert paths == ["/v1/chat/completions"] * 5, paths


def test_each_hostile_answer_alone_leaves_only_allowed_elements(stage):
    lab, fake = stage
    chat = opened(lab)
    for n in range(0, len(PAYLOADS), 8):
        batch = list(PAYLOADS.values())[n : n + 8]
        fake.default = answer("\n\n---\n\n".join(batch).replace(CANARY, fake.url))
        chat.ask(f"batch {n}")
    assert chat.root.locator(f".ipyllm-answer :is({FORBIDDEN})").count() == 0
    bad = chat.root.evaluate("""chat => [...chat.querySelectorAll('.ipyllm-answer *')].flatMap(element =>
        [...element.attributes].filter(attribute => attribute.name.startsWith('on')
            || /^\\s*(javascript|vbscript|data:text)/i.test(attribute.value)).map(attribute => attribute.value))""")
    assert bad == []
    assert lab.page.evaluate("window.pwned === undefined")
    assert lab.external_requests == []
