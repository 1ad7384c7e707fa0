"""``-f code`` run again: the cell that it made gets the new code, and never runs code that its user has not seen."""

from __future__ import annotations

import json
import os
from types import SimpleNamespace

import pytest

from ipyllm_magics.commands.code_cells import cell_source
from ipyllm_magics.display.output_formats import Code
from tests.fakes import answer

ASK = "%%llm --no-history -f code\nWrite it."
KEPT = "The cell made before keeps its code until you run it; it then gets this code, and does not run it yet.\n"


@pytest.fixture
def notebook(kernel, kernel_fake):
    """Run cells as a notebook does, which applies what the kernel wants to be changed."""

    def run(code, cell_id):
        ran = kernel.start(code, cell_id=cell_id)
        result = kernel.collect(ran)
        payload = notebook.replies[ran].get("payload", [])
        return SimpleNamespace(ran=result, made=[p["text"] for p in payload if not p["replace"]],
                               exchanged=[p["text"] for p in payload if p["replace"]])  # fmt: skip

    notebook = SimpleNamespace(run=run, replies={}, kernel=kernel, fake=kernel_fake)
    reply = kernel._reply

    def keep(msg_id):
        found = reply(msg_id)
        notebook.replies[msg_id] = found["content"]
        return found

    kernel._reply = keep
    yield notebook
    kernel._reply = reply


def says(notebook, *codes):
    notebook.fake.reply(*(answer(f"```python\n{code}\n```") for code in codes))


@pytest.fixture
def made(notebook, request):
    """A cell that a call has made."""
    says(notebook, "seen = 1")
    notebook.ask = f"ask-{request.node.name}"
    (source,) = notebook.run(ASK, notebook.ask).made
    assert source.startswith("# code from %%llm, ")
    assert source.endswith("\nseen = 1")
    return source


def test_the_cell_gets_the_new_code_when_it_is_run_and_runs_it_only_then(notebook, made):
    says(notebook, "seen = 2")
    again = notebook.run(ASK, notebook.ask)
    assert (again.made, again.ran.stderr) == ([], KEPT)
    notebook.run("seen = 0", "other")
    exchanged = notebook.run(made, "made")
    assert exchanged.ran.stdout == "This cell now has the newer code. Look at it, then run it.\n"
    (newer,) = exchanged.exchanged
    assert newer.endswith("\nseen = 2")
    assert notebook.kernel.run("print(seen)").stdout == "0\n"
    assert not notebook.run(newer, "made").exchanged
    assert notebook.kernel.run("print(seen)").stdout == "2\n"


def test_the_same_code_changes_nothing(notebook, made):
    says(notebook, "seen = 1")
    again = notebook.run(ASK, notebook.ask)
    assert (again.made, again.ran.stderr) == ([], "")
    ran = notebook.run(made, "made")
    assert (ran.exchanged, ran.ran.status) == ([], "ok")


def test_run_all_runs_what_the_cells_showed(notebook, made):
    notebook.fake.reply(answer("```python\nseen = 2\n```", gap=0.05))
    first = notebook.kernel.start(ASK, cell_id=notebook.ask)
    second = notebook.kernel.start(made, cell_id="made")
    notebook.kernel.collect(first)
    notebook.kernel.collect(second)
    assert notebook.replies[second]["payload"] == []
    assert notebook.kernel.run("print(seen)").stdout == "1\n"
    assert notebook.run(made, "made").exchanged


def test_a_cell_that_its_user_changed_is_left_alone(notebook, made):
    says(notebook, "seen = 2", "seen = 3", "seen = 4")
    notebook.run(ASK, notebook.ask)
    mine = notebook.run(made + "\nseen += 40", "made")
    assert mine.exchanged == []
    assert [source.split("\n")[-1] for source in mine.made] == ["seen = 2"]
    assert mine.ran.stdout.startswith("You had changed this cell, so it keeps its code.")
    assert notebook.kernel.run("print(seen)").stdout == "41\n"
    assert notebook.run(ASK, notebook.ask).made == []
    (newest,) = notebook.run(mine.made[0], "made-2").exchanged
    assert newest.endswith("seen = 3")
    assert not notebook.run(newest + "  # mine", "made-2").made
    assert [source.split("\n")[-1] for source in notebook.run(ASK, notebook.ask).made] == ["seen = 4"]


