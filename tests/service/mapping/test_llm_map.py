"""A column of answers: one for each row of a table of pandas or polars, on its index."""

from __future__ import annotations

import datetime as dt
import enum
import warnings
from collections import Counter

import numpy as np
import pandas as pd
import polars as pl
import pydantic
import pytest

from ipyllm import LLMError, create_llm_service, llm_map, usage
from tests.fakes import answer

REVIEWS = pd.DataFrame({"text": ["so", "la", "so", "mi"], "stars": [1, 5, 1, 3]})


def mapped(data, template="{{ text }}", **options):
    return llm_map(data, template, progress=False, **options)


def refusal(data, template, **options):
    with pytest.raises(LLMError) as caught:
        mapped(data, template, **options)
    assert caught.value.category == "bad_request"
    return str(caught.value)


# ---- rows ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "index",
    [
        pd.Index(["b", "a", "b", "c"], name="place"),
        pd.date_range("2026-01-01", periods=4),
        pd.MultiIndex.from_product([["x", "y"], [1, 2]], names=["a", "b"]),
        pd.RangeIndex(10, 50, 10),
    ],
    ids=["duplicates", "dates", "levels", "range"],
)
def test_answers_stand_on_the_index_and_equal_prompts_are_asked_once(model, asked, index):
    frame = REVIEWS.set_axis(index)
    found = mapped(frame, model=model)
    pd.testing.assert_series_equal(found, pd.Series(["SO", "LA", "SO", "MI"], index=index))
    assert Counter(asked()) == {"so": 1, "la": 1, "mi": 1}
    assert found.llm.errors().empty


def test_a_series_is_asked_about_by_its_values_or_its_name(model):
    series = pd.Series(["so", "la"], index=[3, 4], name="note")
    assert mapped(series, None, model=model).to_dict() == {3: "SO", 4: "LA"}
    assert mapped(series, "a {{ value }}", model=model).tolist() == ["A SO", "A LA"]
    assert mapped(series, "b {{ note }}", model=model).tolist() == ["B SO", "B LA"]


def test_an_empty_table_gives_an_empty_column_of_the_same_kind(model, server):
    empty = REVIEWS.iloc[:0]
    assert mapped(empty, model=model).dtype == pd.Series(["x"]).dtype
    assert list(mapped(empty, model=model, labels=["x", "y"]).cat.categories) == ["x", "y"]
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}}
    assert mapped(empty, model=model, schema=schema).dtypes.to_dict() == {"n": pd.Int64Dtype()}
    assert not server.requests


def test_one_row_is_enough(model):
    assert mapped(REVIEWS.head(1), model=model).tolist() == ["SO"]


@pytest.mark.parametrize("missing", [None, np.nan, pd.NA, pd.NaT], ids=["None", "NaN", "NA", "NaT"])
def test_a_row_without_a_value_is_null_and_not_asked_about(model, asked, missing):
    frame = pd.DataFrame({"text": ["so", missing]}, index=["x", "y"])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = mapped(frame, model=model)
    assert found.isna().tolist() == [False, True]
    assert asked() == ["so"]
    errors = found.llm.errors()
    assert errors.to_dict("index") == {
        "y": {"row": 1, "category": "no_prompt", "message": "The row has no value in 'text'."}
    }
    assert mapped(frame, "{{ text | default('la') }}", model=model).tolist() == ["SO", "LA"]


def test_an_empty_prompt_is_not_asked(model, asked):
    found = mapped(pd.DataFrame({"text": ["so", "  "]}), model=model)
    assert found.llm.errors()["message"].tolist() == ["The prompt is empty."]
    assert asked() == ["so"]


def test_columns_of_every_kind_reach_the_template(model):
    frame = pd.DataFrame(
        {
            "kind": pd.Categorical(["a"]),
            "n": pd.array([3], dtype="Int64"),
            "day": pd.to_datetime(["2026-01-02"]),
            "the text": ["so"],
            "in": ["la"],
            7: [1.5],
        }
    )
    template = '{{ kind }} {{ n + 1 }} {{ day.year }} {{ row["the text"] }} {{ row["in"] }} {{ row["7"] }}'
    assert mapped(frame, template, model=model).tolist() == ["A 4 2026 SO LA 1.5"]


def test_rows_are_read_before_anything_is_sent(model, server):
    frame = REVIEWS.copy()

    def mutate(request):
        if "stars" not in frame:
            return answer(request.prompt.upper())
        frame.loc[:, "text"] = "changed"
        del frame["stars"]
        return answer(request.prompt.upper())

    server.on(mutate)
    assert mapped(frame, model=model, concurrency=1).tolist() == ["SO", "LA", "SO", "MI"]
    assert list(frame) == ["text"]


# ---- kinds of columns --------------------------------------------------------------------------------


