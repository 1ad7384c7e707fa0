"""Small pure functions of the service layer, one claim each."""

from __future__ import annotations

import inspect
import threading

import pandas as pd
import pytest

from ipyllm.atomic_file import atomic_write
from ipyllm.errors import LLMError
from ipyllm.messages import text_of
from ipyllm.pipeline.budget import kernel_budget
from ipyllm.pipeline.candidates import all_candidates_failed
from ipyllm.pipeline.chat_chunks import ChatAccumulator
from ipyllm.pipeline.retry import is_retryable
from ipyllm.registry.models import create_llm_service
from ipyllm.response import ChatResponse
from ipyllm.routing.health import Health
from ipyllm.runtime.interruptible import InterruptibleEvent, interruptible_timeout
from ipyllm.services.base import BaseLLMService
from ipyllm.services.ollama import OllamaService, base_url_of_host
from ipyllm.services.parameters import OPTIONS, check_params
from ipyllm.services.prices import context_window, estimate_cost, price_in_tables
from ipyllm.structured.json_answer import schema_mismatch
from ipyllm.structured.portable import to_portable
from ipyllm.structured.sources import from_dict, from_type
from ipyllm.token_bucket import TokenBucket
from ipyllm.tools.result_text import as_text, describe_error
from ipyllm.transport.address import is_url, without_password
from ipyllm.transport.error_body import ServerFault, parse_error
from ipyllm.transport.error_mapping import to_llm_error
from ipyllm.transport.sse import ServerSentEvents
from ipyllm.transport.wire_times import Arrival
from ipyllm.validate import validate_int


def test_a_file_appears_only_when_it_is_complete(tmp_path):
    with atomic_write(tmp_path / "note.txt") as file:
        file.write(b"complete")
    assert (tmp_path / "note.txt").read_text() == "complete"


def test_the_text_of_a_message_is_that_of_its_text_parts():
    parts = [{"type": "text", "text": "What is this?"}, {"type": "image_url"}]
    assert text_of({"role": "user", "content": parts}) == "What is this?"


def test_a_chunk_becomes_an_event_and_part_of_the_content():
    got = ChatAccumulator(sent_ns=0)
    events = got.feed({"choices": [{"delta": {"content": "Hi"}}]}, Arrival(5))
    assert ([event.text for event in events], got.content) == (["Hi"], "Hi")


def test_the_budget_of_a_process_has_no_limit_by_default(own_settings):
    assert kernel_budget().limit_usd is None


def test_the_error_of_a_route_names_every_service_that_failed():
    broke = LLMError("openai/a has no credit.", category="quota", model="openai/a")
    slow = LLMError("deepseek/b took too long.", category="timeout", model="deepseek/b")
    down = LLMError("Gave up.", category="max_retries_exceeded", cause="rate_limit", model="groq/c")
    said = "deepseek/b took too long. (The other services of 'fast' failed too: openai/a, quota; groq/c, rate limit.)"
    assert str(all_candidates_failed([broke, down, slow], "fast")) == said


def test_only_passing_errors_are_retried():
    assert is_retryable(LLMError("Too many requests.", category="rate_limit", retry_after=3.0))
    assert not is_retryable(LLMError("No credit.", category="quota"))


def test_three_failures_in_a_row_pause_a_service():
    health = Health()
    for _ in range(3):
        assert not health.is_paused
        health.call_ended(LLMError("Nobody there.", category="connection"))
    assert health.is_paused


def test_only_the_main_thread_blocks_for_short_times():
    assert [interruptible_timeout(seconds) for seconds in (None, 60.0, 0.01)] == [0.2, 0.2, 0.01]
    elsewhere: list[float | None] = []
    thread = threading.Thread(target=lambda: elsewhere.append(interruptible_timeout(60.0)))
    thread.start()
    thread.join()
    assert elsewhere == [1.0]


