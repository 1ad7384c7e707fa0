"""``%llm_history`` in a real kernel: show, undo, fork, save, load, export; and the note after a re-run."""

from __future__ import annotations

import json

import nbformat
import pytest

from tests.fakes import answer


@pytest.fixture
def fake(kernel_fake):
    return kernel_fake


@pytest.fixture
def talk(kernel, fake, tmp_path):
    """A conversation of two turns and a system message, in a folder of its own."""
    kernel.run(f"%cd -q {tmp_path}")
    kernel.run("from ipyllm.conversations.history import forget_conversation, conversations\n"
               "for name in list(conversations()): forget_conversation(name)")  # fmt: skip
    fake.reply(answer("Paris."), answer("Madrid."))
    kernel.run("%%llm -s 'Be \"brief\".'\nCapital of {{ 'France' }}?")
    kernel.run("%%llm --raw\nAnd of {{ Spain }}?")
    return tmp_path


def shown(kernel, name="default"):
    return [line for line in kernel.run(f"%llm_history show -c {name}").text.splitlines() if line]


WHOLE = [
    'system: Be "brief".', "user: Capital of France?", "assistant: Paris.", "user: And of {{ Spain }}?",
    "assistant: Madrid.",
]  # fmt: skip


def test_undo_removes_turns_and_says_which(kernel, talk):
    assert kernel.run("%llm_history undo").stdout == "Removed 1 turn from 'default': 'And of {{ Spain }}?'.\n"
    assert shown(kernel) == WHOLE[:3]
    assert kernel.run("%llm_history undo 5").stdout.startswith("Removed 1 turn")
    assert kernel.run("%llm_history undo").stdout.startswith("There is nothing to undo")


def test_an_answer_that_was_cut_off_is_marked(kernel, fake, talk):
    fake.reply(answer("Ro", finish_reason="length"), answer("Oslo."))
    kernel.run("%llm And of Italy?")
    kernel.run("%llm And of Norway?")
    cut = ["user: And of Italy?", "assistant (stopped at max_tokens): Ro"]
    assert shown(kernel) == [*WHOLE, *cut, "user: And of Norway?", "assistant: Oslo."]
    last = kernel.run("%llm_history show --last 2")
    assert last.text.split("\n\n")[:2] == cut
    assert last.html.count("assistant (stopped at max_tokens)") == 1


def test_a_fork_is_independent(kernel, fake, talk):
    copied = "Copied 'default' (5 messages) to 'other'. Continue it with %%llm -c other\n"
    assert kernel.run("%llm_history fork other").stdout == copied
    fake.reply(answer("Rome."))
    kernel.run("%llm -c other And of Italy?")
    assert shown(kernel) == WHOLE
    assert shown(kernel, "other")[-1] == "assistant: Rome."
    assert "already" in kernel.run("%llm_history fork other").error
    listed = kernel.run("%llm_history list").text
    assert "other" in listed
    assert "And of Italy?" in listed


def test_what_was_saved_can_be_loaded_in_another_kernel(kernel, talk):
    assert kernel.run("%llm_history save talk.json").stdout.startswith("Saved 'default' (5 messages) to talk.json")
    assert kernel.run("%llm_history load talk.json -c again").stdout == "Loaded 5 messages into 'again'.\n"
    assert shown(kernel, "again") == WHOLE


def test_nothing_is_written_over_unless_asked(kernel, talk):
    (talk / "there.md").write_text("mine")
    assert (
        kernel.run("%llm_history export there.md").error
        == "there.md already exists: choose another name, or use --replace."
    )
    assert (talk / "there.md").read_text() == "mine"
    assert kernel.run("%llm_history export there.md --replace").status == "ok"
    kernel.run("%llm_history save talk.json")
    assert "already has 5 messages" in kernel.run("%llm_history load talk.json").error
    assert kernel.run("%llm_history load --replace talk.json").status == "ok"


