"""An answer in JupyterLab: code to copy, thousands of items, and a notebook from elsewhere, without its styles."""

from __future__ import annotations

import pytest

from ipyllm.rendering import to_html
from tests.browser.lab import Lab, chromium, needs_chromium

pytestmark = [pytest.mark.browser, needs_chromium, pytest.mark.timeout(240)]

ANSWER = r"""Of $\sqrt{\pi}$ and $x^2$ the integral is

$$\int_0^\infty e^{-x^2}\,dx = \frac{\sqrt{\pi}}{2}$$

```python
import numpy

numpy.sqrt(numpy.pi)
```

| a | b |
|---|--:|
| 1 | $x_i$ |

العربية: من اليمين إلى اليسار
"""
SHOW = """\
import pathlib
import ipyllm.pipeline.state
from ipyllm.response import ChatResponse
ChatResponse(content=pathlib.Path("answer.md").read_text(), model="lab/model")
"""
COMPARE = """\
from IPython.display import HTML
from ipyllm.rendering import Column, columns_html, styled, to_html
html = columns_html([Column(mark, "lab/model", to_html("Some words."), "", "1 s") for mark in "ABC"])
HTML(styled(html))
"""


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    with Lab(tmp_path_factory.mktemp("saved")) as started:
        (started.root / "answer.md").write_text(ANSWER)
        yield started


def test_code_has_a_button_that_copies_it(lab):
    lab.context.grant_permissions(["clipboard-read", "clipboard-write"])
    output = lab.show([SHOW]).run(0)
    output.locator("pre").hover()
    output.get_by_role("button", name="Copy code").click()
    output.get_by_text("Copied").wait_for()
    assert lab.page.evaluate("navigator.clipboard.readText()") == "import numpy\n\nnumpy.sqrt(numpy.pi)\n"
    assert lab.errors == []


def test_annotations_for_removed_tags_are_not_drawn(lab):
    math = lab.show([SHOW]).run(0).locator("math").first
    assert math.evaluate("math => math.textContent") == "√π"
    assert math.locator("annotation").first.evaluate("hidden => getComputedStyle(hidden).display") == "none"


def test_a_notebook_from_elsewhere_still_reads(lab):
    notebook = lab.open([SHOW, COMPARE])
    notebook.run(0)
    notebook.run(1)
    lab.page.keyboard.press("Control+s")
    lab.page.wait_for_function("() => !window.jupyterapp.shell.currentWidget.context.model.dirty")
    # What was run here is signed; a change by another program is not.
    elsewhere = lab.root / "elsewhere.ipynb"
    elsewhere.write_text(lab.path.read_text().replace("Some words.", "Other words."))
    lab.load(elsewhere)
    output = notebook.output(0)
    output.get_by_text("lab/model").wait_for()
    assert output.locator("math, style, script").count() == 0, "nothing of it is trusted"
    text = output.inner_text()
    for part in ("Of √π and x^2 the", "∫_0^∞ e^(−x^2) dx=√π/2", "import numpy\n\nnumpy.sqrt", "x_i"):
        assert part in text, text
    assert output.locator("button").count() == 0
    arabic = output.locator("p[style]")
    assert arabic.evaluate("p => [getComputedStyle(p).direction, getComputedStyle(p).textAlign]") == ["rtl", "right"]
    notebook.output(1).locator("td").first.wait_for()
    tops = notebook.output(1).locator("td").evaluate_all("cells => cells.map(cell => cell.getBoundingClientRect().top)")
    assert len(tops) == 3
    assert len(set(tops)) == 1, "side by side"


def test_forty_thousand_items_are_laid_out_when_they_come_into_view():
    """In processor time of the page: other tests run beside."""
    from ipyllm.rendering import styled

    html = to_html("".join(f"- a {n}\n" for n in range(40_000)))
    assert html.count("<li") == 40_000
    with chromium() as browser:
        page = browser.new_page()
        devtools = page.context.new_cdp_session(page)
        devtools.send("Performance.enable", {"timeDomain": "threadTicks"})

        def seconds(shown):
            def layout():
                metrics = {each["name"]: each["value"] for each in devtools.send("Performance.getMetrics")["metrics"]}
                return metrics["LayoutDuration"] + metrics["RecalcStyleDuration"]

            page.set_content("<div id=output></div>")
            before = layout()
            page.evaluate(
                """html => new Promise(done => {
                    document.querySelector("#output").innerHTML = html;
                    requestAnimationFrame(() => setTimeout(done));
                })""",
                shown,
            )
            return layout() - before

        whole, in_parts = seconds(html), seconds(styled(html))
    assert in_parts < min(0.5, whole / 4)
