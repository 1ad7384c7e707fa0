"""Files of conversations: round trips; damaged, edited and hostile files; a full disk."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
import time
import warnings

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from ipyllm.conversations.history import ConversationHistory, Turn
from ipyllm.errors import LLMError
from ipyllm.text.redact import redact, remember_secret
from tests.service.conversations.samples import BROKEN_TEXT, PICTURE, SYSTEM, TURN, add_turns, history_of, tool_round


def holds_no_key(history):
    """Hypothesis tries strings out of the sources, other tests' keys among them; those would be masked."""
    text = repr(state(history))
    return redact(text) == text


def state(history):
    return history.to_messages(), history.turns, history.max_messages, history.max_tokens


@settings(deadline=None)
@given(SYSTEM, st.lists(st.tuples(TURN, st.none() | BROKEN_TEXT, st.sampled_from(["ok", "cancelled"])), max_size=4),
       st.none() | st.integers(0, 9))  # fmt: skip
def test_what_is_saved_is_what_is_loaded(tmp_path_factory, system, turns, max_messages):
    history = history_of(system, [])
    history.max_messages = max_messages
    for n, (messages, model, status) in enumerate(turns):
        history.put_turn(Turn(messages, f"cell-{n}" if n % 2 else None, model, status))
    assume(holds_no_key(history))
    path = tmp_path_factory.getbasetemp() / "round-trip.json"
    history.save(path)
    assert state(ConversationHistory.load(path)) == state(history)


@pytest.mark.parametrize("text", ["half \ud83d", "swapped \ude00\ud83d", "two halves \ud83d\ude00", "a\x00b\u2028c"])
def test_text_that_json_has_no_escape_for_survives_a_file(tmp_path, text):
    history = ConversationHistory.from_messages([{"role": "user", "content": text}])
    history.save(tmp_path / "chat.json")
    assert ConversationHistory.load(tmp_path / "chat.json").to_messages()[0]["content"] == text


def test_a_saved_conversation_is_the_owners_alone_even_over_an_open_file(tmp_path):
    path = tmp_path / "chat.json"
    path.write_text("an older file")
    path.chmod(0o644)
    link = tmp_path / "link.json"
    link.symlink_to(path)
    ConversationHistory().save(link)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert link.is_symlink()
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["chat.json", "link.json"]


def test_a_cell_run_again_after_loading_replaces_its_turn(tmp_path):
    history = ConversationHistory()
    history.put_turn(Turn([{"role": "user", "content": "first"}], "cell-1", "local/smollm2-135m"))
    history.save(tmp_path / "chat.json")
    loaded = ConversationHistory.load(str(tmp_path / "chat.json"))
    loaded.put_turn(Turn([{"role": "user", "content": "again"}], "cell-1"))
    assert [message["content"] for message in loaded.to_messages()] == ["again"]


def test_keys_are_masked_in_the_file_and_pictures_are_left_alone(tmp_path):
    remember_secret("a-secret-of-this-test-0123456789")
    history = ConversationHistory()
    history.add_message("system", "My key is sk-abcdefghijklmnopqrstuvwxyz.")
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,/AIza" + "A" * 30}}
    history.add_message("user", [{"type": "text", "text": "a-secret-of-this-test-0123456789"}, picture])
    history.extend(tool_round("1", arguments='{"key": "sk-abcdefghijklmnopqrstuvwxyz"}'))
    history.save(tmp_path / "chat.json")
    written = (tmp_path / "chat.json").read_text("utf-8")
    assert "sk-abcdef" not in written
    assert "a-secret-of-this-test-0123456789" not in written
    loaded = ConversationHistory.load(tmp_path / "chat.json")
    assert loaded.system == "My key is [key hidden]."
    assert loaded.to_messages()[1]["content"][1] == picture


