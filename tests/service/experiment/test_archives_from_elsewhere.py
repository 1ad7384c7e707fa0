"""Saved experiments that somebody damaged, or made to do harm: refused by one sentence, and quickly."""

from __future__ import annotations

import copy
import io
import json
import os
import struct
import tracemalloc
import zipfile
from contextlib import contextmanager, suppress
from datetime import UTC, datetime

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ipyllm import ConversationHistory, Experiment, LLMError
from ipyllm.experiment import archive
from ipyllm.images import image_part
from ipyllm.ledger.columns import EXPERIMENTS
from ipyllm.scorers import exact
from ipyllm.text.text_file import read_dotenv
from tests.fakes import answer

_GRID_CHANGES = [
    (("name",), None),
    (("name",), "\x1b[31m"),
    (("grid",), []),
    (("grid", "repeats"), -1),
    (("grid", "repeats"), 10**9),
    (("grid", "arms"), []),
    (("grid", "arms", 0, "label"), 5),
    (("grid", "arms", 0, "label"), "\ud800"),
    (("grid", "arms", 0, "model"), ""),
    (("grid", "arms", 0, "variant"), "none"),
    (("grid", "arms", 0, "identity"), "text"),
    (("grid", "arms", 0, "schema"), {"type": "nothing"}),
    (("grid", "prompts"), [[]]),
    (("grid", "prompts", 0, 2), 10**400),
    (("grid", "prompts", 0, 4), [0, -1]),
    (("grid", "data"), [5]),
    (("grid", "data", 0, "text"), "deep"),
    (("grid", "index"), [{}]),
    (("scores",), 5),
    (("scores", "by_call"), {"id": {"exact": {"score_exact": "many"}}}),
]


@pytest.fixture
def saved(model, server, tmp_path):
    server.on(lambda _request: answer('{"good": "' + 40 * "a" + '"}'))
    rows = [{"text": "so", "gold": "SO"}]
    schema = {"type": "object", "properties": {"good": {"type": "string"}}}
    experiment = Experiment(
        rows, "{{ text }}", models=model("a"), scorers=[exact("gold")], schema=schema, name="kept", warmup=0
    )
    return experiment.run(progress=False).save(tmp_path / "run.zip")


def changed(path, **members):
    """Write an archive in which these members (without their ending) are others, and return its path."""
    with zipfile.ZipFile(path) as old:
        files = {name: old.read(name) for name in old.namelist()}
    files |= {name: data for name in files for stem, data in members.items() if name.startswith(f"{stem}.")}
    with zipfile.ZipFile(path.with_name("changed.zip"), "w", zipfile.ZIP_DEFLATED) as new:
        for name, data in files.items():
            new.writestr(name, data)
    return path.with_name("changed.zip")


def document_of(path):
    with zipfile.ZipFile(path) as file:
        return json.loads(file.read("experiment.json"))


def with_value(document, place, value):
    document = copy.deepcopy(document)
    *parents, last = place
    found = document
    for name in parents:
        found = found[name]
    found[last] = value
    return json.dumps(document)


def refusal(path):
    with pytest.raises(LLMError) as caught:
        Experiment.load(path)
    assert caught.value.category == "bad_request"
    assert len(str(caught.value)) < 600
    return str(caught.value)


def test_values_of_other_types_are_refused(saved):
    document = document_of(saved)
    for place, value in _GRID_CHANGES:
        if value == "deep":
            for _ in range(900):
                value = [value]  # noqa: PLW2901 - nested
        assert refusal(changed(saved, experiment=with_value(document, place, value))), place


_VOTE = {
    "vote_id": "v", "cast_at": "2026-01-02T03:04:05+00:00", "origin": "api", "comparison": "c", "prompt": "so",
    "arms": {"a": None, "b": None}, "outcome": "a", "blind": False, "tags": {},
}  # fmt: skip
_NOTE = {"prompt_id": "p", "note": "Good.", "written_at": "2026-01-02T03:04:05+00:00"}


