"""How a stream may end, and what in it is not a chunk: bytes as servers send them, read through a real connection."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from ipyllm import LLMError, OllamaService
from tests.fakes import answer, status


def chunk(text="", finish_reason=None):
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": finish_reason}
    return f"data: {json.dumps({'choices': [choice]})}"


@pytest.fixture
def read(fake):
    """Have the server send these very bytes as a stream; return the answer."""

    def read(wire):
        fake.default = status(200, wire, {"content-type": "text/event-stream"})
        return OllamaService("m", base_url=fake.base_url, max_retries=0).chat("Hello")

    return read


WHOLE = {
    "[DONE] without a new line": f"{chunk('Hi')}\n\ndata: [DONE]",
    "[DONE] without a blank line": f"{chunk('Hi')}\n\ndata: [DONE]\n",
    "a finish without a blank line": f"{chunk('Hi')}\n\n{chunk('', 'stop')}\n",
    "text and finish without a blank line": f"{chunk('Hi', 'stop')}\n",
    "a finish without a new line": f"{chunk('Hi')}\n\n{chunk('', 'stop')}",
    "half a line after the finish": f'{chunk("Hi", "stop")}\n\ndata: {{"usa',
    "line ends of old": f"{chunk('Hi')}\n\n{chunk('', 'stop')}\n\n".replace("\n", "\r"),
    "a byte order mark": f"\ufeff{chunk('Hi')}\n\n{chunk('', 'stop')}\n\n",
    "empty events and comments in events": f"data: \n\ndata: : keepalive\n\n{chunk('Hi', 'stop')}\n\n",
    "chunks that are no objects": f"data: null\n\n{chunk('Hi')}\n\ndata: [1]\n\ndata: 5\n\ndata: [DONE]\n\n",
}


@pytest.mark.parametrize("wire", WHOLE.values(), ids=WHOLE)
def test_an_answer_is_whole_however_its_end_is_written(read, wire):
    response = read(wire)
    assert (response.content, response.status) == ("Hi", "ok")


CUT = {
    "after a chunk": f"{chunk('Hi')}\n\n",
    "before the blank line of a chunk": f"{chunk('Hi')}\n",
    "in the middle of [DONE]": f"{chunk('Hi')}\n\ndata: [DO",
    "in the middle of a chunk": f'{chunk("Hi")}\n\ndata: {{"choices": [',
}


@pytest.mark.parametrize("wire", CUT.values(), ids=CUT)
def test_an_answer_that_ends_before_its_end_is_truncated_and_kept(read, wire):
    with pytest.raises(LLMError) as caught:
        read(wire)
    assert (caught.value.category, caught.value.partial.content) == ("truncated", "Hi")


def test_an_answer_that_was_finished_is_whole_though_its_connection_broke(fake):
    """The last HTTP chunk never came: clients raise a protocol error, but nothing of the answer is missing."""
    fake.default = replace(answer("Hi"), done=False, ending="rst")
    response = OllamaService("m", base_url=fake.base_url, max_retries=0).chat("Hello")
    assert (response.content, response.status, response.usage.source) == ("Hi", "ok", "server")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_a_whole_answer_is_read_with_a_byte_order_mark_too(fake, encoding):
    message = {"choices": [{"message": {"content": "Grüße"}, "finish_reason": "stop"}]}
    body = json.dumps(message, ensure_ascii=False).encode(encoding)
    fake.default = status(200, body, {"content-type": "application/json"})
    assert OllamaService("m", base_url=fake.base_url, max_retries=0).chat("Hello").content == "Grüße"


def test_half_of_a_surrogate_pair_does_not_lose_the_answer(read):
    wire = f"{chunk('a-b', 'stop')}\n\n".encode().replace(b"-", b"\xed\xa0\x80")
    assert read(wire).content == "a\ufffdb"
