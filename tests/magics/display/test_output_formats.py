"""``-f``, reasoning and tool calls: the outputs of a cell, the variables, and the saved notebook."""

from __future__ import annotations

import json
import re

import pytest

from ipyllm import ChatResponse
from ipyllm.rendering.sanitize_page import sanitize_page
from ipyllm_magics.commands.code_cells import cell_source
from ipyllm_magics.display.output_formats import (
    OUTPUT_FORMATS,
    NotFoundInAnswerError,
    extract_code,
    extract_json,
)
from tests.fakes import answer

CODE = "First this:\n```python\nx = 1\n```\nthen that:\n```py\nprint(x)\n```\nand in a shell:\n```bash\nls\n```\n"

# ---- taking it out -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "code", "cell"),
    [
        (CODE, "x = 1\n\nprint(x)", "x = 1\n\nprint(x)"),
        ("```\nx = 1\n```", "x = 1", "x = 1"),
        ("Run:\n```bash\nls -l\n```", "ls -l", "%%bash\nls -l"),
        ("```r\nx <- 1\n```", "x <- 1", "x <- 1"),
        ("1. Do\n   ```python\n   x = 1\n   ```\n", "x = 1", "x = 1"),
        ("```python\nunfinished = 1", "unfinished = 1", "unfinished = 1"),
        ("````python\ns = '''```'''\n````", "s = '''```'''", "s = '''```'''"),
        ("import os\nprint(os.name)", "import os\nprint(os.name)", "import os\nprint(os.name)"),
        ("```python\nx = '\x1b[2J'\n```", "x = ''", "x = ''"),
    ],
)
def test_code_is_taken_out_of_an_answer(text, code, cell):
    assert extract_code(text).source == code
    assert cell_source(extract_code(text)) == cell


@pytest.mark.parametrize("text", ["Sorry.", "Yes", "", "42", "I cannot do that, Dave.", "```python\n\n```"])
def test_words_are_no_code(text):
    with pytest.raises(NotFoundInAnswerError, match="contains no code"):
        extract_code(text)


def test_json_is_taken_out_past_chatter():
    assert extract_json('Here:\n```json\n{"a": [1]}\n```\nDone.') == {"a": [1]}
    with pytest.raises(NotFoundInAnswerError, match="contains no JSON"):
        extract_json("Nothing here.")
    with pytest.raises(NotFoundInAnswerError, match="ends before"):
        extract_json('{"a": [1, ')


ACTS = [
    "<script>parent.pwned = 1</script>",
    "<img src=x onerror=alert(1)>",
    "<link rel=preconnect href=https://evil.example>",
    "<link rel=stylesheet href=https://evil.example/x.css>",
    "<meta http-equiv=refresh content='0;url=https://evil.example'>",
    "<base href=https://evil.example>",
    "<form action=https://evil.example><input name=key></form>",
    "<iframe src=https://evil.example></iframe>",
    "<object data=https://evil.example></object>",
    "<embed src=https://evil.example>",
    "<a href='javascript:alert(1)'>x</a>",
    "<svg><a xlink:href='javascript:alert(1)'><text>x</text></a></svg>",
    "<svg onload=alert(1)></svg>",
    '<p style="background:url(https://evil.example/x)">x</p>',
    '<p style="background:u\\72l(https://evil.example/x)">x</p>',
    "<video src=https://evil.example/x autoplay></video>",
    "<img src='https://evil.example/x.png'>",
    "<img srcset='https://evil.example/x.png'>",
    "<body background=https://evil.example/x>",
]


@pytest.mark.parametrize("source", ACTS)
def test_a_page_holds_nothing_that_acts(source):
    clean = sanitize_page(f"<p>before{source}after</p>")
    assert "before" in clean
    assert not re.search(r"evil|alert|script|pwned|onerror|onload|<form|<input|<iframe|<meta|<link|<base", clean), clean


