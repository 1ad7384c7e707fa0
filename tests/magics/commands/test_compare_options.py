"""Options of ``%%llm_compare`` work as those of ``%%llm``, for all arms; a missing one is refused with the reason."""

from __future__ import annotations

import json

import pytest

from ipyllm.rendering.style import COPY_SCRIPT
from ipyllm_magics.command_line import parser
from ipyllm_magics.command_line.options import COMPARE, LLM, NOT_IN_COMPARE
from tests.fakes import answer, model_not_found
from tests.magics.printed import said

PAGE = "```html\n<h1>Hi</h1><script>steal()</script>\n```"


# ---- the two tables ------------------------------------------------------------------------------------


def test_every_option_of_llm_is_one_of_the_comparisons_too_or_it_is_said_why_not():
    own = {flag for option in COMPARE for flag in option.flags}
    missing = {flag for option in LLM for flag in option.flags} - own
    assert missing == set(NOT_IN_COMPARE)
    assert own - {flag for option in LLM for flag in option.flags} == {"--vary", "--blind"}


@pytest.mark.parametrize("flag", NOT_IN_COMPARE)
def test_an_option_that_it_has_not_is_refused_with_the_reason(compare, flag):
    ran, sent = compare(flag)
    assert ran.error == f"%%llm_compare has no option {flag}: {NOT_IN_COMPARE[flag]}."
    assert sent == []


def test_every_example_of_its_table_is_understood():
    for option in COMPARE:
        parsed = parser.parse(option.example, COMPARE, magic="%%llm_compare", prompt_follows=False)
        assert option.name in parsed.options


# ---- what each does ------------------------------------------------------------------------------------


def models(compare, kernel):
    assert [body["model"] for body in compare("")[1]] == ["a", "b"]


def vary(compare, kernel):
    assert [body["seed"] for body in compare("--vary seed=1,2", models="-m openai/a")[1]] == [1, 2]


def system(compare, kernel):
    for body in compare("-s Brief.")[1]:
        assert body["messages"][0] == {"role": "system", "content": "Brief."}


def conversation(compare, kernel):
    kernel.run("%%llm -c earlier --new\nBefore.")
    for body in compare("-c earlier")[1]:
        assert [message["content"] for message in body["messages"]] == ["Before.", "Hello from the fake.", "Hello"]


def output(compare, kernel):
    compare("-o outcome")
    assert said(kernel, "list(outcome.arm), list(outcome.response)") == "['A', 'B'] ['Hello there.', 'Hello there.']"


def blind(compare, kernel):
    ran, _ = compare("--blind")
    assert "openai/" not in ran.text


def format_(compare, kernel):
    ran, _ = compare("-f text", reply="**bold**")
    assert ran.html.count('<pre class="ipyllm-text" dir="auto">**bold**</pre>') == 2


def schema(compare, kernel):
    _, sent = compare("--schema City -o outcome", reply='{"name": "Bern"}')
    assert all("response_format" in body for body in sent)
    assert said(kernel, "[city.name for city in outcome.parsed]") == "['Bern', 'Bern']"


def tools(compare, kernel):
    for body in compare("--tools add,weather")[1]:
        assert [tool["function"]["name"] for tool in body["tools"]] == ["add", "weather"]


def image(compare, kernel):
    for body in compare("--image plot.png")[1]:
        assert body["messages"][-1]["content"][1]["image_url"]["url"].startswith("data:image/png;base64,")


def parameters(given, name, value):
    def check(compare, kernel):
        assert [body[name] for body in compare(given)[1]] == [value, value]

    return check


def timeout(compare, kernel):
    compare("--timeout 7")
    assert said(kernel, "{arm.request.timeout.stall for arm in _llm_compare.arms}") == "{7.0}"


def cache(compare, kernel):
    assert len(compare("--cache", "Only once")[1]) == 2
    assert compare("--cache", "Only once")[1] == []
    assert len(compare("--no-cache", "Only once")[1]) == 2


def tags(compare, kernel):
    compare("--tag case=x7")
    assert said(kernel, "len(usage(tags={'case': 'x7'}))") == "2"


def raw(compare, kernel):
    for body in compare("--raw", "{{ nothing }}")[1]:
        assert body["messages"][-1]["content"] == "{{ nothing }}"


def quiet(compare, kernel):
    ran, sent = compare("--quiet")
    assert (ran.status, ran.outputs, len(sent)) == ("ok", [], 2)


