"""The usage dashboard in JupyterLab: updates beside a busy cell, filters, an opened call."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.browser.lab import RUNNING, Lab, needs_chromium
from tests.fakes import FakeLLM, answer
from tests.service.rendering.payloads import PAYLOADS

pytestmark = [pytest.mark.browser, needs_chromium, pytest.mark.timeout(240)]

SCREENSHOTS = Path(__file__).parents[2] / "build" / "screenshots"
CALLS = """
from ipyllm import OpenAIService, UsageDashboard
for model in ("gpt-6-sol", "gpt-6-luna", "gpt-6.1-terra"):
    for arm in "ab":
        OpenAIService(model).chat("What is a slope?", tags={"arm": arm})
"""
BUSY = """
import time
OpenAIService("gpt-6-sol").chat("While it runs", tags={"arm": "busy"})
until = time.monotonic() + 20
while time.monotonic() < until and "<b>7</b>" not in dashboard.tiles:
    time.sleep(0.05)
time.sleep(3)
"""


@pytest.fixture(
    scope="module",
    params=[("light", 1100), pytest.param(("dark", 560), marks=pytest.mark.thorough)],
    ids=["light", "dark"],
)
def lab_and_fake(request, tmp_path_factory):
    theme, width = request.param
    home = tmp_path_factory.mktemp("dashboard")
    with FakeLLM() as fake:
        fake.default = answer("\n\n".join(PAYLOADS.values()), ttft=0.3)
        env = {
            "OPENAI_BASE_URL": fake.base_url,
            "OPENAI_API_KEY": "no-key-needed",
            "IPYLLM_LEDGER": str(home / "ledger.sqlite"),
            "IPYLLM_CONFIG": str(home / "config.toml"),
        }
        with Lab(home, theme=theme, width=width, height=1200, env=env) as lab:
            yield lab


@pytest.mark.smoke
def test_a_dashboard_lives_in_a_cell(lab_and_fake):
    lab = lab_and_fake
    notebook = lab.open([CALLS, "dashboard = UsageDashboard(every_s=0.2)\ndashboard", BUSY])
    notebook.run(0)
    shown = notebook.run(1)
    tiles = shown.locator(".ipyllm-tiles")
    tiles.get_by_text("6", exact=True).first.wait_for()
    assert shown.locator(".ipyllm-charts figure").count() == 5
    assert shown.locator(".ipyllm-models tbody tr").count() == 3

    # Beside a busy cell it goes on: the call that this cell makes appears while the cell still runs.
    notebook.run(2, wait=False)
    tiles.get_by_text("7", exact=True).first.wait_for()
    assert notebook.prompt(2) == RUNNING
    notebook.wait_idle()

    # Keyboard alone: a filter, a call, and back to where one was.
    model = shown.locator('[data-filter="model"]')
    model.focus()
    model.select_option("openai/gpt-6-sol")
    tiles.get_by_text("3", exact=True).first.wait_for()
    assert shown.locator(".ipyllm-models tbody tr").count() == 1
    first = shown.locator("[data-call]").first
    first.focus()
    lab.page.keyboard.press("Enter")
    opened = shown.locator(".ipyllm-opened")
    opened.get_by_text("While it runs").wait_for()
    opened.locator("summary").last.click()
    assert opened.get_by_text("ttft_s").is_visible()
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    lab.page.screenshot(path=SCREENSHOTS / f"dashboard-{lab.theme}.png")
    lab.page.keyboard.press("Escape")
    opened.wait_for(state="hidden")
    assert first.evaluate("button => button === document.activeElement")

    # A click anywhere in a row opens its call, and a double click selects a word.
    row = shown.locator(".ipyllm-calls tbody tr").first
    row.locator("td").last.dblclick(position={"x": 12, "y": 10})
    lab.page.wait_for_timeout(500)
    assert lab.page.evaluate("getSelection().toString().trim()") == "While"
    assert opened.is_hidden()
    row.locator(".status").click()
    opened.get_by_text("While it runs").wait_for()
    lab.page.keyboard.press("Escape")
    opened.wait_for(state="hidden")
    assert row.locator("button, [tabindex]").count() == 1

    with lab.page.expect_download() as download:
        shown.get_by_role("button", name="CSV").click()
    assert "openai/gpt-6-sol" in Path(download.value.path()).read_text()

    tag = shown.locator('[data-filter="tag"]')
    tag.press_sequentially("arm")
    tag.press("Enter")
    shown.get_by_text("A tag filter must have the form key=value").wait_for()

    # Answers of strangers were opened above: no script of theirs ran, and nothing was fetched.
    assert lab.page.evaluate("window.pwned") is None
    assert lab.external_requests == []
    assert lab.dialogs == []
    assert lab.errors == []


def test_a_reloaded_page_shows_the_dashboard_again(lab_and_fake):
    lab = lab_and_fake
    notebook = lab.open([CALLS, "dashboard = UsageDashboard(every_s=0.2)\ndashboard"])
    notebook.run(0)
    shown = notebook.run(1)
    shown.locator(".ipyllm-tiles .tile").first.wait_for()
    shown.locator('[data-filter="model"]').press("Control+s")  # the one key that is not the widget's own
    lab.page.wait_for_function("() => !window.jupyterapp.shell.currentWidget.context.model.dirty")
    lab.page.reload()
    lab.page.locator(".ipyllm-tiles .tile").first.wait_for()
    lab.page.get_by_text("6", exact=True).first.wait_for()
