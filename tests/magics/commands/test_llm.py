"""``%%llm`` in a real kernel: outputs, stored values, interrupts."""

from __future__ import annotations

import pytest

from ipyllm.rendering.style import COPY_SCRIPT
from tests import fakes
from tests.fakes import answer

MARKDOWN = "# Title\n\nSome *text*.\n\n```python\nprint('hi')\n```\n\n- one\n- two\n"


@pytest.fixture
def fake(kernel_fake):
    """The server that the kernel's default model is at."""
    return kernel_fake


def asked(fake):
    """Messages of the last request, as (role, content)."""
    return [(message["role"], message["content"]) for message in fake.requests[-1].json["messages"]]


def test_the_answer_streams_into_the_cell_as_safe_html_and_as_text(kernel, fake):
    fake.default = answer(MARKDOWN + "<script>alert(1)</script>", gap=0.01)
    ran = kernel.run("%%llm\nHello")
    assert ran.status == "ok"
    assert ">Title</h1>" in ran.html
    assert "<script" not in ran.html.replace(COPY_SCRIPT, "")
    assert MARKDOWN in ran.text
    footer = ran.text.splitlines()[-1]
    assert footer.startswith("openai/fake-model · first token ")
    assert "10 → " in footer


def test_blocks_are_frozen_so_that_a_long_answer_is_not_sent_again_and_again(kernel, fake):
    text = "\n\n".join(f"Paragraph {i} " + "with words " * 20 for i in range(30))
    fake.default = answer(text, chunks=90, gap=100)
    request, ran = kernel.start("%%llm\nHello"), None
    for i in range(30):
        ran = kernel.collect(request, ran=ran, until=lambda ran, i=i: f"Paragraph {i} " in ran.html)
        for _ in range(3):
            fake.send_next()
    kernel.collect(request, ran=ran)
    sent = sum(len(str(message["content"])) for message in ran.messages)
    assert sent < 12 * len(text)
    assert len(ran.outputs) > 3
    assert ran.text.startswith("\nParagraph 0")
    for i in range(30):
        assert ran.text.count(f"Paragraph {i} ") == 1
        assert ran.html.count(f"Paragraph {i} ") == 1


def test_the_conversation_goes_on_and_can_begin_anew(kernel, fake):
    fake.default = answer("Paris.")
    kernel.run("%%llm -s 'Be brief.'\nCapital of France?")
    kernel.run("%llm And of Spain?")
    assert asked(fake) == [
        ("system", "Be brief."),
        ("user", "Capital of France?"),
        ("assistant", "Paris."),
        ("user", "And of Spain?"),
    ]
    kernel.run("%llm --no-history Alone")
    assert asked(fake) == [("user", "Alone")]
    kernel.run("%llm -c other Elsewhere")
    assert asked(fake) == [("user", "Elsewhere")]
    kernel.run("%llm --new Afresh")
    assert asked(fake) == [("user", "Afresh")]


def test_running_a_cell_again_replaces_its_turn(kernel, fake):
    fake.reply(answer("one"), answer("two"), answer("ONE"))
    kernel.run("%%llm\nfirst", cell_id="a")
    kernel.run("%%llm\nsecond", cell_id="b")
    kernel.run("%%llm\nfirst, again", cell_id="a")
    assert asked(fake) == [("user", "first, again")]
    shown = kernel.run("%llm_history").text
    assert [line for line in shown.splitlines() if line] == [
        "user: first, again", "assistant: ONE", "user: second", "assistant: two",
    ]  # fmt: skip


def test_several_calls_of_one_cell_are_several_turns(kernel, fake):
    code = "for word in ('one', 'two'):\n    get_ipython().run_line_magic('llm', word)"
    kernel.run(code, cell_id="loop")
    assert [content for role, content in asked(fake) if role == "user"] == ["one", "two"]
    kernel.run(code, cell_id="loop")
    assert [content for role, content in asked(fake) if role == "user"] == ["one", "two"]


