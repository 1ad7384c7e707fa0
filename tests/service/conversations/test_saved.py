"""Conversations of a notebook survive its process; those of a script do not."""

from __future__ import annotations

import os

import pytest

from ipyllm import prune
from ipyllm.conversations import history, notebook
from ipyllm.conversations.history import Turn, conversation, forget_conversation, rename_conversation
from ipyllm.conversations.saved import look_up_draft, save_draft, saved_conversations, saved_names
from ipyllm.ledger import current_ledger
from ipyllm.ledger.columns import CONVERSATIONS
from ipyllm.ledger.query import ConversationQuery

IMAGE = "data:image/png;base64," + "iVBO" * 50


@pytest.fixture
def told():
    return []


@pytest.fixture
def restart(monkeypatch, told):
    """Begin in a notebook; each call is a restart of its kernel."""

    def begin(path="/home/ada/talk.ipynb"):
        monkeypatch.setattr(history, "_conversations", {})
        monkeypatch.setenv("JPY_SESSION_NAME", path)
        notebook.keep_conversations(told.append, otherwise="never")

    monkeypatch.setattr(notebook, "_current", None)
    begin()
    yield begin
    current_ledger().close()


def talk(name="talk"):
    found = conversation(name)
    found.set_system("Be brief.")
    found.put_turn(Turn(({"role": "user", "content": "one"}, {"role": "assistant", "content": "ONE"}), "cell#1", "a/m"))
    found.put_turn(Turn(({"role": "user", "content": "two"}, {"role": "assistant", "content": "TWO"}), "cell#2", "a/m"))
    return found


def test_it_goes_on_as_it_was_and_one_line_says_so(restart, told):
    before = talk()
    restart()
    after = conversation("talk")
    assert after is not before
    assert after.turns == before.turns
    assert after.system == "Be brief."
    assert told == [
        "The conversation 'talk' goes on where this notebook left it: 2 turns, the last 'two'. Begin anew with --new."
    ]
    assert conversation("talk") is after
    assert len(told) == 1


def test_nothing_is_said_of_a_conversation_that_is_new_or_begun_anew(restart, told):
    talk()
    restart()
    conversation("other")
    assert len(conversation("talk", tell=False)) == 5
    assert told == []


def test_what_was_removed_stays_removed(restart):
    found = talk()
    found.undo()
    restart()
    assert [turn.key for turn in conversation("talk").turns] == ["cell#1"]
    conversation("talk").clear()
    restart()
    assert len(conversation("talk")) == 0


def test_a_forgotten_one_is_gone_and_its_object_saves_no_more(restart):
    found = talk()
    forget_conversation("talk")
    found.add_message("user", "still here")
    restart()
    assert len(conversation("talk")) == 0


def test_a_copy_survives_too_and_does_not_replace_one_that_is_known(restart):
    talk().fork("copy")
    restart()
    assert len(conversation("copy")) == 5
    restart()
    with pytest.raises(Exception, match="already exists"):
        conversation("talk").fork("copy")


def test_another_notebook_has_its_own(restart, told):
    talk()
    restart("/home/ada/other.ipynb")
    assert saved_names() == ()
    assert len(conversation("talk")) == 0
    restart()
    assert saved_names() == ("talk",)
    assert len(conversation("talk")) == 5


def test_another_user_has_their_own(restart, monkeypatch):
    monkeypatch.setenv("JUPYTERHUB_USER", "ada")
    restart()
    talk()
    monkeypatch.setenv("JUPYTERHUB_USER", "bob")
    restart()
    assert len(conversation("talk")) == 0


def test_vs_code_tells_its_notebook(restart, monkeypatch):
    import __main__

    monkeypatch.setattr(__main__, "__vsc_ipynb_file__", "/work/a.ipynb", raising=False)
    restart()
    talk()
    monkeypatch.setattr(__main__, "__vsc_ipynb_file__", "/work/b.ipynb")
    restart()
    assert len(conversation("talk")) == 0


@pytest.mark.parametrize("variable", ["IPYLLM_STORE_TEXT", "IPYLLM_RESUME_CONVERSATIONS"])
def test_a_setting_turns_it_off(restart, monkeypatch, variable):
    talk("earlier")
    monkeypatch.setenv(variable, "0")
    talk()
    restart()
    assert len(conversation("earlier")) == 0
    monkeypatch.setenv(variable, "1")
    restart()
    assert len(conversation("talk")) == 0
    assert len(conversation("earlier")) == 5, "what was saved before is kept"


def test_a_script_saves_nothing(restart, monkeypatch):
    monkeypatch.setattr(notebook, "_current", None)
    talk()
    assert current_ledger().read(ConversationQuery()) == []


