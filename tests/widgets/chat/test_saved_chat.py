"""A saved notebook contains the chat's transcript, for readers without a kernel."""

from __future__ import annotations

import nbformat
import pytest
from nbclient import NotebookClient
from nbconvert import HTMLExporter, MarkdownExporter

from tests.fakes import answer

RECORD = """
publisher, published = get_ipython().display_pub, []
publish = publisher.publish
def publish_and_record(data, *args, **options):
    publish(data, *args, **options)
    published.append(data.get("text/html", ""))
publisher.publish = publish_and_record
"""
SOURCES = [
    f"{RECORD}\nfrom ipyllm import ChatWidget\nchat = ChatWidget(conversation='saved')\nchat",
    "chat.send('How?  <script>window.pwned=1</script>').wait();",
    # The transcript is drawn beside the cells: a later cell may overtake it.
    "import time\nwhile not any('<strong>bold</strong>' in html for html in published): time.sleep(0.05)",
]


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A notebook with a chat, run by a real kernel."""
    from tests.fakes import FakeLLM

    home = tmp_path_factory.mktemp("saved")
    with FakeLLM() as fake, pytest.MonkeyPatch.context() as patch:
        fake.default = answer("Use **bold**.\n\n<img src=x onerror=alert(1)>\n\n```python\nx = 1\n```")
        patch.setenv("IPYLLM_MODEL", "openai/fake-model")
        patch.setenv("OPENAI_BASE_URL", fake.base_url)
        patch.setenv("OPENAI_API_KEY", "sk-test-0123456789abcdef")
        patch.setenv("IPYLLM_LEDGER", str(home / "ledger.sqlite"))
        notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in SOURCES])
        # Without the widgets' state, as JupyterLab saves by default: nothing but outputs is left.
        client = NotebookClient(notebook, kernel_name="python3", timeout=100, store_widget_state=False)
        return client.execute()


def test_the_transcript_stands_in_the_saved_notebook(saved):
    transcript = saved.cells[0].outputs[1]["data"]
    assert '<details class="ipyllm-transcript" open>' in transcript["text/html"]
    assert " · run the cell to go on with it</summary>" in transcript["text/html"]
    assert "<strong>bold</strong>" in transcript["text/html"]
    assert "&lt;script&gt;" in transcript["text/html"]
    assert "You: How?" in transcript["text/plain"]
    assert not any(output.output_type in {"stream", "error"} for cell in saved.cells for output in cell.outputs)


def test_html_by_nbconvert_shows_the_chat_without_a_network(saved):
    page, _ = HTMLExporter(template_name="classic").from_notebook_node(saved)
    assert "<strong>bold</strong>" in page
    assert "<script>window.pwned" not in page
    assert "<img src=x" not in page


def test_markdown_by_nbconvert_shows_the_chat(saved):
    text, _ = MarkdownExporter().from_notebook_node(saved)
    assert "<strong>bold</strong>" in text
    assert "How?" in text