def dry_run(compare, kernel):
    ran, sent = compare(
        "--dry-run -s Brief. --effort none -t 0 --max-tokens 50 --tag case=a --tools add --image plot.png -o x",
        "Hi {{ 1 + 1 }}",
        models="-m openai/gpt-6-luna -m openai/gpt-6-sol",
    )
    assert sent == []
    for part in (
        "Nothing was sent. The requests to 2 arms would be:",
        "A · gpt-6-luna\n  to      openai/gpt-6-luna at 127.0.0.1",
        "B · gpt-6-sol\n  to      openai/gpt-6-sol at 127.0.0.1",
        'effort "none", temperature 0.0, max_tokens 50',
        "add(a, b)",
        "case=a",
        "120 s to the first token, 60 s without new data, 2 retries",
        "50 to receive",
        "the answers are shown side by side as markdown, stored in x and _llm_compare",
        "system: Brief.",
        "user: Hi 2",
        "[image: image/png, 0.1 kB]",
    ):
        assert part in ran.stdout, ran.stdout
    assert ran.stdout.count("user: Hi 2") == 1, "what all are sent is shown once"
    assert "sk-kernel" not in ran.stdout


def help_(compare, kernel):
    ran, sent = compare("--help")
    assert sent == []
    for option in COMPARE:
        assert option.help in ran.stdout
    for flag in NOT_IN_COMPARE:
        assert flag in ran.stdout


CHECKS = {
    "models": models, "vary": vary, "system": system, "conversation": conversation, "output": output, "blind": blind,
    "format": format_, "schema": schema, "tools": tools, "image": image,
    "effort": parameters("--effort low", "reasoning_effort", "low"),
    "verbosity": parameters("--verbosity high", "verbosity", "high"),
    "temperature": parameters("-t 0.5", "temperature", 0.5),
    "max_tokens": parameters("--max-tokens 9", "max_tokens", 9),
    "top_p": parameters("--top-p 0.9", "top_p", 0.9), "seed": parameters("--seed 7", "seed", 7),
    "stop": parameters("--stop END", "stop", ["END"]), "params": parameters("-p top_k=3", "top_k", 3),
    "logprobs": parameters("--logprobs 3", "top_logprobs", 3),
    "timeout": timeout, "cache": cache, "tags": tags, "raw": raw, "quiet": quiet, "dry_run": dry_run, "help": help_,
}  # fmt: skip


def test_no_option_is_without_a_check():
    assert set(CHECKS) == {option.name for option in COMPARE}


@pytest.mark.parametrize("name", CHECKS)
def test_an_option_reaches_every_arm_or_what_is_shown(name, compare, prepared):
    CHECKS[name](compare, prepared)


# ---- the forms -----------------------------------------------------------------------------------------


def test_code_is_shown_alone_and_put_into_no_cell_because_there_are_several(compare):
    ran, _ = compare("-f code", reply="Here:\n```python\nx = 1\n```\nThat is all.")
    assert ran.text.count("x = 1") == 2
    assert "Here:" not in ran.text + ran.html
    assert "That is all" not in ran.html
    replies = [message["content"] for message in ran.messages if message["msg_type"] == "execute_reply"]
    assert not [part for reply in replies for part in reply.get("payload", []) if part["source"] == "set_next_input"]


def test_json_is_read_and_stands_in_the_table(compare, prepared):
    ran, _ = compare("-f json -o outcome", reply='Sure: {"a": [1, 2]}')
    assert ran.text.count('"a": [') == 2
    assert "Sure" not in ran.text
    assert said(prepared, "list(outcome.parsed)") == "[{'a': [1, 2]}, {'a': [1, 2]}]"


def test_a_page_is_boxed_in_without_scripts(compare):
    ran, _ = compare("-f html", reply=PAGE)
    assert ran.html.count('<iframe class="ipyllm-page" sandbox="allow-popups"') == 2
    assert "<script" not in ran.html.replace(COPY_SCRIPT, "")


def test_an_answer_that_does_not_fit_says_so_in_its_column_and_is_shown(compare, kernel_fake, prepared):
    kernel_fake.on(lambda request: answer("No idea." if request.json["model"] == "b" else '{"a": 1}'))
    ran, _ = compare("-f json -o outcome")
    assert ran.status == "ok"
    assert "No idea.\nThe answer contains no JSON" in ran.text
    assert said(prepared, "list(outcome.parsed)") == "[{'a': 1}, None]"