def refused(path, match):
    with pytest.raises(LLMError, match=match) as caught:
        ConversationHistory.load(path)
    sentence = str(caught.value)
    assert caught.value.category == "bad_request"
    assert sentence.endswith(".")
    assert len(sentence.splitlines()) == 1
    assert len(sentence) < len(str(path)) + 200


def test_a_path_that_cannot_be_used_is_said_in_a_sentence(tmp_path, monkeypatch):
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    monkeypatch.chdir(tmp_path)
    refused("missing.json", r"The file 'missing.json' cannot be read: no such file")
    for path in (tmp_path, "null\0.json", "loop", "~nobody-of-this-name/chat.json", "x" * 300):
        refused(path, r"cannot be read: .*|is not the name of a file")
        with pytest.raises(LLMError, match=r"cannot be written: .*\.$|is not the name of a file"):
            ConversationHistory().save(path)
    with pytest.raises(LLMError, match="cannot be written: no such file"):
        ConversationHistory().save("no-such-folder/chat.json")
    with pytest.raises(LLMError, match="cannot be written: it is not a file"):
        ConversationHistory().save(os.devnull)
    assert [entry.name for entry in tmp_path.iterdir()] == ["loop"]


def valid():
    history = ConversationHistory(max_messages=20)
    history.add_message("system", "Be brief.")
    history.put_turn(Turn([{"role": "user", "content": [PICTURE, {"type": "text", "text": "What is this?"}]},
                           *tool_round("1"), {"role": "assistant", "content": "A dot."}], "cell-1", "a/b"))  # fmt: skip
    add_turns(history, ("Und?", "Schön."))
    return history


@pytest.fixture(scope="module")
def document(tmp_path_factory):
    path = tmp_path_factory.mktemp("valid") / "chat.json"
    valid().save(path)
    return path.read_bytes()


def test_the_format_is_fixed(document):
    read = json.loads(document)
    assert (read["format"], read["version"]) == ("ipyllm-conversation", 1)
    assert [turn["key"] for turn in read["turns"]] == ["cell-1", None]


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"version": 2}, "was saved by a newer ipyllm. Upgrade"),
        ({"version": 10**4000}, "was saved by a newer ipyllm. Upgrade"),
        ({"version": True}, "is damaged: it has no format version"),
        ({"version": 0}, "is damaged: it has no format version"),
        ({"format": "nbformat"}, "is not a conversation saved by ipyllm"),
        ({"turns": None}, "is damaged: it has no list of turns"),
        ({"turns": [{"key": 5, "model": None, "status": "ok", "messages": []}]}, "key, model or status"),
        ({"turns": [{"key": "a", "model": None, "status": "ok", "messages": []}] * 2}, "have the same key"),
        ({"turns": [{"status": "ok", "messages": [{"role": "robot\n" * 99}]}]}, "There is no role"),
        ({"system": {"role": "user", "content": "x"}}, "role of its system message is not 'system'"),
        ({"max_tokens": "many"}, "max_tokens is not a whole number"),
    ],
)
def test_a_file_that_is_not_ours_or_damaged_says_so(tmp_path, document, change, match):
    path = tmp_path / "chat.json"
    path.write_text(json.dumps({**json.loads(document), **change}))
    refused(path, match)


def loads_or_refuses(path, data):
    """Whatever is in the file: a conversation that works, or the one clear error."""
    path.write_bytes(data)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            history = ConversationHistory.load(path)
    except LLMError:
        refused(path, "is not a conversation saved by ipyllm|is damaged|was saved by a newer")
        return
    history.get_messages()
    history.to_dataframe()
    assume(holds_no_key(history))
    history.save(path)
    assert state(ConversationHistory.load(path)) == state(history)


@given(st.binary(max_size=200))
def test_arbitrary_bytes_are_refused(tmp_path_factory, data):
    path = tmp_path_factory.getbasetemp() / "fuzz.json"
    path.write_bytes(data)
    refused(path, "is not a conversation saved by ipyllm")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