def test_labels_give_a_categorical_column_of_all_labels(model, server):
    said = {"so": '{"value": "good"}', "la": "**Bad.**", "mi": '{"value": "bad"}'}
    server.on(lambda request: answer(said[request.prompt]))
    found = mapped(REVIEWS, model=model, labels=["good", "bad", "neither"])
    assert found.tolist() == ["good", "bad", "good", "bad"]
    assert found.cat.categories.tolist() == ["good", "bad", "neither"]
    sent = server.requests[0].json
    assert sent["response_format"]["json_schema"]["schema"]["properties"]["value"]["enum"] == ["good", "bad", "neither"]
    assert sent["messages"][0]["content"] == "Answer with exactly one of these labels: good, bad, neither."


def test_labels_need_no_json_schema_library_which_takes_seconds_to_import(run_script):
    code = """
        import sys
        from ipyllm.structured.labels import LabelSchema
        schema = LabelSchema.of_labels(["good", "bad"])
        print(schema.parse('{"value": "bad"}'), schema.json_schema, "jsonschema" in sys.modules)
    """
    said = run_script(code)
    assert said.startswith("bad {")
    assert said.endswith("False")


def test_an_answer_that_is_no_label_is_asked_for_again_with_the_reason(model, server, asked):
    said = iter(["So so.", "good"])
    server.on(lambda _: answer(next(said)))
    assert mapped(REVIEWS.head(1), model=model, labels=["good", "bad"]).tolist() == ["good"]
    assert asked()[1].startswith("That cannot be used. The answer must be one of: good, bad.")


RECORD = {
    "type": "object",
    "properties": {
        "n": {"type": "integer"},
        "x": {"type": ["number", "null"]},
        "ok": {"type": "boolean"},
        "text": {"type": "string"},
        "mood": {"enum": ["good", "bad"]},
        "day": {"type": "string", "format": "date"},
        "at": {"type": "string", "format": "date-time"},
        "tags": {"type": "array", "items": {"type": "string"}},
    },
}
ANSWER = (
    '{"n": 2, "x": null, "ok": true, "text": "hm", "mood": "bad", "day": "2026-01-02", '
    '"at": "2026-01-02T03:04:05Z", "tags": ["a"]}'
)


def test_a_schema_gives_a_typed_column_for_each_field(model, server):
    server.on(lambda _: answer(ANSWER))
    found = mapped(REVIEWS.set_axis([*"abca"]), model=model, schema=RECORD)
    assert found.index.tolist() == [*"abca"]
    assert {name: str(dtype).partition("[")[0] for name, dtype in found.dtypes.items()} == {
        "n": "Int64",
        "x": "float64",
        "ok": "boolean",
        "text": str(pd.Series(["a"]).dtype),
        "mood": "category",
        "day": "datetime64",
        "at": "datetime64",
        "tags": "object",
    }
    row = found.iloc[0]
    assert (row["n"], row["ok"], row["text"], row["mood"], row["tags"]) == (2, True, "hm", "bad", ["a"])
    assert np.isnan(row["x"])
    assert row["at"] == pd.Timestamp("2026-01-02T03:04:05Z")
    assert "text" in REVIEWS  # a field of the same name is a column of the result, and changes nothing


def test_a_schema_that_is_no_object_gives_a_series(model, server):
    server.on(lambda _: answer('{"value": 7}'))
    found = mapped(REVIEWS, model=model, schema=int)
    assert found.tolist() == [7, 7, 7, 7]
    assert found.dtype == "Int64"


def test_an_object_with_any_keys_gives_a_series_of_dicts(model, server):
    server.on(lambda _: answer('{"a": 1}'))
    assert mapped(REVIEWS.head(1), model=model, schema=dict[str, int]).tolist() == [{"a": 1}]


def test_fields_have_the_names_of_python_and_enums_their_values(model, server):
    class Mood(enum.Enum):
        GOOD = "good"
        BAD = "bad"

    class Review(pydantic.BaseModel):
        mood: Mood
        optional: int | None
        n: int = pydantic.Field(alias="number of stars")
        index: str

    server.on(lambda _: answer('{"mood": "bad", "optional": null, "number of stars": 4, "index": "i"}'))
    found = mapped(REVIEWS.head(1), model=model, schema=Review)
    assert found.to_dict("list") == {"mood": ["bad"], "optional": [None], "n": [4], "index": ["i"]}
    assert found["mood"].cat.categories.tolist() == ["good", "bad"]
    assert found["optional"].dtype == "Int64"


def test_an_integer_that_no_column_holds_is_kept_as_an_object(model, server):
    server.on(lambda _: answer('{"value": 123456789012345678901234567890}'))
    assert mapped(REVIEWS.head(1), model=model, schema=int).tolist() == [123456789012345678901234567890]


# ---- polars --------------------------------------------------------------------------------------------


