"""Views of a chat that are closed, shown again, or made by JupyterLab of an output."""

from __future__ import annotations

import pytest

from tests.browser.chat import COUNTED, PNG, Chat, opened, words
from tests.browser.lab import needs_chromium
from tests.fakes import answer

pytestmark = [pytest.mark.browser, needs_chromium, pytest.mark.timeout(300)]

ENV = {"IPYLLM_MAX_RETRIES": "0"}
DEFAULT = answer(COUNTED, gap=0.05)
COUNT_LISTENERS = """
() => {
    window.held = {clocks: new Set(), keys: new Set()};
    const [start, stop] = [window.setInterval, window.clearInterval];
    window.setInterval = (beat, ...rest) => {
        const clock = start(beat, ...rest);
        if (/kernelChanged|[.]tick[(]/.test(beat)) held.clocks.add(clock);  // ours; JupyterLab has others
        return clock;
    };
    window.clearInterval = clock => { held.clocks.delete(clock); stop(clock); };
    const [add, remove] = [window.addEventListener, window.removeEventListener];
    window.addEventListener = (type, listen, ...rest) => {
        if (type === 'keydown' && /isSave/.test(listen)) held.keys.add(listen);
        return add.call(window, type, listen, ...rest);
    };
    window.removeEventListener = (type, listen, ...rest) => {
        held.keys.delete(listen);
        return remove.call(window, type, listen, ...rest);
    };
}
"""
LISTENERS = """
async id => {
    const {content} = window.jupyterapp.shell.currentWidget;
    const renderer = content.rendermime.createRenderer('application/vnd.jupyter.widget-view+json');
    const manager = await renderer._manager.promise;
    renderer.dispose();
    const model = await manager.get_model(id);
    // Ours have a context, by which anywidget finds them. ipywidgets' own, one for each view there ever was, has none.
    const ours = (model._events?.['msg:custom'] ?? []).filter(listener => listener.context);
    return {messages: ours.length, clocks: held.clocks.size, keys: held.keys.size};
}
"""


def clear_output(lab, number):
    lab.page.evaluate(
        """number => {
            const cell = window.jupyterapp.shell.currentWidget.content.widgets[number];
            cell.model.clearExecution();
            cell.outputArea.model.clear();
        }""",
        number,
    )


def test_a_view_closed_in_mid_answer_and_shown_in_another_cell_has_everything_and_asks_once(lab, fake):
    notebook, chat = opened(lab, "display(chat)")
    chat.type("Count")
    chat.log.get_by_text("w3").wait_for()
    clear_output(lab, 0)
    chat.root.wait_for(state="detached")
    again = Chat(notebook.run(1))
    fake.skip_pauses()
    again.log.get_by_text("w149").wait_for()
    again.wait_until_idle()
    assert words(again) == COUNTED.split()
    before = len(fake.requests)
    fake.default = answer("Once.")
    again.ask("How often?")
    assert len(fake.requests) == before + 1
    assert again.turns.count() == 2
    assert again.log.get_by_text("Once.").count() == 1


def test_views_that_were_closed_leave_no_listener_behind(lab, fake):
    notebook, chat = opened(lab, "display(chat)", "print('id', chat.model_id)")
    model_id = notebook.run(2).inner_text().split()[1]
    clear_output(lab, 0)
    chat.root.wait_for(state="detached")
    lab.page.evaluate(COUNT_LISTENERS)
    for _ in range(12):
        again = Chat(notebook.run(1))
        again.root.get_by_text("Ask something.").wait_for()
        held = lab.page.evaluate(LISTENERS, model_id)
        assert held == {"messages": 1, "clocks": 2, "keys": 1}, "an open view does listen"
        element = again.root.element_handle().evaluate_handle("chat => chat.parentElement")
        clear_output(lab, 1)
        again.root.wait_for(state="detached")
        assert element.evaluate("element => element.childElementCount") == 0, "ipywidgets keeps it, but empty"
    assert lab.page.evaluate(LISTENERS, model_id) == {"messages": 0, "clocks": 0, "keys": 0}
    again = Chat(notebook.run(1))
    before = len(fake.requests)
    fake.default = answer("Once.")
    again.ask("How often?")
    assert len(fake.requests) == before + 1


def test_the_view_that_jupyterlab_makes_of_an_output_shows_the_same_chat_and_outlives_its_cell(lab, fake):
    notebook, chat = opened(lab)
    chat.type("Count")
    chat.log.get_by_text("w3").wait_for()
    notebook.cell(0).click(position={"x": 4, "y": 4})
    lab.page.evaluate("void window.jupyterapp.commands.execute('notebook:create-output-view')")
    other = Chat(lab.page.locator(".jp-LinkedOutputView"))
    fake.skip_pauses()
    other.log.get_by_text("w149").wait_for()
    other.wait_until_idle()
    assert words(other) == words(chat) == COUNTED.split()
    before = len(fake.requests)
    fake.default = answer("To both.")
    other.ask("From the other view")
    chat.log.get_by_text("To both.").wait_for()
    assert len(fake.requests) == before + 1
    assert chat.turns.count() == other.turns.count() == 2


def test_an_image_deleted_before_it_is_sent_is_said_and_nothing_that_was_written_is_lost(lab, fake, tmp_path):
    _, chat = opened(lab)
    image = tmp_path / "gone.png"
    image.write_bytes(PNG)
    chat.root.get_by_label("Files", exact=True).set_input_files(image)
    chat.root.locator(".ipyllm-thumbnail img").wait_for()
    image.unlink()
    before = len(fake.requests)
    chat.box.fill("What is this?")
    chat.box.press("Enter")
    chat.notice.get_by_text("A file cannot be read").wait_for()
    assert chat.box.input_value() == "What is this?"
    assert chat.root.locator(".ipyllm-pending").count() == 0
    assert len(fake.requests) == before
    chat.button("Remove gone.png").click()
    fake.default = answer("Without it.")
    chat.box.press("Enter")
    chat.log.get_by_text("Without it.").wait_for()
