"""The dashboard in JupyterLab under stress: quick clicks, dead kernels, several views, hostile texts; static output."""

from __future__ import annotations

import json
import os
import signal

import nbformat
import pytest

from tests.browser.axe import needs_axe, violations
from tests.browser.chat import assert_page_healthy, lab_with_fake, screenshot
from tests.browser.dashboard import ALLOWED, LEFT_OF_ATTACKS, OPEN_EACH_CALL, SETUP, SHOW, Dashboard, left_of_attacks
from tests.browser.lab import FAVICON, needs_chromium
from tests.browser.saved_page import as_html
from tests.service.rendering.payloads import CANARY, PAYLOADS

pytestmark = [pytest.mark.browser, needs_chromium, pytest.mark.timeout(300)]

KERNEL = "window.jupyterapp.shell.currentWidget.sessionContext.session.kernel"
PID = "import os\nprint('pid', os.getpid())"
MODELS = [f"lab/model-{letter}" for letter in "abcdefghijkl"]


@pytest.fixture(scope="module")
def lab_and_fake(tmp_path_factory):
    with lab_with_fake(tmp_path_factory.mktemp("bad"), width=1200, height=1100) as lab_and_fake:
        yield lab_and_fake


@pytest.fixture
def fake(lab_and_fake):
    return lab_and_fake[1]


@pytest.fixture
def lab(lab_and_fake):
    lab, _ = lab_and_fake
    with assert_page_healthy(lab):
        yield lab


def open_dashboard(lab, fill="put(6, ['lab/a', 'lab/b'])", show=SHOW, more=(), *, new_kernel=False):
    """A notebook whose second cell shows a dashboard over calls of its own: each test has a new ledger."""
    ledger = f'import os\nos.environ["IPYLLM_LEDGER"] = "ledger-{next(lab.conversation_numbers)}.sqlite"'
    notebook = lab.show([f"{ledger}\n{SETUP}\n{fill}", show, *more], new_kernel=new_kernel)
    notebook.run(0)
    return notebook, Dashboard(notebook.run(1))


def read_again(lab, path):
    """Open a notebook, whose kernel is another now or none, as somebody does who has got the file."""
    lab.load(path)


IS_DRAWN = "images => images.every(image => image.complete && image.naturalWidth > 0)"


def test_a_notebook_reopened_without_its_kernel_shows_the_figures(lab, fake):
    notebook, _ = open_dashboard(lab, more=["put(1)\ndashboard.close()"], new_kernel=True)
    still = notebook.output(1).locator(".ipyllm-still")
    still.wait_for(state="attached")
    assert not still.is_visible(), "while the dashboard lives, it says it all"
    notebook.run(2)
    still.get_by_text("Usage · this kernel · last day").wait_for()
    saved = lab.save()
    lab.page.evaluate("window.jupyterapp.shell.currentWidget.sessionContext.shutdown()")
    for name, text in (("trusted", ""), ("untrusted", "\n# of somebody else")):
        copy = nbformat.read(saved, as_version=4)
        copy.cells[1].source += text
        nbformat.write(copy, lab.root / f"{name}.ipynb")
        read_again(lab, lab.root / f"{name}.ipynb")
        still = lab.page.locator(".ipyllm-still")
        still.get_by_text("Usage · this kernel · last day").wait_for()
        assert still.locator("table").first.locator("tbody td").first.inner_text() == "7"
        charts = still.locator("img[alt*='by model']")
        assert charts.count() == 4, "no errors, so no chart of them"
        assert charts.evaluate_all(IS_DRAWN), name
        screenshot(lab, f"dashboard-reopened-{name}")
    before = len(fake.requests)
    tab = as_html(lab, fake, saved)
    try:
        tab.locator(".ipyllm-still").get_by_text("Usage · this kernel").wait_for()
        assert tab.locator(".ipyllm-still img").evaluate_all(IS_DRAWN)
        assert {request.path for request in fake.requests[before:]} - {FAVICON} == {"/saved.html"}
    finally:
        tab.close()


