"""The explorer without a kernel: bounded, self-contained, allowed by a strict policy, escaped."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
import zlib

from ipyllm_widgets.explorer.page import explorer_part, static_html
from tests.answered_experiment import answered, reviews
from tests.service.rendering.payloads import PAYLOADS


def data_of(page):
    (packed,) = re.findall(r'<script type="application/octet-stream" class="ipyllm-xdata">([^<]*)</script>', page)
    return json.loads(zlib.decompress(base64.b64decode(packed)))


def test_the_part_has_rows_votes_and_notes():
    results = reviews(5)
    matrix = results.matrix()
    judged = results.judgements(matrix)
    judged.vote(matrix.rows[0], matrix.arms[1])
    judged.note(matrix.rows[3], "Ask again.")
    data = data_of(explorer_part(matrix, judged).html)
    assert len(data["table"]["ids"]) == len(data["details"]) == 5
    assert data["details"][1]["cells"][1]["scores"][1]["reason"] == "It hedges."
    assert data["judgements"] == {"0": {"vote": "1", "note": ""}, "3": {"vote": "", "note": "Ask again."}}


def test_the_part_is_bounded_in_rows_and_bytes_and_says_what_it_leaves_out():
    results = reviews(40)
    few = data_of(results.explorer_part(most_rows=7).html)
    assert (len(few["details"]), few["table"]["leftOut"]) == (7, 33)
    size = len(json.dumps(few["details"][0], ensure_ascii=False))
    small = data_of(results.explorer_part(most_bytes=4 * size).html)
    assert 1 < len(small["details"]) <= 4
    assert small["table"]["leftOut"] == 40 - len(small["details"])
    assert len(data_of(results.explorer_part(most_bytes=1).html)["details"]) == 1


def test_script_and_style_are_those_that_the_policy_allows():
    part = reviews(2).explorer_part()
    (script,) = re.findall(r'<script type="module">(.*?)</script>', part.html, re.DOTALL)
    (style,) = re.findall(r"<style>(.*?)</style>", part.html, re.DOTALL)
    for text, source in ((script, part.script_source), (style, part.style_source)):
        assert source == f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
    assert "import " not in script
    assert "export " not in script


def test_answers_of_strangers_are_no_html_in_the_page_or_the_notebook():
    results = answered(
        list(PAYLOADS.values()), lambda arm, prompt, _: {"response": list(PAYLOADS.values())[prompt]}, name="<b>&"
    )
    matrix = results.matrix()
    page = explorer_part(matrix, results.judgements(matrix)).html
    assert re.sub(r"<(/?)(\w+).*?>", r"<\1\2>", re.sub(r"<(script|style).*?</\1>", r"<\1>", page, flags=re.DOTALL)) == (
        "<div><style><script><script></div>"
    )
    output = static_html(matrix, results.judgements(matrix))
    assert "\n" not in output.partition("srcdoc=")[2]
    frame = re.search(r' srcdoc="([^"]*)"', output)
    assert frame is not None
    assert "Content-Security-Policy" in html.unescape(frame[1])
    rest = output.replace(frame[0], "").partition("</style>")[2]
    assert set(re.findall(r"<(\w+)", rest)) == {"div", "iframe", "table", "caption", "thead", "tr", "th", "tbody", "td"}
    assert "<b>" not in rest


def test_the_notebook_keeps_a_table_of_the_first_rows_where_frames_are_removed():
    results = reviews(30, models=[f"m{i}" for i in range(8)], name="many")
    matrix = results.matrix()
    table = static_html(matrix, results.judgements(matrix)).partition("<table")[2]
    assert "Answers of many. The first 20 of 30 rows." in table
    assert table.count("<tr>") == 21
    assert table.count("<th>") == 7
