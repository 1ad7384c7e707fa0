"""The comparison widget in JupyterLab under stress: quick clicks, wrong models, hostile or huge texts."""

from __future__ import annotations

import json
import sqlite3

import pytest

from tests.browser.chat import COUNTED, assert_page_healthy, click_a_hundred_times, lab_with_fake, paste, screenshot
from tests.browser.compare import left_of_attacks, open_comparison, reply_by_model
from tests.browser.lab import FAVICON, needs_chromium
from tests.browser.saved_page import as_html
from tests.fakes import answer, model_not_found, status
from tests.service.rendering.payloads import CANARY, PAYLOADS

pytestmark = [pytest.mark.browser, needs_chromium, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def lab_and_fake(tmp_path_factory):
    env = {"IPYLLM_MAX_RETRIES": "0"}
    with lab_with_fake(tmp_path_factory.mktemp("bad"), width=1200, height=1000, env=env) as lab_and_fake:
        yield lab_and_fake


@pytest.fixture
def fake(lab_and_fake):
    _, fake = lab_and_fake
    fake.on(lambda request: fake.answers(request) or reply_by_model(request))
    fake.answers = lambda request: None
    fake.default = answer(COUNTED, gap=0.05)
    return fake


@pytest.fixture
def lab(lab_and_fake, fake):
    lab, _ = lab_and_fake
    with assert_page_healthy(lab):
        yield lab


def votes_kept(lab):
    """How many rows the ledger has for votes; one that takes another's place is a row too."""
    with sqlite3.connect(lab.root / "ledger.sqlite") as ledger:
        return ledger.execute("SELECT count(*) FROM votes").fetchone()[0]


@pytest.mark.thorough
def test_a_hundred_quick_clicks_on_send_stop_and_vote_leave_a_whole_comparison(lab, fake):
    notebook, shown = open_comparison(lab, ["openai/bad", "openai/other"])
    before = len(fake.requests)
    click_a_hundred_times(shown.root)
    shown.columns.nth(1).get_by_text("w3").wait_for()
    waiting = shown.root.locator(".ipyllm-queued li")
    waiting.nth(98).wait_for()
    assert waiting.count() == 99
    assert len(fake.requests) == before + 2, "one question was asked, and only once"
    assert shown.prompt.inner_text() == "question 0"
    shown.root.evaluate("root => { for (let n = 0; n < 100; n++) root.querySelector('.ipyllm-go').click(); }")
    shown.columns.nth(1).get_by_text("cancelled").wait_for()
    shown.votes.get_by_text("A vote needs two complete answers").wait_for()
    assert "w3" in shown.texts()[1], "what came is kept"
    shown.button("Send now").wait_for()
    while waiting.count():
        left = waiting.count()
        shown.root.evaluate("root => root.querySelectorAll('.ipyllm-queued button').forEach(button => button.click())")
        shown.wait_for("(root, left) => root.querySelectorAll('.ipyllm-queued li').length < left", left)
    shown.box.fill("After all that")
    shown.box.press("Enter")
    shown.columns.nth(1).get_by_text("w3").wait_for()
    shown.box.fill("Too early")
    fake.skip_pauses()
    shown.columns.nth(1).get_by_text("w149").wait_for()
    shown.button("Tie").wait_for()
    assert shown.notice.is_hidden(), "nothing streams any more"
    assert shown.box.input_value() == "Too early"
    shown.box.fill("")
    assert shown.texts()[1].split() == COUNTED.split()
    rows = votes_kept(lab)
    shown.root.evaluate("""root => {
        for (let n = 0; n < 100; n++) {
            for (const button of root.querySelectorAll('.ipyllm-vote button'))
                if (button.textContent === 'B') button.click();
        }
    }""")
    shown.columns.nth(1).get_by_text("preferred").wait_for()
    assert "openai/other" in notebook.run(1).inner_text()
    assert votes_kept(lab) == rows + 1


def test_a_model_that_is_taken_away_or_gone_hurts_nobody_else(lab, fake):
    _, shown = open_comparison(lab, ["openai/bad", "openai/other", "openai/third"])
    shown.ask()
    shown.columns.nth(1).get_by_text("w3").wait_for()
    shown.button("Remove openai/other").click()
    fake.skip_pauses()
    shown.columns.nth(1).get_by_text("w149").wait_for()
    shown.wait_for_vote()
    assert shown.columns.count() == 3, "what was asked goes on"
    fake.answers = lambda request: model_not_found("third") if request.json["model"] == "third" else None
    shown.ask()
    shown.columns.nth(1).get_by_text("third").nth(1).wait_for()
    shown.wait_for_vote()
    assert shown.columns.count() == 2
    assert "It is Basel." in shown.texts()[0]


def test_a_wrong_model_is_said_and_stays_to_be_corrected(lab, fake):
    _, shown = open_comparison(lab, ["openai/bad", "openai/other"])
    before = len(fake.requests)
    shown.button("Add a model").click()
    last = shown.root.get_by_role("combobox", name="Model").last
    last.fill("opnai/third")
    last.press("Tab")
    shown.notice.get_by_text("did you mean 'openai/third'").wait_for()
    assert last.input_value() == "opnai/third"
    shown.ask("Whom?")
    shown.notice.get_by_text("correct or remove it first").wait_for()
    assert shown.box.input_value() == "Whom?"
    assert len(fake.requests) == before
    last.fill("openai/third")
    last.press("Tab")
    own = shown.root.get_by_label("Parameters of this model alone").last
    own.fill("temperature")
    own.press("Tab")
    shown.notice.get_by_text("must have the form name=value").wait_for()
    own.fill("temperature=0.25")
    own.press("Tab")
    for _ in range(100):  # until the kernel has accepted the corrected parameters, they are still wrong
        shown.box.press("Enter")
        if not shown.box.input_value():
            break
        lab.page.wait_for_timeout(200)
    shown.columns.nth(2).get_by_text("w3").wait_for()
    asked = {request.json["model"]: request.json.get("temperature") for request in fake.requests[before:]}
    assert asked == {"bad": None, "other": None, "third": 0.25}
    shown.button("Stop the answer").click(delay=300)
    shown.wait_for_vote()


@pytest.mark.thorough
def test_two_megabytes_can_be_pasted_and_compared(lab, fake):
    _, shown = open_comparison(lab, ["openai/bad", "openai/bad2"])
    fake.default = answer("Read.")
    text = "lorem ipsum dolor " * 120_000
    paste(shown.box, text)
    shown.root.get_by_text("2,160,000 characters", exact=True).wait_for()
    shown.box.press("Enter")
    shown.wait_for_vote()
    assert fake.requests[-1].json["messages"][-1]["content"] == text
    prompt = shown.prompt
    assert len(prompt.inner_text()) < 2000
    shown.box.press("ArrowUp")
    shown.root.get_by_text("2,160,000 characters", exact=True).wait_for()
    shown.button("Remove Pasted text").click()
    shown.button("Show all 2,160,000 characters").click()
    shown.wait_for("(root, size) => root.querySelector('.ipyllm-words').textContent.length === size", len(text))
    shown.ask("Still usable?")
    shown.prompt.get_by_text("Still usable?").wait_for()
    shown.wait_for_vote()


UNSEEN = """
import time
original_send, widget.channel._send = widget.channel._send, lambda message, buffers: None
widget.ask('Another').wait()
while widget.running: time.sleep(0.05)
widget._controller._wait_until_rendered()  # the last change is sent by another thread
widget.channel._send = original_send
"""


def test_a_vote_while_another_question_was_asked_is_on_the_answers_that_were_shown_and_the_page_catches_up(lab, fake):
    notebook, shown = open_comparison(lab, ["openai/bad", "openai/bad2"], [UNSEEN, "widget.blind = True"])
    fake.default = answer("Fine.")
    shown.ask()
    shown.wait_for_vote()
    rows = votes_kept(lab)
    notebook.run(2)
    shown.button("A").click()
    notebook.run(3)  # the next message has a number that shows the gap
    shown.prompt.get_by_text("Another", exact=True).wait_for()
    shown.rounds.first.get_by_text("preferred").wait_for()
    assert shown.columns.get_by_text("preferred").count() == 0
    assert votes_kept(lab) == rows + 1
    shown.button("B").click()
    shown.columns.nth(1).get_by_text("preferred").wait_for()
    assert votes_kept(lab) == rows + 2


JUNK = """
import anywidget
for junk in [None, 7, 'x', [], {}, {'kind': 'delta'}, {'kind': 'delta', 'seq': 10**6, 'deltas': []}, {'kind': 'text'},
             {'kind': 'update', 'seq': 'x'}, {'kind': 'snapshot'}, {'kind': 'snapshot', 'state': {'seq': 10**9}},
             {'kind': 'ack'}, {'kind': 'ack', 'nonce': 7, 'error': {}}, {'kind': 'unknown', 'seq': -1}]:
    anywidget.AnyWidget.send(widget, junk)
    widget.channel.send_change('delta', deltas=[{'id': 'none', 'part': 'text', 'tail': [9, '', 9]}])
    widget.channel.send_change('update', turns=7, settings='x', order=[1])
"""


def test_messages_that_are_none_break_nothing(lab, fake):
    notebook, shown = open_comparison(lab, ["openai/bad", "openai/other"], [JUNK])
    shown.ask()
    shown.columns.nth(1).get_by_text("w3").wait_for()
    notebook.run(2)
    fake.skip_pauses()
    shown.columns.nth(1).get_by_text("w149").wait_for()
    shown.wait_for_vote()
    assert shown.texts() == ["It is Basel.", COUNTED]
    shown.button("A").click()
    shown.columns.nth(0).get_by_text("preferred").wait_for()


HOSTILE = """
import json, pathlib, time
evil = json.loads(pathlib.Path("payloads.json").read_text())
every = "\\n\\n".join(evil)

def attack(names):
    widget.models = [f"openai/{name}" for name in names]
    widget.ask(every).wait()
    while widget.running:
        time.sleep(0.05)
    widget.vote("tie")
    time.sleep(0.5)  # for the page to draw
"""


def test_hostile_words_run_no_script_and_make_no_request_wherever_they_stand(lab, fake):
    """As the question, answers, reasoning, names of models, a server's errors, names in the ranking; live and kept."""
    assert len(PAYLOADS) >= 60
    evil = [payload.replace(CANARY, fake.url) for payload in PAYLOADS.values()]
    (lab.root / "payloads.json").write_text(json.dumps(evil))
    everything = "\n\n".join(evil)
    # A hostile model answers its own name, or fails with it; the plain one answers all of them.
    said = {payload: answer(payload, reasoning=payload) for payload in evil}
    said |= {payload: status(400, {"error": {"message": payload}}) for payload in evil[::3]}
    fake.answers = lambda request: said.get(request.json["model"])
    fake.default = answer(everything, reasoning=everything, chunks=40)
    batches = range(0, len(evil), 10)
    lab.shared_notebook = None
    steps = [f"attack(evil[{at}:{at + 10}] + ['plain'])" for at in batches]
    notebook, shown = open_comparison(
        lab,
        ["openai/bad", "openai/other"],
        [HOSTILE, *steps, "from IPython.display import HTML\nHTML(widget._controller.static_content()[0])"],
    )
    before = len(fake.requests)
    notebook.run(2)
    left = []
    for number in range(3, 3 + len(steps)):
        notebook.run(number)
        shown.wait_for_vote()
        left += left_of_attacks(lab.page)
    assert left == []
    ranked = shown.ranking.locator("tbody th").all_inner_texts()
    answered = {*evil} - {*evil[::3]} | {"plain"}
    assert len(ranked) == len(answered), "every hostile name stands in the ranking, as text"
    assert any("<script" in name for name in ranked)
    screenshot(lab, "compare-hostile")

    model = shown.root.get_by_role("combobox", name="Model").first
    model.fill('<img src=x onerror="window.pwned=1">')
    model.press("Tab")
    shown.notice.get_by_text("onerror").wait_for()
    kept = notebook.run(3 + len(steps))
    kept.locator(".ipyllm-transcript").first.wait_for(state="attached")
    assert left_of_attacks(lab.page) == []

    shown.box.press("Control+s")
    lab.page.wait_for_function("() => !window.jupyterapp.shell.currentWidget.context.model.dirty")
    assert lab.path.read_text().count("ipyllm-transcript") >= 2
    tab = as_html(lab, fake, lab.path)
    try:
        tab.locator(".ipyllm-transcript").first.wait_for()
        assert left_of_attacks(tab) == []
    finally:
        tab.close()

    lab.page.evaluate("url => fetch(url, {mode: 'no-cors'}).catch(() => null)", f"{fake.url}/control")
    paths = {request.path for request in fake.requests[before:]} - {FAVICON}
    assert paths == {"/v1/chat/completions", "/saved.html", "/control"}, "what is fetched is seen, and nothing was"