def test_a_page_keeps_its_looks():
    drawn = (
        '<style>p{color:red}</style><p style="color:blue" class="x">Hi</p>'
        '<svg viewBox="0 0 10 10"><defs><linearGradient id="g"></linearGradient></defs><circle r="3" fill="url(#g)">'
        "</circle></svg>"
    )
    assert sanitize_page(drawn) == drawn


def test_the_frame_around_a_page_runs_no_script_and_fetches_nothing():
    html, text, _ = OUTPUT_FORMATS["html"].extract(
        ChatResponse(content='```html\n<p onclick="x()">"Hi" & bye</p>\n```')
    )
    frame = re.search(r"<iframe [^>]*>", html)[0]
    assert 'sandbox="allow-popups"' in frame
    assert "default-src 'none'" in html.replace("&#x27;", "'")
    assert "allow-scripts" not in html
    assert "allow-same-origin" not in html
    assert 'srcdoc="' in frame
    assert "onclick" not in frame
    assert text == '<p onclick="x()">"Hi" & bye</p>'


# ---- in a cell ---------------------------------------------------------------------------------------


def payloads(kernel, code):
    reply = kernel.client.execute_interactive(code, timeout=60, output_hook=lambda _: None)
    return reply["content"]["status"], reply["content"].get("payload", [])


def test_code_is_shown_alone_and_put_into_the_next_cell(kernel, kernel_fake):
    kernel_fake.default = answer(CODE)
    ran = kernel.run("%%llm -f code\nHow?")
    assert ran.status == "ok", ran.traceback
    assert "First this" not in ran.html
    assert ran.text.strip().startswith("x = 1\n\nprint(x)\n\nopenai/fake-model")
    status, (payload,) = payloads(kernel, "%%llm -f code\nHow?")
    assert (status, payload["source"], payload["text"], payload["replace"]) == (
        "ok", "set_next_input", "x = 1\n\nprint(x)", False,
    )  # fmt: skip
    kernel.run("%config LLMMagics.code_in_next_cell = False")
    try:
        assert payloads(kernel, "%%llm -f code\nHow?") == ("ok", [])
    finally:
        kernel.run("%config LLMMagics.code_in_next_cell = True")


def test_an_answer_without_code_is_shown_kept_and_said(kernel, kernel_fake):
    kernel_fake.default = answer("I cannot do that.")
    ran = kernel.run("%%llm -f code -o kept\nHow?")
    assert ran.traceback == ["error: The answer contains no code; the answer is in _llm."]
    assert "I cannot do that." in ran.text
    assert kernel.run("print(kept.content)").stdout == "I cannot do that.\n"


def test_json_is_pretty_and_parsed(kernel, kernel_fake):
    kernel_fake.default = answer('Sure:\n```json\n{"city":"Zürich","cups":[1,2]}\n```')
    ran = kernel.run("%%llm -f json -o data\nGive.")
    assert ran.status == "ok", ran.traceback
    assert ran.text.strip().startswith('{\n  "city": "Zürich",\n  "cups": [\n')
    assert "Sure" not in ran.text
    assert kernel.run("print(data.parsed['cups'], _llm is data)").stdout == "[1, 2] True\n"


def test_an_answer_that_is_no_json_is_shown_kept_and_said(kernel, kernel_fake):
    kernel_fake.default = answer("None of it.")
    ran = kernel.run("%%llm -f json -o data\nGive.")
    assert ran.status == "error"
    assert ran.traceback[0].startswith("error: The answer contains no JSON")
    assert "None of it." in ran.text
    assert kernel.run("print(data.parsed, data.content)").stdout == "None None of it.\n"


def test_a_schema_shows_only_the_answer_that_fits(kernel, kernel_fake):
    kernel_fake.reply(answer('{"nam": "Bern"}'), answer('{"name": "Bern"}'))
    kernel.run("import pydantic\nclass City(pydantic.BaseModel):\n    name: str")
    ran = kernel.run("%%llm --schema City -o town\nGive.")
    assert ran.status == "ok", ran.traceback
    assert "nam&quot;" not in ran.html
    assert '"name": "Bern"' in ran.text
    assert '"nam"' not in ran.text
    assert kernel.run("print(town.parsed.name, len(town.steps))").stdout == "Bern 2\n"