def test_options_reach_the_model(kernel, fake):
    kernel.run("%%llm -m openai/other -t 0.5 --max-tokens 7 --seed=3\nHello")
    body = fake.requests[-1].json
    assert (body["model"], body["temperature"], body["max_tokens"], body["seed"]) == ("other", 0.5, 7, 3)


def test_a_model_id_that_begins_with_its_services_name_keeps_it(kernel, fake):
    ran = kernel.run("%%llm -m openai/openai/gpt-oss-20b\nHello")
    assert fake.requests[-1].json["model"] == "openai/gpt-oss-20b"
    assert ran.text.splitlines()[-1].startswith("openai/openai/gpt-oss-20b · ")
    kernel.run("%%llm_compare -m openai/openai/tiny -m openai/tiny\nHello")
    assert sorted(request.json["model"] for request in fake.requests[-2:]) == ["openai/tiny", "tiny"]


def test_the_answer_can_be_had_in_a_variable_and_silently(kernel, fake):
    fake.default = answer("Paris.")
    ran = kernel.run("%%llm -o capital --quiet\nCapital of France?")
    assert (ran.status, ran.outputs) == ("ok", [])
    said = kernel.run("print(capital['content'], capital.status, _llm is capital)").stdout
    assert said == "Paris. ok True\n"


def test_templates_are_filled_in_once_and_braces_left_alone(kernel, fake):
    kernel.run("import pandas as pd\nname = '{{ secret }}'\nsecret = 'no'\ndf = pd.DataFrame({'a': [1, None]})")
    kernel.run('%%llm --no-history\n{"who": "{{ name }}", "n": {{ 1 + 1 }}} {# {not} %s $HOME')
    assert asked(fake) == [("user", '{"who": "{{ secret }}", "n": 2} {# {not} %s $HOME')]
    kernel.run("%%llm --no-history --raw\n{{ name }}")
    assert asked(fake) == [("user", "{{ name }}")]
    kernel.run("%%llm --no-history\n{{ df }}")
    assert "2 rows and 1 column:" in asked(fake)[0][1]
    assert "- a: float64, 1 missing" in asked(fake)[0][1]


def test_a_template_cannot_reach_into_python(kernel, fake):
    ran = kernel.run("%%llm\n{{ ''.__class__.__mro__ }}")
    assert ran.status == "error"
    assert "may not use '__class__', because of the underscore at its beginning" in ran.error
    assert not fake.requests


@pytest.mark.parametrize("question", ["what is this?", "what's 'this?", "is it {a} or b??", "100% sure?", "- really?"])
def test_a_one_line_question_is_a_question_to_the_model(kernel, fake, question):
    ran = kernel.run(f"%llm {question}")
    assert ran.status == "ok", ran.traceback
    assert asked(fake)[-1] == ("user", question)


def test_help_is_still_help(kernel, fake):
    assert kernel.run("%llm?").status == "ok"
    ran = kernel.run("%%llm --help")
    assert "--max-tokens N" in ran.stdout
    text = kernel.run('s = """\n%llm what?\n"""\nprint(s)').stdout
    assert text == "\n%llm what?\n\n"
    assert not fake.requests


def test_reasoning_is_folded_above_the_answer(kernel, fake):
    fake.default = answer("Yes.", reasoning="Let me think about <b>it</b>.", gap=0.02)
    ran = kernel.run("%%llm\nIs it?")
    assert "<details" in ran.html
    assert ran.html.index("Let me think") < ran.html.index("Yes.")
    assert "<b>" not in ran.html
    assert "> Let me think" in ran.text


# ---- mistakes ----------------------------------------------------------------------------------------