def test_a_deleted_cell_is_made_anew_and_one_of_an_earlier_kernel_is_found(notebook, made, tmp_path):
    file = tmp_path / "mine.ipynb"
    notebook.kernel.run(f"import os\nos.environ['JPY_SESSION_NAME'] = {str(file)!r}")
    try:
        file.write_text(json.dumps({"cells": [{"id": notebook.ask, "source": ASK}, {"id": "m", "source": made}]}))
        says(notebook, "seen = 2", "seen = 3", "seen = 4")
        assert notebook.run(ASK, notebook.ask).made == []
        file.write_text(json.dumps({"cells": [{"id": notebook.ask, "source": ASK}]}))
        os.utime(file, (4e9, 4e9))
        (newer,) = notebook.run(ASK, notebook.ask).made
        file.write_text(json.dumps({"cells": [{"id": "m", "source": newer}]}))
        notebook.kernel.run("%reload_ext ipyllm")  # forgets all, as a new kernel does
        assert notebook.run(ASK, notebook.ask).made == []
        assert notebook.run(newer, "m").exchanged
    finally:
        notebook.kernel.run("del os.environ['JPY_SESSION_NAME']")


def test_calls_of_one_cell_have_a_cell_each(notebook):
    says(notebook, "one = 1", "two = 2", "one = 1", "two = 3")
    code = "for _ in range(2):\n    get_ipython().run_line_magic('llm', '--no-history -f code Write')"
    assert len(notebook.run(code, "loop").made) == 1  # a front end takes one: the last
    assert notebook.run(code, "loop").ran.stderr == KEPT


def test_a_mark_is_a_comment_in_the_language_of_the_cell():
    assert cell_source(Code("ls", "bash"), "mark") == "%%bash\n# mark\nls"
    assert cell_source(Code("<b>", "html"), "mark") == "%%html\n<!-- mark -->\n<b>"
    assert cell_source(Code("x", "js"), "mark") == "%%javascript\n// mark\nx"
    assert cell_source(Code("x <- 1", "r"), "mark") == "# mark\nx <- 1"


def test_a_cell_of_a_shell_is_exchanged_too(notebook):
    notebook.fake.reply(answer("```bash\necho one\n```"), answer("```bash\necho two\n```"))
    (made,) = notebook.run(ASK, "ask-shell").made
    assert notebook.run(ASK, "ask-shell").made == []
    (newer,) = notebook.run(made, "made-shell").exchanged
    assert notebook.run(newer, "made-shell").ran.stdout == "two\n"


# ---- the corrected cell ------------------------------------------------------------------------------


def test_explain_puts_the_corrected_cell_below(notebook):
    says(notebook, "print(1 / 1)")
    notebook.run("# my ratio\n%time ratio = 1 / 0", "failed")
    corrected = notebook.run("%llm_explain -f code Keep it short.", "explain")
    prompt = notebook.fake.requests[-1].json["messages"][-1]["content"]
    assert prompt.startswith("Correct this Python error.")
    assert "Keep it short." in prompt
    assert "The cell:\n```python\n# my ratio\n%time ratio = 1 / 0\n```" in prompt
    assert [source.split("\n")[-1] for source in corrected.made] == ["print(1 / 1)"]
    assert "print(1 / 1)" in corrected.ran.text


def test_explain_corrects_the_cell_whose_function_failed(notebook):
    says(notebook, "pass")
    notebook.run("def ratio(a, b):\n    # of two numbers\n    return a / b", "defined")
    notebook.run("print(ratio(1, 0))", "failed")
    notebook.run("%llm_explain -f code", "explain-2")
    prompt = notebook.fake.requests[-1].json["messages"][-1]["content"]
    assert "The cell:\n```python\ndef ratio(a, b):\n    # of two numbers\n    return a / b\n```" in prompt


def test_explain_corrects_a_cell_that_does_not_parse(notebook):
    says(notebook, "pass")
    notebook.run("for x in range(3)\n    pass", "failed")
    notebook.run("%llm_explain -f code", "explain-3")
    assert (
        "The cell:\n```python\nfor x in range(3)\n    pass\n```"
        in notebook.fake.requests[-1].json["messages"][-1]["content"]
    )
