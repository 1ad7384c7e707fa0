"""The chat widget in JupyterLab under stress: dead kernels, closed views, lost models, quick clicks, odd messages."""

from __future__ import annotations

import sqlite3

import pytest

from tests import fakes
from tests.browser.chat import COUNTED, Chat, opened, screenshot, words
from tests.browser.lab import KERNEL, PID, end_of_kernel, needs_chromium
from tests.fakes import answer

pytestmark = [pytest.mark.browser, needs_chromium, pytest.mark.timeout(300)]

ENV = {"IPYLLM_MAX_RETRIES": "0"}
DEFAULT = answer(COUNTED, gap=0.05)
BUSY = "import time\nprint('busy')\nfor _ in range(60_000): time.sleep(0.01)"
GONE = "The kernel is gone: run the cell again."


def interrupt(lab):
    lab.page.evaluate(f"{KERNEL}.interrupt()")


def rows(lab, conversation):
    """Statuses of the calls of a conversation, oldest first, as the ledger has them."""
    with sqlite3.connect(lab.root / "ledger.sqlite") as ledger:
        found = ledger.execute("SELECT status FROM calls WHERE conversation = ? ORDER BY started_at", (conversation,))
        return [status for (status,) in found]


# ---- interrupted, killed, restarted --------------------------------------------------------------


def test_an_interrupt_of_an_idle_kernel_leaves_the_answer_alone(lab, fake):
    _, chat = opened(lab)
    chat.type("Count")
    chat.log.get_by_text("w3").wait_for()
    for _ in range(3):
        interrupt(lab)
    chat.log.get_by_text("w40").wait_for()
    fake.skip_pauses()
    chat.log.get_by_text("w149").wait_for()
    chat.wait_until_idle()
    assert words(chat) == COUNTED.split()
    assert chat.turns.last.get_by_text("cancelled").count() == 0
    fake.default = answer("After it.")
    chat.ask("And now?")
    assert words(chat) == ["After", "it."]


def test_an_interrupt_ends_the_cell_it_is_meant_for_and_not_the_answer_beside_it(lab, fake):
    notebook, chat = opened(lab, BUSY)
    chat.type("Count")
    chat.log.get_by_text("w3").wait_for()
    notebook.start(1)
    notebook.output(1).get_by_text("busy").wait_for()  # the page shows [*] before the kernel begins
    interrupt(lab)
    notebook.output(1).get_by_text("KeyboardInterrupt").first.wait_for()
    fake.skip_pauses()
    chat.log.get_by_text("w149").wait_for()
    chat.wait_until_idle()
    assert words(chat) == COUNTED.split()
    assert chat.notice.is_hidden()


def test_an_interrupt_of_a_cell_that_waits_for_the_answer_stops_it_and_keeps_what_came(lab, fake):
    fake.default = fakes.drip("word ", every=0.02)
    notebook, chat = opened(lab, "chat.send('Go on').wait()", "print(chat.messages)")
    notebook.start(1)
    chat.log.get_by_text("word word").wait_for()
    interrupt(lab)
    notebook.output(1).get_by_text("KeyboardInterrupt").first.wait_for()
    fake.wait_for(lambda: fake.requests[-1].closed_by_client)
    chat.log.get_by_text("cancelled").wait_for()
    chat.wait_until_idle()
    assert "word word" in notebook.run(2).inner_text()


@pytest.mark.parametrize("how", ["killed", pytest.param("restart", marks=pytest.mark.thorough), "shutdown"])
def test_when_the_kernel_is_gone_what_came_stays_and_nothing_pretends_to_go_on(lab, fake, how):
    notebook, chat = opened(lab, PID, anew=True)
    end = end_of_kernel(notebook, 1, how)
    fake.default = answer("Before.")
    chat.ask("First")
    fake.default = fakes.drip("word ", every=0.02)
    chat.type("Go on")
    chat.log.get_by_text("word word").wait_for()
    end()
    chat.notice.get_by_text(GONE).wait_for(timeout=60_000)
    screenshot(lab, f"chat-gone-{how}")
    assert "Before." in chat.text()
    assert "word word" in chat.text()
    # Who is shut down in peace has time to say goodbye.
    chat.turns.last.get_by_text(
        "its process ended" if how == "shutdown" else "the kernel stopped before the end"
    ).wait_for()
    assert chat.root.locator(".ipyllm-waiting:visible").count() == 0, "nothing spins"
    assert chat.root.locator(".ipyllm-running").count() == 0
    chat.wait_until_idle()
    chat.type("Is anybody there?")
    chat.notice.get_by_text("The kernel is gone").wait_for()
    assert chat.box.input_value() == "Is anybody there?", "what was typed is not lost"
    chat.button("Edit and ask again", chat.turns.first).click()
    editor = chat.root.get_by_label("Edit the question")
    editor.fill("Another first")
    editor.press("Enter")
    chat.wait_for("chat => chat.querySelector('.ipyllm-edit textarea')?.value === 'Another first'")
    if how == "restart":
        notebook.wait_idle()
        fake.default = answer("A new one.")
        chat = Chat(notebook.run(0))
        chat.ask("Hello again")
        assert "A new one." in chat.text()


