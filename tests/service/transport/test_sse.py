"""The stream parser: however the bytes are cut, the events are the same."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from ipyllm.transport.sse import ServerSentEvents

TEXTS = st.lists(st.text(st.characters(blacklist_categories=["Cs"]), min_size=1), min_size=1, max_size=8)


@given(TEXTS, st.sampled_from([b"\n", b"\r\n", b"\r"]), st.lists(st.integers(1, 40), min_size=1, max_size=60))
def test_events_do_not_depend_on_where_the_bytes_are_cut(texts, newline, cuts):
    payloads = [json.dumps({"text": text}, ensure_ascii=False).encode() for text in texts]
    wire = b"".join(b": ping" + newline + b"data: " + payload + newline * 2 for payload in payloads)
    sse, events, place, turn = ServerSentEvents(), [], 0, 0
    while place < len(wire):
        size = cuts[turn % len(cuts)]
        events += sse.feed(wire[place : place + size])
        place, turn = place + size, turn + 1
    assert [payload for _, payload in events] == payloads
    assert sse.close() == []


LINES = st.sampled_from(
    [
        b'data: {"a":1}',
        b"data: [DONE]",
        b'data:{"a":2}',
        b"data: x",
        b": ping",
        b"event: e",
        b'{"e":1}',
        b"",
        b"\r",
        b'data: {"a":3}\r',
        b"data: [",
    ]
)


@given(st.lists(st.lists(LINES, max_size=3).map(b"\n".join), max_size=6))
def test_events_that_come_whole_are_those_that_come_byte_by_byte(blocks):
    wire = b"".join(block + b"\n\n" for block in blocks)
    whole, cut = ServerSentEvents(), ServerSentEvents()
    at_once = [event for block in blocks for event in whole.feed(block + b"\n\n")]
    byte_by_byte = [event for place in range(len(wire)) for event in cut.feed(wire[place : place + 1])]
    assert ServerSentEvents().feed(wire) == at_once == byte_by_byte
    assert whole.close() == cut.close()


def test_an_event_without_its_closing_blank_line_is_delivered_at_the_end():
    sse = ServerSentEvents()
    assert sse.feed(b'data: {"a":1}\n') == []
    assert sse.close() == [(b"", b'{"a":1}')]


def test_a_line_that_did_not_end_is_delivered_at_the_end():
    sse = ServerSentEvents()
    assert sse.feed(b'data: {"a":1}\n\ndata: {"b"') == [(b"", b'{"a":1}')]
    assert sse.close() == [(b"", b'{"b"')]


@given(st.integers(1, 20))
def test_a_byte_order_mark_before_the_first_event_is_skipped(cut):
    wire = b'\xef\xbb\xbfdata: {"a":1}\n\n\xef\xbb\xbfdata: {"b":1}\n\n'
    sse = ServerSentEvents()
    assert sse.feed(wire[:cut]) + sse.feed(wire[cut:]) == [(b"", b'{"a":1}')]


def test_empty_events_and_comments_in_events_are_skipped():
    assert ServerSentEvents().feed(b"data: \n\ndata:\n\ndata: : keepalive\n\ndata: 1\n\n") == [(b"", b"1")]


def test_a_ten_megabyte_line_is_parsed_without_searching_it_again_for_every_packet():
    sse, piece = ServerSentEvents(), b"x" * 16_384
    sse.feed(b"data: ")
    for _ in range(640):
        assert sse.feed(piece) == []
    [(_, payload)] = sse.feed(b"\n\n")
    assert len(payload) == 640 * 16_384


def test_named_events_and_data_over_several_lines():
    sse = ServerSentEvents()
    assert sse.feed(b"event: error\ndata: one\ndata: two\n\n") == [(b"error", b"one\ntwo")]