def test_votes_and_notes_of_other_types_are_refused(saved):
    document = document_of(saved)
    whole = changed(saved, experiment=json.dumps(document | {"votes": [_VOTE], "notes": [_NOTE]}))
    assert Experiment.load(whole).notes["note"].tolist() == ["Good."]
    wrong = {"votes": _VOTE, "notes": _NOTE}
    for part, name, value in (
        *(
            ("votes", name, value)
            for name, value in (("arms", []), ("cast_at", "soon"), ("outcome", 7), ("blind", "?"))
        ),
        *(("notes", name, value) for name, value in (("note", 7), ("note", "x" * 100_001), ("written_at", ""))),
    ):
        changed_document = document | {part: [wrong[part] | {name: value}]}
        assert refusal(changed(saved, experiment=json.dumps(changed_document))), (part, name)


def test_what_is_no_json_or_no_table_is_refused(saved):
    for text in ("[" * 200_000, "", "\0", "NaN", '{"format": "ipyllm-experiment", "version": "9"}'):
        assert "is not an experiment" in refusal(changed(saved, experiment=text))
    assert "is not an experiment" in refusal(changed(saved, ledger=b"PAR1 PAR1"))
    file = io.BytesIO()
    pq.write_table(pa.table({"call_id": ["a"]}), file)
    refused = set()
    for place in range(8, len(file.getvalue()) - 8, 25):
        damaged = bytearray(file.getvalue())
        damaged[place] ^= 0xFF
        with suppress(pytest.fail.Exception):  # some bytes mean nothing
            refused.add(refusal(changed(saved, ledger=bytes(damaged))))
    assert any("thrift" in text for text in refused)  # of which pyarrow says several lines
    assert all(len(text.splitlines()) == 1 for text in refused)


def test_rows_with_values_of_other_types_are_refused(saved):
    for column in ({"tags": ["[1]"]}, {"started_at": ["now"]}, {"input_tokens": [1.5]}, {"status": [1]}):
        file = io.BytesIO()
        pq.write_table(pa.table(column), file)
        assert "has a value of another type" in refusal(changed(saved, ledger=file.getvalue()))


def test_a_file_that_inflates_is_refused_before_it_fills_the_memory(saved, monkeypatch):
    monkeypatch.setattr(archive, "_MAX_JSON", 1 << 20)
    monkeypatch.setattr(archive, "_MAX_LEDGER", 1 << 20)
    monkeypatch.setattr(archive, "_MAX_VALUES", 1_000)
    assert "experiment.json has 3 MB" in refusal(changed(saved, experiment=" " * (3 << 20)))
    assert "ledger.parquet has 3 MB" in refusal(changed(saved, ledger=" " * (3 << 20)))
    assert "more than 1,000 values" in refusal(changed(saved, experiment="[" + "[]," * 2_000 + "0]"))
    repeats = with_value(document_of(saved), ("grid", "repeats"), 2_000)
    assert "more than 1,000 calls" in refusal(changed(saved, experiment=repeats))
    file = io.BytesIO()
    same = pa.DictionaryArray.from_arrays(pa.array([0] * 2_000, pa.int32()), pa.array(["x"]))
    pq.write_table(pa.table({"call_id": same}), file)
    assert len(file.getvalue()) < 10_000
    assert "ledger.parquet has 1 MB" in refusal(changed(saved, ledger=file.getvalue()))


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2])
def test_a_file_that_is_larger_than_its_header_says_is_inflated_no_further(saved, method):
    large = saved.with_name("large.zip")
    with zipfile.ZipFile(large, "w", method) as file, file.open("experiment.json", "w") as member:
        for _ in range(200):
            member.write(bytes(1 << 20))
    data = bytearray(large.read_bytes())
    for start, place in ((b"PK\x01\x02", 24), (b"PK\x03\x04", 22)):  # where the headers have the size
        struct.pack_into("<I", data, data.find(start) + place, 1000)
    large.write_bytes(data)
    tracemalloc.start()
    try:
        refused = refusal(large)
        assert tracemalloc.get_traced_memory()[1] < 20 << 20
    finally:
        tracemalloc.stop()
    assert ("compressed in another way" if method == zipfile.ZIP_BZIP2 else "Bad CRC-32") in refused