def test_a_kernel_killed_before_the_first_word_leaves_no_clock_running(lab, fake):
    notebook, chat = opened(lab, PID, anew=True)
    end = end_of_kernel(notebook, 1, "killed")
    fake.default = fakes.stall("never", after=0)
    chat.type("Hello")
    chat.log.get_by_text("waiting").wait_for()
    end()
    chat.notice.get_by_text(GONE).wait_for(timeout=60_000)
    chat.turns.last.get_by_text("the kernel stopped before the end").wait_for()
    assert chat.root.locator(".ipyllm-waiting:visible").count() == 0
    chat.wait_until_idle()


# ---- models that go, magics that change, quick clicks, strange messages ---------------------------


def test_a_model_removed_while_selected_is_said_and_the_question_can_be_asked_of_another(lab, fake):
    config = lab.root / "config.toml"
    config.write_text(f'[endpoints.lab]\nbase_url = "{fake.base_url}"\nmodel = "llama"\n')
    _, chat = opened(lab, arguments="model='lab/llama'")
    offered = "chat => [...chat.querySelectorAll('datalist option')].map(option => option.value).includes('lab/llama')"
    assert chat.root.evaluate(offered)
    chat.type("Count")
    chat.log.get_by_text("w3").wait_for()
    config.write_text("")
    fake.skip_pauses()
    chat.log.get_by_text("w149").wait_for()
    chat.wait_until_idle()
    chat.type("Once more")
    error = chat.turns.last.locator(".ipyllm-error")
    error.get_by_text("There is no service 'lab'").wait_for()
    assert chat.model.input_value() == "lab/llama"
    assert not chat.root.evaluate(offered), "what is gone is offered no more"
    screenshot(lab, "chat-model-gone")
    chat.model.fill("openai/going")
    chat.model.press("Tab")
    fake.on(lambda request: fakes.model_not_found("going") if request.json["model"] == "going" else None)
    chat.button("Try again").click()
    error.get_by_text("going").wait_for()
    fake.default = answer("From another.")
    chat.model.fill("openai/other")
    chat.model.press("Tab")
    chat.button("Try again").click()
    chat.log.get_by_text("From another.").wait_for()
    assert chat.turns.count() == 2


@pytest.mark.parametrize("line", ["clear", "undo", "undo 2"])
def test_what_a_magic_takes_away_is_gone_and_the_answer_that_streams_beside_it_is_not(lab, fake, line):
    notebook, chat = opened(lab, "%load_ext ipyllm", f"%llm_history {line} -c TALK", "%%llm -c TALK\nFrom a cell")
    notebook.run(1)
    fake.default = answer("An old answer.")
    chat.ask("First")
    chat.ask("Second")
    fake.default = answer(COUNTED, gap=0.05)
    chat.type("Count")
    chat.log.get_by_text("w3").wait_for()
    notebook.run(2)
    left = 2 if line == "undo" else 1
    chat.wait_for("(chat, left) => chat.querySelectorAll('.ipyllm-exchange').length === left", left)
    fake.default = answer("To the cell.")
    notebook.run(3)
    chat.log.get_by_text("To the cell.").wait_for()
    fake.skip_pauses()
    chat.log.get_by_text("w149").wait_for()
    chat.wait_until_idle()
    asked = [message["content"] for message in fake.requests[-1].json["messages"]]
    assert asked == [*(["First", "An old answer."] if line == "undo" else []), "From a cell"]
    shown = chat.turns.locator(".ipyllm-words").all_inner_texts()
    assert shown == [*(["First"] if line == "undo" else []), "From a cell", "Count"]
    assert words(chat) == COUNTED.split()


CLICK_A_HUNDRED_TIMES = """
async chat => {
    const done = {send: 0, stop: 0, again: 0};
    const press = (name, button) => { if (button && !button.disabled) { button.click(); done[name] += 1; } };
    const box = chat.querySelector('.ipyllm-composer textarea'), go = chat.querySelector('.ipyllm-go');
    const pause = () => new Promise(then => setTimeout(then, 15));
    while (Math.min(...Object.values(done)) < 100) {
        press('again', [...chat.querySelectorAll('[aria-label="Answer again"]')].at(-1));
        if (go.title === 'Send') {
            box.value = `question ${done.send}`;
            box.dispatchEvent(new Event('input'));
            press('send', go);
            press('send', go);  // empty by now
        } else press('stop', go);
        press('again', [...chat.querySelectorAll('.ipyllm-error button')].at(-1));
        await pause();
    }
    return done;
}"""


