"""The chat widget as a person uses it in JupyterLab, on the newest ipykernel."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests import fakes
from tests.browser.chat import (
    ANSWER,
    PNG,
    opened,
    paste,
    screenshot,
)
from tests.browser.lab import needs_chromium
from tests.fakes import answer, status

pytestmark = [pytest.mark.browser, needs_chromium, pytest.mark.timeout(300)]


@pytest.mark.smoke
def test_an_answer_streams_and_is_rendered_stopped_edited_branched_and_deleted(lab, fake):
    _, chat = opened(lab)
    fake.default = answer(ANSWER, reasoning="They want least squares. " * 4, ttft=1000, gap=0.03, tail=1000)
    chat.type("How do I fit a line?")
    chat.log.get_by_text("waiting").wait_for()
    screenshot(lab, "chat-waiting")
    fake.wait_for(lambda: fake.in_flight == 1)
    fake.send_next()
    chat.turns.last.get_by_text("Fitting a line").wait_for()
    chat.turns.last.get_by_text("answering").wait_for()
    screenshot(lab, "chat-streaming")
    assert chat.announced() == "The answer has begun."
    fake.skip_pauses()
    chat.log.get_by_text("tokens/s").wait_for()
    turn = chat.turns.last
    assert turn.locator("math").count() == 1
    assert turn.locator("pre .k").count() >= 1
    assert turn.locator("table td").count() == 2
    assert chat.announced().startswith("The answer has ended. openai/fake-model")
    assert "1 answer" in chat.totals.inner_text()
    reasoning = turn.locator("details.ipyllm-reasoning")
    assert not reasoning.get_by_text("They want").is_visible()
    reasoning.locator("summary").click()
    assert reasoning.get_by_text("They want").is_visible()
    turn.locator(".ipyllm-code").hover()
    chat.button("Copy code", turn).click()
    assert lab.page.evaluate("navigator.clipboard.readText()").startswith("import numpy as np\n")
    chat.button("Copy answer", turn).click()
    turn.get_by_label("Copied").wait_for()
    assert lab.page.evaluate("navigator.clipboard.readText()") == ANSWER

    fake.default = answer("Another way.")
    chat.button("Answer again", turn).click()
    chat.log.get_by_text("Another way.").wait_for()
    assert turn.locator(".ipyllm-branch").inner_text() == "2/2"
    chat.wait_until_idle()
    chat.button("Earlier version", turn).click()
    chat.log.get_by_text("Fitting a line").wait_for()
    chat.button("Later version", chat.turns.last).click()
    chat.log.get_by_text("Another way.").wait_for()

    chat.ask("And then?")
    fake.default = answer("A first answer to another question.")
    chat.button("Edit and ask again", chat.turns.first).click()
    editor = chat.root.get_by_label("Edit the question")
    assert editor.input_value() == "How do I fit a line?"
    editor.fill("How do I fit a plane?")
    screenshot(lab, "chat-editing")
    editor.press("Enter")
    chat.log.get_by_text("A first answer to another").wait_for()
    assert chat.turns.count() == 1
    chat.wait_until_idle()
    assert chat.turns.first.locator(".ipyllm-branch").inner_text() == "3/3"
    chat.button("Earlier version", chat.turns.first).click()
    chat.log.get_by_text("And then?").wait_for()
    screenshot(lab, "chat-branches")
    chat.button("Delete question and answer", chat.turns.first).click()
    chat.wait_for("chat => chat.querySelectorAll('.ipyllm-exchange').length === 1")
    assert "And then?" in chat.text()
    screenshot(lab, "chat-undo")
    chat.button("Undo").click()
    chat.wait_for("chat => chat.querySelectorAll('.ipyllm-exchange').length === 2")
    assert not chat.root.locator(".ipyllm-undo").is_visible()


def test_code_of_an_answer_is_inserted_below_the_chat_and_not_run(lab, fake):
    notebook, chat = opened(lab, "print('last')")
    code = "print('first')"
    fake.default = answer(f"So:\n\n```python\n{code}\n```\n\n```\nsecond\n```\n")
    chat.ask("How?")
    blocks = chat.turns.last.locator(".ipyllm-code")
    assert blocks.nth(0).locator(".ipyllm-language").inner_text() == "python"
    assert blocks.nth(1).locator(".ipyllm-language").count() == 0
    blocks.nth(0).hover()
    screenshot(lab, "chat-insert-below")
    for block in (blocks.nth(0), blocks.nth(1)):
        block.hover()
        block.get_by_role("button", name="Insert below").click()
        block.get_by_text("Inserted").wait_for()
    cells = lab.page.evaluate(
        "() => window.jupyterapp.shell.currentWidget.context.model.sharedModel.cells.map(cell => cell.source)"
    )
    assert cells[1:] == ["second", code, "print('last')"], "each is next to the chat"
    assert notebook.cell(2).locator(".jp-OutputArea-output").count() == 0
    screenshot(lab, "chat-inserted")


def test_stop_works_before_the_first_token_and_in_the_middle_and_an_error_can_be_tried_again(lab, fake):
    notebook, chat = opened(lab, "print(chat.messages)")
    fake.default = fakes.stall("never", after=0)
    before = len(fake.requests)
    chat.type("Hello")
    fake.wait_for(lambda: len(fake.requests) > before)
    chat.button("Stop the answer").click(delay=300)  # as long as a person presses, while the page changes
    fake.wait_for(lambda: fake.requests[-1].closed_by_client)
    chat.root.get_by_text("Stopped before the first word.").wait_for()
    fake.default = fakes.drip("word ", every=0.02)
    chat.button("Try again").click()
    chat.log.get_by_text("word word").wait_for()
    chat.box.press("Escape")
    chat.log.get_by_text("cancelled").wait_for()
    fake.wait_for(lambda: fake.requests[-1].closed_by_client)
    assert "word word" in chat.text()
    fake.default = status(401, {"error": {"message": "bad key", "code": "invalid_api_key"}})
    chat.type("Once more")
    error = chat.turns.last.locator(".ipyllm-error")
    error.get_by_text("key").wait_for()
    screenshot(lab, "chat-error")
    fake.default = answer("Better.")
    chat.button("Try again").click()
    chat.log.get_by_text("Better.").wait_for()
    assert error.is_hidden()
    chat.wait_until_idle()
    notebook.run(1)
    output = notebook.output(1).inner_text()
    assert "word word" in output
    assert "Better." in output


def test_everything_works_by_keyboard_alone(lab, fake):
    _, chat = opened(lab)
    keyboard = lab.page.keyboard
    chat.box.focus()
    keyboard.type("line one")
    keyboard.press("Shift+Enter")
    keyboard.type("line two")
    assert chat.box.input_value() == "line one\nline two"
    keyboard.press("Enter")
    chat.log.get_by_text("Hello there.").wait_for()
    assert fake.requests[-1].json["messages"][-1]["content"] == "line one\nline two"
    chat.wait_until_idle()
    assert chat.box.evaluate("box => box === document.activeElement"), "the focus stays where one types"
    keyboard.press("ArrowUp")
    editor = chat.root.get_by_label("Edit the question")
    editor.wait_for()
    keyboard.press("Escape")
    assert editor.count() == 0
    assert chat.box.evaluate("box => box === document.activeElement")
    reached = set()
    chat.model.focus()
    for _ in range(16):
        keyboard.press("Tab")
        reached.add(lab.page.evaluate("(e => e.getAttribute('aria-label') ?? e.textContent)(document.activeElement)"))
    chat.button("Copy answer").focus()
    for key in ("ArrowRight", "ArrowUp", "ArrowRight", "ArrowRight"):
        reached.add(lab.page.evaluate("document.activeElement.getAttribute('aria-label')"))
        keyboard.press(key)
    reached.add(lab.page.evaluate("document.activeElement.getAttribute('aria-label')"))
    wanted = {"Settings", "Clear", "Conversation", "Edit and ask again", "Copy question",
              "Delete question and answer", "Copy answer", "Answer again",
              "Add images or files: text, CSV, code, PDF"}  # fmt: skip
    assert wanted <= reached
    # The notebook's own keys (a, b, dd, m …) must do nothing to the notebook from within the chat.
    cells = lab.page.locator(".jp-Cell").count()
    chat.button("Settings").focus()
    for key in ("a", "b", "d", "d", "m"):
        keyboard.press(key)
    assert lab.page.locator(".jp-Cell").count() == cells


def test_what_is_typed_in_the_chat_does_not_reach_the_notebook(lab):
    notebook, chat = opened(lab, "1 + 1")
    keys = ["a", "b", "d", "d", "x", "m", "y", "0", "0", "Escape", "Control+Enter", "ArrowUp", "ArrowDown"]
    for place in (chat.model, chat.log, chat.button("Settings"), chat.box):
        place.focus()
        for key in keys:
            if key == "Control+Enter" and place is not chat.log:
                continue  # a press, as Enter is
            lab.page.keyboard.press(key)
            assert place.evaluate("place => place === document.activeElement"), key
    assert notebook.page.locator(".jp-Notebook .jp-Cell").count() == 2
    assert notebook.prompt(1) == "[ ]:"
    assert lab.dialogs == []
    assert chat.box.input_value().startswith("abddxmy00")


def test_composing_a_character_does_not_send(lab, fake):
    _, chat = opened(lab)
    before = len(fake.requests)
    chat.box.fill("にほん")
    chat.box.evaluate(
        "box => box.dispatchEvent(new KeyboardEvent('keydown', {key: 'Enter', bubbles: true, isComposing: true}))"
    )
    assert chat.box.input_value() == "にほん"
    assert chat.turns.count() == 0
    fake.default = answer("مرحبا بالعالم\n\n日本語のテキスト")
    chat.ask("שלום")
    paragraphs = chat.turns.last.locator(".ipyllm-answer [dir=auto]")
    paragraphs.nth(1).wait_for()
    assert paragraphs.evaluate_all("all => all.map(e => getComputedStyle(e).direction)") == ["rtl", "ltr"]
    # As seen: the Arabic ends at the right edge, the Japanese begins at the left one.
    sides = """all => all.map(e => {
        const words = document.createRange(), box = e.getBoundingClientRect();
        words.selectNodeContents(e);
        const {left, right} = words.getBoundingClientRect();
        return left - box.left < 1 ? "left" : box.right - right < 1 ? "right" : "neither";
    })"""
    assert paragraphs.evaluate_all(sides) == ["right", "left"]
    assert chat.turns.last.locator(".ipyllm-words").evaluate("e => getComputedStyle(e).direction") == "rtl"
    assert len(fake.requests) == before + 1
    screenshot(lab, "chat-rtl")


def test_an_answer_stands_the_same_whether_it_came_by_and_by_or_at_once(lab, fake):
    _, chat = opened(lab)
    tops = """e => [...e.querySelectorAll('p, pre, table')].map(
        x => x.getBoundingClientRect().top - e.getBoundingClientRect().top)"""
    stood = []
    for gap in (0.05, 0.0):
        fake.default = answer("One paragraph.\n\n" + ANSWER, gap=gap)
        stood.append(chat.ask("How?").locator(".ipyllm-text").evaluate(tops))
    assert stood[0] == pytest.approx(stood[1], abs=1)
    assert len(stood[0]) == 5


def test_images_come_by_file_paste_and_drop_and_a_large_one_is_refused_in_one_sentence(lab, fake, tmp_path):
    _, chat = opened(lab)
    picker = chat.root.get_by_label("Files", exact=True)
    picker.set_input_files({"name": "square.png", "mimeType": "image/png", "buffer": PNG})
    transfer = """(element, [type, pixels]) => {
        const data = new DataTransfer(), bytes = Uint8Array.from(pixels);
        data.items.add(new File([bytes], `${type}.png`, {type: 'image/png'}));
        const options = {bubbles: true, cancelable: true};
        const event = type === 'paste' ? new ClipboardEvent(type, {clipboardData: data, ...options})
            : new DragEvent(type, {dataTransfer: data, ...options});
        element.dispatchEvent(event);
    }"""
    chat.box.evaluate(transfer, ["paste", list(PNG)])
    chat.log.evaluate(transfer, ["drop", list(PNG)])
    drafts = chat.root.locator(".ipyllm-thumbnail img")
    assert drafts.count() == 3
    chat.button("Remove paste.png").click()
    assert drafts.count() == 2
    screenshot(lab, "chat-images-draft")
    turn = chat.ask("What are these?")
    assert drafts.count() == 0
    assert turn.locator(".ipyllm-images img").count() == 2
    assert turn.locator(".ipyllm-images img").first.evaluate("image => image.complete && image.naturalWidth") == 10
    screenshot(lab, "chat-images")
    parts = fake.requests[-1].json["messages"][-1]["content"]
    assert [part["type"] for part in parts] == ["text", "image_url", "image_url"]
    before = len(fake.requests)
    large = tmp_path / "large.png"
    large.write_bytes(PNG + bytes(50_000_000))
    picker.set_input_files(large)
    chat.notice.get_by_text("“large.png” has 50.0 MB, more than 5.0 MB: make it smaller first.").wait_for()
    picker.set_input_files({"name": "scan.tiff", "mimeType": "image/tiff", "buffer": b"x"})
    chat.notice.get_by_text("not an image that models accept").wait_for()
    assert len(fake.requests) == before


def test_another_version_of_a_question_stands_where_it_stood(lab, fake):
    _, chat = opened(lab)
    fake.default = answer("\n\n".join(f"paragraph {n}" for n in range(30)))
    for n in range(4):
        chat.ask(f"Question {n}")
    turn = chat.turns.nth(1)
    chat.button("Edit and ask again", turn).click()
    turn.locator("textarea").fill("Another one")
    turn.locator("textarea").press("Enter")
    chat.wait_until_idle()
    place = (
        "chat => { const log = chat.querySelector('.ipyllm-log'), turn = chat.querySelectorAll('.ipyllm-exchange')[1];"
    )
    chat.root.evaluate(
        place + "log.scrollTop += turn.getBoundingClientRect().top - log.getBoundingClientRect().top - 40 }"
    )
    where = place + "return turn.getBoundingClientRect().top - log.getBoundingClientRect().top }"
    for name, n_turns in (("Earlier", 4), ("Later", 2), ("Earlier", 4)):
        before = chat.root.evaluate(where)
        chat.button(f"{name} version", chat.turns.nth(1)).press("Enter")
        chat.wait_for("(chat, n) => chat.querySelectorAll('.ipyllm-exchange').length === n", n_turns)
        chat.page.wait_for_timeout(200)
        assert chat.root.evaluate(where) == pytest.approx(before, abs=3)
        other = {"Earlier": "Later", "Later": "Earlier"}[name]
        assert chat.button(f"{other} version", chat.turns.nth(1)).evaluate("e => e === document.activeElement")


def test_two_megabytes_can_be_pasted_and_sent_and_the_chat_stays_usable(lab, fake):
    _, chat = opened(lab)
    text = "lorem ipsum dolor " * 120_000
    paste(chat.box, text)
    chat.root.get_by_text("2,160,000 characters", exact=True).wait_for()
    chat.box.fill("Read this.")
    chat.box.press("Enter")
    text = f"Read this.\n\n{text}"
    chat.log.get_by_text("first token").wait_for()
    assert fake.requests[-1].json["messages"][-1]["content"] == text
    assert len(chat.turns.last.locator(".ipyllm-words").inner_text()) < 2000
    chat.button(f"Show all {len(text):,} characters").wait_for()
    chat.ask("Still usable?")


def test_exports_are_downloaded(lab, fake):
    _, chat = opened(lab)
    chat.ask("Hello")
    with lab.page.expect_download() as downloading:
        chat.button("Export").press("ArrowDown")
        lab.page.keyboard.press("End")
        screenshot(lab, "chat-export")
        lab.page.keyboard.press("Enter")
    file = downloading.value
    assert file.suggested_filename.startswith("talk-")
    assert file.suggested_filename.endswith(".json")
    assert json.loads(Path(file.path()).read_text())["format"] == "ipyllm-conversation"


def test_a_chat_says_what_it_waits_for_until_the_answer_begins(lab, fake):
    _, chat = opened(lab)
    fake.reply(fakes.rate_limited(3.5))
    fake.default = answer("Paris.", ttft=2.5)
    chat.type("Capital of France?")
    chat.log.get_by_text("rate limited, next try in").wait_for()
    assert chat.announced().startswith("The answer has not begun: rate limited, next try in ")
    screenshot(lab, "chat-rate-limited")
    chat.log.get_by_text("waiting for the first token, attempt 2 of 3 · ").wait_for()
    chat.log.get_by_text("10 → 1 tokens").wait_for()
    assert not chat.log.locator(".ipyllm-waiting").is_visible()
    assert "waiting for" not in chat.log.inner_text()
    assert "s of waiting · " in chat.log.inner_text(), "the footer says how long it was"
