"""Arguments of other types, and paths at which there is no file: one sentence, at once, and no raw error."""

from __future__ import annotations

import os
import time

import pandas as pd
import pytest

from ipyllm import (
    ConversationHistory,
    Experiment,
    LLMError,
    compare,
    create_llm_service,
    export_usage,
    summarise,
    usage,
    votes,
)  # fmt: skip
from ipyllm.conversations import transcript
from ipyllm.dataframes.usage import calls_query
from ipyllm.text.suggest import closest
from ipyllm.user_file import file_path, read_file, write_file

_POSIX = pytest.mark.skipif(os.name == "nt", reason="pipes and devices of POSIX")
_HUGE = "x" * 200_000


def sentence(error):
    assert len(str(error.value).splitlines()) == 1
    assert len(str(error.value)) < 1_000
    return str(error.value)


def test_a_filter_of_another_type_is_refused():
    for name in ("model", "status", "origin", "experiment", "kernel", "limit"):
        for value in (object(), 3.5, b"x", [object()], True, lambda: 1):
            with pytest.raises(ValueError, match=f"{name} must be") as error:
                usage(**{name: value})
            assert "at 0x" not in sentence(error)


def test_a_huge_value_is_not_repeated_and_compared_with_nothing():
    start = time.process_time()
    for name in ("since", "until", "status", "origin", "limit"):
        with pytest.raises(ValueError, match="…") as error:
            usage(**{name: _HUGE})
        assert "xxx…" in sentence(error)
    with pytest.raises(LLMError, match="There is no model or alias 'xxx") as error:
        create_llm_service(_HUGE)
    sentence(error)
    assert closest(_HUGE, ["x"]) is None
    assert time.process_time() - start < 5


def test_filters_of_numpy_and_of_tables_are_taken():
    assert calls_query(limit=pd.Series([3])[0], model=pd.Series(["a", "b"])).models == ("a", "b")


def test_other_functions_say_what_they_take(tmp_path):
    with pytest.raises(ValueError, match=r"summarise\(\) takes a table that usage\(\) returned, not a dict"):
        summarise({"model": ["a"]})
    with pytest.raises(ValueError, match="kernel must be 'current'"):
        votes(object())
    with pytest.raises(LLMError, match="calls must be a table that usage"):
        export_usage(tmp_path / "calls.csv", [1])
    for prompt in (object(), 5, b"x", {"a": 5}):
        with pytest.raises(LLMError, match="A prompt is text, or a list of messages"):
            compare(prompt, ["ollama/a", "ollama/b"])


def test_what_is_no_path_is_refused():
    history = ConversationHistory()
    for path in (None, 3, b"x.csv", object(), "", " ", "a\0b", "~nobody-of-this-name/x"):
        for use in (file_path, export_usage, Experiment.load, ConversationHistory.load, history.save):
            with pytest.raises(LLMError, match="name of a file") as error:
                use(path)
            sentence(error)


@_POSIX
@pytest.mark.parametrize("what", ["folder", "pipe", "device"])
def test_nothing_is_written_to_what_is_no_file_and_nothing_read(tmp_path, what):
    path = tmp_path / "x.csv"
    match what:
        case "folder":
            path.mkdir()
        case "pipe":
            os.mkfifo(path)
        case "device":
            path = path.with_name("zero.csv")
            path.symlink_to("/dev/zero")
    history = ConversationHistory()
    for use in (export_usage, history.save, lambda path: write_file(path, "text")):
        with pytest.raises(LLMError, match="cannot be written: it is not a file"):
            use(path)
    with pytest.raises(LLMError, match="cannot be read: it is not a file"):
        ConversationHistory.load(path)
    with pytest.raises(ValueError, match="it is not a file"):
        read_file(path, 10)


def test_a_file_that_cannot_be_written_stays_as_it_is(tmp_path):
    path = tmp_path / "notes.md"
    assert write_file(path, "before\ud800") == path
    assert path.read_text() == "before?"
    assert os.name == "nt" or path.stat().st_mode & 0o777 == 0o600
    with pytest.raises(LLMError, match="cannot be written: No such file or directory"):
        write_file(tmp_path / "none" / "notes.md", "after")


def test_a_conversation_of_no_end_is_not_read(tmp_path, monkeypatch):
    path = tmp_path / "c.json"
    with path.open("wb") as file:
        file.truncate(1 << 36)  # without the bytes on the disk
    monkeypatch.setattr(transcript, "_MAX_BYTES", 1_000_000)
    with pytest.raises(LLMError, match="cannot be read: it is larger than 1 MB"):
        ConversationHistory.load(path)
    monkeypatch.setattr(transcript, "_MAX_VALUES", 1_000)
    path.write_text("[" + "[]," * 2_000 + "[]]")
    with pytest.raises(LLMError, match="has more than 1,000 values"):
        ConversationHistory.load(path)


def test_a_damaged_conversation_of_many_turns_is_read_in_linear_time(tmp_path):
    history = ConversationHistory()
    for n in range(1_000):
        history.add_message("user", f"question {n}")
    history.save(tmp_path / "c.json")
    with (tmp_path / "c.json").open("r+b") as file:
        file.truncate(file.seek(0, os.SEEK_END) - 300)
    start = time.process_time()
    with pytest.warns(UserWarning, match="could be read"):
        found = ConversationHistory.load(tmp_path / "c.json")
    assert 950 < len(found) < 1_000
    assert time.process_time() - start < 2
