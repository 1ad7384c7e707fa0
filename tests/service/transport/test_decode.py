"""How a stream may end, and what in it is not a chunk: bytes as servers send them, read through a real connection."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipyllm import LLMError, OllamaService
from ipyllm.transport.decode import _chunk
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


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda values: st.lists(values, max_size=4) | st.dictionaries(st.text(), values, max_size=4),
)


@given(st.dictionaries(st.text(), JSON, max_size=4), st.booleans(), st.sampled_from([None, 1]))
def test_a_chunk_is_read_as_json_reads_it(value, ascii_only, indent):
    text = json.dumps(value, ensure_ascii=ascii_only, indent=indent)
    assert repr(_chunk(text.encode("utf-8", "surrogatepass"), "m")) == repr(json.loads(text))


UNUSUAL = {
    "numbers that are none": b'{"a": NaN, "b": -Infinity, "c": 1e999}',
    "an integer of many digits": b'{"a": %s}' % (b"9" * 4000),
    "half a character": rb'{"a": "\ud83d", "b": "x"}',
    "half a character in bytes": b'{"a": "\xed\xa0\xbd"}',
    "a name twice": b'{"a": 1, "a": {"b": 2}}',
    "many levels": b'{"a": ' + b"[" * 500 + b"]" * 500 + b"}",
    "white space around": b' {"a": 1}\t ',
}


@pytest.mark.parametrize("payload", UNUSUAL.values(), ids=UNUSUAL)
def test_unusual_json_is_read_as_json_reads_it(payload):
    assert repr(_chunk(payload, "m")) == repr(json.loads(str(payload, "utf-8", "surrogatepass")))


@pytest.mark.parametrize("payload", [b"", b'{"a": 1', b'{"a": 1} {}', b'{"a": 01}', b'{"a": "\xff"}', b"[" * 100_000])
def test_what_is_not_json_is_the_servers_fault(payload):
    with pytest.raises(LLMError, match="invalid JSON"):
        _chunk(payload, "lab/m")
