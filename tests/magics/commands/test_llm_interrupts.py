"""``%%llm`` interrupted in a real kernel, and answers that come to nothing."""

from __future__ import annotations

import time

import pytest

from tests import fakes
from tests.fakes import answer

MARKDOWN = "# Title\n\nSome *text*.\n\n```python\nprint('hi')\n```\n\n- one\n- two\n"


@pytest.fixture
def fake(kernel_fake):
    """The server that the kernel's default model is at."""
    return kernel_fake


@pytest.mark.parametrize("stage", ["before the first token", "in mid-answer"])
def test_an_interrupt_stops_the_request_and_keeps_what_came(kernel, fake, stage):
    fake.default = fakes.never_answers() if stage == "before the first token" else fakes.drip("word ", every=0.02)
    request = kernel.start("%%llm -o stopped\nHello")
    fake.wait_for(lambda: fake.requests)
    shown = "waiting" if stage == "before the first token" else "word word"
    ran = kernel.collect(request, until=lambda ran: shown in ran.html)
    kernel.interrupt()
    kernel.collect(request, ran=ran)
    assert ran.status == "error", "Run All stops"
    came = "; the text received so far is saved." if stage == "in mid-answer" else " before any text came."
    assert ran.traceback == [f"interrupted: stopped openai/fake-model{came}"]
    fake.wait_for(lambda: fake.requests[-1].closed_by_client)
    assert "cancelled" in ran.text
    said = kernel.run("print(stopped.status, len(stopped.content) > 0)").stdout
    assert said == f"cancelled {stage == 'in mid-answer'}\n"
    row = kernel.run(
        "print(_llm.call_id, *__import__('ipyllm').usage()[['call_id', 'status']].iloc[-1])"
    ).stdout.split()
    assert row[0] == row[1]
    assert row[2] == "cancelled"
    if stage == "in mid-answer":
        assert ran.text.startswith("\nword word")
        assert "assistant (cancelled): word" in kernel.run("%llm_history").text
    assert kernel.run("1 + 1").text == "2"


def test_impatient_interrupts_lose_nothing(kernel, fake):
    # A page whose last drawing takes a second: the second interrupt comes while the first is handled.
    page = "```html\n" + "<p class='a'>Hi <b>there</b> <a href='http://x.y'>x</a></p>\n" * 30_000
    fake.default = fakes.stall(answer(page, chunks=[page, "<p>End</p>", "\n```"]), after=2)
    request = kernel.start("%%llm -f html -o stopped\nHello")
    ran = kernel.collect(request, until=lambda ran: "End" in ran.html)
    for _ in range(2):
        kernel.interrupt()
        time.sleep(0.4)
    kernel.collect(request, ran=ran)
    assert ran.status == "error"
    assert len(ran.traceback) == 1, ran.traceback
    assert ran.traceback[0].startswith("interrupted: stopped openai/fake-model")
    assert kernel.run("print(stopped.status, stopped.content[-10:])").stdout == "cancelled <p>End</p>\n"
    assert "<iframe" in ran.html
    assert ran.stderr == "", "the drawing was not interrupted either"
    fake.wait_for(lambda: fake.requests[-1].closed_by_client)


def test_an_answer_that_cannot_be_drawn_is_saved_and_its_request_stopped(kernel, fake):
    fake.default = fakes.drip("word ", every=0.02)
    hook = (
        "def torn(message):\n    if 'word' in str(message['content']): raise ZeroDivisionError\n    return message\n"
        "get_ipython().display_pub.register_hook(torn)"
    )
    assert kernel.run(hook).status == "ok"
    try:
        ran = kernel.run("%%llm -o stored\nHello")
        assert ran.status == "error"
        fake.wait_for(lambda: fake.requests[-1].closed_by_client)
        assert kernel.run("print(stored.content[:4], stored.status)").stdout == "word cancelled\n"
    finally:
        kernel.run("get_ipython().display_pub.unregister_hook(torn)")


def test_a_plain_chat_call_is_interrupted_cleanly_too(kernel, fake):
    fake.default = fakes.drip("word ", every=0.02)
    request = kernel.start("from ipyllm import create_llm_service\ncreate_llm_service().chat('Hello')")
    fake.wait_for(lambda: fake.requests and len(fake.requests[-1].sent_ns) > 5)
    kernel.interrupt()
    ran = kernel.collect(request)
    assert ran.status == "error"
    fake.wait_for(lambda: fake.requests[-1].closed_by_client)


@pytest.mark.parametrize(
    ("cell", "n"),
    [("%%llm --quiet -o response\nHello", 1), ("%%llm_compare --quiet -m openai/a -m openai/b\nHello", 2)],
)
def test_an_answer_that_nobody_sees_is_asked_for_again_when_it_breaks_off(kernel, fake, cell, n):
    fake.reply(*[fakes.reset("one two three", after=2)] * n)
    fake.default = answer("whole")
    assert kernel.run(cell).status == "ok"
    read = "import ipyllm\nrow = ipyllm.usage().iloc[-1]\nprint(row.response, row.broken_attempts)"
    assert kernel.run(read).stdout == "whole 1\n"


def test_an_answer_that_is_shown_is_sent_once(kernel, fake):
    fake.reply(fakes.reset("one two three", after=2))
    assert kernel.run("%%llm -f json\nHello").status == "error"
    assert len(fake.requests) == 1