def test_it_is_exported_as_markdown_json_and_a_notebook_that_asks_again(kernel, fake, talk):
    for name in ("talk.md", "talk.json", "talk.ipynb"):
        assert kernel.run(f"%llm_history export {name}").status == "ok"
    text = (talk / "talk.md").read_text()
    assert text.startswith(
        '# default\n\n## System\n\nBe "brief".\n\n## You\n\nCapital of France?\n\n## Model\n\nParis.'
    )
    messages = json.loads((talk / "talk.json").read_text())
    assert [m["role"] for m in messages] == ["system", "user", "assistant", "user", "assistant"]
    notebook = nbformat.read(talk / "talk.ipynb", 4)
    nbformat.validate(notebook)
    cells = [cell for cell in notebook.cells if cell.source.startswith("%%llm")]
    assert [cell.outputs[0].data["text/plain"] for cell in cells] == ["Paris.", "Madrid."]
    kernel.run("%llm_history clear")
    fake.clear()
    fake.reply(answer("One."), answer("Two."))
    for cell in cells:
        assert kernel.run(cell.source).status == "ok"
    assert [m["content"] for m in fake.requests[-1].json["messages"]] == [
        'Be "brief".', "Capital of France?", "One.", "And of {{ Spain }}?",
    ]  # fmt: skip


def test_a_key_in_a_conversation_does_not_reach_a_file(kernel, fake, talk):
    key = "sk-kernel-0123456789abcdef"
    kernel.run(f"%llm My key is {key}, is that bad?")
    for name in ("k.md", "k.json", "k.ipynb"):
        kernel.run(f"%llm_history export {name}")
        assert key not in (talk / name).read_text()


@pytest.mark.parametrize(
    "content", ["", "not json", "[]", '{"format": "other"}', '{"format": "ipyllm-conversation", "version": 99}']
)
def test_a_broken_file_is_one_sentence_and_costs_no_conversation(kernel, talk, content):
    (talk / "broken.json").write_text(content)
    ran = kernel.run("%llm_history load broken.json -c fresh")
    assert ran.status == "error"
    assert len(ran.traceback) == 1
    assert "broken.json" in ran.error
    assert shown(kernel) == WHOLE


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("load nowhere.json", "nowhere.json"),
        ("load", "%llm_history load needs FILE"),
        ("fork", "%llm_history fork needs NAME"),
        ("fork default", "The copy of 'default' needs another name."),
        ("undo two", "takes a number of turns, 1 or more, not 'two'"),
        ("undo 0", "takes a number of turns, 1 or more, not '0'"),
        ("export talk", "writes files that end in .md, .json, .ipynb, not 'talk'."),
        ("export talk.docx", "not 'talk.docx'."),
        ("export nowhere/talk.md", "cannot be written"),
        ("clear all", "cannot use 'all'"),
        ("clear --replace", "--replace would have no effect"),
        ("list -c x", "--conversation would have no effect"),
        ("udno", "%llm_history has no command 'udno'. Did you mean 'undo'?"),
        ("show -c nobody", "There is no conversation 'nobody'. Choose one of: "),
    ],
)
def test_a_mistake_is_one_sentence(kernel, talk, line, sentence):
    ran = kernel.run(f"%llm_history {line}")
    assert ran.status == "error"
    assert sentence in ran.error
    assert len(ran.traceback) == 1
    assert shown(kernel) == WHOLE


def test_a_question_is_shown_as_typed_and_an_answer_rendered(kernel, fake):
    fake.reply(answer("It is **Bern**."))
    kernel.run("%llm_history clear\nimport pandas as pd\ndf = pd.DataFrame({'city': ['Oslo', 'Bern'], 'n': [3, 5]})")
    kernel.run("%%llm\nWhich? {{ df }}\n*Now.*")
    ran = kernel.run("%llm_history")
    assert "city,n\nOslo,3\nBern,5\n*Now.*" in ran.html
    assert "<strong>Bern</strong>" in ran.html
    assert "```\nWhich? DataFrame" in ran.of("text/markdown")
    assert "It is **Bern**." in ran.of("text/markdown")


def test_a_re_run_cell_says_when_later_turns_depended_on_it(kernel, fake, talk):
    kernel.run("%llm_history clear")
    first = kernel.run("%%llm\nName a city.", cell_id="a")
    kernel.run("%%llm\nWhere is it?", cell_id="b")
    last = kernel.run("%%llm\nIs it large?", cell_id="c")
    assert first.stderr == last.stderr == ""
    again = kernel.run("%%llm\nName a town.", cell_id="a")
    assert again.stderr == (
        "2 later answers still use this cell's old text: 'Where is it?' … 'Is it large?'. "
        "Re-run their cells to update them.\n"
    )
    assert kernel.run("%%llm\nIs it large?", cell_id="c").stderr == ""
    assert kernel.run("%%llm --new\nName a town.", cell_id="a").stderr == ""
