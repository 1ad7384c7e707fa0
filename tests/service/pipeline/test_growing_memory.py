"""An answer that grows is held in about its own size, however small its chunks are."""

import tracemalloc

from ipyllm.pipeline.chat_chunks import ChatAccumulator
from ipyllm.transport.wire_times import Arrival


def feed_chunks(received, n_chunks):
    for n in range(n_chunks):
        received.feed({"choices": [{"index": 0, "delta": {"content": f"{n:05} "}}]}, Arrival(n))


def test_many_small_chunks_take_little_more_than_their_text():
    received, n_chunks = ChatAccumulator(0), 20_000  # so many that what other threads keep meanwhile does not matter
    feed_chunks(ChatAccumulator(0), 100)  # what is imported or kept at the first
    tracemalloc.start()
    feed_chunks(received, n_chunks)
    held = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert received.content.startswith("00000 00001 ")
    assert held < 3 * 6 * n_chunks  # pieces that are not packed: ten times the text
