"""The explorer in JupyterLab: votes and notes by key, the selection in the next cell, and the saved notebook."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.browser.explorer import Explorer
from tests.browser.lab import Lab, Notebook7, needs_chromium

pytestmark = [pytest.mark.browser, needs_chromium, pytest.mark.timeout(240)]

MAKE = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parents[2])!r})
from tests.answered_experiment import MODELS, reviews
explorer = reviews(60, MODELS[:3], name="reviews").explore()
explorer
"""
MAKE_MANY = f"""
import sys, time
from pathlib import Path
sys.path.insert(0, {str(Path(__file__).parents[2])!r})
from ipyllm_widgets.explorer import shown_rows
from tests.answered_experiment import MODELS, reviews
shown_rows._AT_ONCE = 0  # any experiment has many calls
results = reviews(60, MODELS[:3], name="many")
read, _ = results.matrix, results.calls

def read_when_told():
    while not Path({{gate!r}}).exists():
        time.sleep(0.02)
    return read()

results.matrix = read_when_told
"""
SELECTION = """
import time
until = time.monotonic() + 30
while len(explorer.selection) != {n} and time.monotonic() < until:
    time.sleep(0.05)
chosen = explorer.selection
print(len(chosen), sorted(set(chosen["vote"])), sorted(set(chosen["note"])))
"""


@pytest.fixture(
    scope="module", params=[Lab, pytest.param(Notebook7, marks=pytest.mark.thorough)], ids=["lab", "notebook-7"]
)
def lab(request, tmp_path_factory):
    home = tmp_path_factory.mktemp("explorer")
    env = {"IPYLLM_LEDGER": str(home / "ledger.sqlite"), "IPYLLM_CONFIG": str(home / "config.toml")}
    with request.param(home, env=env) as opened:
        yield opened


def test_votes_notes_and_marks_by_key_reach_the_kernel_and_the_notebook(lab):
    notebook = lab.open([MAKE, SELECTION.format(n=3), "explorer.close()"])
    output = notebook.run(0)
    explorer = Explorer(output.locator(".ipyllm-explorer"), lab.page)
    explorer.active.wait_for()
    assert output.locator(".ipyllm-xstill").is_hidden()
    explorer.press("j", "2", "n")
    note = explorer.details.get_by_label("Note on this prompt")
    note.wait_for()
    # JupyterLab has rules for lists of its own, by which names would lie under their values.
    name, value = (explorer.details.locator(tag).first.bounding_box() for tag in ("dt", "dd"))
    content = explorer.details.locator("dt").first.evaluate("element => element.scrollWidth")
    assert name["x"] + max(content, name["width"]) <= value["x"]
    lab.page.wait_for_function("() => document.activeElement.matches('.ipyllm-xnote textarea')")
    lab.page.keyboard.type("It hedges: ask jkxd again.")
    lab.page.keyboard.press("Escape")
    explorer.active.get_by_text("✎ note").wait_for()
    explorer.active.get_by_label("preferred").wait_for()

    # A vote is withdrawn by key or button, and the button that was pressed keeps the focus while the row is drawn anew.
    explorer.press("0")
    explorer.active.get_by_label("preferred").wait_for(state="detached")
    explorer.details.locator("[data-vote='1']").press("Enter")
    explorer.active.get_by_label("preferred").wait_for()
    assert lab.page.evaluate("document.activeElement.dataset.vote") == "1"
    explorer.details.get_by_role("button", name="No vote").press("Enter")
    explorer.active.get_by_label("preferred").wait_for(state="detached")
    assert lab.page.evaluate("document.activeElement.dataset.vote") == "0"
    lab.page.keyboard.press("2")
    explorer.active.get_by_label("preferred").wait_for()

    explorer.press("x")
    explorer.status.get_by_text("1 marked").wait_for()
    said = notebook.run(1).inner_text()
    assert "3 ['gpt-6-sol'] ['It hedges: ask jkxd again.']" in said

    # A search and an open row need the kernel, and a filter does not.
    explorer.search.fill("hedges (6)")
    explorer.status.get_by_text("1 of 60 rows").wait_for()

    # Without the widget, the notebook has the same view, with the vote and the note.
    notebook.run(2)
    page = Explorer(notebook.output(0).frame_locator("iframe").locator(".ipyllm-explorer"), lab.page)
    page.active.wait_for()
    page.press("j")
    page.active.get_by_label("preferred").wait_for()
    page.active.get_by_text("✎ note").wait_for()
    page.filter("regressed").click()
    page.status.get_by_text("12 of 60 rows").wait_for()
    assert notebook.output(0).locator(".ipyllm-xstill table").is_hidden()
    assert lab.external_requests == []
    assert lab.errors == []


@pytest.mark.thorough
def test_the_first_rows_are_shown_while_the_others_are_read(lab, tmp_path):
    gate = tmp_path / "gate"
    explore = "explorer = results.explore()\nexplorer"
    boxed = "import ipywidgets\nipywidgets.VBox([results.explore()])"
    notebook = lab.open([MAKE_MANY.format(gate=str(gate)), explore, boxed])
    notebook.run(0)
    notebook.start(1)
    explorer = Explorer(notebook.output(1).locator(".ipyllm-explorer"), lab.page)
    explorer.status.get_by_text("the first 50 of 60 rows · the others are being read …").wait_for()
    regressed = explorer.filter("regressed")
    assert regressed.inner_text() == "▼ regressed …"
    regressed.click()
    explorer.root.get_by_label("Reverse the order").click()
    explorer.press("j")
    explorer.status.get_by_text("the others are being read, then filters and order apply").wait_for()
    assert explorer.shown()[:3] == [1, 2, 3]
    gate.touch()
    explorer.status.get_by_text("12 of 60 rows").wait_for()
    notebook.wait_for_end(1)
    assert regressed.inner_text() == "▼ regressed 12"
    assert explorer.shown()[-2:] == [7, 2]
    assert explorer.active.locator(".ipyllm-xline span").nth(1).inner_text() == "2"  # as before

    # A read that is interrupted is said to be so, and what needs all rows reads them: a filter, a button.
    for read in (regressed.click, explorer.root.get_by_role("button", name="Read them").click):
        gate.unlink()
        notebook.start(1)
        explorer.status.get_by_text("the first 50 of 60 rows").wait_for()
        notebook.interrupt(1)
        output = notebook.output(1)
        output.get_by_text("Interrupted: only the first rows are shown. Choose “Read them” in the explorer").wait_for()
        assert "Traceback" not in output.inner_text()
        assert "KeyboardInterrupt" not in output.inner_text()
        explorer.root.get_by_text("The other rows were not read: the cell was interrupted.").wait_for()
        explorer.status.get_by_text("the others were not read").wait_for()
        read()
        explorer.status.get_by_text("the others are being read").wait_for()
        assert explorer.root.get_by_role("alert").is_hidden()
        gate.touch()
        explorer.status.get_by_text("12 of 60 rows" if read == regressed.click else "60 rows · selection").wait_for()

    # Shown otherwise than by its cell, it asks for them.
    output = notebook.run(2)
    output.locator(".ipyllm-xstatus").get_by_text("60 rows · selection").wait_for()
    assert lab.errors == []
