"""Sources of prompts, and the errors for prompts that cannot be used."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from ipyllm import LLMError, usage
from ipyllm.experiment.prompts import read_prompts
from ipyllm.ledger import Ledger, current_ledger


def texts(source, template=None):
    return [prompt.text for prompt in read_prompts(source, template)[0]]


def refusal(source, template=None):
    with pytest.raises(LLMError) as caught:
        read_prompts(source, template)
    assert caught.value.category == "bad_request"
    return str(caught.value)


ROWS = [{"text": "so", "label": 1}, {"text": "la", "label": 2}]


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_a_file_and_the_frame_it_was_written_from_give_the_same_prompts(tmp_path, kind):
    frame = pd.DataFrame(ROWS)
    path = tmp_path / f"rows.{kind}"
    if kind == "csv":
        frame.to_csv(path, index=False)
    elif kind == "parquet":
        frame.to_parquet(path)
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    from_file, _ = read_prompts(str(path), "Sing {{ text }}")
    from_frame, _ = read_prompts(frame, "Sing {{ text }}")
    assert [p.text for p in from_file] == ["Sing so", "Sing la"]
    assert [p.prompt_id for p in from_file] == [p.prompt_id for p in from_frame]
    assert [p.data["label"] for p in from_file] == [1, 2]


def test_lists_of_texts_of_dicts_and_series_are_prompts():
    assert texts(["so", "la"]) == texts([{"prompt": "so"}, {"prompt": "la"}]) == texts(pd.Series(["so", "la"]))


def test_jsonl_keeps_numbers_and_dates_as_they_stand(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text('{"prompt": "007"}\n{"prompt": "2026-11-25"}\n')
    assert texts(path) == ["007", "2026-11-25"]


def test_the_only_column_is_the_prompt_and_of_several_the_one_called_so():
    assert texts([{"question": "why?"}]) == ["why?"]
    assert texts([{"prompt": "why?", "label": 1}]) == ["why?"]
    said = refusal([{"question": "why?", "label": 1}])
    assert "question, label" in said
    assert '"{{ question }}"' in said


def test_calls_made_before_are_replayed_each_question_once(model, server):
    for _ in range(2):
        model("a").chat("so")
    model("b").chat("la")
    assert texts(usage()) == texts(current_ledger()) == ["so", "la"]


def test_a_ledger_file_is_replayed(tmp_path):
    path = tmp_path / "calls.sqlite"
    with Ledger(path) as ledger:
        ledger.put({"call_id": "1", "status": "ok", "prompt": "so", "model": "openai/a"})
    assert texts(path) == ["so"]


def test_calls_without_text_cannot_be_replayed(monkeypatch, model):
    monkeypatch.setenv("IPYLLM_STORE_TEXT", "0")
    model().chat("so")
    assert "IPYLLM_STORE_TEXT=0" in refusal(usage())


@pytest.mark.parametrize("nothing", [[], pd.DataFrame({"prompt": []})], ids=["list", "frame"])
def test_no_prompts_at_all_are_refused(nothing):
    assert refusal(nothing).startswith("There are no prompts")


def test_an_empty_file_has_no_prompts(tmp_path):
    (tmp_path / "rows.csv").write_text("")
    assert refusal(tmp_path / "rows.csv").startswith("There are no prompts")


@pytest.mark.parametrize("missing", [None, float("nan"), np.nan, pd.NA, pd.NaT], ids=repr)
@pytest.mark.parametrize("template", [None, "Sing {{ text }}"])
def test_a_row_without_a_value_is_named_and_never_becomes_the_text_nan(missing, template):
    said = refusal([{"text": "so"}, {"text": missing}, {"text": missing}], template)
    assert said.startswith("2 of the 3 prompts have no value in 'text' (first: row 1)")
    assert "dropna(subset=['text'])" in said


def test_a_missing_value_that_the_template_does_not_use_or_provides_for_does_no_harm():
    rows = pd.DataFrame({"text": ["so"], "note": [float("nan")]})
    assert texts(rows, "{{ text }}") == ["so"]
    assert texts(rows, "{{ text }} {{ note | default('-') }}") == ["so -"]


def test_an_empty_prompt_is_refused():
    assert refusal(["so", "  "]) == "1 of the 2 prompts are empty (first: row 1)."


def test_a_template_that_misses_a_column_says_which_was_meant():
    said = refusal(ROWS, "Sing {{ txt }}")
    assert said == "The template uses {{ txt }}, but the prompts have no column 'txt'; did you mean 'text'?"


def test_a_template_that_does_not_parse_or_reaches_out_of_its_sandbox_is_refused():
    assert "does not parse, line 1" in refusal(ROWS, "Sing {{ text")
    assert "may not use '__class__'" in refusal(ROWS, "{{ text.__class__.__mro__ }}")


def test_a_value_is_never_expanded_again():
    assert texts([{"text": "{{ label }}", "label": "secret"}], "{{ text }}") == ["{{ label }}"]


def test_a_column_whose_name_is_no_identifier_is_reached_by_row():
    assert texts([{"the text": "so"}], "{{ row['the text'] }}") == ["so"]


def test_prompts_that_repeat_are_asked_once_and_it_is_said():
    prompts, notes = read_prompts(["so", "la", "so"])
    assert [p.text for p in prompts] == ["so", "la"]
    assert [p.rows for p in prompts] == [(0, 2), (1,)]
    assert len(notes) == 1
    assert notes[0].startswith(
        "1 of the 3 prompts is a duplicate: equal prompts are asked once, and their answer counts"
    )


def test_the_same_text_with_another_label_is_a_question_of_its_own():
    prompts, notes = read_prompts([{"prompt": "so", "label": 1}, {"prompt": "so", "label": 2}])
    assert len({p.prompt_id for p in prompts}) == 2
    assert not notes


def test_one_id_for_two_prompts_is_refused():
    assert "'x' belongs to two different rows (0 and 1)" in refusal(
        [{"prompt_id": "x", "prompt": "so"}, {"prompt_id": "x", "prompt": "la"}]
    )


def test_the_id_of_a_prompt_is_the_same_in_any_order():
    there, back = read_prompts(["so", "la"])[0], read_prompts(["la", "so"])[0]
    assert [p.prompt_id for p in there] == [p.prompt_id for p in reversed(back)]


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("What is 2 + 2?", "write one prompt as a list"),
        ("nowhere.csv", "The file of prompts 'nowhere.csv' does not exist."),
        ({"prompt": "so"}, "put it into a list"),
        (7, "not int"),
        (["so", 7], "row 1 is int"),
    ],
)
def test_what_cannot_hold_prompts_is_refused_in_one_sentence(source, said):
    assert said in refusal(source)


NO_ARROW = """
    import sys

    class Hidden:
        def find_spec(self, name, path=None, target=None):
            if name.partition(".")[0] in {"pyarrow", "fastparquet"}:
                raise ModuleNotFoundError(f"No module named {name!r}", name=name)

    sys.meta_path.insert(0, Hidden())
    from ipyllm import LLMError
    from ipyllm.experiment.prompts import read_prompts

    try:
        read_prompts(sys.argv[1])
    except LLMError as error:
        print(error.category, error)
"""


def test_parquet_without_pyarrow_is_one_sentence_that_says_what_to_install(tmp_path, python):
    path = tmp_path / "rows.parquet"
    pd.DataFrame(ROWS).to_parquet(path)
    process = python(NO_ARROW, path)
    out, err = process.communicate(timeout=100)
    assert (out, err) == (
        "bad_request To read rows.parquet, install pyarrow: pip install 'ipyllm[tables]'.\n",
        "",
    )


def test_a_broken_parquet_file_is_named_and_nothing_is_to_be_installed(tmp_path):
    (tmp_path / "rows.parquet").write_text("no parquet")
    said = refusal(tmp_path / "rows.parquet")
    assert said.startswith("rows.parquet cannot be read")
    assert "install" not in said


def test_a_broken_file_is_named(tmp_path):
    (tmp_path / "rows.jsonl").write_text("{broken")
    assert refusal(tmp_path / "rows.jsonl").startswith("rows.jsonl cannot be read")