def settled(lab, state):
    """Return a state once it has stayed the same for a second: a click may still be on its way to the kernel."""
    before = None
    while before != (now := state()):
        before = now
        lab.page.wait_for_timeout(1000)
    return now


def test_a_hundred_quick_clicks_on_send_stop_and_again_leave_a_row_for_each_request_and_a_whole_chat(lab, fake):
    _, chat = opened(lab)
    talk = f"talk-{int(chat.totals.inner_text().split('talk-')[1].split('”')[0])}"
    fake.default = answer("one two three four five", ttft=0.02, gap=0.02)
    before = len(fake.requests)
    chat.ask("First")
    while len(fake.requests) - before <= 20:  # again on a busy machine, where most are stopped before they are sent
        done = chat.root.evaluate(CLICK_A_HUNDRED_TIMES)
        assert min(done.values()) >= 100, "each was pressed a hundred times where a person could press it"
        chat.wait_until_idle()
        chat.wait_for("chat => !chat.querySelector('.ipyllm-pending')")
        chat.drain_queue()
    asked, statuses = settled(lab, lambda: (len(fake.requests) - before, rows(lab, talk)))
    chat.wait_until_idle()
    assert len(statuses) >= asked, "a row for each request; who is stopped at once may never be sent"
    assert set(statuses) == {"ok", "cancelled"}
    assert chat.root.locator(".ipyllm-running").count() == 0
    for turn in chat.turns.all():
        # Not `inner_text`: a turn out of sight is not laid out.
        assert turn.locator(".ipyllm-text").text_content() or turn.get_by_text("Stopped before the first word.").count()
    chat.box.fill("")
    fake.default = answer("Whole again.")
    chat.ask("After all that")
    assert chat.log.get_by_text("Whole again.").count() == 1
    assert len(rows(lab, talk)) == len(statuses) + 1


STRANGE = """
import anywidget
for junk in [7, 'x', [], {}, {'kind': 'delta'}, {'kind': 'delta', 'seq': 10**6, 'deltas': []}, {'kind': 'text'},
             {'kind': 'text', 'id': {}, 'text': 7}, {'kind': 'file'}, {'kind': 'file', 'nonce': 1, 'text': []},
             {'kind': 'update', 'seq': 'x'}, {'kind': 'snapshot'}, {'kind': 'snapshot', 'state': {'seq': 10**9}},
             {'kind': 'ack'}, {'kind': 'ack', 'nonce': 7, 'error': {}}, {'kind': 'unknown', 'seq': -1}]:
    anywidget.AnyWidget.send(chat, junk)
    chat.channel.send_change('delta', deltas=[{'id': 'none', 'part': 'text', 'tail': [9, '', 9]}])
    chat.channel.send_change('update', turns=7, settings='x', order=[1])
"""
TURNS = """
name = chat._controller._branches.path[0].name
for fields in [{'branch': 7}, {'branch': []}, {'images': 'x'}, {'images': [7]}, {'text': None}, {'chars': 'x'},
               {'footer': {}}, {'error': 7}, {'error': {}}, {'parts': None}, {'parts': {'text': 7}}, {'status': 7}]:
    chat.channel.send_change('update', turns=[{'id': name, **fields}])
    chat.channel.send_change('update', turns=[{'id': 'new', 'footer': '', **fields}], order=['new'])
for rest in [{'running': 7}, {'running': {}}, {'totals': 7}, {'settings': []}, {'settings': {}},
             {'settings': {'models': 7}}, {'settings': {'params': None}},
             {'settings': {'limits': None}}, {'order': 'none'}, {'order': {}}]:
    chat.channel.send_change('update', **rest)
"""


def test_messages_that_are_none_break_nothing_and_what_follows_is_whole(lab, fake):
    notebook, chat = opened(lab, STRANGE, TURNS)
    chat.type("Count")
    chat.log.get_by_text("w3").wait_for()
    notebook.run(1)
    notebook.run(2)
    fake.skip_pauses()
    chat.log.get_by_text("w149").wait_for()
    chat.wait_until_idle()
    assert words(chat) == COUNTED.split()
    fake.default = answer("Whole.")
    chat.ask("And now?")
    assert chat.turns.count() == 2
    assert chat.model.input_value() == "openai/fake-model"
    assert chat.notice.is_hidden()