def test_an_event_calls_its_listeners_when_it_is_set():
    done, woken = InterruptibleEvent(), []
    done.listen(lambda: woken.append("woken"))
    assert not done.wait(0.01)
    done.set()
    assert (woken, done.wait()) == (["woken"], True)


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("", "http://127.0.0.1:11434/v1"),
        ("0.0.0.0:11500", "http://127.0.0.1:11500/v1"),
        ("https://models.example.org", "https://models.example.org:443/v1"),
        ("::1", "http://[::1]:11434/v1"),
        ("[::1]:11500", "http://[::1]:11500/v1"),
        ("::", "http://127.0.0.1:11434/v1"),
    ],
)
def test_ollama_host_is_read_as_ollama_reads_it(host, url):
    assert base_url_of_host(host) == url


@pytest.mark.parametrize("host", ["box:abc", "box:99999", "[::1", "http://[::1", "ada:p@ss@box:abc", "a:b:c"])
def test_an_ollama_host_that_is_no_address_is_refused_without_its_password(host):
    with pytest.raises(
        LLMError, match=r"^OLLAMA_HOST is not an address: .* Write it like 127\.0\.0\.1:11434\.$"
    ) as caught:
        base_url_of_host(host)
    assert caught.value.category == "bad_request"
    assert "ss@" not in str(caught.value)


def test_a_misspelt_parameter_is_refused():
    assert check_params({"temperature": 0, "seed": None}, "m") == {"temperature": 0}
    with pytest.raises(LLMError, match=r"There is no parameter 'temprature'; did you mean 'temperature'\?"):
        check_params({"temprature": 0}, "m")


@pytest.mark.parametrize(
    ("given", "meant"), [("timout", "timeout"), ("max_retry", "max_retries"), ("repair", "repairs")]
)
def test_a_misspelt_option_of_a_call_is_no_parameter_of_the_server(given, meant):
    with pytest.raises(LLMError, match=f"There is no parameter '{given}'; did you mean '{meant}'"):
        check_params({given: 1}, "m")


@pytest.mark.parametrize(
    ("given", "meant"),
    [("api_kye", "api_key"), ("base_ulr", "base_url"), ("modle", "model"), ("max_inflight", "max_in_flight")],
)
def test_a_misspelt_option_of_a_service_is_refused_and_its_value_is_not_told(given, meant):
    with pytest.raises(LLMError) as caught:
        create_llm_service("openai/x", **{given: "sk-test-0123"})
    assert str(caught.value) == f"A service has no option {given!r}; did you mean {meant!r}?"


@pytest.mark.parametrize(("given", "meant"), [("modle", "model"), ("message", "messages"), ("strem", "stream")])
def test_a_misspelt_name_of_what_no_parameter_may_set_is_refused(given, meant):
    with pytest.raises(LLMError, match=f"There is no parameter '{given}'; '{meant}' is set by ipyllm"):
        check_params({given: 1}, "m")


def test_every_option_of_a_call_is_known_by_name():
    named = {
        name
        for name, each in inspect.signature(BaseLLMService.request).parameters.items()
        if each.kind is each.KEYWORD_ONLY
    }
    assert named - {"provenance", "notebook_options"} == {*OPTIONS, "tools"}


def test_the_price_tables_know_some_models():
    price = price_in_tables("openai", "gpt-4o")
    assert (price.input_usd_per_mtok, price.output_usd_per_mtok, price.cached_usd_per_mtok) == (2.5, 10.0, None)
    assert price_in_tables("openai", "no-such-model") is None
    assert estimate_cost("openai", "gpt-4o", 1_000, 1_000) == 0.0125
    assert [context_window("openai", model) for model in ("gpt-4o", "no-such-model")] == [128_000, None]


def test_a_mismatch_names_the_place_of_each_problem():
    mismatch = schema_mismatch("Team", [(("people", 0, "age"), "should be a number"), ((), "too small")])
    assert str(mismatch) == "The answer does not fit Team: people[0].age: should be a number; too small."


def test_a_default_is_told_in_the_description_of_a_schema():
    value = to_portable({"type": "integer", "default": 5}).schema["properties"]["value"]
    assert value == {"type": "integer", "description": "Default: 5."}


