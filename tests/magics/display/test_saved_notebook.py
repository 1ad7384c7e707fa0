"""A saved notebook: as JupyterLab, GitHub, nbconvert and jupytext show, strip and convert it."""

from __future__ import annotations

import importlib.util
import re
import shutil
from pathlib import Path

import jupytext
import nbformat
import pytest
from nbformat.sign import NotebookNotary

from tests import fakes
from tests.fakes import answer
from tests.service.rendering.test_markdown_source import faults

ANSWER = r"""## Fitting

The slope is $\beta$, \(\sqrt{\pi}\), $x^2$.

| a | b |
| --- | --- |
| 1 | 2 |

```python
x = 1

y = 2
```

![plot](https://a.example/b.png) \input{c}
"""

LONG = [f"Paragraph {number}. {' '.join(['word'] * 100)}" for number in range(60)]


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A notebook as nbclient leaves it."""
    from nbclient import NotebookClient

    home = tmp_path_factory.mktemp("saved")
    cells = [
        "%load_ext ipyllm",
        "%%llm --no-history\nHow?",
        "%%llm --no-history -f json\ngive json",
        "%%llm --no-history -f html\ngive html",
        "%%llm_compare -m openai/one -m openai/two\nHow?",
        "%%llm --no-history\nLong?",
        "%%llm --no-history\nLong at once?",
    ]
    replies = {
        "How?": answer(ANSWER, reasoning="They want a line."),
        "give json": answer('{"a": 1}'),
        "give html": answer("<p>A <b>page</b></p>"),
        "Long?": answer("\n\n".join(LONG), chunks=300, gap=0.005),
        "Long at once?": answer("\n\n".join(LONG)),
    }
    with fakes.FakeLLM() as fake, pytest.MonkeyPatch.context() as patch:
        fake.on(lambda request: replies[request.prompt])
        for name, value in {
            "IPYLLM_MODEL": "openai/fake-model",
            "OPENAI_BASE_URL": fake.base_url,
            "IPYLLM_LEDGER": str(home / "ledger.sqlite"),
            "IPYLLM_CONFIG": str(home / "config.toml"),
            "IPYTHONDIR": str(home),
        }.items():
            patch.setenv(name, value)
        notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in cells])
        patch.setenv("JUPYTER_RUNTIME_DIR", str(home))
        NotebookClient(
            notebook, kernel_name="python3", timeout=60, resources={"metadata": {"path": str(home)}}
        ).execute()
    nbformat.validate(notebook)
    return notebook


def outputs(notebook, cell):
    return [output["data"] for output in notebook.cells[cell].outputs if "data" in output]


def test_beside_markdown_each_output_has_html_which_notebooks_prefer(saved):
    for cell in range(1, 7):
        for data in outputs(saved, cell):
            assert set(data) == {"text/html", "text/markdown", "text/plain"}
            assert faults(data["text/markdown"]) == []


def test_as_plain_text_a_saved_answer_reads_as_it_was_written(saved):
    text = "\n".join(data["text/plain"] for data in outputs(saved, 1))
    assert "> They want a line." in text
    assert ANSWER.strip() in text
    assert text.splitlines()[-1].startswith("openai/fake-model · ")


def test_where_styles_and_frames_are_stripped_the_answer_is_still_there(saved):
    """Sanitise HTML as GitHub does, which removes styles, classes and frames, but not tables and code."""
    import nh3

    def stripped(cell):
        return "".join(nh3.clean(data["text/html"], attributes={}) for data in outputs(saved, cell))

    shown = stripped(1)
    for part in ("Fitting</h2>", "<td>1</td>", "x = 1", "They want a line.", "openai/fake-model"):
        assert part in re.sub(r"</?span>", "", shown), shown
    assert "ipyllm" not in shown, "no style sheet is left as text"
    assert "&lt;p&gt;A &lt;b&gt;page" in re.sub(r"</?span>", "", stripped(3)), "the source stands under the frame"


def test_nbconvert_makes_a_page_of_it(saved):
    from nbconvert import HTMLExporter

    page, _ = HTMLExporter().from_notebook_node(saved)
    assert ">Fitting</h2>" in page
    assert 'class="ipyllm-page"' in page
    assert "&quot;a&quot;: 1" in page or '"a"' in page


def test_the_styles_of_an_answer_are_few_and_each_cell_has_its_own(saved):
    def bytes_of_styles(cell):
        styles = re.findall(
            r"<style>.*?</style>", "".join(data["text/html"] for data in outputs(saved, cell)), re.DOTALL
        )
        return len("".join(styles).encode())

    assert 0 < bytes_of_styles(5) < 1_000, "paragraphs"
    assert bytes_of_styles(1) < 3_800, "reasoning, a table, code and mathematics"


@pytest.mark.parametrize("cell", [5, 6], ids=["streamed", "at once"])
def test_a_long_answer_is_folded_and_whole(saved, cell):
    html = "".join(data["text/html"] for data in outputs(saved, cell))
    first, rest = html.split('<details class="ipyllm-rest">')
    assert "Paragraph 20." in first
    assert "Paragraph 59." in rest.split("</details>")[0]
    assert "openai/fake-model" in rest.split("</details>")[1]
    markdown = "\n\n".join(data["text/markdown"] for data in outputs(saved, cell) if data["text/markdown"])
    assert markdown.startswith("\n\n".join(LONG))
    assert html.count("Paragraph 30.") == 1


def test_nbconvert_makes_markdown_of_it(saved):
    from nbconvert import MarkdownExporter

    page, _ = MarkdownExporter().from_notebook_node(saved)
    assert faults(re.sub(r"</?[a-z][^>]*>|<style>.*?</style>|<script>.*?</script>", "", page, flags=re.DOTALL)) == []
    left = re.sub(r"<[^>]*>", "", page)
    for part in ("√π", "x^2", "x = 1&#10;\ny = 2", "Fitting"):
        assert part in left, part


def test_as_markdown_an_answer_is_its_source_and_its_line(saved):
    markdown = "\n\n".join(filter(None, (data["text/markdown"] for data in outputs(saved, 1))))
    assert markdown.startswith(
        "> They want a line.\n\n## Fitting\n\nThe slope is $\\beta$, $\\sqrt{\\pi}$, $x^2$.\n\n| a | b |"
    )
    assert "[🖼 plot](https://a.example/b.png) \\\\input{c}" in markdown
    assert re.search(r"\n\n\*openai/fake-model · [^*]*\*$", markdown)
    *_, columns = (data["text/markdown"] for data in outputs(saved, 4))
    assert columns.count("$\\sqrt{\\pi}$") == 2
    assert "**A · one**" in columns


def test_the_notebook_of_the_demo_is_signed(saved, tmp_path, monkeypatch):
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(tmp_path))
    spec = importlib.util.spec_from_file_location("demo", Path(__file__).parents[3] / "notebooks" / "demo.py")
    demo = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(demo)
    demo.write_signed(saved, tmp_path / "demo.ipynb")
    notary = NotebookNotary()
    assert notary.check_signature(nbformat.read(tmp_path / "demo.ipynb", as_version=4))
    notary.store.close()


@pytest.mark.parametrize("form", ["py:percent", "md", "ipynb"])
def test_jupytext_writes_and_reads_the_cells(saved, form):
    again = jupytext.reads(jupytext.writes(saved, fmt=form), fmt=form)
    assert [cell.source for cell in again.cells] == [cell.source for cell in saved.cells]


@pytest.mark.thorough
@pytest.mark.skipif(
    not (shutil.which("xelatex") and shutil.which("pandoc")),
    reason="NO LATEX FOUND: nothing was converted to PDF (apt install pandoc texlive-xetex texlive-latex-extra)",
)
@pytest.mark.timeout(300)
def test_nbconvert_makes_a_pdf_of_it(saved):
    from nbconvert import LatexExporter, PDFExporter

    latex, _ = LatexExporter().from_notebook_node(saved)
    assert r"\(\sqrt{\pi}\)" in latex
    assert r"\input{c}" not in latex
    pdf, _ = PDFExporter().from_notebook_node(saved)
    assert pdf.startswith(b"%PDF")
