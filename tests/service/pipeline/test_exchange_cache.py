"""A cached answer is told as its stream was: its text and reasoning, function calls, log probabilities, refusals."""

import pytest

from ipyllm import OpenAIService
from ipyllm.events import ReasoningDelta, TextDelta, ToolCallDelta
from tests.fakes import answer

TOOLS = [{"type": "function", "function": {"name": name, "parameters": {"type": "object"}}} for name in ("look", "add")]


def told(service, **params):
    """What the events of a call say, whatever their number."""
    events = []
    request = service.request("Hi", cache=True)
    response = service.call(request.with_params(**params), events.append).wait()
    texts = [event for event in events if isinstance(event, TextDelta)]
    calls = {}
    for event in events:
        if isinstance(event, ToolCallDelta):
            id_, name, arguments = calls.get(event.index, (event.id, event.name, ""))
            calls[event.index] = id_, name, arguments + event.arguments
    return response.cache_hit, {
        "text": "".join(event.text for event in texts),
        "refused": {event.refused for event in texts},
        "tokens": [token.text for event in texts for token in event.logprobs],
        "reasoning": "".join(event.text for event in events if isinstance(event, ReasoningDelta)),
        "calls": calls,
    }


@pytest.mark.parametrize(
    ("script", "params"),
    [
        ({"text": "Hello there.", "reasoning": "They greet me."}, {}),
        ({"refusal": "I will not."}, {}),
        ({"text": "A café here"}, {"logprobs": True}),
        ({"text": "", "tool_calls": [("look", {"at": "sky"}), ("add", {"a": 1})]}, {"tools": TOOLS}),
    ],
)
@pytest.mark.parametrize("model", ["gpt-4.1-fake", "gpt-6-luna"])  # one for each API
def test_a_cached_answer_is_told_as_its_stream_was(model, script, params, fake, own_settings):
    fake.default = answer(**script)
    service = OpenAIService(model, base_url=fake.base_url)
    (was_cached, first), (is_cached, again) = told(service, **params), told(service, **params)
    assert (was_cached, is_cached, len(fake.requests)) == (False, True, 1)
    assert again == first
    assert bool(first["text"]) == ("tools" not in params) != bool(first["calls"])
    assert bool(first["tokens"]) == ("logprobs" in params)
