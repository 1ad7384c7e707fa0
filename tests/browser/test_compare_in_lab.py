"""``%%llm_compare`` and related magics in JupyterLab: columns, narrow windows, errors, tables."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.browser.lab import Lab, needs_chromium
from tests.fakes import FakeLLM, answer, model_not_found
from tests.service.rendering.payloads import PAYLOADS

pytestmark = [pytest.mark.browser, needs_chromium, pytest.mark.timeout(240)]

SCREENSHOTS = Path(__file__).parents[2] / "build" / "screenshots"
TEXTS = {
    "quick": "A **monad** wraps a value and says how steps that return wrapped values follow one another.\n\n"
    "- `return` wraps\n- `>>=` chains\n",
    "thorough": "## Monads\n\nThink of a *recipe* that may fail:\n\n```python\ndef bind(value, step):\n"
    "    return None if value is None else step(value)\n```\n\n| law | says |\n| --- | --- |\n"
    "| left identity | `bind(x, f) = f(x)` |\n| right identity | `bind(m, unit) = m` |\n\n"
    "Each step runs only if the one before gave something.",
}
BOXES = """cell => {
    const within = document.querySelectorAll('.jp-Notebook .jp-CodeCell')[cell];
    return [...within.querySelectorAll('.ipyllm-column')].map(column => {
        const box = column.getBoundingClientRect();
        return [box.left, box.top, box.width];
    });
}"""


@pytest.fixture(scope="module", params=["light", pytest.param("dark", marks=pytest.mark.thorough)])
def lab_and_fake(request, tmp_path_factory):
    home = tmp_path_factory.mktemp(request.param)
    with FakeLLM() as fake:
        env = {
            "IPYLLM_MODEL": "openai/quick",
            "OPENAI_BASE_URL": fake.base_url,
            "IPYLLM_LEDGER": str(home / "ledger.sqlite"),
            "IPYLLM_CONFIG": str(home / "config.toml"),
        }
        with Lab(home, theme=request.param, env=env) as lab:
            yield lab, fake


@pytest.fixture(autouse=True)
def three_models(lab_and_fake):
    _, fake = lab_and_fake
    fake.on(
        lambda request: (
            model_not_found()
            if request.json["model"] == "gone"
            else answer(TEXTS.get(request.json["model"], "Hello."), gap=0.01)
        )
    )


def screenshot(lab, name):
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    lab.page.screenshot(path=SCREENSHOTS / f"{name}-{lab.theme}.png")


COMPARE = "%%llm_compare -m openai/quick -m openai/thorough -m openai/gone\nWhat is a monad?"


def test_answers_stand_side_by_side_with_the_failed_one_among_them_and_a_vote_marks_its_column(lab_and_fake):
    lab, _ = lab_and_fake
    notebook = lab.open(["%load_ext ipyllm", COMPARE, "%llm_vote B"])
    notebook.run(0)
    output = notebook.run(1)
    output.locator(".ipyllm-column").nth(2).wait_for()
    output.get_by_text("Which is better?").wait_for()
    boxes = lab.page.evaluate(BOXES, 1)
    assert len({round(top) for _, top, _ in boxes}) == 1, "side by side"
    assert len({round(left) for left, _, _ in boxes}) == 3
    assert output.locator(".ipyllm-column-error").count() == 1
    screenshot(lab, "compare-wide")
    notebook.run(2)
    output.get_by_text("✓ preferred").wait_for()
    assert output.locator(".ipyllm-column").nth(1).locator(".ipyllm-preferred").count() == 1
    screenshot(lab, "compare-voted")
    assert lab.errors == []
    assert lab.external_requests == []


def test_in_a_narrow_window_the_answers_stand_below_each_other(lab_and_fake):
    lab, _ = lab_and_fake
    notebook = lab.open(["%load_ext ipyllm", COMPARE])
    notebook.run(0)
    output = notebook.run(1)
    output.get_by_text("Which is better?").wait_for()
    lab.page.set_viewport_size({"width": 480, "height": 1300})
    try:
        lab.page.wait_for_function(
            """() => { const [a, b] = document.querySelectorAll('.ipyllm-column');
                       return b.getBoundingClientRect().top >= a.getBoundingClientRect().bottom; }"""
        )
        boxes = lab.page.evaluate(BOXES, 1)
        assert len({round(left) for left, _, _ in boxes}) == 1
        screenshot(lab, "compare-narrow")
    finally:
        lab.page.set_viewport_size(lab.size)


def test_answers_grow_side_by_side_each_with_a_clock(lab_and_fake):
    lab, fake = lab_and_fake
    long = "\n\n".join(f"Paragraph {i}: " + "some words of an answer " * 6 for i in range(40))
    fake.on(lambda request: answer(long, gap=0.02) if request.json["model"] != "late" else answer("Late.", ttft=8))
    notebook = lab.open(["%load_ext ipyllm", "%%llm_compare -m openai/a -m openai/b -m openai/late\nGo on"])
    notebook.run(0)
    output = notebook.run(1, wait=False)
    lab.page.wait_for_function(
        "() => [0, 1].every(n => /Paragraph 1:/.test(document.querySelectorAll('.ipyllm-column')[n]?.innerText ?? ''))"
    )
    clocks = [output.locator(".ipyllm-column").nth(n).locator(".ipyllm-footer").last.inner_text() for n in range(3)]
    assert re.fullmatch(r"\d+\.\d s", clocks[0])
    assert re.fullmatch(r"\d+\.\d s", clocks[1])
    assert clocks[2].startswith("waiting")
    screenshot(lab, "compare-streaming")
    lab.page.keyboard.press("Escape")
    lab.page.keyboard.press("i")
    lab.page.keyboard.press("i")
    output.get_by_text("stopped all 3 arms").wait_for()
    assert output.get_by_text("cancelled").count() >= 3
    assert "Paragraph 1:" in output.locator(".ipyllm-column").nth(1).inner_text()


def test_a_hostile_answer_does_nothing_in_a_column(lab_and_fake):
    lab, fake = lab_and_fake
    text = "\n\n".join(PAYLOADS.values())
    fake.on(lambda request: answer(text, chunks=50))
    notebook = lab.open(["%load_ext ipyllm", "%%llm_compare -m openai/a -m 'openai/<img src=x onerror=alert(1)>'\nGo"])
    notebook.run(0)
    output = notebook.run(1)
    output.get_by_text("Which is better?").wait_for()
    assert output.locator(".ipyllm-column script, .ipyllm-column iframe, .ipyllm-column form").count() == 0
    assert lab.page.evaluate("typeof window.pwned") == "undefined"
    assert lab.dialogs == []
    assert lab.external_requests == []


def test_the_tables_of_the_family_are_readable(lab_and_fake):
    lab, _ = lab_and_fake
    cells = [
        "%load_ext ipyllm",
        "%llm -c talk What is a monad?",
        "%llm_models",
        "%llm_usage",
        "%llm_usage --by model",
        "%llm_history show -c talk",
        "%llm_history list",
        "%llm_config",
        "{}['missing']",
        "%llm_explain",
    ]
    notebook = lab.open(cells)
    for number in range(len(cells)):
        notebook.run(number)
    notebook.cell(2).scroll_into_view_if_needed()  # out of sight, an output is not in the page
    models = notebook.output(2)
    models.get_by_text("set DEEPSEEK_API_KEY in the environment or in .env").first.wait_for()  # not cut off
    assert "reachable" in models.text_content()
    for number, name in ((2, "models"), (4, "usage"), (6, "history"), (7, "config"), (9, "explain")):
        notebook.cell(number).scroll_into_view_if_needed()
        screenshot(lab, f"family-{name}")
    assert lab.errors == []
