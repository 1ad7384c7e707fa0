"""Usage of every shape is read as its provider means it, or ignored; it is never turned into wrong counts."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipyllm.pipeline.chat_chunks import ChatAccumulator
from ipyllm.response import Usage
from ipyllm.transport.usage import merge_usage, read_usage
from ipyllm.transport.wire_times import Arrival


def chat(prompt, completion, total=None, **more):
    raw = {"prompt_tokens": prompt, "completion_tokens": completion, **more}
    return raw if total is None else {**raw, "total_tokens": total}


def native(input_, output, **more):
    return {"input_tokens": input_, "output_tokens": output, **more}


def cached(n):
    return {"prompt_tokens_details": {"cached_tokens": n}}


def reasoning(n):
    return {"completion_tokens_details": {"reasoning_tokens": n}}


# The source of the shape, the usage, and input, cached, output and reasoning tokens as they should be read.
SHAPES = [
    # chat completions
    ("openai types/completion_usage.py", chat(9, 12, 21), (9, None, 12, None)),
    (
        "openai types/completion_usage.py, details",
        chat(100, 80, 180, **cached(64), **reasoning(30)),
        (100, 64, 80, 30),
    ),
    ("openai, no reasoning, nothing cached", chat(9, 12, 21, **cached(0), **reasoning(0)), (9, 0, 12, 0)),
    ("openai, audio and predictions", chat(9, 12, 21, completion_tokens_details={
        "accepted_prediction_tokens": 3, "audio_tokens": 0, "reasoning_tokens": 0}), (9, None, 12, 0)),
    ("vLLM, details null", chat(9, 12, 21, prompt_tokens_details=None), (9, None, 12, None)),
    ("Ollama, without details", chat(26, 5, 31), (26, None, 5, None)),
    ("llama.cpp server", chat(31, 8, 39, **cached(30)), (31, 30, 8, None)),
    ("an answer without a token", chat(9, 0, 9), (9, None, 0, None)),
    ("input only", {"prompt_tokens": 9, "total_tokens": 9}, (9, None, None, None)),
    ("output only", {"completion_tokens": 12}, (None, None, 12, None)),
    ("total only, which tells neither", {"total_tokens": 21}, (None, None, None, None)),
    ("DeepSeek api-docs, usage", chat(128, 20, 148, prompt_cache_hit_tokens=64, prompt_cache_miss_tokens=64,
        **reasoning(12)), (128, 64, 20, 12)),
    ("DeepSeek, cached twice", chat(128, 20, prompt_cache_hit_tokens=64, **cached(64)), (128, 64, 20, None)),
    ("Moonshot, cached at the top", chat(128, 20, 148, cached_tokens=100), (128, 100, 20, None)),
    ("Mistral openapi.yaml", chat(40, 10, 50, prompt_audio_seconds={}, **cached(16)), (40, 16, 10, None)),
    ("Groq, with its times", chat(40, 10, 50, queue_time=0.02, prompt_time=0.001, completion_time=0.03,
        total_time=0.031), (40, None, 10, None)),
    ("OpenRouter, with its cost", chat(40, 10, 50, cost=0.00014, is_byok=False, cost_details={
        "upstream_inference_cost": None}, **cached(0)), (40, 0, 10, None)),
    ("Perplexity, reasoning of the search at the top", chat(33, 7163, 7196, citation_tokens=20016,
        reasoning_tokens=73997), (33, None, 7163, None)),
    # reasoning beside the output
    ("Gemini, thoughts only in the total", chat(10, 4, 50), (10, None, 40, 36)),
    ("Gemini, thoughts in the total and in the details", chat(10, 4, 50, **reasoning(36)), (10, None, 40, 36)),
    ("Gemini, thoughts in the output", chat(10, 40, 50, **reasoning(36)), (10, None, 40, 36)),
    ("xAI, reasoning beside the output (vercel/ai, packages/xai)", chat(12, 1, 241, **cached(11), **reasoning(228)),
        (12, 11, 229, 228)),
    ("xAI, less reasoning than output", chat(12, 30, 62, **reasoning(20)), (12, None, 50, 20)),
    ("xAI, without a total", chat(12, 1, **reasoning(228)), (12, None, 229, 228)),
    ("more in the total than reasoning explains", chat(12, 30, 70, **reasoning(20)), (12, None, 50, 20)),
    ("less in the total than reasoning, which is then in the output", chat(12, 30, 50, **reasoning(20)),
        (12, None, 30, 20)),
    ("more reasoning than output, and a total without it", chat(12, 30, 42, **reasoning(90)), (12, None, 30, None)),
    ("a total of 0", chat(12, 30, 0, **reasoning(5)), (12, None, 30, 5)),
    ("a total below the sum", chat(12, 30, 7), (12, None, 30, None)),
    # cached beside the input
    ("xAI, more cached than prompt (vercel/ai, genai-prices)", chat(10, 5, **cached(90)), (100, 90, 5, None)),
    ("all of the prompt cached", chat(90, 5, **cached(90)), (90, 90, 5, None)),
    # input_tokens and output_tokens
    ("openai types/responses/response_usage.py", native(75, 1186, total_tokens=1261,
        input_tokens_details={"cached_tokens": 32, "cache_write_tokens": 0},
        output_tokens_details={"reasoning_tokens": 1024}), (75, 32, 1186, 1024)),
    ("Responses, without details", native(9, 12, total_tokens=21), (9, None, 12, None)),
    ("anthropic types/usage.py", native(5, 7, cache_read_input_tokens=95, cache_creation_input_tokens=0),
        (100, 95, 7, None)),
    ("anthropic, written to the cache", native(5, 7, cache_read_input_tokens=0, cache_creation_input_tokens=200,
        cache_creation={"ephemeral_5m_input_tokens": 200, "ephemeral_1h_input_tokens": 0}), (205, 0, 7, None)),
    ("anthropic, all of it cached", native(0, 7, cache_read_input_tokens=95), (95, 95, 7, None)),
    ("anthropic, nothing cached", native(5, 7, cache_read_input_tokens=None, cache_creation_input_tokens=None),
        (5, None, 7, None)),
    ("anthropic types/message_delta_usage.py, thinking", native(5, 70, output_tokens_details={
        "thinking_tokens": 60}), (5, None, 70, 60)),
    ("LiteLLM, Anthropic's cache beside a prompt that includes it", chat(100, 7, 107, cache_read_input_tokens=95,
        cache_creation_input_tokens=0, **cached(95)), (100, 95, 7, None)),
    ("new-api, the other names 0", chat(9, 12, 21, input_tokens=0, output_tokens=0, input_tokens_details=None),
        (9, None, 12, None)),
    ("new-api, these names 0", {**chat(0, 0, 0), **native(9, 12)}, (9, None, 12, None)),
    # other types
    ("whole floats", chat(9.0, 12.0, 21.0), (9, None, 12, None)),
    ("a fraction", chat(9, 12.5, 21.5), (9, None, None, None)),
    ("decimal text, as protobuf writes 64 bits", chat("9", "12", "21"), (9, None, 12, None)),
    ("other text", chat("9.0", " 12", "many"), (None, None, None, None)),
    ("a sign, an exponent, other digits", chat("+9", "1e3", "²"), (None, None, None, None)),
    ("negative", chat(-1, -12), (None, None, None, None)),
    ("not a number", chat(math.nan, math.inf), (None, None, None, None)),
    ("booleans", chat(True, False), (None, None, None, None)),
    ("lists and objects", chat([9], {"n": 12}), (None, None, None, None)),
    ("null", chat(None, None, None), (None, None, None, None)),
    ("more than a database can hold", chat(10**30, 2**53), (None, None, None, None)),
    ("details that are not an object", chat(9, 12, prompt_tokens_details=[5], completion_tokens_details="5"),
        (9, None, 12, None)),
    ("cached negative", chat(9, 12, **cached(-1)), (9, None, 12, None)),
    ("more cached than input, by other names", native(5, 7, cached_tokens=90), (95, 90, 7, None)),
    ("cached without an input", cached(5), (None, None, None, None)),
    ("zeros: no prompt has 0 tokens", chat(0, 0, 0), (None, None, 0, None)),
    ("empty", {}, (None, None, None, None)),
    ("AWS Converse, other names", {"inputTokens": 9, "outputTokens": 12}, (None, None, None, None)),
    ("Cohere, other nesting", {"tokens": {"input_tokens": 9}, "billed_units": {}}, (None, None, None, None)),
]  # fmt: skip


@pytest.mark.parametrize(("raw", "read"), [(raw, read) for _, raw, read in SHAPES], ids=[name for name, _, _ in SHAPES])
def test_each_shape_is_read_as_its_provider_means_it_or_ignored(raw, read):
    input_tokens, cached_tokens, output_tokens, reasoning_tokens = read
    source = "server" if read != (None,) * 4 else None
    usage = replace(read_usage(raw), cache_write_tokens=None)  # see the next test
    assert usage == Usage(input_tokens, output_tokens, cached_tokens, reasoning_tokens, source=source)


@pytest.mark.parametrize(
    ("raw", "written"),
    [
        ({"prompt_tokens": 9, "prompt_tokens_details": {"cache_write_tokens": 7}}, 7),
        ({"input_tokens": 9, "input_tokens_details": {"cached_tokens": 1, "cache_write_tokens": 7}}, 7),
        ({"input_tokens": 5, "cache_creation_input_tokens": 7}, 7),
        ({"prompt_tokens": 9, "prompt_tokens_details": {"cache_write_tokens": "x"}}, None),
        ({"prompt_tokens": 9}, None),
    ],
)
def test_input_that_was_written_to_the_cache_is_read(raw, written):
    assert read_usage({**raw, "completion_tokens": 1}).cache_write_tokens == written


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4) | st.sampled_from([0, 3, "7", 5.0]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)
_NAMES = sorted({name for _, raw, _ in SHAPES for name in raw})
_RAW = st.dictionaries(st.sampled_from(_NAMES), _JSON | st.sampled_from([cached(3)["prompt_tokens_details"]]))


@given(_RAW, _RAW)
def test_whatever_a_server_sends_is_no_error_and_what_is_read_is_consistent(earlier, later):
    usage = read_usage(merge_usage(earlier, later))
    counts = (usage.input_tokens, usage.output_tokens, usage.cached_tokens, usage.reasoning_tokens)
    assert all(count is None or (type(count) is int and count >= 0) for count in counts)
    assert (usage.source == "server") == (counts != (None,) * 4)
    assert usage.cached_tokens is None or usage.cached_tokens <= usage.input_tokens
    assert usage.reasoning_tokens is None or usage.reasoning_tokens <= usage.output_tokens


TOKEN = {"choices": [{"delta": {"content": "a"}}]}
GOOD = chat(9, 2, 11)

# What comes in a stream, and the input and output that its usage says in the end.
STREAMS = {
    "in its own chunk": ([TOKEN, TOKEN, {"choices": [], "usage": GOOD}], (9, 2)),
    "null before": ([{**TOKEN, "usage": None}, TOKEN, {"choices": [], "usage": GOOD}], (9, 2)),
    "in the last chunk of tokens": ([TOKEN, {**TOKEN, "usage": GOOD}], (9, 2)),
    "an empty one after it": ([TOKEN, {"choices": [], "usage": GOOD}, {"choices": [], "usage": {}}], (9, 2)),
    "zeros after it": ([TOKEN, {"choices": [], "usage": GOOD}, {"choices": [], "usage": chat(0, 0, 0)}], (9, 2)),
    "nulls after it": ([TOKEN, {"choices": [], "usage": GOOD}, {"choices": [], "usage": chat(None, None)}], (9, 2)),
    "nonsense after it": ([TOKEN, {"choices": [], "usage": GOOD}, {"choices": [], "usage": [5]}], (9, 2)),
    "zeros in details after it": (
        [TOKEN, {"usage": GOOD | cached(4)}, {"usage": chat(9, 2) | cached(0)}],
        (9, 2),
    ),
    "so far, in each chunk": ([{**TOKEN, "usage": chat(9, n)} for n in (1, 2, 3)], (9, 3)),
    "so far, incomplete in the end": ([{**TOKEN, "usage": chat(9, 1)}, {**TOKEN, "usage": chat(None, 2)}], (9, 2)),
    "in two parts, as Anthropic": ([{"usage": native(9, 1)}, TOKEN, TOKEN, {"usage": {"output_tokens": 2}}], (9, 2)),
    "x_groq": ([TOKEN, TOKEN, {"choices": [{"delta": {}}], "x_groq": {"id": "r", "usage": GOOD}}], (9, 2)),
    "x_groq beside an empty one": ([TOKEN, {"choices": [], "usage": {}, "x_groq": {"usage": GOOD}}], (9, 2)),
    "x_groq of another type": ([TOKEN, {"choices": [], "x_groq": "r", "usage": GOOD}], (9, 2)),
    "in the choice, as Moonshot": ([TOKEN, {"choices": [{"delta": {}, "usage": GOOD}]}], (9, 2)),
    "in a whole answer": ([{"choices": [{"message": {"content": "Hi"}}], "usage": GOOD}], (9, 2)),
}  # fmt: skip


@pytest.mark.parametrize(("chunks", "read"), STREAMS.values(), ids=STREAMS)
def test_the_last_complete_usage_of_a_stream_holds_wherever_it_stands(chunks, read):
    received = ChatAccumulator(sent_ns=0)
    for at, chunk in enumerate(chunks):
        received.feed(chunk, Arrival(at))
    usage = read_usage(received.raw_usage)
    assert (usage.input_tokens, usage.output_tokens) == read
    assert received.output_is_counted


def test_what_a_later_usage_does_not_repeat_is_kept():
    merged = merge_usage(chat(9, 1, **cached(4)), chat(9, 2, prompt_tokens_details={"cached_tokens": 0}))
    assert read_usage(merged) == Usage(9, 2, 4, source="server")


def test_a_count_before_the_last_token_does_not_count_the_output():
    received = ChatAccumulator(sent_ns=0)
    received.feed({**TOKEN, "usage": chat(9, 1)}, Arrival(1))
    assert received.output_is_counted
    received.feed(TOKEN, Arrival(2))
    assert not received.output_is_counted


@pytest.mark.parametrize("last", [{}, chat(None, None), chat(0, 0, 0), chat(9, "many"), {"prompt_tokens": 9}])
def test_a_usage_without_a_count_does_not_make_an_earlier_one_the_last(last):
    received = ChatAccumulator(sent_ns=0)
    for chunk in ({**TOKEN, "usage": chat(9, 1)}, TOKEN, {"choices": [], "usage": last}):
        received.feed(chunk, Arrival(1))
    assert not received.output_is_counted


def test_a_usage_of_a_services_own_shape_counts():
    received = ChatAccumulator(sent_ns=0)
    for chunk in (TOKEN, {"choices": [], "usage": {"spent": {"in": 9, "out": 1}}}):
        received.feed(chunk, Arrival(1))
    assert received.output_is_counted
