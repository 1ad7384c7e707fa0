"""Every option of ``%%llm`` changes the request, the output or the stored values."""

from __future__ import annotations

from pathlib import Path

import pytest

from docs import option_tables
from ipyllm_magics.command_line import parser
from ipyllm_magics.command_line.options import LLM
from tests.fakes import answer
from tests.magics.printed import said


@pytest.fixture
def llm(prepared, kernel_fake):
    """Run ``%%llm`` with options and return what the cell left and what the server was sent."""

    def run(given, prompt="Hello", reply=None):
        kernel_fake.clear()
        kernel_fake.default = reply or answer("Hello there.")
        ran = prepared.run(f"%%llm {given}\n{prompt}")
        sent = [request.json for request in kernel_fake.requests]
        return ran, sent

    llm.kernel, llm.fake, llm.run = prepared, kernel_fake, run
    return run


def test_every_example_of_the_table_is_understood():
    for option in LLM:
        parsed = parser.parse(f"{option.example} a prompt", LLM, magic="%llm", prompt_follows=True)
        assert parsed.rest == "a prompt", option.flags
        assert option.name in parsed.options


def test_the_readmes_table_is_the_codes():
    page = (Path(__file__).parents[3] / "README.md").read_text(encoding="utf-8")
    assert option_tables.replace_tables(page) == page, "run: python docs/option_tables.py README.md"


def test_a_page_without_marks_is_refused():
    with pytest.raises(ValueError, match="There is no"):
        option_tables.replace_tables("# nothing")


# ---- one check for each name of the table ------------------------------------------------------------


def model(llm, kernel, fake):
    _, sent = llm("-m openai/other")
    assert sent[0]["model"] == "other"


def system(llm, kernel, fake):
    _, sent = llm('-s "Be \\"brief\\"."')
    assert sent[0]["messages"][0] == {"role": "system", "content": 'Be "brief".'}


def conversation(llm, kernel, fake):
    llm("-c review", "one")
    _, sent = llm("-c review", "two")
    assert [message["content"] for message in sent[0]["messages"]] == ["one", "Hello there.", "two"]
    kernel.run("%llm_history clear -c review")


def new(llm, kernel, fake):
    llm("", "one")
    _, sent = llm("--new", "two")
    assert [message["content"] for message in sent[0]["messages"]] == ["two"]


def history(llm, kernel, fake):
    llm("", "one")
    _, sent = llm("--no-history", "two")
    assert len(sent[0]["messages"]) == 1
    assert "two" not in kernel.run("%llm_history").text


def output(llm, kernel, fake):
    llm("-o kept")
    assert said(kernel, "kept.content, kept is _llm") == "Hello there. True"


def format_(llm, kernel, fake):
    shown = {
        name: llm(f"-f {name}", reply=answer("```html\n<b>x</b>\n```"))[0] for name in ("markdown", "text", "html")
    }
    assert '<pre dir="ltr"><code' in shown["markdown"].html
    assert '<pre class="ipyllm-text" dir="auto">```html' in shown["text"].html
    assert "<iframe" in shown["html"].html


def schema(llm, kernel, fake):
    _, sent = llm("--schema City -o town", reply=answer('{"name": "Bern"}'))
    assert sent[0]["response_format"]["json_schema"]["name"] == "City"
    assert said(kernel, "type(town.parsed).__name__, town.parsed.name") == "City Bern"


def tools(llm, kernel, fake):
    fake_replies = [answer("", chunks=[], tool_calls=[("weather", {"city": "Bern"})])]

    def decide(request):
        return fake_replies.pop() if fake_replies else None

    fake.on(decide)
    ran, sent = llm("--tools weather,add", "Weather?", reply=answer("It rains."))
    fake.on(None)
    assert [tool["function"]["name"] for tool in sent[0]["tools"]] == ["weather", "add"]
    assert sent[1]["messages"][-1]["content"] == "rain in Bern"
    assert "rain in Bern" in ran.html
    assert "It rains." in ran.text


def image(llm, kernel, fake):
    _, sent = llm("--image plot.png --image https://example.com/cat.png", "What is it?")
    text, own, elsewhere = sent[0]["messages"][-1]["content"]
    assert text == {"type": "text", "text": "What is it?"}
    assert own["image_url"]["url"].startswith("data:image/png;base64,iVBOR")
    assert elsewhere["image_url"]["url"] == "https://example.com/cat.png"


def effort(llm, kernel, fake):
    assert llm("--effort low")[1][0]["reasoning_effort"] == "low"


def verbosity(llm, kernel, fake):
    assert llm("--verbosity high")[1][0]["verbosity"] == "high"


