"""Large JSON is parsed beside the event loop, which goes on meanwhile."""

from __future__ import annotations

import asyncio
import itertools
import json
import threading

import pytest

from ipyllm.transport import large_json
from ipyllm.transport.large_json import TooManyValuesError, parse_large
from tests.stalls import again_if_stalled

SAMPLES = [
    {"a": [1, -2.5e3, True, None, "größe \n\ud83d\ude00", {}, [], {"b": [[1], {"c": ""}]}]},
    [{"n": n, "text": "x" * n} for n in range(500)],
    "text",
]


@pytest.mark.parametrize("value", SAMPLES, ids=["object", "list", "text"])
def test_it_parses_what_the_module_json_parses(value):
    for options in ({}, {"indent": 1}, {"ensure_ascii": False}):
        payload = json.dumps(value, **options).encode("utf-8", "surrogatepass")
        assert asyncio.run(parse_large(payload)) == json.loads(payload)


LONG = [
    'a "word" \\ /\b\n',
    "größe 漢 😀",
    "\ud83d x \ude00 \ud83d",
    "\ud83d\ude00" * 3,
    "\ud83d\\n\ud83d\\",
    "\ud83d\ud83d\ude00",
]


@pytest.mark.parametrize("piece", [1, 7, 13, 64])
def test_long_texts_are_the_same_in_pieces(piece, monkeypatch):
    monkeypatch.setattr(large_json, "_PIECE", piece)
    monkeypatch.setattr(large_json, "_PAUSE_S", 0)
    values = [[" " * spaces + text, {"a": text}] for text in LONG for spaces in range(14)]

    async def parse_all():
        for value, ascii_only in itertools.product(values, (True, False)):
            payload = json.dumps(value, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")
            assert await parse_large(payload) == json.loads(payload)

    asyncio.run(parse_all())
    for wrong in (b'"\\u12', b'"\\uZZZZ"', b'"\\x"', b'"a\nb"', b'"abc', b'"\\ud83d', b'"\\'):
        with pytest.raises(ValueError):  # noqa: PT011 - the module's own words
            asyncio.run(parse_large(wrong))


@pytest.mark.parametrize("payload", [b"", b"{", b"[1]\xc3", b"[1,]", b'{"a" 1}', b"[1] 2", b"\xff", b'"\n"'])
def test_what_is_not_json_is_an_error(payload):
    with pytest.raises(ValueError):  # noqa: PT011 - the module's own words
        asyncio.run(parse_large(payload))


def test_lists_that_are_nested_too_deep_are_an_error():
    with pytest.raises(RecursionError):
        asyncio.run(parse_large(b"[" * 100_000))


def test_values_are_counted_at_any_depth(monkeypatch):
    monkeypatch.setattr(large_json, "MAX_VALUES", 3_000)
    for payload in (
        b"[" + b"[]," * 4_000 + b"1]",
        b'{"a": [' + b'{"b": 1},' * 2_000 + b"{}]}",
        b"[" + b"1," * 4_000 + b"1]",
    ):
        with pytest.raises(TooManyValuesError, match="3,000 values"):
            asyncio.run(parse_large(payload))
    assert len(asyncio.run(parse_large(b"[" + b"1," * 2_000 + b"1]"))) == 2_001


@again_if_stalled(0.02)
def test_the_event_loop_goes_on_meanwhile():
    async def parse():
        n_turns = 0
        parsing = asyncio.ensure_future(parse_large(b"[" + b"[1]," * 60_000 + b"1]"))
        while not parsing.done():
            await asyncio.sleep(0.001)
            n_turns += 1
        assert len(await parsing) == 60_001
        return n_turns

    assert asyncio.run(parse()) > 20  # one or two, if the parser kept the interpreter's lock


def test_it_stops_when_nobody_waits_any_more():
    async def give_up():
        parsing = asyncio.ensure_future(parse_large(b"[" + b"[1]," * 600_000 + b"1]"))
        while not any(thread.name.startswith("asyncio_") for thread in threading.enumerate()):
            await asyncio.sleep(0.001)
        parsing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await parsing
        # The loop's end waits for the thread.

    began = asyncio.run(timed(give_up()))
    whole = asyncio.run(timed(parse_large(b"[" + b"[1]," * 150_000 + b"1]")))
    assert began < whole  # of a quarter of the values


async def timed(work):
    loop = asyncio.get_running_loop()
    before = loop.time()
    try:
        await work
    finally:
        await loop.shutdown_default_executor()
    return loop.time() - before