MISTAKES = {
    "%%llm --temprature 1\nHi": "usage: %%llm has no option --temprature. Did you mean '--temperature'?",
    "%%llm -t hot\nHi": "usage: %%llm: -t needs a number, not 'hot'.",
    "%%llm -t 9\nHi": "bad request: temperature must be a number between 0 and 2, not 9.0.",
    "%%llm -s 'never closed\nHi": "usage: %%llm: the quote ' in \"'never closed\" is never closed.",
    "%%llm -m\nHi": "usage: %%llm: -m needs a value (MODEL).",
    "%%llm -t 1 -t 0\nHi": "usage: %%llm was given -t twice.",
    "%%llm -o 1abc\nHi": "usage: %%llm: -o needs the name of a variable, not '1abc'.",
    "%%llm hello\nHi": "usage: %%llm cannot use 'hello'.",
    "%%llm": "usage: The prompt is empty: write it under the %%llm line.",
    "%%llm\n  \n": "usage: The prompt is empty: write it under the %%llm line.",
    "%llm -t 0": "usage: The prompt is empty: write it after the options.",
    "%%llm -m opnai/x\nHi": "not found: There is no service 'opnai'; did you mean 'openai/x'?",
    "%%llm -m nonsense\nHi": "not found: There is no model or alias 'nonsense'; write service/model",
    "%%llm -m deepseek/deepseek-flash\nHi": "authentication: DeepSeek needs a key: set DEEPSEEK_API_KEY",
    "word = 1\n%llm {{ wrod }}": "usage: The prompt uses {{ wrod }}, which is not defined; did you mean 'word'?",
    "%%llm\n{{ 1 / 0 }}": "usage: The prompt's template failed: ZeroDivisionError",
    "%%llm\n{% if %}": "usage: The prompt's template does not parse, line 1",
    "%llm_history shw": "usage: %llm_history has no command 'shw'. Did you mean 'show'?",
    "%llm_history show -c nobody": "usage: There is no conversation 'nobody'. Choose one of: default",
    "%llm_usage --by modle": "Did you mean 'model'?",
    "%llm_models use olama/x": "not found: There is no service 'olama'; did you mean 'ollama/x'?",
    "%llm_models pull nothing": "not found",
    "%llm_models use local/nothing": "not found",
    "%%llm --no-history --new\nHi": "usage: %%llm: --no-history and --new contradict each other",
    "%%llm -s ''\nHi": "usage: %%llm: -s needs the text of a system message",
    "%env OLLAMA_HOST=box:abc\n%llm -m ollama/x Hi": "bad request: OLLAMA_HOST is not an address: 'http://box:abc'",
    "%env IPYLLM_ALIASES=notjson\n%llm Hi": "error: The settings cannot be read",
}


@pytest.mark.parametrize("code", MISTAKES)
def test_a_mistake_is_one_sentence_and_stops_run_all(kernel, fake, code):
    ran = kernel.run(code)
    assert ran.status == "error"
    assert len(ran.traceback) == 1, ran.traceback
    assert MISTAKES[code] in ran.traceback[0]
    assert not fake.requests
    kernel.run("import os\nfor name in ('OLLAMA_HOST', 'IPYLLM_ALIASES'):\n    os.environ.pop(name, None)")
    assert kernel.run("1 + 1").text == "2"


def test_a_wrong_key_is_one_sentence_without_the_key(kernel, fake):
    fake.default = fakes.unauthorized("sk-kernel-0123456789abcdef")
    ran = kernel.run("%%llm\nHello")
    assert ran.status == "error"
    assert ran.traceback[0].startswith("authentication: openai/fake-model refused the key (HTTP 401")
    assert "sk-kernel" not in str(ran.messages)


def test_a_key_across_the_cut_of_a_message_shows_in_no_cell(kernel, fake):
    key = "sk-kernel-0123456789abcdef"
    for before in (170, 180, 190, 199):
        fake.default = fakes.error(400, "x" * before + key + "y" * 200)
        ran = kernel.run("%%llm\nHello")
        assert ran.status == "error"
        assert "sk-ker" not in str(ran.messages)
    ran = kernel.run("usage().tail(4)[['error_message', 'prompt']]")
    assert "sk-ker" not in str(ran.messages)


def test_xmode_verbose_shows_no_key(kernel, fake):
    fake.default = fakes.unauthorized("sk-kernel-0123456789abcdef")
    kernel.run("%xmode Verbose\nfrom ipyllm import create_llm_service")
    try:
        for cell in (
            "create_llm_service('openai/m', max_retries=0).chat('Hello')",
            "create_llm_service('openai/m', api_key=os.getenv('OPENAI_API_KEY'), temprature=1)",
            "create_llm_service('azure', api_key=os.getenv('OPENAI_API_KEY'))",
        ):
            ran = kernel.run(cell)
            assert ran.status == "error"
            assert len(ran.traceback) > 1
            assert "sk-kernel" not in str(ran.messages)
    finally:
        kernel.run("%xmode Context")


