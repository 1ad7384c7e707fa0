"""Messages in the rows of an experiment are sent as such, from every kind of table and file; the rest is refused."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from ipyllm import Experiment, LLMError
from ipyllm.experiment.prompts import read_prompts
from ipyllm.ledger import current_ledger

SO = [{"role": "system", "content": "Sing."}, {"role": "user", "content": "so"}]
LA = [
    {"role": "user", "content": "mi"},
    {"role": "assistant", "content": "MI"},
    {"role": "user", "content": [{"type": "text", "text": "la"}]},
]
FILE = [{"messages": SO, "ideal": "SO"}, {"messages": LA, "ideal": "LA"}]


def sent(source, **options):
    return [list(prompt.messages) for prompt in read_prompts(source, **options)[0]]


def refusal(source, template=None, **options):
    with pytest.raises(LLMError) as caught:
        read_prompts(source, template, **options)
    assert caught.value.category == "bad_request"
    return str(caught.value)


def jsonl(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_messages_reach_the_server_as_they_are(model, server):
    results = Experiment(FILE, models=model(), warmup=0).run(progress=False)
    assert sorted((request.json["messages"] for request in server.requests), key=len) == [SO, LA]
    assert sorted(results.calls["prompt"]) == ["la", "so"]


class OfArrow:
    """Like a relation of DuckDB."""

    def __init__(self, table):
        self._table = table

    def __arrow_c_stream__(self, schema=None):
        return self._table.__arrow_c_stream__(schema)


SOURCES = {
    "list of dicts": lambda path: FILE,
    "list of lists": lambda path: [SO, LA],
    "a single message in each row": lambda path: [{"messages": SO[1]}],
    "pandas": lambda path: pd.DataFrame(FILE),
    "a series": lambda path: pd.Series([SO, LA]),
    "polars": lambda path: pl.DataFrame({"messages": [SO, SO], "ideal": ["SO", "LA"]}),
    "a series of polars": lambda path: pl.Series("messages", [SO]),
    "arrow": lambda path: pa.Table.from_pylist([FILE[0]]),
    "another library with Arrow's interface": lambda path: OfArrow(pa.Table.from_pylist([FILE[0]])),
    "record batch": lambda path: pa.RecordBatch.from_pylist([FILE[0]]),
    "jsonl": lambda path: jsonl(path / "rows.jsonl", FILE),
    "json": lambda path: (path / "rows.json").write_text(json.dumps(FILE)) and path / "rows.json",
    "openai's evals": lambda path: jsonl(path / "rows.jsonl", [{"input": m["messages"], "ideal": "x"} for m in FILE]),
    "json in csv": lambda path: (
        pd.DataFrame([{"messages": json.dumps(SO), "ideal": "SO"}]).to_csv(path / "rows.csv") or path / "rows.csv"
    ),
    "batch": lambda path: jsonl(
        path / "batch.jsonl",
        [{"custom_id": "r1", "method": "POST", "url": "/v1/chat/completions", "body": {"messages": SO}}],
    ),
}


@pytest.mark.parametrize("name", SOURCES)
def test_messages_are_read_from_every_table_and_file(name, tmp_path):
    found = sent(SOURCES[name](tmp_path))
    assert found[0] in (SO, SO[1:])
    assert len(found) == 1 or found[1] in (LA, SO)


def test_messages_of_a_parquet_file_have_no_keys_that_are_null(tmp_path):
    call = {"id": "c1", "type": "function", "function": {"name": "now", "arguments": "{}"}}
    told = [
        {"role": "user", "content": "When?"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "content": "12:00", "tool_call_id": "c1"},
    ]
    pd.DataFrame([{"messages": told}]).to_parquet(tmp_path / "rows.parquet")
    assert isinstance(pd.read_parquet(tmp_path / "rows.parquet")["messages"][0], np.ndarray)
    assert sent(tmp_path / "rows.parquet") == [told]


def test_messages_of_the_openai_client_are_taken():
    from openai.types.chat import ChatCompletionMessage

    found = sent([{"messages": [SO[1], ChatCompletionMessage(role="assistant", content="SO"), LA[0]]}])
    assert found == [[SO[1], {"role": "assistant", "content": "SO"}, LA[0]]]


class Dataset:
    """Like a dataset of Hugging Face: rows as dicts, and no list."""

    def __iter__(self):
        return iter(FILE)


class DatasetDict(dict):
    """Like one of several splits."""


def test_a_dataset_is_read_and_of_splits_one_must_be_chosen():
    assert sent(Dataset()) == [SO, LA]
    assert "dataset['test']" in refusal(DatasetDict(test=Dataset()))


def test_a_batch_file_gives_its_ids_and_says_what_is_not_used(tmp_path):
    body = {"model": "gpt-6-luna", "messages": SO, "temperature": 0}
    path = jsonl(tmp_path / "batch.jsonl", [{"custom_id": "r1", "url": "/v1/chat/completions", "body": body}])
    prompts, notes = read_prompts(path)
    assert [prompt.prompt_id for prompt in prompts] == ["r1"]
    assert "not model, temperature" in notes[0]
    jsonl(path, [{"custom_id": "r1", "url": "/v1/embeddings", "body": {"input": "so"}}])
    assert "batch request to /v1/embeddings without messages" in refusal(path)


def test_running_again_asks_nothing_twice_and_other_messages_are_asked(model, server):
    def run(rows):
        return Experiment(rows, models=model(), warmup=0, name="songs").run(progress=False)

    run(FILE)
    assert run([dict(row) for row in FILE]).state.startswith("2 of 2 calls have an answer (2 of 2 from an earlier run")
    assert len(server.requests) == 2
    with pytest.warns(UserWarning, match="The grid of 'songs' has changed"):
        run([*FILE, {"messages": [{"role": "system", "content": "Hum."}, SO[1]], "ideal": "SO"}])
    assert len(server.requests) == 3, "the last message is the same, the conversation is another"


def test_the_ledger_stores_the_whole_request(model):
    from ipyllm import sent_request

    results = Experiment([SO], models=model(), warmup=0).run(progress=False)
    current_ledger().flush()
    assert sent_request(results.calls["call_id"].iloc[0])["messages"] == SO


def test_a_system_message_of_a_row_comes_first_and_with_one_of_the_arm_is_refused(model, server):
    examples = [{"role": "user", "content": "do"}, {"role": "assistant", "content": "DO"}]
    Experiment([SO], models=model(), examples=examples, warmup=0).run(progress=False)
    assert server.requests[0].json["messages"] == [SO[0], *examples, SO[1]]
    with pytest.raises(LLMError, match="Row 0 has a system message of its own"):
        Experiment([SO], models=model(), system="Be brief.")


def test_messages_that_end_with_an_answer_are_sent_with_a_warning(model):
    row = [SO[1], {"role": "assistant", "content": "SO"}]
    with pytest.warns(UserWarning, match="end with an answer of the assistant"):
        Experiment([row], models=model())


REFUSED = {
    "a list of texts": (["so", "la"], "Row 1 cannot be asked about, because its 'prompt' holds a list of 2"),
    "a list of dicts": ([{"name": "Bern"}], "a list of dicts with name, and no messages"),
    "a dict": ({"name": "Bern"}, "a dict with name, and no messages"),
    "ShareGPT": ([{"from": "human", "value": "so"}], "ShareGPT's shape"),
    "parts": ([{"type": "text", "text": "so"}], "the parts of a message"),
    "a number": (7, "holds 7, of type int"),
    "bytes": (b"\x89PNG", "an image: give images='prompt'"),
    "a role of nobody": ([{"role": "bot", "content": "so"}], "Row 1 cannot be asked about. There is no role 'bot'"),
    "a message that is none": ([SO[1], {"text": "so"}], "messages of which number 1 is none"),
    "a value without JSON": ([{"role": "user", "content": object()}], "an object has no form in JSON"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_neither_text_nor_messages_is_refused_by_its_row(name):
    value, said = REFUSED[name]
    assert said in refusal([{"prompt": "so", "label": 1}, {"prompt": value, "label": 2}])


def test_a_list_of_dicts_is_never_inserted_as_the_text_of_python():
    rows = [{"chat": SO, "docs": [{"title": "Bern"}]}]
    assert "row 0 holds messages" in refusal(rows, "Continue: {{ chat }}")
    assert "row 0 holds messages" in refusal(rows, 'Continue: {{ row["chat"] }}')
    assert "{{ docs | tojson }}" in refusal(rows, "Read {{ docs }}")
    array = np.empty(2, object)
    array[:] = SO
    assert "row 0 holds messages" in refusal([{"chat": array}], "Continue: {{ chat }}")
    (prompt,), _ = read_prompts(rows, "{{ chat[-1].content }}: {{ docs | tojson }}")
    assert prompt.text == 'so: [{"title": "Bern"}]'


def test_text_of_python_in_a_csv_file_is_refused(tmp_path):
    pd.DataFrame(FILE).to_csv(tmp_path / "rows.csv", index=False)
    assert "pandas' to_csv writes it so" in refusal(tmp_path / "rows.csv")


@pytest.mark.parametrize(
    ("source", "said"),
    [
        (SO, "the messages of one conversation: put them into a list"),
        (SO[1], "a single message"),
        ({"text": ["so"], "label": [1]}, "a dict of the columns 'text', 'label'"),
        (pl.LazyFrame({"prompt": ["so"]}), "call .collect() first"),
        ([[SO[1], {"text": "so"}]], "number 1 is none"),
        (pd.DataFrame([["so", "la"]], columns=["text", "text"]), "Several columns are named 'text'"),
    ],
    ids=["one conversation", "one message", "columns", "lazy", "broken", "twice"],
)
def test_what_was_probably_meant_is_said(source, said):
    assert said in refusal(source)


def test_a_line_separator_within_a_text_ends_no_line_of_jsonl(tmp_path):
    (tmp_path / "rows.jsonl").write_text('{"prompt": "so\u2028la"}\r\n{"prompt": "mi"}\n')
    assert [prompt.text for prompt in read_prompts(tmp_path / "rows.jsonl")[0]] == ["so\u2028la", "mi"]


def test_a_file_that_cannot_be_read_says_where_and_what_to_do(tmp_path):
    (tmp_path / "rows.jsonl").write_text('{"prompt": "so"}\n\n{"prompt": la}\n')
    assert "rows.jsonl cannot be read: line 3 is no JSON, from column 12 on" in refusal(tmp_path / "rows.jsonl")
    (tmp_path / "rows.xlsx").write_bytes(b"PK")
    assert "read it with pandas, and give the table" in refusal(str(tmp_path / "rows.xlsx"))
    assert "write one prompt as a list" in refusal("What is " + "very " * 2000 + "long?")


def test_a_json_file_must_be_a_list(tmp_path):
    (tmp_path / "rows.json").write_text('{"data": []}')
    assert "holds one JSON object" in refusal(tmp_path / "rows.json")


def test_the_column_of_the_prompts_is_the_one_with_messages_or_of_a_usual_name():
    assert sent([{"chat": SO, "topic": "song"}]) == [SO]
    assert sent([{"input": "so", "ideal": "SO"}]) == [[SO[1]]]
    assert "Which column is the prompt?" in refusal([{"instruction": "Sing.", "input": "so", "target": "SO"}])
