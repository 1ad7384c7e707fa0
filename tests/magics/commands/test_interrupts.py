"""An interrupt at every stage of a call stops it, stores and shows what had arrived, and closes the connection."""

from __future__ import annotations

import pytest

from tests import fakes
from tests.fakes import answer
from tests.service.unreachable import nobody_accepts

TOOLS = """
import asyncio, time
started = []
def slow() -> str:
    'Slow.'
    started.append(1)
    print('begun', flush=True)
    time.sleep(1000)
    return 'never'
async def slow_async() -> str:
    'Slow.'
    started.append(1)
    print('begun', flush=True)
    await asyncio.sleep(1000)
    return 'never'
"""
HOLD_THE_NEXT_DRAWING = """
import signal, time
from ipyllm_magics.display.cell import CellRenderer
def hold_the_next_drawing(show=CellRenderer._send_final):
    def held(self, *given):
        CellRenderer._send_final = show
        came = []
        handler = signal.signal(signal.SIGINT, lambda *signal_and_frame: came.append(signal_and_frame))
        print('drawing', flush=True)
        while not came:
            time.sleep(0.01)
        signal.signal(signal.SIGINT, handler)
        handler(*came[0])
        show(self, *given)
        print('drawn', flush=True)
    CellRenderer._send_final = held
hold_the_next_drawing()
"""  # until the interrupt has come


def interrupted(kernel, request, ran, before=False):
    kernel.interrupt()
    kernel.collect(request, ran=ran)
    assert ran.status == "error"
    came = " before any text came." if before else "; the text received so far is saved."
    assert ran.traceback == [f"interrupted: stopped openai/fake-model{came}"]
    assert kernel.run("1 + 1").text == "2"
    return ran


def until_printed(kernel, request, expression, ran=None):
    """Wait until the kernel, busy with ``request``, shows what is awaited in an output."""
    return kernel.collect(request, ran=ran, until=lambda ran: expression in ran.html or expression in ran.stdout)


@pytest.fixture
def unanswered():
    """An address where no connection is ever made: the queue of its listener is full."""
    with nobody_accepts() as base_url:
        yield base_url


def test_before_it_is_connected(kernel, kernel_fake, unanswered):
    kernel.run(f"import os\nbefore = os.environ['OPENAI_BASE_URL']\nos.environ['OPENAI_BASE_URL'] = {unanswered!r}")
    try:
        request = kernel.start("%%llm -o stopped\nHello")
        ran = until_printed(kernel, request, "waiting")
        interrupted(kernel, request, ran, before=True)
        assert kernel.run("print(stopped.status, repr(stopped.content))").stdout == "cancelled ''\n"
        assert "Hello" not in kernel.run("%llm_history").text
    finally:
        kernel.run("os.environ['OPENAI_BASE_URL'] = before")
    assert kernel.run("%llm Hello").status == "ok"


def test_before_the_first_token(kernel, kernel_fake):
    kernel_fake.default = fakes.never_answers()
    request = kernel.start("%%llm -o stopped\nHello")
    kernel_fake.wait_for(lambda: kernel_fake.requests)
    ran = until_printed(kernel, request, "waiting")
    interrupted(kernel, request, ran, before=True)
    kernel_fake.wait_for(lambda: kernel_fake.requests[-1].closed_by_client)


@pytest.mark.parametrize("form", ["markdown", "text", "code", "json", "html"])
def test_in_mid_answer_in_every_form(form, kernel, kernel_fake):
    kernel_fake.default = fakes.drip("word ", every=0.02)
    request = kernel.start(f"%%llm -f {form} -o stopped\nHello")
    ran = until_printed(kernel, request, "word word")
    interrupted(kernel, request, ran)
    assert "word word" in ran.text
    assert "cancelled" in ran.text
    assert kernel.run("print(stopped.content[:9], stopped.status)").stdout == "word word cancelled\n"
    kernel_fake.wait_for(lambda: kernel_fake.requests[-1].closed_by_client)


