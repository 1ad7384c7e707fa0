"""The chat widget through what happens around it: other cells, reloads, further views, much text, a lost kernel."""

from __future__ import annotations

import pytest

from tests import fakes
from tests.browser.chat import (
    Chat,
    click_a_hundred_times,
    opened,
    screenshot,
)
from tests.browser.lab import RUNNING, needs_chromium
from tests.fakes import answer

pytestmark = [pytest.mark.browser, needs_chromium, pytest.mark.timeout(300)]


def what_a_magic_says_appears(lab, fake):
    """A chat that shows what was asked in a cell, and a cell, number 3, that is busy until it is interrupted."""
    notebook, chat = opened(
        lab,
        "%load_ext ipyllm",
        "%%llm -c TALK\nFrom a cell",
        "import time\nfor _ in range(60_000): time.sleep(0.01)",
    )
    notebook.run(1)
    fake.default = answer("To the cell.")
    notebook.run(2)
    chat.log.get_by_text("To the cell.").wait_for()
    assert "From a cell" in chat.text()
    return notebook, chat


def opened_with_an_answer_that_streams(lab, fake):
    notebook, chat = opened(lab, anew=True)
    fake.default = fakes.drip("word ", every=0.02)
    chat.type("Hello")
    chat.log.get_by_text("word word").wait_for()
    return notebook, chat


def test_what_a_magic_says_appears_and_a_busy_cell_does_not_stop_the_chat(lab, fake):
    notebook, chat = what_a_magic_says_appears(lab, fake)
    notebook.start(3)
    fake.default = fakes.drip("beside ", every=0.02)
    chat.type("Still there?")
    chat.log.get_by_text("beside beside").wait_for()
    chat.button("Stop the answer").click(delay=300)  # as long as a person presses, while the page changes
    fake.wait_for(lambda: fake.requests[-1].closed_by_client)
    chat.log.get_by_text("cancelled").wait_for()
    assert notebook.prompt(3) == RUNNING, "all this happened while the cell ran"
    messages = fake.requests[-1].json["messages"]
    assert [message["content"] for message in messages] == ["From a cell", "To the cell.", "Still there?"]
    notebook.interrupt(3)


def test_a_reloaded_page_shows_the_chat_again_and_goes_on_with_it(lab, fake):
    notebook, chat = opened(lab, anew=True)
    chat.ask("Before the reload")
    fake.default = answer(" ".join(f"w{n}" for n in range(150)), gap=0.05)
    chat.type("While it streams")
    chat.log.get_by_text("w5").wait_for()
    chat.box.fill("typed meanwhile")
    lab.page.wait_for_timeout(1000)  # no blur: it is kept after a moment, though the answer grows
    lab.save()
    lab.reload(notebook)
    chat = Chat(notebook.output(0))
    assert "Before the reload" in chat.text()
    assert chat.box.input_value() == "typed meanwhile"
    chat.log.get_by_text("w149").wait_for()
    words = chat.turns.last.locator(".ipyllm-text").inner_text().split()
    assert words == [f"w{n}" for n in range(150)], "no word is lost or doubled by the reload"
    fake.default = answer("After.")
    chat.ask("After the reload")


@pytest.mark.thorough
def test_two_views_and_two_tabs_show_the_same_chat(lab, fake):
    notebook, chat = opened(lab, "chat", anew=True)
    second = Chat(notebook.run(1))
    chat.ask("From the first")
    second.log.get_by_text("Hello there.").wait_for()
    second.ask("From the second")
    chat.log.get_by_text("From the second").wait_for()
    assert chat.turns.count() == second.turns.count() == 2
    with lab.another_tab(".ipyllm-chat .ipyllm-exchange") as cell:
        other = Chat(cell)
        fake.default = answer("To both tabs.")
        other.ask("From another tab")
        chat.log.get_by_text("To both tabs.").wait_for()
        assert chat.turns.count() == other.turns.count() == 3