@contextmanager
def counted_memory():
    """Yield the pool of all memory that pyarrow takes in the block."""
    usual = pa.default_memory_pool()
    counting = pa.proxy_memory_pool(usual)
    pa.set_memory_pool(counting)
    try:
        yield counting
    finally:
        pa.set_memory_pool(usual)


@pytest.mark.parametrize(
    ("kind", "by_arrow", "why"),
    [
        (pa.string(), True, "has 2,048 MB"),
        (pa.string(), False, "has 2,048 MB"),
        (pa.binary(), True, "prompt in ledger.parquet has a value of another type"),
    ],
    ids=["text", "text of another program", "bytes"],
)
def test_a_long_text_that_many_rows_share_is_counted_in_each(saved, kind, by_arrow, why):
    shared = pa.DictionaryArray.from_arrays(pa.array([0] * 256, pa.int32()), pa.array(["x" * (8 << 20)]).cast(kind))
    file = io.BytesIO()
    table = pa.table({"call_id": [str(row) for row in range(256)], "prompt": shared})
    pq.write_table(table, file, compression="zstd", store_schema=by_arrow)
    assert len(file.getvalue()) < 20_000
    with counted_memory() as counted:
        assert why in refusal(changed(saved, ledger=file.getvalue()))
    assert counted.max_memory() < 100 << 20


def test_a_long_text_is_refused_before_it_is_read(saved, monkeypatch):
    monkeypatch.setattr(archive, "_MAX_LEDGER", 1 << 20)
    file = io.BytesIO()
    pq.write_table(pa.table({"call_id": ["1"], "prompt": ["x" * (8 << 20)]}), file, compression="zstd")
    with counted_memory() as counted:
        assert "ledger.parquet has 8 MB" in refusal(changed(saved, ledger=file.getvalue()))
    assert counted.max_memory() < 1 << 20


def test_what_could_not_be_read_again_is_not_saved(saved, model, monkeypatch):
    results = Experiment.load(saved)
    monkeypatch.setattr(archive, "_MAX_JSON", 100)
    with pytest.raises(LLMError, match=r"was not written: experiment.json"):
        results.save(saved.with_name("large.zip"))
    assert not saved.with_name("large.zip").exists()


def test_a_schema_in_a_file_checks_no_answers(saved):
    # Matching this pattern with 40 letters would take longer than the universe has existed.
    slow = {"type": "object", "properties": {"good": {"type": "string", "pattern": "^(a+)+$x"}}}
    path = changed(saved, experiment=with_value(document_of(saved), ("grid", "arms", 0, "schema"), slow))
    assert Experiment.load(path).calls["parsed_good"].tolist() == ["a" * 40]


def test_a_pipe_or_device_is_not_read_without_end(tmp_path):
    pipe = tmp_path / "run.zip"
    os.mkfifo(pipe)
    assert "is not a file" in refusal(pipe)
    for read in (lambda: ConversationHistory.load(pipe), lambda: image_part(pipe, "It")):
        with pytest.raises(LLMError, match="is not a file"):
            read()
    assert read_dotenv(pipe) == {}


def test_a_damaged_record_of_the_ledger_is_refused(saved):
    from ipyllm.ledger.current import current_ledger

    current_ledger().put({"name": "kept", "changed_at": datetime.now(UTC), "grid": {"repeats": "many"}}, EXPERIMENTS)
    with pytest.raises(LLMError, match="What the ledger keeps of 'kept' is damaged"):
        Experiment.open("kept")