@pytest.mark.parametrize("name", ["slow", "slow_async"])
def test_during_a_tool(name, kernel, kernel_fake):
    kernel.run(TOOLS)
    kernel_fake.default = answer("Let me see.", tool_calls=[(name, {})])
    request = kernel.start(f"%%llm --tools {name} -o stopped\nHello")
    ran = until_printed(kernel, request, "begun")
    interrupted(kernel, request, ran)
    assert "Let me see." in ran.text
    assert f"{name}(" in ran.text
    assert kernel.run("print(len(started), stopped.status)").stdout == "1 cancelled\n"
    assert len(kernel_fake.requests) == 1, "the model was not asked again"


def test_while_drawing(kernel, kernel_fake):
    """The interrupt comes during a drawing: nothing of the answer is torn, shown twice or lost."""
    paragraphs = [f"Paragraph {i}. " + "**b** `c` [l](http://x.y) " * 80 for i in range(60)]
    text = "\n\n".join(paragraphs)
    kernel_fake.default = fakes.stall(
        answer(text + "\n\nEnd.", chunks=["Start.\n\n", text, "\n\nEnd."], gap=100), after=3
    )
    assert kernel.run(HOLD_THE_NEXT_DRAWING).status == "ok"
    request = kernel.start("%%llm -o stopped\nHello")
    ran = until_printed(kernel, request, "Start.")
    kernel_fake.send_next()
    until_printed(kernel, request, "drawing", ran)
    interrupted(kernel, request, ran)
    assert "drawn" in ran.stdout, "the interrupt waited for the drawing"
    content = kernel.run("print(stopped.content)").stdout
    kept = [line.partition(".")[0] for line in content.splitlines() if line.startswith("Paragraph")]
    assert kept == [f"Paragraph {i}" for i in range(60)]
    assert [ran.text.count(f"{line}.") for line in kept] == [1] * len(kept)
    assert [ran.html.count(f">{line}.") for line in kept] == [1] * len(kept)


def test_while_the_complete_answer_is_drawn(kernel, kernel_fake):
    page = "<p class='a'>Hi <b>there</b> <a href='http://x.y'>x</a></p>\n" * 30_000
    text = f"```html\n{page}```"
    kernel_fake.default = answer(text, chunks=[text[:-3], "```"])
    assert kernel.run(HOLD_THE_NEXT_DRAWING).status == "ok"
    request = kernel.start("%%llm -f html -o stopped\nHello")
    ran = until_printed(kernel, request, "drawing")
    kernel.interrupt()
    kernel.collect(request, ran=ran)
    assert ran.traceback == [
        "interrupted: the answer of openai/fake-model was already complete; it is shown and saved."
    ]
    assert "<iframe" in ran.html
    assert kernel.run("print(stopped.status, len(stopped.content))").stdout == f"ok {len(text)}\n"


SLOW_TEMPLATES = {
    "a function of the user's": (
        "import time, ipyllm\n@ipyllm.template_function\ndef slow(): time.sleep(1000)",
        "{{ slow() }}",
    ),
    "a loop": ("many = list(range(1000)) * 100", "{% for i in many %}{{ i in [-1] }}{{ -1 in many }}{% endfor %}"),
    "a filter": ("many = [str(i) * 10 for i in range(3_000_000)]", "{{ many | map('upper') | list | length }}"),
}


@pytest.mark.parametrize("name", SLOW_TEMPLATES)
def test_while_a_template_is_filled_in(name, kernel, kernel_fake):
    setup, prompt = SLOW_TEMPLATES[name]
    begun = "\nimport ipyllm\n@ipyllm.template_function\ndef begun(): print('begun', flush=True)"
    assert kernel.run(setup + begun).status == "ok"
    request = kernel.start(f"%%llm\n{{{{ begun() }}}}{prompt}")
    until_printed(kernel, request, "begun")
    kernel.interrupt()
    ran = kernel.collect(request)
    assert ran.status == "error"
    assert "may not" not in ran.error
    assert "takes" not in ran.error, "the limit ended it, not the interrupt"
    assert not kernel_fake.requests
    assert kernel.run("1 + 1").text == "2"