def test_keys_are_masked_and_images_and_encrypted_reasoning_are_whole(restart):
    encrypted = "sk-" + "Zm9v" * 20
    message = {
        "role": "user",
        "content": [{"type": "text", "text": "my key is sk-proj-0123456789abcdef"},
                    {"type": "image_url", "image_url": {"url": IMAGE}}],
    }  # fmt: skip
    items = [{"type": "reasoning", "encrypted_content": encrypted}]
    conversation("talk").put_turn(Turn((message, {"role": "assistant", "content": "", "output_items": items})))
    restart()
    question, reply = conversation("talk").turns[0].messages
    assert "sk-proj" not in str(question)
    assert question["content"][1]["image_url"]["url"] == IMAGE
    assert reply["output_items"][0]["encrypted_content"] == encrypted


def test_a_damaged_one_begins_anew(restart, told):
    talk()
    ledger = current_ledger()
    query = ConversationQuery()
    (row,) = ledger.read(query)
    ledger.put({**dict(zip(query.columns, row, strict=True)), "contents": {"turns": 3}}, CONVERSATIONS)
    restart()
    assert len(conversation("talk")) == 0
    assert told == []


def test_it_is_deleted_with_the_text(restart):
    talk()
    current_ledger().flush()
    prune(keep_text="0s")
    restart()
    assert len(conversation("talk")) == 0


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_process_does_not_save_over_it(run_script, own_settings):
    script = """
        import os, sys
        from ipyllm import conversation
        from ipyllm.conversations.notebook import current_notebook, keep_conversations
        keep_conversations(print, otherwise="here")
        conversation("talk").add_message("user", "one")
        child = os.fork()
        if not child:
            conversation("talk").clear()
            os._exit(0 if current_notebook() is None else 1)
        assert os.waitpid(child, 0)[1] == 0
    """
    run_script(script)
    again = """
        from ipyllm import conversation
        from ipyllm.conversations.notebook import keep_conversations
        keep_conversations(print, otherwise="here")
        assert len(conversation("talk")) == 1
    """
    assert "goes on" in run_script(again)


def test_a_draft_survives_beside_the_conversation_and_without_one(restart, monkeypatch):
    talk()
    save_draft("talk", "half a ques")
    save_draft("empty", "more")
    restart()
    assert look_up_draft("talk") == "half a ques"
    assert look_up_draft("empty") == "more"
    assert look_up_draft("unknown") == ""
    assert len(conversation("talk")) == 5, "the draft replaces nothing"
    save_draft("talk", "")
    assert look_up_draft("talk") == ""
    monkeypatch.setenv("IPYLLM_STORE_TEXT", "0")
    save_draft("empty", "secret")
    monkeypatch.setenv("IPYLLM_STORE_TEXT", "1")
    assert look_up_draft("empty") == "more"


def test_the_saved_ones_are_listed_by_their_last_change_without_empty_ones(restart):
    for name in ("one", "two", "three"):
        talk(name)
    conversation("two").clear()
    save_draft("one", "typed later")
    assert [found.name for found in saved_conversations(10)] == ["one", "three"]
    assert saved_conversations(10)[0].contents.turns == conversation("one").turns
    assert [found.name for found in saved_conversations(1)] == ["one"]
    restart("/home/ada/other.ipynb")
    assert saved_conversations(10) == []


def test_a_renamed_one_keeps_its_date_and_its_place_in_the_list(restart):
    for name in ("one", "two", "later"):
        talk(name)
    forget_conversation("later")  # its row is newer than the date of the one that gets its name
    before = {found.name: found.changed_at for found in saved_conversations(10)}
    rename_conversation("one", "later")
    assert [(found.name, found.changed_at) for found in saved_conversations(10)] == [
        ("two", before["two"]),
        ("later", before["one"]),
    ]
    restart()
    assert len(conversation("later")) == len(conversation("two"))
    conversation("later").undo()
    assert saved_conversations(1)[0].name == "later"  # which it has changed now


def test_one_that_was_saved_before_dates_of_changes_were_kept_has_that_of_its_row(restart):
    talk("old")
    (row,) = current_ledger().read(ConversationQuery())
    saved_at = row[ConversationQuery().columns.index("saved_at")]
    identifier = row[ConversationQuery().columns.index("conversation_id")]
    current_ledger().put({"conversation_id": identifier, "saved_at": saved_at, "changed_at": None}, CONVERSATIONS)
    assert saved_conversations(1)[0].changed_at == saved_at
    rename_conversation("old", "new")
    assert [(found.name, found.changed_at) for found in saved_conversations(10)] == [("new", saved_at)]