def test_schemas_are_read_from_types_and_dicts():
    assert from_type(list[int]).check(["1", 2]) == [1, 2]
    with pytest.raises(TypeError, match=r"at properties\.name\.type: 'strng' is not valid"):
        from_dict({"title": "City", "type": "object", "properties": {"name": {"type": "strng"}}})


def test_a_cost_above_the_capacity_needs_a_full_bucket():
    bucket = TokenBucket(per_s=2.0, capacity=10.0, now=0.0)
    bucket.take(11.0, now=0.0)
    assert bucket.wait_s(1.0, now=0.0) == 1.0


def test_results_of_tools_become_text():
    assert [as_text(value, 100) for value in ("Rain.", {"days": [1, 2]}, None)] == ["Rain.", '{"days":[1,2]}', "null"]
    assert as_text("x" * 1000, 10) == "xxxxxxxxxx\n[cut: these are the first 10 of 1,000 characters]"
    table = "table of 2 rows × 2 columns, as CSV:\ncity,degrees\nRome,31.5\nOslo,18.0"
    assert as_text(pd.DataFrame({"city": ["Rome", "Oslo"], "degrees": [31.5, 18.0]}), 100) == table
    assert [describe_error(exc) for exc in (KeyError("city"), TimeoutError())] == ["KeyError: 'city'", "TimeoutError"]


def test_urls_are_recognised_and_shown_without_secrets():
    assert [is_url(f"{url}/v1") for url in ("http://gpu-box:8000", "gpu-box:8000", "http://gpu-box:x")] == [1, 0, 0]
    assert without_password("http://ada:secret@gpu-box:8000/v1?key=abc") == "http://gpu-box:8000/v1"
    assert without_password("http://ada:p@ss@gpu-box:8000/v1?to=a@b") == "http://gpu-box:8000/v1"
    assert without_password("http://gpu-box:8000/v1?to=a@b") == "http://gpu-box:8000/v1"


def test_a_server_error_becomes_a_sentence_with_advice():
    assert parse_error({"error": {"message": "No credit.", "code": "insufficient_quota"}}, 429).codes == (
        "insufficient_quota",
    )
    assert str(to_llm_error(ServerFault(429, message="Slow down."), model="openai/gpt-6-luna")) == (
        'openai/gpt-6-luna refused the request: too many requests (HTTP 429, "Slow down."); '
        "wait a little, or send fewer calls at once."
    )


def test_an_event_that_arrives_in_pieces_is_returned_once():
    sse = ServerSentEvents()
    assert sse.feed(b'data: {"a"') == []
    assert sse.feed(b": 1}\n\ndata: [DONE]\n\n") == [(b"", b'{"a": 1}'), (b"", b"[DONE]")]


def test_an_invalid_number_is_refused_with_its_bound():
    with pytest.raises(LLMError, match=r"^repeats must be a whole number, 1 or more, not 0\.$"):
        validate_int("repeats", 0, 1)


def test_a_file_stays_as_it_was_when_writing_it_fails(tmp_path):
    (tmp_path / "note.txt").write_text("earlier")

    def write_half():
        with atomic_write(tmp_path / "note.txt") as file:
            file.write(b"half of it")
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        write_half()
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("note.txt", "earlier")]


def test_a_response_is_read_like_a_dict_too():
    response = ChatResponse(content="Hi", status="ok")
    assert "content" in response
    assert "contents" not in response
    assert dict(response)["content"] == response["content"] == response.get("content") == "Hi"
    assert response.get("contents", "none") == "none"
    with pytest.raises(KeyError, match=r"A ChatResponse has no 'contents'; it has .*content"):
        response["contents"]


def test_a_request_without_a_question_has_an_empty_prompt(fake):
    request = OllamaService("m").request([{"role": "system", "content": "Be brief."}])
    assert request.prompt == ""


def test_what_is_no_tool_call_in_a_chunk_is_passed_over():
    got = ChatAccumulator(sent_ns=0)
    called = {"index": 0, "id": "1", "function": {"name": "look", "arguments": "{}"}}
    got.feed({"choices": [{"delta": {"tool_calls": [None, "look", called]}}]}, Arrival(5))
    assert [call.name for call in got.tool_calls] == ["look"]