def test_the_log_follows_the_answer_but_yields_to_who_scrolls(lab, fake):
    _, chat = opened(lab)
    fake.default = answer("\n\n".join(f"paragraph {n}" for n in range(150)), gap=0.02)
    chat.type("Long")
    chat.log.get_by_text("paragraph 40", exact=True).wait_for()
    at_end = "log => log.scrollHeight - log.scrollTop - log.clientHeight < 80"
    assert chat.log.evaluate(at_end)
    chat.log.hover()
    lab.page.mouse.wheel(0, -600)
    chat.root.get_by_role("button", name="↓ Newest").wait_for()
    top = chat.log.evaluate("log => log.scrollTop")
    chat.log.get_by_text("paragraph 90", exact=True).wait_for()
    assert abs(chat.log.evaluate("log => log.scrollTop") - top) < 30
    chat.root.get_by_role("button", name="↓ Newest").click()
    chat.wait_until_idle()
    assert chat.log.evaluate(at_end)


def test_the_end_stays_in_sight_when_what_was_drawn_grows_afterwards(lab, fake):
    add = "def add(a: int, b: int) -> str:\n    'Add.'\n    return 'sum ' * 400\n"
    name = f"talk-{next(lab.conversation_numbers)}"
    lab.shared_notebook = None
    notebook = lab.open(
        [f"from ipyllm import ChatWidget\n{add}\nchat = ChatWidget(conversation={name!r}, tools=[add])\nchat"]
    )
    chat = Chat(notebook.run(0))
    at_end = (
        "chat => { const log = chat.querySelector('.ipyllm-log'); return log.scrollHeight > log.clientHeight + 100"
        " && log.scrollHeight - log.scrollTop - log.clientHeight < 3; }"
    )
    fake.default = answer("\n\n".join(f"paragraph {n}" for n in range(60)))
    chat.ask("Long")
    chat.wait_for(at_end)
    fake.reply(answer("", tool_calls=[("add", {"a": 2, "b": 40})]), answer("\n\n".join("abcdefgh" * 3)))
    chat.ask("With a tool")
    chat.wait_for(at_end)
    chat.log.evaluate("log => { log.scrollTop = log.scrollHeight }")
    chat.turns.last.locator(".ipyllm-tool").evaluate("fold => { fold.open = true }")
    chat.log.get_by_text("sum sum").wait_for(state="attached")
    chat.wait_for(at_end)


@pytest.mark.thorough
def test_a_hundred_quick_clicks_leave_a_whole_chat(lab, fake):
    _, chat = opened(lab)
    fake.default = answer("one two three", ttft=0.05, gap=0.02)
    chat.box.fill("Hello")
    click_a_hundred_times(chat.root, '[aria-label="Answer again"]')
    # Those that came while an answer streamed are asked one after the other.
    ended = """chat => chat.querySelector('.ipyllm-queue').hidden && !chat.querySelector('.ipyllm-pending')
        && chat.querySelector('.ipyllm-go').title === 'Send'"""
    chat.wait_for(ended, timeout=200_000)
    fake.default = answer("Whole again.")
    chat.ask("After all that")
    assert chat.log.get_by_text("Whole again.").count() == 1


def test_a_killed_and_restarted_kernel_leaves_what_was_said_and_says_that_it_is_gone(lab, fake):
    notebook, chat = opened_with_an_answer_that_streams(lab, fake)
    lab.page.evaluate("window.jupyterapp.shell.currentWidget.sessionContext.session.kernel.restart()")
    notebook.wait_idle()
    assert "word word" in chat.text()
    chat.root.get_by_text("run the cell").first.wait_for()
    fake.default = answer("A new one.")
    notebook.run(0)
    chat = Chat(notebook.output(0))
    chat.ask("Hello again")
    assert "A new one." in chat.text()


