"""The line of a cell that waits: what it says, that it is drawn seldom, and that nothing of it stays."""

from __future__ import annotations

import io
import os
import re

import pytest

from ipyllm.events import ReasoningDelta, TextDelta, ToolCallDelta
from ipyllm.pipeline.waiting import Waiting
from ipyllm_magics.display import cell, reasoning_panel, terminal
from ipyllm_magics.display.output_formats import OUTPUT_FORMATS
from tests import fakes
from tests.fakes import answer

LINE = re.compile(r'<div class="ipyllm-footer ipyllm-waiting">(.*?)</div>')


@pytest.fixture
def details_at_once(kernel, kernel_fake):
    """Let lines say at once what a call waits for, after a first call, which imports the client."""
    kernel.run("%llm --no-history Hello")
    name = "reasoning_panel.DETAILS_AFTER_S"
    kernel.run(f"from ipyllm_magics.display import reasoning_panel\nbefore = {name}\n{name} = 0.0")
    yield
    kernel.run(f"{name} = before")


def lines_of(ran):
    """Return the waiting lines of all messages, in order."""
    data = [message["content"].get("data", {}).get("text/html", "") for message in ran.messages]
    return [line for html in data for line in LINE.findall(html)]


@pytest.mark.usefixtures("details_at_once")
def test_it_says_what_is_known_and_vanishes_with_the_answer(kernel, kernel_fake):
    kernel_fake.reply(fakes.rate_limited(2.3), answer("Paris.", ttft=1.3))
    ran = kernel.run("%%llm\nCapital of France?")
    lines = lines_of(ran)
    assert any(
        re.fullmatch(r"openai/fake-model · rate limited, next try in [123] s, attempt 2 of 3", line) for line in lines
    )
    assert lines[-1].startswith("openai/fake-model · waiting for the first token, attempt 2 of 3 · ")
    assert 3 <= len(lines) <= 6, "about one a second"
    assert "Paris." in ran.html
    assert "ipyllm-waiting" not in ran.html.split("</style>")[-1]
    line = ran.text.splitlines()[-1]
    figures = re.search(r"first token (1\.\d+) s after (\d+\.\d+) s of waiting · (\d\.\d+) s · 2 attempts", line)
    assert float(figures[3]) >= float(figures[1]) + float(figures[2]) - 0.02
    assert float(figures[2]) >= 2.3
    assert "rate limited" not in ran.text
    assert not ran.stdout + ran.stderr


@pytest.mark.usefixtures("details_at_once")
@pytest.mark.parametrize("fault", [fakes.unauthorized(), fakes.reset(answer("one two", ttft=0.6), after=0)])
def test_it_vanishes_with_an_error(kernel, kernel_fake, fault):
    kernel_fake.reply(fakes.slow_headers(fault, 0.5) if fault.status == 200 else fault)
    kernel_fake.default = fakes.status(400, {"error": {"message": "no"}}, delay=0.6)
    ran = kernel.run("%llm Hello")
    assert ran.status == "error"
    assert "ipyllm-waiting" not in ran.html.split("</style>")[-1]


@pytest.mark.usefixtures("details_at_once")
def test_it_vanishes_with_an_interrupt(kernel, kernel_fake):
    kernel_fake.default = fakes.never_answers()
    request = kernel.start("%%llm\nHello")
    ran = kernel.collect(request, until=lambda ran: "waiting for the first token" in ran.html)
    kernel.interrupt()
    ran = kernel.collect(request, ran=ran)
    assert "stopped openai/fake-model" in ran.error
    assert "ipyllm-waiting" not in ran.html.split("</style>")[-1]


def test_short_waits_are_not_explained():
    waiting = Waiting("connecting · ", 0)
    shown = cell.GrowingAnswer()
    assert reasoning_panel.activity(shown, 1.6, waiting) == "waiting · 2 s"
    assert reasoning_panel.activity(shown, 2.0, waiting).startswith("connecting · ")
    assert reasoning_panel.activity(shown, 9.0, None) == "waiting · 9 s"


def test_what_the_model_does_comes_first():
    thinking = Waiting("thinking · ", 0)
    shown = cell.GrowingAnswer()
    shown.feed(ReasoningDelta("let me see", 0))
    assert reasoning_panel.activity(shown, 9.0, thinking) == "3 words of reasoning · 9 s"
    shown.feed(ToolCallDelta(0, "call", "look", "{}", 0))
    assert reasoning_panel.activity(shown, 9.0, None) == "calling look · 9 s"
    assert reasoning_panel.activity(shown, 9.0, thinking).startswith("thinking · "), "in the next round"


class Output(io.StringIO):
    """A stream that is a terminal, or not."""

    def __init__(self, *, is_tty):
        super().__init__()
        self.is_tty = is_tty

    def isatty(self):
        return self.is_tty


@pytest.fixture
def renderer(monkeypatch):
    def make(*, is_tty=True, term="xterm", columns=80, model="openai/m"):
        out = Output(is_tty=is_tty)
        monkeypatch.setattr("sys.stdout", out)
        monkeypatch.setenv("TERM", term)
        monkeypatch.setenv("COLUMNS", str(columns))
        return terminal.TerminalRenderer(model, OUTPUT_FORMATS["markdown"]), out

    return make


def test_a_terminal_has_one_line_which_is_erased(renderer):
    shown, out = renderer()
    shown.waiting(1.0, Waiting("connecting · ", 0))
    assert out.getvalue() == ""
    shown.waiting(3.0, None)
    shown.waiting(4.0, Waiting("rate limited, next try in ", 0, " s", counts_down=True))
    shown.feed(TextDelta("Paris.", 0))
    shown.draw()
    shown.draw()
    erase = "\r\x1b[2K"
    assert out.getvalue() == (
        f"{erase}\x1b[2mopenai/m · waiting · 3 s\x1b[22m{erase}\x1b[2mopenai/m · rate limited, next try in 0 s\x1b[22m"
        f"{erase}Paris."
    )


def test_a_line_never_wraps(renderer):
    shown, out = renderer(columns=20, model="endpoint/" + "long" * 20)
    shown.waiting(3.0, None)
    assert len(re.sub(r"\r|\x1b\[\d*[a-zA-Z]", "", out.getvalue())) == 19


@pytest.mark.parametrize("options", [{"is_tty": False}, {"term": "dumb"}])
def test_where_lines_would_pile_up_there_is_none(renderer, options):
    shown, out = renderer(**options)
    shown.waiting(3.0, None)
    shown.draw()
    assert out.getvalue() == ""


def test_a_converted_notebook_has_nothing_of_it(kernel_fake, kernel, tmp_path, monkeypatch):
    nbformat = pytest.importorskip("nbformat")
    nbclient = pytest.importorskip("nbclient")

    for name, value in {"OPENAI_BASE_URL": kernel_fake.base_url, "IPYLLM_MODEL": "openai/fake-model"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("IPYLLM_LEDGER", os.fspath(tmp_path / "ledger.sqlite"))
    kernel_fake.default = answer("Paris.", ttft=1.3)
    notebook = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell("%load_ext ipyllm"), nbformat.v4.new_code_cell("%llm Capital of France?")]
    )
    nbclient.NotebookClient(notebook, kernel_name="python3").execute()
    outputs = notebook.cells[1].outputs
    assert [output.output_type for output in outputs] == ["display_data", "display_data"]
    assert "Paris." in outputs[1].data["text/html"]
    assert not any("· waiting" in str(output.data) for output in outputs)