def temperature(llm, kernel, fake):
    assert llm("-t 0.5")[1][0]["temperature"] == 0.5


def max_tokens(llm, kernel, fake):
    assert llm("--max-tokens 7")[1][0]["max_tokens"] == 7


def top_p(llm, kernel, fake):
    assert llm("--top-p=0.25")[1][0]["top_p"] == 0.25


def seed(llm, kernel, fake):
    assert llm("--seed 3")[1][0]["seed"] == 3


def stop(llm, kernel, fake):
    assert llm(r'--stop END --stop "\n\n"')[1][0]["stop"] == ["END", "\n\n"]


def params(llm, kernel, fake):
    sent = llm("-p top_k=40 -p reasoning_effort=low -p 'logit_bias={\"5\": -1}'")[1][0]
    assert (sent["top_k"], sent["reasoning_effort"], sent["logit_bias"]) == (40, "low", {"5": -1})


def timeout(llm, kernel, fake):
    ran, _ = llm("--timeout 0.3", reply=answer("late", ttft=30))
    assert ran.traceback[0].startswith("timeout: ")


def cache(llm, kernel, fake):
    llm("--no-history --cache -t 0", "Cached?")
    ran, sent = llm("--no-history --cache -t 0", "Cached?")
    assert (sent, "from the cache" in ran.text) == ([], True)
    kernel.run("os.environ['IPYLLM_CACHE'] = '1'")
    try:
        assert llm("--no-history -t 0", "Cached?")[1] == []
        assert len(llm("--no-history --no-cache -t 0", "Cached?")[1]) == 1
    finally:
        kernel.run("del os.environ['IPYLLM_CACHE']")


def tags(llm, kernel, fake):
    llm("--tag arm=terse --tag run=2")
    assert said(kernel, "usage().tags.iloc[-1]") == "{'arm': 'terse', 'run': '2'}"


def raw(llm, kernel, fake):
    assert llm("--no-history --raw", "{{ nothing }}")[1][0]["messages"][0]["content"] == "{{ nothing }}"


def quiet(llm, kernel, fake):
    ran, sent = llm("--quiet")
    assert (ran.status, ran.outputs, len(sent)) == ("ok", [], 1)


def dry_run(llm, kernel, fake):
    ran, sent = llm(
        "--dry-run -s Brief. -t 0 --max-tokens 50 --tag arm=a --tools add --image plot.png -o x", "Hi {{ 1 + 1 }}"
    )
    assert sent == []
    for part in (
        "Nothing was sent.",
        "openai/fake-model at 127.0.0.1",
        "temperature 0.0, max_tokens 50",
        "add(a, b)",
        "arm=a",
        "300 s to the first token, 150 s without new data, 2 retries",
        "50 to receive",
        "stored in x",
        "system: Brief.",
        "user: Hi 2",
        "[image: image/png, 0.1 kB]",
    ):
        assert part in ran.stdout, ran.stdout
    assert "sk-kernel" not in ran.stdout


def help_(llm, kernel, fake):
    ran, sent = llm("--help")
    assert sent == []
    for option in LLM:
        assert option.help in ran.stdout


def logprobs(llm, kernel, fake):
    _, [sent] = llm("--logprobs 3 -o answer")
    assert (sent["logprobs"], sent["top_logprobs"]) == (True, 3)
    assert said(kernel, "len(answer.logprobs[0].alternatives)") == "3"


CHECKS = {
    "model": model, "system": system, "conversation": conversation, "new": new, "history": history, "output": output,
    "format": format_, "schema": schema, "tools": tools, "image": image, "temperature": temperature,
    "effort": effort, "verbosity": verbosity, "max_tokens": max_tokens, "top_p": top_p, "seed": seed, "stop": stop,
    "params": params, "timeout": timeout, "logprobs": logprobs,
    "cache": cache, "tags": tags, "raw": raw, "quiet": quiet, "dry_run": dry_run, "help": help_,
}  # fmt: skip


def test_no_option_is_without_a_check():
    assert set(CHECKS) == {option.name for option in LLM}


@pytest.mark.parametrize("name", CHECKS)
def test_an_option_changes_the_request_or_what_is_shown(name, llm, prepared, kernel_fake):
    CHECKS[name](llm, prepared, kernel_fake)


# ---- help --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("asking", ["%llm?", "%%llm?", "?%llm"])
def test_help_by_a_question_mark_is_the_page_of_options(prepared, asking):
    reply = prepared.client.execute_interactive(asking, timeout=60, output_hook=lambda _: None)
    page = reply["content"]["payload"][0]["data"]["text/plain"]
    for part in ("%%llm [options] prompt", "--dry-run", "{{ cells[-3:] }}", "%config LLMMagics"):
        assert part in page