def test_tables_of_polars_give_columns_of_polars(model, server):
    frame = pl.from_pandas(REVIEWS)
    assert mapped(frame, model=model).to_list() == ["SO", "LA", "SO", "MI"]
    assert frame["text"].llm.map(model=model, progress=False).to_list() == ["SO", "LA", "SO", "MI"]
    server.on(lambda _: answer("good"))
    labelled = frame.llm.classify("{{ text }}", labels=["good", "bad"], model=model, progress=False)
    assert labelled.dtype == pl.Enum(["good", "bad"])
    server.on(lambda _: answer(ANSWER))
    found = frame.llm.extract("{{ text }}", schema=RECORD, model=model, progress=False)
    assert found.row(0) == (
        *(2, None, True, "hm", "bad", dt.date(2026, 1, 2)),
        *(dt.datetime(2026, 1, 2, 3, 4, 5, tzinfo=dt.UTC), ["a"]),
    )
    missing = mapped(pl.DataFrame({"text": ["so", None]}), model=model)
    assert missing.llm.errors().rows() == [(1, "no_prompt", "The row has no value in 'text'.")]


# ---- refusals ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("template", "said"),
    [
        ("{{ txt }}", "The template uses {{ txt }}, but the rows have no column 'txt'; did you mean 'text'?"),
        ("{{ review }}", "have no column 'review'; did you mean {{ row[\"the review\"] }}?"),
        ("{{ zzz }}", "they have: text, the review, not."),
        ("{{ the review }}", "write {{ row[\"the review\"] }} for the column 'the review'."),
        ("{{ not }}", "write {{ row[\"not\"] }} for the column 'not'."),
        ("Hello", "The template uses no column, so all rows would get the same prompt: insert one, as {{ text }}."),
        ("{{ 'text' }}", "The template uses no column"),
        (None, 'Give a template, such as llm_map(df, "Summarise: {{ text }}").'),
        (["{{ text }}"], "The template must be a string, not list."),
        ("{{ text.__class__ }}", "may not use '__class__'"),
    ],
    ids=["near", "part", "none", "spaces", "keyword", "no column", "quoted", "missing", "list", "sandbox"],
)
def test_a_template_that_does_not_fit_is_refused_before_anything_is_sent(model, server, template, said):
    frame = pd.DataFrame({"text": ["so"], "the review": ["la"], "not": ["mi"]})
    assert said in refusal(frame, template, model=model)
    assert not server.requests


@pytest.mark.parametrize(
    ("data", "options", "said"),
    [
        (["so"], {}, "llm_map takes a DataFrame or Series of pandas or polars, not list: write pd.Series(…)."),
        (pl.LazyFrame({"text": ["so"]}), {}, "call .collect() first"),
        (pd.DataFrame([["so", "la"]], columns=["text", "text"]), {}, "Several columns are named 'text'"),
        (REVIEWS, {"labels": ["a", "b"], "schema": int}, "Give labels or a schema, not both"),
        (REVIEWS, {"labels": ["a"]}, "labels must be two or more texts"),
        (REVIEWS, {"labels": "ab"}, "labels must be two or more texts"),
        (REVIEWS, {"labels": ["a", "a"]}, "The label 'a' stands twice"),
        (REVIEWS, {"tools": [len]}, "llm_map takes no tools"),
        (REVIEWS, {"concurrency": 0}, "concurrency must be a whole number, 1 or more"),
        (REVIEWS, {"name": ""}, "name must be a line of text"),
        (REVIEWS, {"modle": "x"}, "llm_map has no option 'modle'; did you mean 'model'?"),
        (REVIEWS, {"concurency": 3}, "did you mean 'concurrency'?"),
        (REVIEWS, {"temprature": 0}, "There is no parameter 'temprature'; did you mean 'temperature'?"),
    ],
    ids=[
        *("list", "lazy", "names", "both", "one", "text", "twice", "tools", "concurrency", "name"),
        *("misspelt model", "misspelt concurrency", "misspelt parameter"),
    ],
)
def test_what_cannot_be_meant_is_refused_before_anything_is_sent(model, server, data, options, said):
    assert said in refusal(data, "{{ text }}", model=model, **options)
    assert not server.requests


@pytest.mark.parametrize(
    "table", [REVIEWS, REVIEWS["text"], pl.from_pandas(REVIEWS)], ids=["frame", "series", "polars"]
)
def test_where_one_prompt_is_expected_a_table_names_llm_map(model, table):
    from ipyllm import ConversationHistory, compare

    history = ConversationHistory()
    for refused in (
        lambda: model.chat(table),
        lambda: model.stream(table),
        lambda: model.chat([{"role": "user", "content": table}]),
        lambda: model.chat("so", conversation_history=table),
        lambda: compare(table, models=[model]),
        lambda: history.add_message("user", table),
        lambda: history.extend(table),
    ):
        with pytest.raises(LLMError, match=r"is not one prompt: ask about each row with llm_map\("):
            refused()
    assert not len(history)


def test_the_settings_model_is_asked_by_default(server, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "no-key-needed")
    monkeypatch.setenv("OPENAI_BASE_URL", server.base_url)
    monkeypatch.setenv("IPYLLM_MODEL", "openai/b")
    assert create_llm_service().full_name == "openai/b"
    assert mapped(REVIEWS.head(1), system="Sing.", temperature=0).tolist() == ["SO"]
    assert server.requests[0].json["model"] == "b"
    assert server.requests[0].json["messages"][0] == {"role": "system", "content": "Sing."}
    assert usage(kernel=None)["prompt"].tolist() == ["so"]