def test_a_broken_answer_is_shown_kept_and_reported(kernel, fake):
    fake.default = fakes.truncated("one two three four", after=3)
    ran = kernel.run("%%llm -o partial\nHello")
    assert ran.status == "error"
    assert ran.traceback[0].startswith("error: The response of openai/fake-model was cut off: ")
    assert "one two three" in ran.text
    assert kernel.run("print(partial.content, partial.status)").stdout == "one two three truncated\n"
    assert "assistant (connection lost): one two three" in kernel.run("%llm_history").text


def test_a_failed_call_leaves_no_question_without_answer_in_the_conversation(kernel, fake):
    fake.reply(fakes.bad_json())
    assert kernel.run("%%llm\nlost").status == "error"
    kernel.run("%%llm\nkept")
    assert asked(fake) == [("user", "kept")]


def test_a_call_that_comes_to_nothing_costs_no_conversation(kernel, fake):
    kernel.run("%llm remember me")
    fake.reply(fakes.bad_json())
    assert kernel.run("%llm --new afresh").status == "error"
    assert "remember me" in kernel.run("%llm_history").text


def test_the_models_are_listed_even_if_the_default_does_not_exist(kernel, fake):
    kernel.run("import os\nos.environ['IPYLLM_MODEL'] = 'nonsense'")
    try:
        assert "local/smollm2-135m" in kernel.run("%llm_models").text
    finally:
        kernel.run("os.environ['IPYLLM_MODEL'] = 'openai/fake-model'")


# ---- interrupts --------------------------------------------------------------------------------------


def test_a_stream_in_a_cell_runs_async_tools_on_the_kernels_loop(kernel, fake):
    fake.reply(answer("", chunks=[], tool_calls=[("look_up", {"city": "Bern"})]), answer("It rains."))
    code = (
        "import asyncio\nfrom ipyllm import create_llm_service\nkernels = asyncio.get_running_loop()\n"
        "async def look_up(city: str) -> str:\n    'Find the weather.'\n    await asyncio.sleep(0)\n"
        "    return str(asyncio.get_running_loop() is kernels)\n"
        "stream = create_llm_service().stream('Weather?', tools=[look_up])\n"
        "print(''.join(stream), stream.response.tool_results[0].output)"
    )
    assert kernel.run(code).stdout == "It rains. True\n"


# ---- the ledger --------------------------------------------------------------------------------------


def test_usage_shows_this_kernels_calls(kernel, fake):
    kernel.run("%%llm\nHello there")
    shown = kernel.run("%llm_usage").text
    assert "openai/fake-model" in shown
    assert "ttft_s" in shown
    summary = kernel.run("%llm_usage --by model")
    assert summary.status == "ok"
    assert "openai/fake-model" in summary.text
    kernel_ids = kernel.run(
        "import ipyllm\nprint(set(ipyllm.usage().kernel_id), ipyllm.usage().origin.iloc[-1])"
    ).stdout
    assert kernel.kernel_id in kernel_ids
    assert "magic" in kernel_ids


def test_models_lists_what_can_be_used(kernel, fake):
    shown = kernel.run("%llm_models").text
    assert "local/smollm2-135m" in shown
    assert "openai/fake-model (default)" in shown
    assert "DEEPSEEK_API_KEY" in shown
    assert kernel.run("%llm_models use openai/second").stdout.startswith("The default model is now openai/second.")
    kernel.run("%llm Hello")
    assert fake.requests[-1].json["model"] == "second"
    kernel.run("%llm_models use openai/fake-model")


def test_the_extension_can_be_unloaded_and_loaded_again(kernel, fake):
    assert kernel.run("%unload_ext ipyllm").status == "ok"
    assert kernel.run("%llm Hello").status == "error"
    assert kernel.run("%load_ext ipyllm\n%llm Hello again").status == "ok"