def test_the_page_fits_a_notebook():
    from ipyllm_magics.commands.llm import LLMMagics

    assert max(map(len, LLMMagics.llm.__doc__.splitlines())) <= 130


# ---- mistakes ----------------------------------------------------------------------------------------

MISTAKES = {
    "-f jsn": "usage: %%llm: -f needs one of markdown, text, code, json, html, tokens, not 'jsn'. Did you mean 'json'?",
    "--schema Ctiy": "usage: There is no variable 'Ctiy' for --schema. Did you mean 'City'?",
    "--schema os": "bad request: os cannot be used as a schema",
    "--tools wether": "usage: There is no function 'wether' for --tools. Did you mean 'weather'?",
    "--tools weather,,add": "usage: %%llm: --tools needs function names separated by commas",
    "--tools City": "bad request: A tool is a function, not the class City.",
    "--tools weather,weather": "bad request: There are two tools named 'weather'",
    "--tools weather.now": "usage: 'weather' has no 'now' for --tools.",
    "--image plto.png": "usage: There is no file or variable 'plto.png' for --image. Did you mean 'plot.png'?",
    "--image /": "usage: The image '/' is a folder, not an image.",
    "--image http://": "usage: --image is not the URL of an image: 'http://'.",
    "--image data:text/plain,x": "is a data: URL of no image: data:text/plain,x must start with data:image/.",
    "--image City": "usage: The variable 'City' is not an image but of type ModelMetaclass",
    "--top-p 2": "bad request: top_p must be a number between 0 and 1, not 2.0.",
    "--max-tokens 1.5": "usage: %%llm: --max-tokens needs a whole number, not '1.5'.",
    "--max-tokens 0": "bad request: max_tokens must be a whole number of at least 1, not 0.",
    "--seed x": "usage: %%llm: --seed needs a whole number, not 'x'.",
    "--timeout -1": "usage: %%llm: --timeout needs a number of seconds above 0, not '-1'.",
    "--timeout inf": "usage: %%llm: --timeout needs a number of seconds above 0, not 'inf'.",
    "--stop ''": "usage: %%llm: --stop needs text that is not empty, not ''.",
    "--stop a --stop b --stop c --stop d --stop e": "usage: %%llm: --stop can be given 4 times at most, not 5.",
    "-p top_k": "usage: %%llm: -p needs NAME=VALUE, such as top_k=40, not 'top_k'.",
    "-p logprobs=True": "In JSON it is logprobs=true.",
    "-p temprature=1": "bad request: There is no parameter 'temprature'; did you mean 'temperature'?",
    "-p temperature=1 -t 0": "usage: %%llm: -t and -p temperature set the same parameter; give one of them.",
    "-p top_k=1 -p top_k=2": "usage: %%llm was given -p top_k twice.",
    "-p model=x": "bad request: 'model' is set by ipyllm",
    "-p timeout=5": "usage: %%llm: timeout is not a parameter of the model; use --timeout.",
    "--tag arm": "usage: %%llm: --tag needs KEY=VALUE, such as arm=terse, not 'arm'.",
    "--tag a=1 --tag a=2": "usage: %%llm was given --tag a twice.",
    "--cache --no-cache": "usage: %%llm: --cache and --no-cache contradict each other; give one of them.",
    "--raw --raw": "usage: %%llm was given --raw twice.",
    "--raw=1": "usage: %%llm: --raw takes no value.",
    "--quiet -f html": "usage: %%llm: --quiet shows nothing, so -f html would have no effect.",
    "--quiet --dry-run": "usage: %%llm: --dry-run only shows, and --quiet shows nothing; give one of them.",
    "--schema City -f text": "usage: %%llm: --schema answers in JSON, so -f text contradicts it.",
    "-s -t 0": "usage: %%llm: -s needs a value (TEXT).",
    "-o class": "usage: %%llm: -o needs the name of a variable, not 'class'.",
    "-c ''": "usage: %%llm: -c needs the name of a conversation.",
    "--dryrun": "usage: %%llm has no option --dryrun. Did you mean '--dry-run'?",
    "--imgae x": "usage: %%llm has no option --imgae. Did you mean '--image'?",
}


@pytest.mark.parametrize("given", MISTAKES)
def test_a_wrong_value_is_one_sentence_and_nothing_is_sent(given, llm):
    ran, sent = llm(given)
    assert (ran.status, sent) == ("error", [])
    assert len(ran.traceback) == 1, ran.traceback
    assert MISTAKES[given] in ran.traceback[0]


def test_quoted_words_may_look_like_options(llm):
    assert llm("-s '-t'")[1][0]["messages"][0]["content"] == "-t"
