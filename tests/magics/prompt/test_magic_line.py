"""What a line was probably meant to be: options after the prompt, a model in its place, ``{x}`` for ``{{ x }}``."""

from __future__ import annotations

import pytest

from ipyllm_magics.command_line.options import LLM
from ipyllm_magics.command_line.parser import trailing_options
from ipyllm_magics.prompt.ipython_expansion import find_expansion


@pytest.fixture
def fake(kernel, kernel_fake):
    kernel.run("text, n, model, notes = 'tea', 3, 'openai/other', {'a': 'green'}")
    return kernel_fake


def sent(fake):
    return fake.requests[-1].json


MISTAKES = {
    "%llm What is this? -m openai/x": (
        "-m openai/x stands after the prompt and would be sent as part of it. Write options before it: "
        "%llm -m openai/x …; or %llm -- … to send it."
    ),
    "%llm What is this? --temperature=0 --quiet": "--temperature=0 --quiet stands after the prompt",
    "%llm_explain Why? --values": "Write options before it: %llm_explain --values …",
    "%%llm\nWhat is this?\n-m openai/x": "-m openai/x stands in the prompt and would be sent as part of it.",
    "%%llm\n-t 0 --quiet\nWhat is this?": "on the first line: %%llm -t 0 --quiet; or end that line with --",
    "%%llm_compare -m openai/a -m openai/b\nWhat?\n--blind": "--blind stands in the prompt",
    "%%llm openai/x\nHi": "%%llm cannot use 'openai/x'. Did you mean -m openai/x?",
    "%%llm openai/x and more\nHi": "Did you mean -m openai/x?",
    "%%llm_compare openai/x openai/y\nHi": "Did you mean -m openai/x?",
    "%%llm What is this?\nHi": "%%llm cannot use 'What is this?'. The prompt stands in the lines below %%llm.",
    "%llm openai/x What is this?": "openai/x stands where the prompt begins. Did you mean %llm -m openai/x …?",
    "%llm Summarise {text}": (
        "{text} in the prompt is not filled in; write {{ text }} for its value, or --raw to send it as it is."
    ),
    "%llm Summarise $text, please": "$text in the prompt is not filled in; write {{ text }}",
    "%llm What is {notes['a']!r}?": "write {{ notes['a'] }} for its value",
    "%%llm -m {model}\nHi": "%%llm: {model} after -m is not filled in; write {{ model }} for its value",
    "%%llm -m $model\nHi": "%%llm: $model after -m is not filled in; write {{ model }} for its value",
    "%llm -s 'Be {text}.' Hi": "%llm: {text} after -s is not filled in",
    "%llm --tag run={n} Hi": "{n} after --tag is not filled in",
    "%llm -s '{{ txet }}' Hi": "The value of -s uses {{ txet }}, which is not defined; did you mean 'text'?",
    "%llm --tempp 1 Hi": "%llm has no option --tempp. Did you mean '--temperature'?",
    "%llm -temperature 1 Hi": "Did you mean '--temperature'?",
    "%llm --maxtokens 1 Hi": "Did you mean '--max-tokens'?",
    "%llm -t0 Hi": "%llm has no option -t0. Did you mean '-t 0'?",
    "%llm -mopenai/x Hi": "Did you mean '-m openai/x'?",
    "%llm -p logit_bias={'50256':-100} Hi": "-p needs NAME=VALUE with a value in JSON",
}


@pytest.mark.parametrize("code", MISTAKES)
def test_a_mistake_is_noticed_before_anything_is_sent(kernel, fake, code):
    kernel.run("1 / 0")
    ran = kernel.run(code)
    assert ran.status == "error", ran.text
    assert len(ran.traceback) == 1, ran.traceback
    assert MISTAKES[code] in ran.error
    assert not fake.requests


