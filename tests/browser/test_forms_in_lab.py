"""``-f``, tools, images and mistakes of ``%%llm`` in JupyterLab, in the light and dark theme."""

from __future__ import annotations

import pytest

from tests.browser import test_llm_in_lab
from tests.browser.lab import needs_chromium
from tests.fakes import answer
from tests.service.rendering.payloads import CANARY, PAYLOADS

pytestmark = [pytest.mark.browser, needs_chromium, pytest.mark.timeout(300)]

PAGE = """```html
<style>h1 { color: teal } td { border: 1px solid #999; padding: 4px 10px }</style>
<h1>Coffee</h1>
<table><tr><td>Oslo</td><td>310</td></tr><tr><td>Rome</td><td>820</td></tr></table>
<svg viewBox="0 0 120 40" width="240">
<rect width="31" height="15" fill="teal"/><rect y="20" width="82" height="15" fill="teal"/>
</svg>
<script>parent.pwned = 1; document.body.innerHTML = "scripted"</script>
```"""
CODE = "You could write:\n\n```python\norders['share'] = orders.cups / orders.cups.sum()\n```\n\nThat is all."
SETUP = """%load_ext ipyllm
def weather(city: str) -> str:
    "Weather of a city."
    return f"Rain in {city}."
"""


lab_and_fake, screenshot = test_llm_in_lab.lab_and_fake, test_llm_in_lab.screenshot


@pytest.fixture(autouse=True)
def tall(lab_and_fake):
    lab_and_fake[0].page.set_viewport_size({"width": 1100, "height": 1400})


def replies(fake, **by_prompt):
    fake.on(lambda request: by_prompt.get(request.prompt.strip()))


def test_each_form_looks_as_it_should(lab_and_fake):
    lab, fake = lab_and_fake
    replies(
        fake,
        text=answer("# as *written*\n\nline <b>two</b>"),
        json=answer('Sure: {"city": "Zürich", "cups": [310, 820]}'),
        page=answer(PAGE),
    )
    notebook = lab.open([SETUP, "%llm -f text text", "%llm -f json json", "%llm -f html page"])
    for number in range(4):
        notebook.run(number)
    shown = notebook.output(1)
    assert "# as *written*" in shown.inner_text()
    assert shown.locator("h1, b").count() == 0
    assert '"city": "Zürich"' in notebook.output(2).inner_text()
    assert notebook.output(2).locator("pre .s, pre .nt").count() > 0, "JSON is highlighted"
    frame = notebook.output(3).frame_locator("iframe.ipyllm-page")
    assert frame.locator("h1").inner_text() == "Coffee"
    assert frame.locator("td").count() == 4
    assert frame.locator("rect").count() == 2
    assert lab.page.evaluate("window.pwned === undefined")
    box = notebook.output(3).locator("iframe").bounding_box()
    assert box["width"] > 500
    assert box["height"] > 200
    notebook.output(3).get_by_text("HTML source").click()
    assert "parent.pwned" in notebook.output(3).inner_text(), "the source is shown, as text"
    notebook.output(3).get_by_text("HTML source").click()
    screenshot(lab, "forms")


def test_code_goes_into_a_new_cell_below(lab_and_fake):
    lab, fake = lab_and_fake
    replies(fake, code=answer(CODE))
    notebook = lab.open([SETUP, "%llm -f code code", "'last'"])
    notebook.run(0)
    output = notebook.run(1)
    output.get_by_text("first token").wait_for()
    assert "You could write" not in output.inner_text()
    lab.page.wait_for_function("document.querySelectorAll('.jp-Notebook .jp-CodeCell').length === 4")
    assert "orders['share']" in notebook.cell(2).locator(".jp-InputArea-editor").inner_text()
    screenshot(lab, "code")


def test_tool_calls_and_reasoning_are_folded_and_open_at_a_click(lab_and_fake):
    lab, fake = lab_and_fake
    fake.on(None)
    fake.reply(
        answer("", chunks=[], reasoning="I should look.", tool_calls=[("weather", {"city": "Bern"})]),
        answer("It **rains** in Bern."),
    )
    notebook = lab.open([SETUP, "%llm --tools weather How is Bern?", "%llm --dry-run -s Brief. -t 0 What would it be?"])
    notebook.run(0)
    output = notebook.run(1)
    output.get_by_text("first token").wait_for()
    tool = output.locator("details.ipyllm-tool")
    assert tool.locator("summary").inner_text() == 'weather({"city":"Bern"})'
    assert not tool.get_by_text("Rain in Bern.").is_visible()
    tool.locator("summary").click()
    tool.get_by_text("Rain in Bern.").wait_for()
    assert output.locator("details").count() == 2
    assert output.locator("strong").inner_text() == "rains"
    notebook.run(2)
    screenshot(lab, "tools")


def test_a_hostile_page_does_nothing(lab_and_fake):
    lab, fake = lab_and_fake
    hostile = "".join(f"<div>{payload}</div>" for payload in PAYLOADS.values()).replace(CANARY, fake.url)
    replies(fake, hostile=answer(f"<p>Begin</p>{hostile}<p>End</p>"))
    lab.external_requests.clear()
    notebook = lab.open([SETUP, "%llm --no-history -f html hostile"])
    notebook.run(0)
    requests = len(fake.requests)
    output = notebook.run(1)
    output.frame_locator("iframe.ipyllm-page").get_by_text("Begin").first.wait_for()
    lab.page.wait_for_timeout(1500)
    assert lab.dialogs == []
    assert lab.external_requests == []
    assert lab.page.evaluate("window.pwned === undefined")
    assert len(fake.requests) == requests + 1, [request.path for request in fake.requests[requests:]]


@pytest.mark.smoke
def test_mistakes_are_one_line_and_a_tab_helps(lab_and_fake):
    lab, fake = lab_and_fake
    fake.on(None)
    sources = [
        SETUP,
        "%%llm --image wether.png\nWhat is it?",
        "%%llm --tools wether\nHow is Bern?",
        "%%llm\nWhat is in {{ ordres }}?",
        "%%llm --te",
    ]
    notebook = lab.open(sources)
    notebook.run(0)
    for number in range(1, 4):
        output = notebook.run(number)
        output.get_by_text("usage").first.wait_for()
        assert len(output.inner_text().strip().splitlines()) == 1, output.inner_text()
    notebook.cell(4).locator(".jp-InputArea-editor").click()
    lab.page.keyboard.press("End")
    lab.page.keyboard.press("Tab")
    # One offer is taken at once; several, with what stands elsewhere in the notebook, are a list to choose from.
    lab.page.wait_for_function(
        """() => [...document.querySelectorAll('.jp-CodeCell .cm-content, .jp-Completer')]
            .some(element => element.textContent.includes('--temperature'))"""
    )
    screenshot(lab, "mistakes")