def test_two_views_with_filters_of_their_own_and_two_views_of_one(lab):
    notebook, shown = open_dashboard(
        lab,
        more=["other = UsageDashboard(every_s=0.2, model='lab/b')\nother", "dashboard", "put(2, ['lab/b'])"],
    )
    other, again = Dashboard(notebook.run(2)), Dashboard(notebook.run(3))
    assert [view.n_calls() for view in (shown, other, again)] == ["6", "3", "6"]
    shown.filter("model").select_option("lab/a")
    again.wait_for_calls(3)
    assert again.filter("model").input_value() == "lab/a", "one widget, one filter"
    assert other.filter("model").input_value() == "lab/b"
    notebook.run(4)
    other.wait_for_calls(5)
    assert shown.n_calls() == "3"


def test_a_page_reloaded_while_a_call_is_open_shows_the_dashboard_and_opens_it_again(lab):
    notebook, shown = open_dashboard(lab)
    shown.calls.first.click()
    shown.opened.get_by_text("Question 5").wait_for()
    lab.save()
    lab.reload(notebook)
    shown = Dashboard(notebook.output(1))
    assert shown.opened.is_hidden()
    shown.calls.first.click()
    shown.opened.get_by_text("Question 5").wait_for()
    shown.filter("model").select_option("lab/a")
    shown.wait_for_calls(3)


@pytest.mark.parametrize("how", ["killed", pytest.param("restart", marks=pytest.mark.thorough), "shutdown"])
def test_when_the_kernel_is_gone_the_figures_stay_and_that_is_said(lab, how):
    notebook, shown = open_dashboard(lab, more=[PID], new_kernel=True)
    if how == "killed":
        os.kill(int(notebook.run(2).inner_text().split("pid")[1]), signal.SIGKILL)
    else:
        lab.page.evaluate(f"void {KERNEL}.{how}()")
    shown.notice.get_by_text("The kernel is gone: run the cell again.").wait_for(timeout=60_000)
    assert shown.n_calls() == "6"
    shown.calls.first.evaluate("button => button.click()")  # JupyterLab's own dialog lies over the page
    shown.filter("model").select_option("lab/a")
    shown.notice.get_by_text("The kernel is gone").wait_for()
    assert shown.opened.is_hidden()
    if how == "restart":
        notebook.wait_idle()
        notebook.run(0)
        shown = Dashboard(notebook.run(1))
        shown.wait_for_calls(6)
        assert shown.notice.is_hidden()


LEFT = """
import threading, time
until = time.monotonic() + 30
while any(t.name == "ipyllm-dashboard" for t in threading.enumerate()) and time.monotonic() < until: time.sleep(0.05)
print("threads", sum(t.name == "ipyllm-dashboard" for t in threading.enumerate()))
"""
COUNT_TIMERS = """() => {
    window.timers = new Set();
    const [set, clear] = [window.setInterval, window.clearInterval];
    window.setInterval = (...given) => { const id = set(...given); timers.add(id); return id; };
    window.clearInterval = id => { timers.delete(id); clear(id); };
}"""
CLEAR = """() => {
    const cell = window.jupyterapp.shell.currentWidget.content.widgets[1];
    cell.outputArea.model.clear();
}"""


def test_a_view_that_was_closed_leaves_nothing_running_and_can_be_shown_again(lab):
    notebook = lab.open([f"{SETUP}\nput(6)", SHOW, LEFT, "dashboard"])
    notebook.run(0)
    lab.page.evaluate(COUNT_TIMERS)
    before = lab.page.evaluate("timers.size")
    for _ in range(3):
        shown = Dashboard(notebook.run(1))
        assert lab.page.evaluate("timers.size") > before
        lab.page.evaluate(CLEAR)
        shown.root.wait_for(state="detached")
    lab.page.wait_for_function("before => timers.size <= before", arg=before)
    assert "threads 0" in notebook.run(2).inner_text(), "nobody looks, so nobody reads"
    again = Dashboard(notebook.run(3))
    notebook.rewrite([f"{SETUP}\nput(6)", SHOW, "put(1)", "dashboard"])
    again = Dashboard(notebook.run(3))
    notebook.run(2)
    again.wait_for_calls(7)


