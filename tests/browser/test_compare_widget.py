"""The comparison widget as a person uses it in JupyterLab: columns, a failing one, stop, a blind vote, saved."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.browser.axe import needs_axe, violations
from tests.browser.lab import Lab, needs_chromium
from tests.fakes import FakeLLM, answer, server_error, stall
from tests.service.rendering.payloads import PAYLOADS

pytestmark = [pytest.mark.browser, needs_chromium, pytest.mark.timeout(300)]

SCREENSHOTS = Path(__file__).parents[2] / "build" / "screenshots"
LONG = (
    "The capital is **Bern**.\n\n| city | people |\n| --- | --- |\n| Bern | 134,591 |\n\n"
    + "Its river, its bears. " * 40
)


def by_model(request):
    return {
        "good": answer(LONG, reasoning="Swiss cities.", ttft=0.2, gap=0.02),
        "bad": answer("It is Basel.", ttft=0.2),
        "broken": server_error(),
        "slow": stall("It is ", after=2),
        "hostile": answer("\n\n".join(PAYLOADS.values())),
    }.get(request.json["model"])


WIDE, NARROW = ("light", 1200), ("dark", 560)


@pytest.fixture(scope="module", params=[WIDE, NARROW], ids=["light", "dark"])
def lab(request, tmp_path_factory):
    theme, width = request.param
    home = tmp_path_factory.mktemp("compare")
    with FakeLLM() as fake:
        fake.on(by_model)
        env = {
            "OPENAI_BASE_URL": fake.base_url,
            "OPENAI_API_KEY": "no-key-needed",
            "IPYLLM_LEDGER": str(home / "ledger.sqlite"),
            "IPYLLM_CONFIG": str(home / "config.toml"),
            "IPYLLM_MAX_RETRIES": "0",
        }
        with Lab(home, theme=theme, width=width, height=1000, env=env) as opened:
            yield opened


BUSY = "import time\nfor _ in range(60_000): time.sleep(0.01)"


def made(lab, models, more=(), **options):
    given = ", ".join(f"{name}={value!r}" for name, value in options.items())
    source = f"from ipyllm import CompareWidget, votes\nwidget = CompareWidget(models={models}, {given})\nwidget"
    notebook = lab.open([source, "votes()[['outcome', 'blind']]", *more])
    shown = notebook.run(0)
    shown.locator(".ipyllm-compare").wait_for()
    return notebook, shown


def ask(shown, prompt):
    box = shown.get_by_role("textbox", name="Message")
    box.fill(prompt)
    box.press("Enter")


def picture(lab, name):
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    lab.page.screenshot(path=SCREENSHOTS / f"compare-widget-{name}-{lab.theme}.png")


def test_answers_stand_side_by_side_and_a_vote_ranks_them(lab):
    notebook, shown = made(lab, ["openai/good", "openai/bad", "openai/broken"])
    ask(shown, "What is the capital of Switzerland?")
    columns = shown.locator(".ipyllm-column")
    columns.nth(2).get_by_text("error").first.wait_for()
    picture(lab, "streaming")
    columns.nth(0).get_by_text("tokens/s").wait_for()
    assert "134,591" in columns.nth(0).inner_text()
    assert "It is Basel." in columns.nth(1).inner_text()
    left = [columns.nth(place).bounding_box()["x"] for place in range(3)]
    wide = lab.size["width"] > 1000
    assert (left[0] < left[1] < left[2]) if wide else (left[0] == left[1] == left[2]), "columns, or stacked when narrow"

    columns.nth(1).get_by_role("button", name="Expand").click()
    columns.nth(0).wait_for(state="hidden")
    columns.nth(1).get_by_role("button", name="Show all").click()
    columns.nth(0).wait_for()

    shown.get_by_role("button", name="A", exact=True).focus()
    lab.page.keyboard.press("Enter")
    shown.locator(".ipyllm-ranking").get_by_text("openai/good").first.wait_for()
    columns.nth(0).get_by_text("preferred").wait_for()
    picture(lab, "voted")
    assert "openai/good" in notebook.run(1).inner_text()


def test_a_blind_comparison_shows_names_after_the_vote_only(lab):
    notebook, shown = made(lab, ["openai/good", "openai/bad"], blind=True)
    ask(shown, "What is the capital of Switzerland?")
    shown.get_by_role("button", name="Tie").wait_for()
    live = shown.locator(".ipyllm-columns-live")
    assert "openai/" not in live.inner_text()
    picture(lab, "blind")
    shown.get_by_role("button", name="Both bad").click()
    live.get_by_text("openai/good").wait_for()
    assert "True" in notebook.run(1).inner_text()


@needs_axe
def test_axe_finds_nothing_wrong_with_settings_streaming_and_blind_votes(lab):
    _, shown = made(lab, ["openai/slow", "openai/broken", "openai/good"], blind=True)
    found = []

    def look(where):
        found.extend((where, *violation) for violation in violations(lab.page, ".ipyllm-compare"))

    shown.get_by_role("button", name="Settings for all").click()
    look("settings")
    picture(lab, "settings")
    ask(shown, "What is the capital of Switzerland?")
    live = shown.locator(".ipyllm-columns-live")
    live.get_by_text("It is").first.wait_for()
    look("streaming")
    shown.get_by_role("textbox", name="Message").press("Escape")
    shown.get_by_role("button", name="Tie").wait_for()
    look("blind")
    shown.get_by_role("button", name="Tie").click()
    live.get_by_text("openai/good").first.wait_for()
    look("voted")
    assert found == []


@pytest.mark.parametrize("lab", [WIDE], indirect=True, ids=["light"])
def test_stop_keeps_what_came(lab):
    _, shown = made(lab, ["openai/slow", "openai/bad"])
    ask(shown, "What is the capital of Switzerland?")
    column = shown.locator(".ipyllm-column").first
    column.get_by_text("It is").wait_for()
    shown.get_by_role("textbox", name="Message").press("Escape")
    column.get_by_text("cancelled").wait_for()
    assert "It is" in column.inner_text()


@pytest.mark.parametrize("lab", [WIDE], indirect=True, ids=["light"])
def test_hostile_answers_do_nothing_and_the_saved_notebook_can_be_read(lab):
    _, shown = made(lab, ["openai/hostile", "openai/good"])
    ask(shown, "Attack me.")
    shown.get_by_role("button", name="Tie").wait_for()
    assert lab.page.evaluate("window.pwned") is None
    assert lab.strangers == []
    assert lab.dialogs == []
    assert lab.errors == []
    # From within the widget, whose other keys are its own.
    shown.get_by_role("textbox", name="Message").press("Control+s")
    saved = Path(lab.root) / f"notebook-{lab.opened}.ipynb"
    lab.page.wait_for_function("() => !window.jupyterapp.shell.currentWidget.context.model.dirty")
    text = saved.read_text(encoding="utf-8")
    assert "Attack me." in text
    assert "134,591" in text