def test_when_no_answer_fits_the_cell_fails_so_that_run_all_stops(compare):
    ran, _ = compare("-f json", reply="No idea.")
    assert ran.status == "error"
    assert ran.error.startswith("No answer fits -f json. A: The answer contains no JSON")
    assert ran.error.endswith("all answers are in _llm_compare.")
    assert ran.traceback[0].startswith("error: No answer fits ")


def test_when_one_arm_fails_and_no_other_fits_both_are_told(compare, kernel_fake):
    kernel_fake.on(lambda request: model_not_found() if request.json["model"] == "b" else answer("No idea."))
    ran, _ = compare("-f json")
    assert ran.error.startswith("No answer fits -f json. A: The answer contains no JSON")
    assert "; B: it failed; all answers are" in ran.error


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ("-f jsn", "-f needs one of markdown, text, code, json, html, tokens, not 'jsn'. Did you mean 'json'?"),
        ("-f text --quiet", "--quiet shows nothing, so -f text would have no effect."),
        ("--dry-run --quiet", "--dry-run only shows, and --quiet shows nothing; give one of them."),
        ("-f text --schema City", "--schema answers in JSON, so -f text contradicts it."),
        ("--dryrun", "has no option --dryrun. Did you mean '--dry-run'?"),
    ],
)
def test_options_that_contradict_each_other_are_one_sentence(compare, given, sentence):
    ran, sent = compare(given)
    assert sentence in ran.error
    assert (len(ran.traceback), sent) == (1, [])


# ---- the notebook's own defaults ------------------------------------------------------------------------

DEFAULTS = {
    "value_tokens": ("30", "1000", "{{ list(range(9999)) }}"),
    "format": ("'text'", "'markdown'", "Hello"),
    "system": ("'Be kind.'", "None", "Hello"),
}


@pytest.fixture
def configured(prepared):
    names = []

    def set_(name):
        names.append(name)
        prepared.run(f"%config LLMMagics.{name} = {DEFAULTS[name][0]}")

    yield set_
    for name in names:
        prepared.run(f"%config LLMMagics.{name} = {DEFAULTS[name][1]}")


def test_values_keep_to_the_budget_that_is_configured(compare, configured, prepared):
    prepared.run("long = list(range(9999))")
    whole = compare("", "{{ long }}")[1][0]["messages"][-1]["content"]
    configured("value_tokens")
    short = compare("", "{{ long }}")[1][0]["messages"][-1]["content"]
    assert len(short) < 120 < len(whole)


def test_the_configured_form_is_that_of_the_columns(compare, configured):
    configured("format")
    assert compare("", reply="**bold**")[0].html.count('<pre class="ipyllm-text" dir="auto">') == 2


def test_the_configured_system_message_gives_way_to_the_conversations_own(compare, configured, prepared):
    prepared.run("%%llm -c spoken --new -s 'Be brief.'\nBefore.")
    configured("system")
    assert compare("-c spoken")[1][0]["messages"][0]["content"] == "Be brief."
    assert compare("")[1][0]["messages"][0]["content"] == "Be kind."


# ---- dry runs, and names that are hidden -----------------------------------------------------------------


def test_a_dry_run_shows_each_system_message_that_is_varied_to_whom_it_goes(compare):
    ran, sent = compare('--dry-run --vary \'system="Be brief.","Be kind."\'', models="-m openai/a -m openai/b")
    assert sent == []
    assert "── to A, C ──\n\nsystem: Be brief.\n\nuser: Hello" in ran.stdout
    assert "── to B, D ──\n\nsystem: Be kind.\n\nuser: Hello" in ran.stdout


def test_a_dry_run_keeps_and_counts_nothing(compare, prepared):
    prepared.run("globals().pop('_llm_compare', None); globals().pop('never', None)")
    before = said(prepared, "len(usage())")
    compare("--dry-run -o never")
    assert said(prepared, "'_llm_compare' in globals(), 'never' in globals()") == "False False"
    assert said(prepared, "len(usage())") == before


def test_a_blind_dry_run_and_a_blind_json_comparison_do_not_tell_who_is_who(compare):
    ran, _ = compare("--blind -f json", reply='{"a": 1}')
    shown = json.dumps([m["content"] for m in ran.messages if "display_data" in m["msg_type"]])
    assert "openai/" not in shown
