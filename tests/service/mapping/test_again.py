"""Calling ``llm_map`` again: only what is missing is asked, after failures, interrupts and killed kernels."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pandas as pd
import pytest

from ipyllm import LLMError, OpenAIService, llm_map, usage
from ipyllm.ledger import Ledger, current_ledger
from tests.fakes import answer, error, rate_limited, server_error, unauthorized

SONGS = pd.DataFrame({"text": ["so", "la", "mi"]}, index=[*"xyz"])
TEMPLATE = "{{ text }}"


def mapped(data, **options):
    return llm_map(data, TEMPLATE, progress=False, **options)


def test_what_is_there_is_not_asked_again_and_a_longer_table_asks_for_the_rest(model, asked):
    mapped(SONGS, model=model)
    longer = pd.concat([SONGS, pd.DataFrame({"text": ["fa", "so"]})])
    assert mapped(longer, model=model).tolist() == ["SO", "LA", "MI", "FA", "SO"]
    assert Counter(asked()) == {"so": 1, "la": 1, "mi": 1, "fa": 1}
    mapped(SONGS, model=model, name="anew")
    assert len(asked()) == 7


@pytest.mark.parametrize("change", [{"temperature": 1}, {"system": "Sing."}, {"labels": ["SO", "LA", "MI"]}], ids=str)
def test_another_question_is_asked_anew(model, asked, change):
    mapped(SONGS, model=model)
    mapped(SONGS, model=model, **change)
    assert len(asked()) == 6


def test_failed_rows_are_null_with_the_reason_and_asked_again(model, server, asked):
    server.on(lambda request: server_error() if request.prompt == "la" else answer(request.prompt.upper()))
    with pytest.warns(UserWarning, match=r"1 of 3 rows has no answer \(api_error 1\)\..* Call again"):
        found = mapped(SONGS, model=model)
    assert found.isna().tolist() == [False, True, False]
    errors = found.llm.errors()
    assert errors.index.tolist() == ["y"]
    assert errors["category"].tolist() == ["api_error"]
    assert found.attrs["llm_map"]["errors"][0]["message"] == errors["message"].iloc[0]
    server.on(lambda request: answer(request.prompt.upper()))
    again = mapped(SONGS, model=model)
    assert again.tolist() == ["SO", "LA", "MI"]
    assert Counter(asked()) == {"so": 1, "la": 2, "mi": 1}
    assert again.llm.errors().empty


def test_reasons_survive_a_file_and_other_columns_have_none(model, server, tmp_path):
    server.on(lambda _: server_error())
    index = pd.MultiIndex.from_tuples([("a", pd.Timestamp("2026-01-01")), ("b", pd.Timestamp("2026-01-02"))])
    with pytest.warns(UserWarning, match="2 of 2 rows"):
        found = mapped(SONGS.head(2).set_axis(index), model=model)
    assert found.llm.errors().index.get_level_values(0).tolist() == ["a", "b"]
    frame = found.to_frame("song").reset_index(drop=True)
    frame.attrs = found.attrs
    frame.to_parquet(tmp_path / "songs.parquet")
    assert pd.read_parquet(tmp_path / "songs.parquet").attrs == found.attrs
    with pytest.raises(LLMError, match="is not a result of llm_map"):
        SONGS.llm.errors()


def test_a_model_that_cannot_be_asked_at_all_is_an_error(model, server):
    server.on(lambda _: unauthorized())
    with pytest.raises(LLMError) as caught:
        mapped(SONGS, model=model)
    assert caught.value.category == "authentication"


def test_a_server_that_is_not_there_is_not_tried_for_each_row(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "no-key-needed")
    rows = pd.DataFrame({"text": [str(n) for n in range(500)]})
    with pytest.raises(LLMError) as caught:
        mapped(rows, model=OpenAIService("a", base_url="http://127.0.0.1:9/v1", max_retries=0))
    assert caught.value.category == "connection"
    assert len(usage(kernel=None)) < 50


def test_an_answer_in_the_ledger_that_does_not_fit_is_asked_for_again(model, server, asked):
    said = iter(["no", "neither", "good"])
    server.on(lambda _: answer(next(said)))
    one = SONGS.head(1)
    with pytest.warns(UserWarning, match="does not fit|must be one of"):
        assert mapped(one, model=model, labels=["good", "bad"]).isna().all()
    assert mapped(one, model=model, labels=["good", "bad"]).tolist() == ["good"]
    assert mapped(one, model=model, labels=["good", "bad"]).tolist() == ["good"]
    assert len(asked()) == 3


def test_text_that_is_not_stored_is_remembered_by_this_process(model, asked, monkeypatch):
    monkeypatch.setenv("IPYLLM_STORE_TEXT", "0")
    for _ in range(2):
        assert mapped(SONGS, model=model, name="secret").tolist() == ["SO", "LA", "MI"]
    assert len(asked()) == 3
    assert usage(kernel=None)["response"].isna().all()


def test_a_budget_leaves_the_rows_null_that_it_does_not_allow(server, own_settings, model):
    price = "input_usd_per_mtok = 0\noutput_usd_per_mtok = 100000\n"
    (own_settings / "config.toml").write_text(f'[prices."openai/a"]\n{price}')
    with pytest.warns(UserWarning, match=r"1 of 3 rows has no answer \(quota 1\)"):
        found = mapped(SONGS, model=model, max_tokens=2, max_cost_usd=0.35, concurrency=1)
    assert found.isna().tolist() == [False, False, True]  # $0.10 each, and at most $0.20
    assert "max_cost_usd" in found.llm.errors()["message"].iloc[0]
    assert mapped(SONGS, model=model, max_tokens=2, max_cost_usd=0.35).tolist() == ["SO", "LA", "MI"]
    with pytest.raises(LLMError, match="max_cost_usd"):
        mapped(SONGS, model=model, max_tokens=2, max_cost_usd=0.1, name="anew")
    longer = pd.concat([SONGS, SONGS.replace("so", "fa").head(1)])
    with pytest.warns(UserWarning, match=r"1 of 4 rows has no answer \(quota 1\)"):
        found = mapped(longer, model=model, max_tokens=2, max_cost_usd=0)
    assert found.isna().tolist() == [False, False, False, True]


def test_a_schema_that_the_server_refuses_is_refused_once_and_not_for_each_row(model, server):
    def has_schema(request):
        return request.json.get("response_format", {}).get("type") == "json_schema"

    no_schema = error(400, "This response_format type is unavailable now")
    server.on(lambda request: no_schema if has_schema(request) else answer("b"))
    rows = pd.DataFrame({"text": [str(n) for n in range(20)]})
    assert mapped(rows, model=model, labels=["a", "b"], concurrency=1).tolist() == ["b"] * 20
    assert sum(map(has_schema, server.requests)) == 1
    assert len(server.requests) == 21


def test_two_calls_at_once_share_their_answers(model, asked):
    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(lambda _: mapped(SONGS, model=model).tolist(), range(4)))
    assert found == [["SO", "LA", "MI"]] * 4
    assert len(asked()) == 3


def test_it_works_in_a_coroutine_and_in_a_function(model):
    async def cell():
        def label(frame):
            return frame.assign(song=mapped(frame, model=model))

        return label(SONGS)

    assert asyncio.run(cell())["song"].tolist() == ["SO", "LA", "MI"]


def test_rows_whose_calls_were_refused_for_a_moment_have_an_answer(server, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "no-key-needed")
    refused = set()

    def decide(request):
        if int(request.prompt) % 5 == 0 and request.prompt not in refused:
            refused.add(request.prompt)
            return rate_limited(0)
        return answer(request.prompt)

    server.on(decide)
    rows = pd.DataFrame({"text": [str(n) for n in range(60)]})
    model = OpenAIService("a", base_url=server.base_url, max_retries=5)
    assert mapped(rows, model=model).tolist() == rows["text"].tolist()


SCRIPT = """
    import sys
    import pandas as pd
    from ipyllm import OpenAIService, llm_map

    service = OpenAIService("a", base_url=sys.argv[1], max_retries=0)
    rows = pd.DataFrame({"text": [str(n) for n in range(40)]})
    try:
        found = llm_map(rows, "{{ text }}", model=service, concurrency=4, name="long", progress=False)
    except KeyboardInterrupt as exc:
        print(exc)
        sys.exit(3)
    print(found.tolist() == rows["text"].tolist())
"""


@pytest.mark.thorough
@pytest.mark.parametrize("kill", [signal.SIGKILL, signal.SIGINT], ids=["killed", "interrupted"])
def test_a_kernel_that_ended_in_the_middle_has_paid_for_nothing_in_vain(python, server, model, kill):
    gate, seen = threading.Event(), []

    def decide(request):
        seen.append(request.prompt)
        return answer(request.prompt, ttft=0.0 if len(seen) <= 20 or gate.is_set() else 60.0)

    def answered():
        with Ledger(current_ledger()._writer._target) as ledger:
            return (usage(kernel=None, experiment="long", ledger=ledger)["status"] == "ok").sum() >= 20

    server.on(decide)
    process = python(SCRIPT, server.base_url)
    server.wait_for(answered, timeout=60)
    process.send_signal(kill)
    out, _ = process.communicate(timeout=60)
    if kill == signal.SIGINT:
        assert process.returncode == 3
        assert out.strip() == "20 of the answers to 40 prompts are there. Call again to ask for the others."
    gate.set()
    before = len(seen)
    out, err = python(SCRIPT, server.base_url).communicate(timeout=90)
    assert out.strip() == "True", err
    assert len(seen) - before == 20
