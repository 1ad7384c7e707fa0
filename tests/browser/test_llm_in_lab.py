"""``%%llm`` in JupyterLab: the answer grows, hostile answers do nothing, an interrupt stops it."""

from __future__ import annotations

from pathlib import Path

import pytest

from ipyllm.rendering.style import COPY_SCRIPT
from tests import fakes
from tests.browser.lab import Lab, needs_chromium
from tests.fakes import FakeLLM, answer
from tests.service.rendering.payloads import CANARY, PAYLOADS

pytestmark = [pytest.mark.browser, needs_chromium, pytest.mark.timeout(240)]

SCREENSHOTS = Path(__file__).parents[2] / "build" / "screenshots"
FORBIDDEN = "script, iframe, object, embed, svg, form, link, meta, base, style"
ANSWER = """## Fitting a line

The slope is $\\hat\\beta = (X^T X)^{-1} X^T y$, and it costs $5.

```python
import numpy as np

beta, *_ = np.linalg.lstsq(X, y, rcond=None)  # least squares
```

| method | time (ms) |
| --- | ---: |
| `lstsq` | 1.21 |
| `solve` | 0.38 |

1. Write down the loss.
2. Set its gradient to zero.

![residuals](https://plots.example.com/r.png)
"""


@pytest.fixture(scope="module", params=["light", pytest.param("dark", marks=pytest.mark.thorough)])
def lab_and_fake(request, tmp_path_factory):
    home = tmp_path_factory.mktemp(request.param)
    with FakeLLM() as fake:
        env = {
            "IPYLLM_MODEL": "openai/fake-model",
            "OPENAI_BASE_URL": fake.base_url,
            "IPYLLM_LEDGER": str(home / "ledger.sqlite"),
            "IPYLLM_CONFIG": str(home / "config.toml"),
        }
        with Lab(home, theme=request.param, env=env) as lab:
            yield lab, fake


def screenshot(lab, name):
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    lab.page.screenshot(path=SCREENSHOTS / f"{name}-{lab.theme}.png")


@pytest.mark.smoke
def test_an_answer_grows_in_its_cell_and_ends_with_one_line(lab_and_fake):
    lab, fake = lab_and_fake
    notebook = lab.open(
        ["%load_ext ipyllm", "%%llm -t 0\nHow do I fit a line?", "%llm_usage --by model", "%llm_models"]
    )
    notebook.run(0)
    fake.default = answer(ANSWER, reasoning="The user wants least squares.", ttft=1000, gap=1000)
    notebook.run(1, wait=False)
    output = notebook.output(1)
    output.get_by_text("waiting for the first token · ").wait_for()
    screenshot(lab, "waiting")
    fake.wait_for(lambda: fake.in_flight == 1)
    for _ in range(15):
        fake.send_next()
    output.get_by_text("Fitting a line").wait_for()
    assert "solve" not in output.inner_text(), "it is still growing"
    fake.skip_pauses()
    output.get_by_text("tokens/s").wait_for()
    text = output.inner_text()
    assert text.count("Fitting a line") == 1
    assert "waiting" not in text
    assert output.locator("math").count() == 1
    assert output.locator("details summary").inner_text() == "Reasoning"
    assert output.locator("pre .k").count() >= 1
    assert output.locator("img").count() == 0
    fake.default = answer("Second.")
    notebook.run(2)
    notebook.run(3)
    screenshot(lab, "llm")


def test_an_answer_without_reasoning_leaves_no_empty_output(lab_and_fake):
    lab, fake = lab_and_fake
    fake.default = answer("Paris.")
    notebook = lab.open(["%load_ext ipyllm", "%llm Capital of France?"])
    notebook.run(0)
    output = notebook.run(1)
    output.get_by_text("first token").wait_for()
    shown = [child for child in output.locator(".jp-OutputArea-child").all() if child.is_visible()]
    assert len(shown) == 1


def test_a_hostile_answer_does_nothing_in_a_live_cell(lab_and_fake):
    lab, fake = lab_and_fake
    fake.default = answer("\n\n".join(PAYLOADS.values()).replace(CANARY, fake.url), chunks=400, gap=0.005)
    lab.external_requests.clear()
    notebook = lab.open(["%load_ext ipyllm", "%%llm\nHello", "%llm_history"])
    notebook.run(0)
    requests = len(fake.requests)
    output = notebook.run(1)
    output.get_by_text("first token").last.wait_for()
    notebook.run(2)
    lab.page.wait_for_timeout(1000)
    assert lab.dialogs == []
    assert lab.external_requests == []
    assert lab.page.evaluate("window.pwned === undefined")
    assert len(fake.requests) == requests + 1, [request.path for request in fake.requests[requests:]]
    assert output.locator(f".ipyllm-answer :is({FORBIDDEN})").count() == 0
    scripts = output.locator("script").evaluate_all("scripts => scripts.map(script => script.outerHTML)")
    assert scripts == [COPY_SCRIPT.strip()], "ours, which adds the buttons, and no other"


@pytest.mark.smoke
def test_the_stop_button_stops_and_keeps(lab_and_fake):
    lab, fake = lab_and_fake
    fake.default = fakes.drip("word ", every=0.02)
    notebook = lab.open(["%load_ext ipyllm", "%%llm\nHello", "%%llm -m opnai/x\nHello"])
    notebook.run(0)
    notebook.run(1, wait=False)
    output = notebook.output(1)
    output.get_by_text("word word").wait_for()
    lab.page.keyboard.press("Escape")
    lab.page.keyboard.press("i")
    lab.page.keyboard.press("i")
    output.get_by_text("interrupted").wait_for()
    fake.wait_for(lambda: fake.requests[-1].closed_by_client)
    assert "word word" in output.inner_text()
    assert "cancelled" in output.inner_text()
    assert "Traceback" not in output.inner_text()
    notebook.run(2)
    screenshot(lab, "stopped")
