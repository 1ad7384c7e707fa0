"""Static output of a dashboard: figures with their time, written seldom."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import nbformat
import pytest
from nbclient import NotebookClient
from nbconvert import HTMLExporter, MarkdownExporter

from ipyllm import LLMError
from tests.fakes import FakeLLM, answer, status
from tests.service.rendering.payloads import PAYLOADS

CALLS = """
from ipyllm import LLMError, OpenAIService, UsageDashboard
for model in ("gpt-6-sol", "gpt-6-luna"):
    OpenAIService(model).chat("What is a slope?\\n\\n![x](http://canary.invalid/leak)", tags={"arm": "a"})
"""
SHOWN = "dashboard = UsageDashboard(since='hour', tag='arm=a')\ndashboard"
CLOSED = "OpenAIService('gpt-6-sol').chat('Once more', tags={'arm': 'a'})\ndashboard.close()"


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A notebook with a dashboard, run by a real kernel; a call was made after it was shown, and then it was closed."""
    home = tmp_path_factory.mktemp("saved")
    with FakeLLM() as fake, pytest.MonkeyPatch.context() as patch:
        fake.default = answer("It is a *slope*.")
        patch.setenv("OPENAI_BASE_URL", fake.base_url)
        patch.setenv("OPENAI_API_KEY", "sk-test-0123456789abcdef")
        patch.setenv("IPYLLM_LEDGER", str(home / "ledger.sqlite"))
        sources = [CALLS, SHOWN, CLOSED]
        notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in sources])
        client = NotebookClient(notebook, kernel_name="python3", timeout=100, store_widget_state=False)
        return client.execute()


class Elements(HTMLParser):
    """The elements and attributes of a page."""

    def __init__(self, html):
        super().__init__()
        self.names: set[str] = set()
        self.attributes: set[tuple[str, str]] = set()
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.names.add(tag)
        self.attributes |= {(name, value or "") for name, value in attrs}


@pytest.mark.thorough
def test_the_figures_stand_in_the_saved_notebook_as_they_were_when_it_was_closed(saved):
    kept = saved.cells[1].outputs[1]["data"]
    html = kept["text/html"]
    assert "<b>3</b>" in html, "the call after it was shown is counted: closing writes at once"
    assert "openai/gpt-6-luna" in html
    assert html.count('alt="Output tokens, by model') == 1
    assert "Once more" in html
    title = re.search("<summary>(.*?)</summary>", html)[1]
    assert re.fullmatch(r"Usage · this kernel · last hour · arm=a · \d{4}-\d\d-\d\d \d\d:\d\d:\d\d \S+", title)
    assert kept["text/plain"].startswith(title)
    assert "calls 3 · errors 0" in kept["text/plain"]
    assert not any(output.output_type in {"stream", "error"} for cell in saved.cells for output in cell.outputs)


def test_nothing_in_it_acts_or_is_loaded(saved):
    found = Elements(saved.cells[1].outputs[1]["data"]["text/html"])
    assert found.names <= {
        *("details", "summary", "table", "thead", "tbody", "tr", "th", "td", "p", "div", "b", "small", "h4", "img")
    }
    assert {name for name, _ in found.attributes} <= {"class", "open", "src", "alt", "width", "height"}
    assert all(value.startswith("data:image/svg+xml;base64,") for name, value in found.attributes if name == "src")


def test_html_and_markdown_by_nbconvert_show_the_figures(saved):
    page, _ = HTMLExporter(template_name="lab").from_notebook_node(saved)
    assert "<b>3</b>" in page
    assert 'alt="Output tokens, by model' in page
    text, _ = MarkdownExporter().from_notebook_node(saved)
    kept = next(line for line in text.splitlines() if "ipyllm-still" in line)
    assert kept.strip().startswith("<details")
    assert kept.strip().endswith("</details>"), "on one line: what a prompt says is never read as Markdown"
    assert "![x](http://canary.invalid/leak)" in kept
    assert kept.count("openai/gpt-6-luna") == 2


@pytest.fixture
def kept(fake, published, service):
    """A dashboard shown in a cell, and its outputs."""
    from ipyllm import UsageDashboard
    from ipyllm.ledger.current import current_ledger

    service().chat("First")
    assert current_ledger().flush()  # else its row may come after what the dashboard reads first
    dashboard = UsageDashboard()
    dashboard._ipython_display_()
    yield dashboard, published
    dashboard.close()


@pytest.fixture
def service(fake, monkeypatch):
    from ipyllm import OpenAIService

    monkeypatch.setenv("OPENAI_BASE_URL", fake.base_url)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test-0123456789abcdef")
    return lambda model="gpt-6-luna": OpenAIService(model, max_retries=0)


def html(output):
    return output["data"]["text/html"]


def test_an_unchanged_ledger_writes_nothing(kept):
    dashboard, published = kept
    assert len(published) == 1
    dashboard._static_output._published_at -= 1000
    for _ in range(3):
        dashboard.refresh()
    dashboard.close()
    assert len(published) == 1


def test_a_changed_ledger_writes_once_in_half_a_minute_and_at_once_when_closed(kept, service):
    dashboard, published = kept
    service().chat("Second")
    dashboard.refresh()
    assert len(published) == 1, "not yet"
    dashboard._static_output._published_at -= 31
    dashboard.refresh()
    dashboard.refresh()
    assert len(published) == 2
    assert "Second" in html(published[1])
    service().chat("Third")
    dashboard.close()
    dashboard.close()
    assert len(published) == 3
    assert "Third" in html(published[2])
    assert [output["update"] for output in published] == [False, True, True]


def test_a_filter_is_kept_with_the_figures(kept):
    dashboard, published = kept
    dashboard.choose(status="error", scope="all")
    dashboard.close()
    assert "Usage · all kernels · last day · error · " in html(published[-1])
    assert "<b>0</b>" in html(published[-1])


def test_hostile_words_are_text_in_what_is_kept(fake, kept, service):
    dashboard, published = kept
    for payload in list(PAYLOADS.values())[::4]:
        fake.reply(status(400, {"error": {"message": payload}}))
        with pytest.raises(LLMError):
            service(payload.replace("/", "").replace("\x00", "")[:60] or "x").chat(payload, tags={payload: payload})
    dashboard.close()
    found = Elements(html(published[-1]))
    assert {name for name, _ in found.attributes} <= {"class", "open", "src", "alt", "width", "height"}
    assert not found.names & {"script", "svg", "style", "a", "button", "iframe", "input"}
    assert "\n" not in html(published[-1])