@pytest.mark.thorough
def test_a_hundred_quick_clicks_end_where_the_last_one_led(lab):
    _, shown = open_dashboard(lab, fill="put(40, ['lab/a', 'lab/b'], failing=4)")
    shown.root.evaluate("""async root => {
        for (let n = 0; n < 100; n++) {
            const model = root.querySelector('[data-filter=model]');
            model.value = ['', 'lab/a', 'lab/b'][n % 3];
            model.dispatchEvent(new Event('change', {bubbles: true}));
            root.querySelectorAll('[data-call]')[n % 20].click();
            await new Promise(resolve => setTimeout(resolve, 10));
        }
        const last = root.querySelector('[data-filter=model]');
        last.value = 'lab/b';
        last.dispatchEvent(new Event('change', {bubbles: true}));
    }""")
    shown.wait_for_calls(20)
    shown.wait_for("root => root.querySelector('[data-filter=model]').value === 'lab/b'")
    shown.opened.get_by_text("Question").first.wait_for()
    shown.notice.wait_for(state="hidden")
    shown.wait_for_calls(20)
    shown.filter("status").select_option("error")
    shown.wait_for_calls(0)
    shown.filter("model").select_option("")
    shown.wait_for_calls(10)


@pytest.mark.thorough
def test_a_click_counts_however_long_it_takes_and_whatever_comes_meanwhile(lab):
    busy = "import time\nfor _ in range(200):\n    put(1, ['lab/a'])\n    time.sleep(0.05)"
    notebook, shown = open_dashboard(lab, fill="put(6, ['lab/a'])", more=[busy])
    shown.wait_for_calls(6)
    notebook.run(2, wait=False)
    shown.wait_for("root => root.querySelectorAll('[data-call]').length > 8")
    shown.root.locator("[data-call]").first.click(delay=1500)
    shown.opened.get_by_text("Question").first.wait_for()
    before = shown.root.locator("[data-call]").first.get_attribute("data-call")
    shown.wait_for("(root, before) => root.querySelector('[data-call]').dataset.call !== before", before)
    notebook.wait_idle()


JUNK = """
for junk in [None, 7, "x", [], {}, {"kind": 7}, {"kind": "ack"}, {"kind": "ack", "nonce": {}}, {"kind": "notice"},
             {"kind": "call"}, {"kind": "call", "call_id": 7, "html": None}, {"kind": "file"}]:
    dashboard.send(junk)
"""


def test_messages_that_are_none_break_nothing(lab):
    notebook, shown = open_dashboard(lab, more=[JUNK])
    notebook.run(2)
    shown.calls.first.click()
    shown.opened.get_by_text("Question 5").wait_for()
    shown.filter("model").select_option("lab/a")
    shown.wait_for_calls(3)


REMOVED = """
for name in ("", "-wal", "-shm"):
    pathlib.Path(os.environ["IPYLLM_LEDGER"] + name).unlink(missing_ok=True)
put(2)
"""


def test_a_ledger_removed_while_it_is_shown_is_said_and_the_new_one_is_shown(lab):
    notebook, shown = open_dashboard(lab, more=["import os" + REMOVED])
    notebook.run(2)
    shown.notice.get_by_text("removed or replaced while in use").wait_for()
    shown.calls.first.click()
    shown.opened.get_by_text("Question 1").wait_for()


THEME = "theme => window.jupyterapp.commands.execute('apputils:change-theme', {theme})"


@needs_axe
@pytest.mark.thorough
def test_axe_finds_nothing_wrong_in_any_state_and_theme_and_width(lab):
    show = SHOW.replace("0.2", "0.2, since='15 minutes'")
    notebook, shown = open_dashboard(
        lab, fill="", show=show, more=["put(60, MODELS, failing=7)".replace("MODELS", str(MODELS))]
    )
    found = []

    def look(where):
        found.extend((where, *violation) for violation in violations(lab.page, ".ipyllm-dashboard"))
        shown.root.scroll_into_view_if_needed()
        screenshot(lab, f"dashboard-{where}")

    shown.root.get_by_text("There is no call of").wait_for()
    look("empty")
    notebook.run(2)
    shown.filter("since").select_option("day")
    shown.wait_for_calls(60)
    size = lab.page.viewport_size
    try:
        for theme in ("Light", "Dark"):
            lab.page.evaluate(THEME, f"JupyterLab {theme}")
            lab.page.wait_for_function(
                "dark => (document.body.dataset.jpThemeLight === 'false') === dark", arg=theme == "Dark"
            )
            for width in (1200, 560, 420):
                lab.page.set_viewport_size({"width": width, "height": 1100})
                look(f"full-{theme}-{width}")
                shown.calls.nth(1).click()
                shown.opened.get_by_text("Answer").wait_for()
                shown.opened.locator("summary").last.click()
                look(f"call-{theme}-{width}")
                overflow = shown.root.evaluate("root => root.scrollWidth - root.clientWidth")
                assert overflow <= 1, f"nothing is cut off at {width}"
                lab.page.keyboard.press("Escape")
            tag = shown.filter("tag")
            tag.fill("arm")
            tag.press("Enter")
            shown.notice.get_by_text("A tag filter must have the form key=value").wait_for()
            look(f"error-{theme}")
    finally:
        lab.page.set_viewport_size(size)
        lab.page.evaluate(THEME, "JupyterLab Light")
    assert found == []


