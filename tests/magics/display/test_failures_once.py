"""A failure is told once, in the words of the place, and shows the user's code only."""

from __future__ import annotations

import re

import pytest

from ipyllm.text.terminal import strip_control_sequences
from ipyllm_magics.errors import MagicError
from tests import fakes
from tests.fakes import answer, model_not_found

REFUSED = 'openai/fake-model refused the request (HTTP 400, "no"); check the parameters.'


@pytest.fixture
def late(kernel, kernel_fake):
    """Let all calls fail after the cell has begun to say that it waits."""
    kernel_fake.default = fakes.status(400, {"error": {"message": "no"}}, delay=1)
    return kernel_fake


def shown(ran):
    return ran.html.split("</style>")[-1].strip()


def test_a_cell_that_waited_shows_only_the_error(kernel, late):
    ran = kernel.run("%llm Hello")
    assert (ran.error, len(ran.traceback)) == (REFUSED, 1)
    assert shown(ran) == '<span class="ipyllm-empty"></span>'
    assert ran.text.strip() == ran.stdout == ran.stderr == ""


def test_a_part_of_an_answer_keeps_its_line_which_leaves_the_failure_to_the_error(kernel, kernel_fake):
    kernel_fake.default = fakes.reset(answer("one two three"), after=2)
    ran = kernel.run("%llm Hello")
    assert "one" in ran.text
    assert "\n\nopenai/fake-model · first token" in ran.text
    assert "error (" not in ran.text + ran.html
    assert ran.error.startswith("The connection to openai/fake-model")
    again = kernel.run("_llm")
    assert again.html.count("The connection to openai/fake-model") == 1
    assert "error (" not in again.html


def test_when_every_arm_fails_the_columns_say_why(kernel, kernel_fake):
    kernel_fake.on(lambda request: model_not_found())
    ran = kernel.run("%%llm_compare -m openai/a -m openai/b\nGo")
    assert ran.error == "Every arm failed; their columns say why."
    assert ran.text.count("openai/a") == 1
    assert "error (" not in ran.text + ran.html
    ran = kernel.run("%%llm_compare -m openai/a -m openai/b --quiet\nGo")
    assert ran.error.startswith("Every arm failed. A: openai/a")
    kernel_fake.on(None)


def test_magics_speak_of_options_and_python_of_arguments(kernel, kernel_fake):
    kernel_fake.default = fakes.never_answers()
    kernel.run("import ipyllm\nservice = ipyllm.create_llm_service('openai/fake-model', max_retries=0)")
    kernel_fake.reply(answer("The connection is made, which counts too."))
    assert kernel.run("service.chat('Hello').status").text == "'ok'"
    python = kernel.run("service.chat('Hello', timeout=0.3)")
    assert python.error.endswith("; allow more time with timeout=Timeout(first_token=…).")
    assert kernel.run("%llm --timeout 0.3 Hello").error.endswith("; allow more time with --timeout.")
    kernel.run("import os\nkey = os.environ.pop('OPENAI_API_KEY')\ndel os.environ['OPENAI_BASE_URL']")
    ran = kernel.run("%llm Hello")
    kernel.run(f"os.environ['OPENAI_API_KEY'] = key\nos.environ['OPENAI_BASE_URL'] = {kernel_fake.base_url!r}")
    assert "OPENAI_API_KEY" in ran.error
    assert "api_key=" not in ran.error


@pytest.mark.parametrize(
    "code",
    ["service.chat('Hello')", "list(service.stream('Hello'))", "await service.achat('Hello')",
     "async for text in service.chat_stream('Hello'): pass", "service.chat('Hello', temperature='x')"],
)  # fmt: skip
def test_a_traceback_in_python_shows_the_users_code_only(kernel, late, code):
    kernel.run("import ipyllm\nservice = ipyllm.create_llm_service('openai/fake-model')")
    ran = kernel.run(f"def mine():\n    return service\n{code}")
    assert ran.status == "error"
    trace = "\n".join(ran.traceback)
    assert f"----> 3 {code}" in trace
    assert "File " not in trace
    assert trace.count("LLMError") == 2, "above and below"
    assert trace.endswith(f"LLMError: {ran.error}")


def test_frames_of_the_user_are_kept_and_verbose_shows_all(kernel, late):
    kernel.run("import ipyllm\nservice = ipyllm.create_llm_service('openai/fake-model', max_retries=1)")
    ran = kernel.run("def mine():\n    return service.chat('Hello')\nmine()")
    trace = "\n".join(ran.traceback)
    assert "in mine()" in trace
    assert "services/base.py" not in trace
    kernel.run("%xmode Verbose")
    trace = "\n".join(kernel.run("mine()").traceback)
    kernel.run("%xmode Context")
    assert "services/base.py" in trace


def test_giving_up_has_one_sentence_too(kernel, kernel_fake):
    kernel_fake.default = fakes.status(500, {"error": {"message": "down"}}, {"retry-after": "0"})
    kernel.run("import ipyllm\nservice = ipyllm.create_llm_service('openai/fake-model', max_retries=1)")
    ran = kernel.run("service.chat('Hello')")
    assert ran.error.startswith("Gave up after 2 attempts: ")
    assert "direct cause" not in "\n".join(ran.traceback)
    (magic,) = kernel.run("%llm Hello").traceback
    assert magic.startswith("api error: Gave up after ")


@pytest.mark.parametrize(
    ("kind", "sentence", "shown"),
    [
        ("not_found", "openai/m was not found (HTTP 404).", "error"),
        ("not_found", "There is no service 'opnai'.", "not found"),
        ("connection", "The connection to openai/m was lost; try again.", "error"),
        ("connection", "openai/m cannot be reached at host; check the connection.", "connection"),
        ("content_filter", "The content filter of openai/m stopped the answer.", "error"),
        ("schema_mismatch", "The answer of openai/m does not fit the schema: name: missing.", "error"),
        ("truncated", "The response of openai/m was cut off: the stream ended; try again.", "error"),
        ("cancelled", "The call to openai/m was cancelled.", "error"),
        ("timeout", "openai/m took too long: no token for 3 s; allow more time with --timeout.", "timeout"),
        ("usage", "%llm_usage: there is no column 'x'.", "usage"),
    ],
)
def test_the_word_before_a_sentence_says_nothing_that_the_sentence_says_too(kind, sentence, shown):
    (line,) = MagicError(sentence, kind)._render_traceback_()
    assert strip_control_sequences(line) == f"{shown}: {sentence}"


def test_the_cause_that_a_user_gives_is_shown(kernel, kernel_fake):
    ran = kernel.run("import ipyllm\ntry:\n    1 / 0\nexcept ZeroDivisionError as exc:\n"
                     "    raise ipyllm.LLMError('no', category='api_error') from exc")  # fmt: skip
    assert "ZeroDivisionError" in "\n".join(ran.traceback)


def n_unsent(totals):
    found = re.search(r"(\d+) not sent", totals)
    return int(found[1]) if found else 0


def test_a_mistake_that_never_left_the_machine_is_no_failed_call(kernel, kernel_fake):
    kernel.run("import ipyllm")
    kernel.run("%llm Hello")
    before = kernel.run("%llm_usage").stdout
    assert kernel.run("%llm -m local/nothing Hello").status == "error"
    after = kernel.run("%llm_usage").stdout
    assert n_unsent(after) == n_unsent(before) + 1
    assert after.partition(" · ")[0] == before.partition(" · ")[0]
    assert after.count("failed") == before.count("failed")
    models = kernel.run("print(list(ipyllm.summarise(ipyllm.usage()).index))").stdout
    assert "local/nothing" not in models
