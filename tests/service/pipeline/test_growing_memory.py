"""An answer that grows is held in about its own size, however small its chunks are."""

import tracemalloc

from ipyllm.pipeline.chat_chunks import ChatAccumulator
from ipyllm.transport.wire_times import Arrival


def test_many_small_chunks_take_little_more_than_their_text():
    received, n_chunks = ChatAccumulator(0), 1_000
    tracemalloc.start()
    for n in range(n_chunks):
        received.feed({"choices": [{"index": 0, "delta": {"content": f"{n:05} "}}]}, Arrival(n))
    held = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert received.content.startswith("00000 00001 ")
    assert held < 3 * 6 * n_chunks  # pieces that are not packed: ten times the text