SENT_AS_WRITTEN = {
    "%llm -- What is this? -m openai/x": "What is this? -m openai/x",
    "%%llm --\nHow do I read this?\n--quiet": "How do I read this?\n--quiet",
    "%llm -- openai/x or openai/y?": "openai/x or openai/y?",
    "%llm What does ls -t do?": "What does ls -t do?",
    "%llm What does rsync --help say": "What does rsync --help say",
    "%llm and/or?": "and/or?",
    "%llm --raw Summarise {text}": "Summarise {text}",
    "%llm --raw -s {text} {{ text }}": "{{ text }}",
    "%llm What is {nothing_of_mine} for $nothing?": "What is {nothing_of_mine} for $nothing?",
    "%llm Is $n^2$ even? It costs $5.": "Is $n^2$ even? It costs $5.",
    '%llm Why does `{text}` or f"{n}" fail?': 'Why does `{text}` or f"{n}" fail?',
    r"%llm What is \frac{n}{2} or x_{n}?": r"What is \frac{n}{2} or x_{n}?",
    '%llm Is {"n": 1} JSON?': 'Is {"n": 1} JSON?',
}


@pytest.mark.parametrize("code", SENT_AS_WRITTEN)
def test_what_is_meant_as_written_is_sent_as_written(kernel, fake, code):
    ran = kernel.run(code)
    assert (ran.status, ran.stderr) == ("ok", ""), ran.traceback
    assert sent(fake)["messages"][-1]["content"] == SENT_AS_WRITTEN[code]


def test_braces_in_a_body_are_sent_with_a_note(kernel, fake):
    ran = kernel.run("%%llm\nSummarise {text}")
    assert sent(fake)["messages"][-1]["content"] == "Summarise {text}"
    assert ran.stderr == "{text} is sent as it is; {{ text }} would be filled in with the variable's value.\n"
    assert kernel.run("%%llm\n```python\nprint(f'{text}', {n})\n```").stderr == ""
    assert kernel.run("%%llm --raw\nSummarise {text}").stderr == ""


def test_options_take_templates(kernel, fake):
    ran = kernel.run(
        "for name in ('openai/one', 'openai/two'):\n"
        "    %llm --no-history -m {{ name }} --max-tokens {{n + 1}} -s \"Be {{ notes['a'] }}.\" --tag run={{ n }} Hi"
    )
    assert ran.status == "ok", ran.traceback
    assert [request.json["model"] for request in fake.requests] == ["one", "two"]
    assert sent(fake)["max_tokens"] == 4
    assert sent(fake)["messages"][0] == {"role": "system", "content": "Be green."}
    ran = kernel.run("%%llm_compare -m {{ model }} -m openai/b -o {{ 'ta' + 'ble' }}\nHi")
    assert ran.status == "ok", ran.traceback
    assert kernel.run("print(len(table))").stdout == "2\n"


def test_a_value_is_one_word_whatever_it_holds(kernel, fake):
    kernel.run("style = 'Say \"-t 0\" --quiet {{ n }}'")
    ran = kernel.run("%llm --no-history -s {{ style }} Hi")
    assert ran.status == "ok", ran.traceback
    assert sent(fake)["messages"][0]["content"] == 'Say "-t 0" --quiet {{ n }}'
    assert "temperature" not in sent(fake)


@pytest.mark.parametrize("option", ["-m=openai/other", "-m openai/other", "--model=openai/other"])
def test_a_value_may_follow_an_equals_sign(kernel, fake, option):
    kernel.run(f"%llm {option} Hi")
    assert sent(fake)["model"] == "other"


@pytest.mark.parametrize(
    ("text", "options"),
    [
        ("Why? -t 0", "-t 0"),
        ("Why? --no-history  ", "--no-history"),
        ("Why? -t cold", None),
        ("Why? -t 0 or not?", None),
        ("Why - and how - not", None),
        ("Why? -h", None),
        ("Is it -5 or --", None),
    ],
)
def test_only_whole_options_at_the_end_count(text, options):
    assert trailing_options(text, LLM) == options


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("{x.y[0]:.2f} and more", "{x.y[0]:.2f}"),
        ("a ${x} b", None),
        ("{{ x }} and {{x}}", None),
        ("{{ y }} and {x}", "{x}"),
        ("costs $x and $y", "$x"),
        ("$$x$$", None),
        ("US$x", None),
        ("```\n{x}\n```\n{x!r}", "{x!r}"),
        ("{ x }", None),
    ],
)
def test_expressions_of_ipython_are_told_from_others(text, written):
    found = find_expansion(text, {"x"})
    assert (found.written if found else None) == written