def test_a_draft_and_the_conversation_survive_a_reload_and_a_restart(lab, fake):
    notebook, chat = opened(lab, anew=True)
    fake.default = answer("First answer.")
    chat.ask("First question")
    chat.box.fill("half a ques")
    chat.box.blur()
    lab.save()
    lab.reload(notebook)
    chat = Chat(notebook.output(0))
    chat.wait_for("chat => chat.querySelector('.ipyllm-composer textarea').value === 'half a ques'")
    chat.box.fill("half a question")
    lab.page.wait_for_timeout(600)  # no blur: what was typed last is kept after a moment
    lab.page.evaluate("window.jupyterapp.shell.currentWidget.sessionContext.session.kernel.restart()")
    notebook.wait_idle()
    chat.root.get_by_text("run the cell").first.wait_for()
    assert chat.box.input_value() == "half a question"
    notebook.run(0)
    chat = Chat(notebook.output(0))
    assert chat.box.input_value() == "half a question"
    assert "First question" in chat.text()
    assert "First answer." in chat.text()
    screenshot(lab, "chat-restarted")
    fake.default = answer("Second answer.")
    chat.box.press("Enter")
    chat.log.get_by_text("Second answer.").wait_for()
    assert [message["content"] for message in fake.requests[-1].json["messages"]] == [
        "First question",
        "First answer.",
        "half a question",
    ]
    notebook.run(0)
    assert Chat(notebook.output(0)).box.input_value() == ""


def test_what_is_typed_while_an_answer_streams_survives_a_reload(lab, fake):
    notebook, chat = opened(lab, anew=True)
    fake.default = fakes.stall("word " * 10, after=5)  # while more came, the notebook would hardly ever be saved
    chat.type("Hello")
    chat.log.get_by_text("word word").wait_for()
    chat.box.fill("the next ques")
    lab.page.wait_for_timeout(1000)
    lab.save()
    lab.reload(notebook)
    chat = Chat(notebook.output(0))
    chat.wait_for("chat => chat.querySelector('.ipyllm-composer textarea').value === 'the next ques'")
    chat.button("Stop the answer").click()
    chat.wait_until_idle()


def test_a_notebook_reopened_without_its_kernel_shows_what_was_said(lab, fake):
    notebook, chat = opened(lab, anew=True)
    fake.default = answer("Use **bold**.")
    chat.ask("How?")
    transcript = notebook.output(0).locator(".ipyllm-transcript")
    transcript.get_by_text("How?").wait_for(state="attached")
    assert not transcript.is_visible(), "while the chat lives, it says it all"
    lab.page.evaluate(
        """async () => {
            await window.jupyterapp.commands.execute('docmanager:save');
            await window.jupyterapp.shell.currentWidget.sessionContext.shutdown();
        }"""
    )
    lab.page.reload()
    lab.page.wait_for_selector(".jp-Notebook .jp-Cell", timeout=60_000)
    transcript.get_by_text("How?").wait_for()
    assert transcript.locator("strong").inner_text() == "bold"
    screenshot(lab, "chat-reopened")
    notebook.wait_idle()


@pytest.mark.thorough
def test_500_messages_stay_quick_and_clear_clears(lab, fake):
    _, chat = opened(
        lab,
        arguments="); from ipyllm.conversations.history import Turn\n"
        "chat.conversation.replace_turns(Turn(["
        "{'role': 'user', 'content': f'question {n}'}, {'role': 'assistant', 'content': f'answer **{n}**'}])"
        " for n in range(250)",
    )
    chat.wait_for("chat => chat.querySelectorAll('.ipyllm-exchange').length === 250")
    chat.ask("One more")
    assert chat.turns.count() == 251
    chat.button("Clear").click()
    chat.root.get_by_text("Ask something.").wait_for()
    assert chat.turns.count() == 0
    chat.button("Undo").click()
    chat.wait_for("chat => chat.querySelectorAll('.ipyllm-exchange').length === 251")