HOSTILE = """
evil = json.loads(pathlib.Path("payloads.json").read_text())
def attack(at):
    for number, payload in enumerate(evil[at:at + 40]):
        put(model=payload, service=payload, prompt=payload, response=payload, reasoning=payload, error_message=payload,
            error_category=payload, finish_reason=payload, status=payload if number % 3 == 0 else "error",
            conversation=payload, endpoint=payload, response_model=payload, price_source=payload,
            params={payload: payload}, tags={payload: payload, "batch": at}, cell_id=payload, arm=payload)
    dashboard.choose(tag=f"batch={at}")
"""


def test_hostile_words_run_no_script_and_make_no_request_wherever_they_stand(lab, fake):
    """As models, services, statuses, errors, prompts, answers, tags, parameters; in rows, filters, charts, one call."""
    assert len(PAYLOADS) >= 60
    evil = [payload.replace(CANARY, fake.url) for payload in PAYLOADS.values()]
    (lab.root / "payloads.json").write_text(json.dumps(evil))
    show = SHOW.replace("0.2", "0.2, scope='kernel', since='all'")
    starts = range(0, len(evil), 40)
    more = [
        *(f"attack({at})" for at in starts),
        "from IPython.display import HTML\nHTML(dashboard._static_content()[0])",
    ]
    notebook, shown = open_dashboard(lab, fill=HOSTILE, show=show, more=more)
    before = len(fake.requests)
    left, opened = [], set()
    for number, at in enumerate(starts):
        notebook.run(2 + number)
        shown.wait_for_calls(len(evil[at : at + 40]))
        left += left_of_attacks(lab.page, ".ipyllm-dashboard")
        names, found = lab.page.evaluate(OPEN_EACH_CALL, [LEFT_OF_ATTACKS, ALLOWED])
        opened.update(names)
        left += found
    assert left == []
    assert len(opened) == len(evil)
    screenshot(lab, "dashboard-hostile")

    names = shown.root.locator(".ipyllm-models tbody th").all_inner_texts()
    assert any("<" in name for name in names), "it stands there, as text"
    options = shown.filter("model").locator("option").all_inner_texts()
    assert len(options) > 10
    shown.filter("model").select_option(index=3)
    shown.wait_for_calls(1)
    tag = shown.filter("tag")
    tag.fill('<img src=x onerror="window.pwned=1">=<script>window.pwned=1</script>')
    tag.press("Enter")
    shown.wait_for_calls(0)
    assert left_of_attacks(lab.page, ".ipyllm-dashboard") == []

    tag.fill("batch=0")
    tag.press("Enter")
    shown.filter("model").select_option("")
    shown.wait_for_calls(40)
    notebook.run(2 + len(starts)).locator(".ipyllm-still").wait_for(state="attached")
    assert left_of_attacks(lab.page, ".ipyllm-still") == []
    saved = lab.save()
    tab = as_html(lab, fake, saved)
    try:
        tab.locator(".ipyllm-still").first.wait_for()
        assert left_of_attacks(tab, ".ipyllm-still") == []
    finally:
        tab.close()
    lab.page.evaluate("url => fetch(url, {mode: 'no-cors'}).catch(() => null)", f"{fake.url}/control")
    paths = {request.path for request in fake.requests[before:]} - {FAVICON}
    assert paths == {"/saved.html", "/control"}, "what is fetched is seen, and nothing was"
