"""A conversation goes on after the kernel was killed; and what was sent for a past call can be seen."""

from __future__ import annotations

import json

import pytest

from tests.fakes import answer, unauthorized
from tests.kernels import LiveKernel

LINE = "The conversation 'default' goes on where this notebook left it: 1 turn, the last 'Capital of France?'. "


@pytest.fixture
def start(fake, own_settings):
    """Start kernels of one notebook after each other."""
    kernels = []

    def begin(**variables):
        if kernels:
            kernels[-1].kill()
        live = LiveKernel(
            IPYLLM_MODEL="openai/fake-model",
            OPENAI_BASE_URL=fake.base_url,
            OPENAI_API_KEY="sk-kernel-0123456789abcdef",
            IPYLLM_LEDGER=str(own_settings / "ledger.sqlite"),
            IPYLLM_CONFIG=str(own_settings / "config.toml"),
            **{"JPY_SESSION_NAME": "/home/ada/talk.ipynb", **variables},
        )
        kernels.append(live)
        assert live.run("%load_ext ipyllm").status == "ok"
        return live

    yield begin
    for live in kernels:
        live.close()


def forget_all(kernel):
    """Do to the conversations what a restart does, at a tenth of its cost."""
    assert kernel.run("from ipyllm.conversations import history\nhistory._conversations.clear()").status == "ok"


def ask(kernel, line, cell=None):
    ran = kernel.run(line, cell_id=cell)
    assert (ran.status, ran.stderr) == ("ok", ""), "nothing is wrong, so nothing is red"
    return ran.stdout


def sent(fake):
    return [message["content"] for message in fake.requests[-1].json["messages"]]


@pytest.mark.thorough
def test_a_restart_does_not_end_it(start, fake):
    kernel = start()
    fake.reply(answer("Paris."))
    assert ask(kernel, "%llm -s Brief. Capital of France?", "a") == ""
    ask(kernel, "%llm_history list")  # the row is written
    kernel = start()
    fake.reply(answer("Rome."), answer("Oslo."))
    assert ask(kernel, "%llm And of Italy?", "b") == LINE + "Begin anew with --new.\n"
    assert sent(fake) == ["Brief.", "Capital of France?", "Paris.", "And of Italy?"]
    assert ask(kernel, "%llm And of Norway?", "c") == "", "said once"
    shown = kernel.run("%llm_history show --last 1").text
    assert shown.split("\n\n") == ["user: And of Norway?", "assistant: Oslo."]
    request = kernel.run("%llm_history request 2").text
    assert json.loads(request) == fake.requests[-2].json
    call_id = kernel.run("import ipyllm\nprint(ipyllm.usage(kernel=None).call_id.iloc[0])").stdout.strip()
    assert "Capital of France?" in kernel.run(f"%llm_history request {call_id}").text
    assert kernel.run("%llm_usage --last 1").stdout.startswith("1 call ")
    assert kernel.run("%llm_usage --all --last 2").stdout.startswith("2 calls ")


def test_a_list_says_of_no_conversation_that_it_goes_on_and_its_first_use_does(start, fake, tmp_path):
    fake.default = answer("Paris.")
    kernel = start()
    ask(kernel, "%llm Capital of France?")
    ask(kernel, "%llm -c other Capital of France?")
    forget_all(kernel)
    for line in ("list", "list", "show -c other", f"export {tmp_path}/other.md -c other"):
        assert "goes on" not in ask(kernel, f"%llm_history {line}")
    assert ask(kernel, "%llm And of Italy?") == LINE + "Begin anew with --new.\n"
    assert ask(kernel, "%llm And of Norway?") == ""
    assert "'other' goes on" in ask(kernel, "%llm -c other And of Italy?")


def test_new_begins_anew_and_a_call_that_fails_loses_nothing(start, fake):
    fake.reply(answer("Paris."))
    kernel = start()
    ask(kernel, "%llm Capital of France?")
    forget_all(kernel)
    fake.reply(unauthorized())
    assert kernel.run("%llm --new Hello").status == "error"
    assert "Paris." in kernel.run("%llm_history show").text
    forget_all(kernel)
    fake.reply(answer("Hi."))
    assert ask(kernel, "%llm --new Hello") == ""
    assert sent(fake) == ["Hello"]
    forget_all(kernel)
    assert kernel.run("%llm_history show").text.split("\n\n") == ["user: Hello", "assistant: Hi."]


@pytest.mark.parametrize(
    "use",
    ["from ipyllm import conversation\nlen(conversation('trip'))",
     "%%llm_compare -m openai/a -m openai/b -c trip\nAnd?"],
)  # fmt: skip
def test_each_use_takes_it_up(kernel, kernel_fake, use):
    ask(kernel, "%llm -c trip --new Capital of France?")
    forget_all(kernel)
    assert ask(kernel, use).startswith(LINE.replace("default", "trip"))


def test_a_chat_takes_it_up_and_shows_it_so_no_line_says_it(kernel, kernel_fake):
    ask(kernel, "%llm -c trip --new Capital of France?")
    forget_all(kernel)
    show = "from ipyllm import ChatWidget\nprint([one['role'] for one in ChatWidget(conversation='trip').messages])"
    assert ask(kernel, show) == "['user', 'assistant']\n"


@pytest.mark.thorough
def test_a_chat_without_the_magics_survives_too(start, fake):
    fake.reply(answer("Paris."))
    kernel = start()
    kernel.run("from ipyllm.conversations import notebook\nnotebook._current = None")
    ask(kernel, "from ipyllm import ChatWidget\nChatWidget().send('Capital of France?').wait();")
    forget_all(kernel)
    kernel.run("notebook._current = None")
    assert (
        ask(kernel, "print([one['content'] for one in ChatWidget().messages])") == "['Capital of France?', 'Paris.']\n"
    )


def test_where_no_notebook_is_known_the_kernel_is_what_stays(kernel):
    place = kernel.run(
        "from ipyllm.conversations.notebook import current_notebook\nprint(current_notebook().name)"
    ).stdout
    assert place.endswith(f" {kernel.kernel_id}\n")


def test_wrong_numbers_are_said(kernel):
    assert "so there is no request 999." in kernel.run("%llm_history request 999").error
    assert "takes 1 for the last call" in kernel.run("%llm_history request 0").error
    assert "has no call 'x'" in kernel.run("%llm_history request x").error
    assert "--last would have no effect" in kernel.run("%llm_history undo --last 2").error
    assert "--last needs a whole number, 1 or more, not '0'" in kernel.run("%llm_history --last 0").error
    assert "--last needs a whole number, 1 or more, not 'x'" in kernel.run("%llm_usage --last x").error
