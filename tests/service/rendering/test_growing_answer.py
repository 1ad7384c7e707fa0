"""A growing answer: finished blocks are rendered once, feeding is cheap, and the final response corrects the text."""

from __future__ import annotations

import time
from collections import Counter

from ipyllm.events import Finished, ReasoningDelta, TextDelta, ToolCallDelta
from ipyllm.rendering import GrowingAnswer, GrowingText
from ipyllm.response import ChatResponse


def feed(answer, *pieces):
    for piece in pieces:
        answer.feed(TextDelta(piece, 0))


def test_a_finished_block_is_rendered_once_and_only_the_tail_again():
    rendered = Counter()

    def render(source, live=False):
        rendered[source.strip(), live] += 1
        return f"<{source.strip()}>"

    text = GrowingText(render)
    for word in range(50):
        text.feed(f"Paragraph {word}.\n\n")
        text.update()
    text.finish()
    assert text.update()
    assert not text.update(), "nothing arrived since"
    finished = {source: times for (source, live), times in rendered.items() if not live}
    assert set(finished.values()) == {1}
    assert "".join(block.source for block in text.blocks) == text.source
    assert (text.live, text.live_html) == ("", "")


def test_feeding_an_event_costs_microseconds():
    answer = GrowingAnswer()
    start = time.process_time()
    feed(answer, *(["word "] * 20_000))
    assert (time.process_time() - start) / 20_000 < 50e-6
    assert answer.text.blocks == []
    assert answer.text.live_html == ""


def test_text_after_a_function_call_is_a_paragraph_of_its_own():
    answer = GrowingAnswer()
    feed(answer, "Let me see.")
    answer.feed(ToolCallDelta(0, "a", "weather", '{"city":', 0))
    answer.feed(ToolCallDelta(0, None, None, ' "Bern"}', 0))
    answer.feed(ToolCallDelta(0, "b", "add", "{}", 0))  # of the next round, which counts from 0 again
    answer.feed(ToolCallDelta(0, "b", "add", "[]", 0))  # of a server that gives it the same id, too
    feed(answer, "It rains.")
    answer.text.finish()
    answer.text.update()
    assert "".join(block.source for block in answer.text.blocks) == "Let me see.\n\nIt rains."
    assert answer.text.source == "Let me see.It rains."
    assert [(call.name, call.arguments) for call in answer.calls] == [
        ("weather", '{"city": "Bern"}'), ("add", "{}"), ("add", "[]"),
    ]  # fmt: skip


def test_the_end_replaces_text_of_an_attempt_that_was_repeated():
    answer = GrowingAnswer()
    answer.feed(ReasoningDelta("Hm, a city", 0))
    feed(answer, "Be", "Bern.")
    answer.text.update()
    answer.feed(Finished(ChatResponse(content="Bern.", reasoning="Hm, a city")))
    answer.text.update()
    assert answer.restarted == {"text"}
    assert [block.source for block in answer.text.blocks] == ["Bern."]
    assert answer.reasoning.source == "Hm, a city"
    assert answer.reasoning_words == 3