def test_an_answer_that_fits_no_schema_is_one_sentence_and_is_kept(kernel, kernel_fake):
    kernel_fake.default = answer('{"nam": "Bern"}')
    ran = kernel.run("%%llm --schema City -o town\nGive.")
    assert ran.status == "error"
    assert len(ran.traceback) == 1
    assert "does not fit the schema" in ran.traceback[0]
    assert kernel.run("print(town.status, town.content)").stdout == 'error {"nam": "Bern"}\n'


def test_text_is_shown_as_it_was_written(kernel, kernel_fake):
    kernel_fake.default = answer("# no *title*\n\n<b>not bold</b>\n", gap=0.01)
    ran = kernel.run("%%llm -f text\nHi")
    assert re.search(
        r'<pre class="ipyllm-text" dir="auto"># no \*title\*(?:\s|&#10;)+&lt;b&gt;not bold&lt;/b&gt;</pre>', ran.html
    )
    assert "<h1>" not in ran.html


def test_a_long_answer_to_be_taken_apart_shows_its_last_lines_and_costs_few_bytes(kernel, kernel_fake):
    rows = [{"row": i, "text": "word " * 5} for i in range(300)]
    text = json.dumps(rows, indent=1)
    kernel_fake.default = answer(text, chunks=300, gap=0.01, tail=1000)
    request = kernel.start("%%llm -f json\nGive.")
    ran = kernel.collect(request, until=lambda ran: 'class="ipyllm-text' in ran.html)
    kernel_fake.skip_pauses()
    kernel.collect(request, ran=ran)
    assert ran.status == "ok", ran.traceback
    updates = [str(m["content"]) for m in ran.messages if m["msg_type"] in {"display_data", "update_display_data"}]
    assert any("ipyllm-text" in update for update in updates)
    assert max(len(update) for update in updates[:-2]) < 10_000, "all but the answer and, after it, its styles"
    assert json.loads(ran.text.strip().rpartition("\n\n")[0]) == rows


def test_tool_calls_are_shown_folded_with_what_came_of_them(kernel, kernel_fake):
    kernel.run(
        "def share(total: int, people: int) -> float:\n    'Share.'\n    return total / people\n"
        "async def look_up(city: str) -> str:\n    'Look up.'\n    return f'<b>{city}</b>'\n"
    )
    calls = [("share", {"total": 1, "people": 0}), ("look_up", {"city": "Bern"})]
    kernel_fake.reply(answer("Let me see.", tool_calls=calls), answer("It rains."))
    ran = kernel.run("%%llm --tools share,look_up -o wet\nWeather?")
    assert ran.status == "ok", ran.traceback
    assert ran.html.count("<details") == 2
    assert "share({&quot;total&quot;" in ran.html or 'share({"total"' in ran.html
    assert "failed: ZeroDivisionError" in ran.html
    assert "<b>Bern" not in ran.html
    assert "&lt;b&gt;Bern" in ran.html
    assert '> look_up({"city":"Bern"})\n> → <b>Bern</b>' in ran.text
    assert "Let me see.\n\nIt rains." in ran.text, "what was said before the call is a paragraph of its own"
    said = kernel.run("print(len(wet.tool_results), wet.content)").stdout
    assert said == "2 It rains.\n"


def test_a_model_that_calls_for_a_tool_we_do_not_have_is_told_so(kernel, kernel_fake):
    kernel_fake.reply(answer("", chunks=[], tool_calls=[("shar", {})]), answer("Sorry."))
    ran = kernel.run("%%llm --tools share\nWeather?")
    assert ran.status == "ok", ran.traceback
    assert "failed:" in ran.html
    assert "shar()" in ran.text or "shar({})" in ran.text