OURS = st.sampled_from(["role", "content", "user", "assistant", "tool", "tool_calls", "id", "text", "messages", "key"])


@settings(deadline=None)
@given(JSON, st.data())
def test_arbitrary_json_in_any_place_of_a_saved_file_loads_or_is_refused(tmp_path_factory, document, value, data):
    whole = node = json.loads(document)
    while True:
        place = data.draw(st.sampled_from(sorted(node) if isinstance(node, dict) else range(len(node))))
        inner = node[place]
        if not isinstance(inner, dict | list) or not inner or data.draw(st.booleans()):
            break
        node = inner
    if isinstance(node, dict) and data.draw(st.booleans()):
        del node[place]
        node[data.draw(OURS)] = value
    else:
        node[place] = value
    assume(whole.get("format") == "ipyllm-conversation")
    loads_or_refuses(tmp_path_factory.getbasetemp() / "fuzz.json", json.dumps(whole).encode())


@settings(deadline=None)
@given(st.data())
def test_a_saved_file_cut_or_with_a_wrong_byte_loads_or_is_refused(tmp_path_factory, document, data):
    place = data.draw(st.integers(0, len(document) - 1))
    byte = data.draw(st.binary(max_size=1))
    rest = document[place + 1 :] if byte else b""
    loads_or_refuses(tmp_path_factory.getbasetemp() / "fuzz.json", document[:place] + byte + rest)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[" * 1_000_000,
        b'{"format": "ipyllm-conversation", "turns": ' + b"[" * 900 + b"]" * 900 + b"}",
        b'{"format": "ipyllm-conversation", "version": ' + b"9" * 5000 + b"}",
        "\ufeff{}".encode(),
        '{"format": "ipyllm-conversation"}'.encode("utf-16"),
        b"\xff\xfe\x00",
        b"NaN",
    ],
    ids=["empty", "deep", "deep-turns", "huge-number", "bom", "utf-16", "binary", "nan"],
)
def test_hostile_files_are_refused(tmp_path, data):
    (tmp_path / "chat.json").write_bytes(data)
    refused(tmp_path / "chat.json", "is not a conversation|is damaged")


def test_messages_nested_too_deep_are_refused_not_a_stack_overflow(tmp_path, document):
    read = json.loads(document)
    read["turns"][0]["messages"][0]["deep"] = json.loads("[" * 200 + "]" * 200)
    (tmp_path / "chat.json").write_text(json.dumps(read))
    refused(tmp_path / "chat.json", "is damaged: .* nested deeper than 32")


SAVING = """
import sys
from ipyllm.conversations.history import ConversationHistory
history = ConversationHistory()
for n in range(2000):
    history.add_message("user", f"{n} " + "x" * 500)
print("ready", flush=True)
while True:
    history.save(sys.argv[1])
"""


def test_a_process_killed_while_it_saves_leaves_a_whole_file(tmp_path):
    path = tmp_path / "chat.json"
    valid().save(path)
    for pause in (0.01, 0.03, 0.05):
        process = subprocess.Popen([sys.executable, "-c", SAVING, str(path)], stdout=subprocess.PIPE)
        assert process.stdout.readline() == b"ready\n"
        time.sleep(pause)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert len(ConversationHistory.load(path)) in {len(valid()), 2000}


FULL_DISK = """
import resource, sys
from ipyllm.errors import LLMError
from ipyllm.conversations.history import ConversationHistory
history = ConversationHistory()
history.add_message("user", "x" * 100_000)
resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
try:
    history.save(sys.argv[1])
except LLMError as exc:
    print(exc)
"""


def test_a_full_disk_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "chat.json"
    valid().save(path)
    done = subprocess.run([sys.executable, "-c", FULL_DISK, str(path)], capture_output=True, text=True, check=True)
    assert "cannot be written: file too large." in done.stdout
    assert state(ConversationHistory.load(path)) == state(valid())
    assert [entry.name for entry in tmp_path.iterdir()] == ["chat.json"]
