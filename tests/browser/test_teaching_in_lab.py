"""The widgets for a class in JupyterLab and Notebook 7: their keys, and the picture that a notebook keeps of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.browser.axe import needs_axe, violations
from tests.browser.chat import screenshot
from tests.browser.lab import Lab, Notebook7, needs_chromium, set_theme

pytestmark = [pytest.mark.browser, needs_chromium, pytest.mark.timeout(240)]

MAKE = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parents[2])!r})
from tests.browser.teaching import MAKE
sampling, context, latency = (make() for make in MAKE.values())
"""
UNTIL_COLD = """
import time
until = time.monotonic() + 30
while len(sampling.remaining) != 1 and time.monotonic() < until:
    time.sleep(0.05)
print(len(sampling.remaining), "left,", sampling.remaining["drawn"].sum(), "drawn")
"""
CELLS = [MAKE, "sampling", "context", "latency", UNTIL_COLD]
IS_DRAWN = "image => image.decode().then(() => image.naturalWidth > 400)"


@pytest.fixture(scope="module", params=[Lab, Notebook7], ids=["lab", "notebook-7"])
def lab(request, tmp_path_factory):
    home = tmp_path_factory.mktemp("teaching")
    env = {"IPYLLM_LEDGER": str(home / "ledger.sqlite"), "IPYLLM_CONFIG": str(home / "config.toml")}
    with request.param(home, env=env) as opened:
        yield opened


@needs_axe
def test_sliders_reach_the_kernel_and_a_notebook_without_one_shows_the_picture(lab):
    notebook = lab.open(CELLS)
    notebook.run(0)
    shown = {name: notebook.run(number) for number, name in enumerate(("sampling", "context", "latency"), start=1)}
    widgets = {name: output.locator(".ipyllm-teaching") for name, output in shown.items()}
    for name, widget in widgets.items():
        widget.locator("tbody tr").first.wait_for()
        assert shown[name].locator(".ipyllm-tstill").is_hidden()
        assert widget.evaluate("widget => widget.scrollWidth <= widget.clientWidth")

    # Keys are the widget's, not the notebook's: no cell is added, left or deleted.
    temperature = widgets["sampling"].get_by_label("Temperature", exact=True)
    temperature.press("Home")
    for key in ("a", "b", "d", "d", "x"):
        temperature.press(key)
    assert lab.page.locator(".jp-Notebook .jp-CodeCell").count() == len(CELLS)
    assert "left, 100 drawn" in notebook.run(4).inner_text()
    widgets["context"].get_by_label("Window").press("End")
    widgets["latency"].get_by_label("Order").select_option("total")
    for theme in ("dark", "light"):
        set_theme(lab.page, theme)
        lab.theme = theme
        for name, widget in widgets.items():
            widget.scroll_into_view_if_needed()
            screenshot(lab, f"{type(lab).__name__.lower()}-{name}-explorer")
        found = violations(lab.page, ".ipyllm-teaching")
        assert found == [], "\n".join(map(str, found))

    lab.save()
    lab.page.evaluate("window.jupyterapp.shell.currentWidget.sessionContext.shutdown()")
    lab.page.reload()
    lab.page.wait_for_selector(".jp-Notebook .jp-Cell", timeout=60_000)
    for number, said in enumerate(("temperature 0,", "of 8,192 tokens", ": lab/broken"), start=1):
        still = notebook.output(number).locator(".ipyllm-tstill")
        still.scroll_into_view_if_needed()
        assert still.locator("img").evaluate(IS_DRAWN)
        assert said in still.locator("img").get_attribute("alt") + still.inner_text()
    screenshot(lab, f"{type(lab).__name__.lower()}-explorers-reopened")
    notebook.wait_idle()
    assert lab.external_requests == []
    assert lab.errors == []
