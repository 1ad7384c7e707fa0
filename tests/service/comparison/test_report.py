"""The report is one file that loads nothing, shows every answer, and runs no script of an answer."""

from __future__ import annotations

import re
import shutil
from html.parser import HTMLParser

import matplotlib as mpl
import pytest

from ipyllm import statistics as st
from ipyllm.comparison import report
from ipyllm.errors import LLMError
from tests.service.statistics.simulated import calls, votes

ARMS = {"small": (0.45, 0.1), "large": (0.8, 0.6)}
EVIL = "<script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\"> ![a](http://127.0.0.1:9/x.png)"


@pytest.fixture(autouse=True)
def offscreen():
    mpl.use("Agg")


@pytest.fixture
def written(tmp_path):
    given = calls(ARMS, prompts=12)
    given.loc[0, "response"] = EVIL
    given.loc[1, "prompt"] = given.loc[0, "prompt"] = f"{EVIL} first"
    given["error_message"] = None
    given["error_message"] = given["error_message"].astype(object)
    given.loc[5, ["status", "error_message"]] = [
        "error",
        "The server is gone: <b>boom</b>, key sk-abcdefghijklmnopqrstuvwxyz123456.",
    ]
    path = report.write(
        given, tmp_path / "report.html", votes=votes({"small": 0.0, "large": 1.0}), title="A <b>title</b>"
    )
    return given, path.read_text(encoding="utf-8"), path


def test_it_holds_tables_conclusions_pictures_answers_and_the_method(written):
    given, html, _ = written
    from html import escape

    for table in (st.summarise_arms(given), st.paired(given), st.ranking(votes({"small": 0.0, "large": 1.0}))):
        assert escape(table.conclusion) in html
        assert all(escape(note) in html for note in table.notes)
    assert (
        html.count("data:image/png;base64,") == 6
    )  # score against cost and time, overview and win matrix, each light and dark
    assert html.count("<details>") == 12
    assert html.count('class="answer"') == len(given)
    assert "<strong>1</strong>" in html, "answers are rendered"
    assert "<h3>Total time, in s (secondary)</h3>" in html
    assert "<h3>Cost per call, in $ (secondary)</h3>" in html
    assert "Bonferroni" in html
    assert "Python 3" in html


def test_cut_answers_are_counted_and_marked(tmp_path):
    given = calls({"small": (0.4, 0.2), "large": (0.8, 0.5)}, prompts=3, repeats=1).assign(finish_reason="stop")
    given.loc[0, "finish_reason"] = "length"
    html = report.write(given, tmp_path / "report.html").read_text(encoding="utf-8")
    assert html.count("cut off at max_tokens · ") == 1
    assert "1 answer was cut off at max_tokens (small 1)" in html
    assert re.search(r">Cut off<small>of calls</small></th>", html)
    assert "<td>1 of 3</td>" in html


class _Tags(HTMLParser):
    def __init__(self):
        super().__init__()
        self.seen = []

    def handle_starttag(self, tag, attrs):
        self.seen.append((tag, dict(attrs)))


def test_it_loads_nothing_and_holds_no_script(written):
    _, html, _ = written
    parser = _Tags()
    parser.feed(html)
    assert not [tag for tag, _ in parser.seen if tag in {"script", "iframe", "link", "object", "embed", "form", "base"}]
    for tag, attributes in parser.seen:
        assert not any(name.startswith("on") for name in attributes), tag
        for name in ("src", "srcset"):
            assert attributes.get(name, "data:image/").startswith("data:image/")
    assert not re.search(r"url\(|@import", html.split("</style>")[0])
    assert "<b>title</b>" not in html
    assert "<b>boom</b>" not in html
    assert "sk-abcdefghijklmnop" not in html


@pytest.fixture
def browser():
    from playwright.sync_api import sync_playwright

    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "chromium-headless-shell"))), None)
    assert chromium, "tests of the browser need Debian's chromium"
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        yield opened
        opened.close()


@pytest.mark.browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_browser_runs_nothing_and_asks_for_nothing(written, scheme, browser):
    _, _, path = written
    page = browser.new_page(color_scheme=scheme)
    asked = []
    page.on("request", lambda request: asked.append(request.url[:60]))
    page.goto(path.as_uri())
    page.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)")
    widths = page.evaluate("[...document.images].map(one => one.naturalWidth)")
    title = page.title()
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    overflow = page.evaluate("document.documentElement.scrollWidth - innerWidth")
    assert [url for url in asked if not url.startswith(("file:", "data:"))] == []
    assert title == "A <b>title</b>"
    assert widths
    assert all(width > 100 for width in widths)
    assert ground == ("rgb(17, 20, 24)" if scheme == "dark" else "rgb(255, 255, 255)")
    assert overflow <= 0


_SCROLLERS = "[...document.querySelectorAll('.ipyllm-scroller')].map(one => [one.scrollWidth, one.clientWidth])"
_SHOWN_PICTURES = """
[...document.images].filter(one => getComputedStyle(one).display !== 'none').map(one => one.className)
"""
_RIGHT_OF_SENTENCES = """
Math.max(...[...document.querySelectorAll('p, li, .sentences')].map(one => one.getBoundingClientRect().right))
"""


@pytest.mark.browser
def test_on_a_narrow_page_tables_scroll_and_sentences_stay_where_they_can_be_read(written, browser):
    _, _, path = written
    page = browser.new_page(viewport={"width": 420, "height": 900})
    page.goto(path.as_uri())
    page.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)")
    widths = page.evaluate(_SCROLLERS)
    right = page.evaluate(_RIGHT_OF_SENTENCES)
    overflow = page.evaluate("document.documentElement.scrollWidth - innerWidth")
    assert any(content > shown for content, shown in widths)
    assert right <= 420
    assert overflow <= 0


def long_names(n):
    """Return the calls of arms with labels such as an experiment makes them, and what makes tables wide."""
    efforts = ("low effort, for quick answers to many people", "medium", "high effort, for the hardest questions")
    models = ("gpt-6-sol", "gpt-6-luna", "gpt-6-nova-instruct-2026-11-preview", "gpt-6-terra")
    arms = [f"{model} · {effort} · the long system prompt" for model in models for effort in efforts][:n]
    given = calls({arm: (0.3 + 0.05 * i, 0.1 + 0.02 * i) for i, arm in enumerate(arms)}, prompts=12)
    given["score_agreement_with_the_reference"] = given["score_similarity"]
    given.loc[given.index[::17], "status"] = "error"
    given["finish_reason"] = "stop"
    given.loc[given.index[::13], "finish_reason"] = "length"
    return given


@pytest.mark.thorough
@pytest.mark.browser
def test_tables_of_twelve_arms_fit_a_screen(tmp_path, browser):
    path = report.write(long_names(12), tmp_path / "report.html")
    page = browser.new_page(viewport={"width": 1300, "height": 900}, color_scheme="dark")
    page.goto(path.as_uri())
    widths = page.evaluate(_SCROLLERS)
    overflow = page.evaluate("document.documentElement.scrollWidth - innerWidth")
    on_screen = page.evaluate(_SHOWN_PICTURES)
    page.emulate_media(media="print")
    page.set_viewport_size({"width": 688, "height": 1000})  # A4 without its margins
    printed = page.evaluate(_SCROLLERS)
    printed_ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    printed_pictures = page.evaluate(_SHOWN_PICTURES)
    assert len(widths) > 5
    assert [pair for pair in widths if pair[0] > pair[1]] == []
    assert overflow <= 0
    assert [pair for pair in printed if pair[0] > pair[1]] == []
    assert printed_ground == "rgb(255, 255, 255)"
    assert (set(on_screen), set(printed_pictures)) == ({"dark"}, {"light"})


def test_no_figure_stays_open_to_show_itself_in_the_notebook(tmp_path):
    import matplotlib.pyplot as plt

    before = plt.get_fignums()
    report.write(calls(ARMS, prompts=3), tmp_path / "r.html")
    assert plt.get_fignums() == before


def test_many_prompts_are_cut_and_it_says_how_many(tmp_path):
    html = report.write(calls(ARMS, prompts=9), tmp_path / "r.html", most_prompts=4).read_text(encoding="utf-8")
    assert html.count("<details>") == 4
    assert "5 more prompts are not shown here." in html


def test_calls_without_texts_and_one_arm_alone_still_make_a_report(tmp_path):
    given = calls({"only": (0.5, 0.2)}, prompts=3).drop(columns=["response", "prompt"])
    html = report.write(given, tmp_path / "r.html").read_text(encoding="utf-8")
    assert "The texts of these calls were not stored." in html
    assert "There is no other arm to compare it with." in html
    assert "There is one arm, only" in html
    assert "Differences from" not in html


def test_warm_ups_do_not_shift_answers_to_other_prompts(tmp_path):
    given = calls(ARMS, prompts=3, repeats=1)
    given["response"] = given["prompt_id"] + " of " + given["arm"]
    given.loc[[0, 4], "warmup"] = True
    html = report.write(given, tmp_path / "r.html").read_text(encoding="utf-8")
    assert html.count('class="answer"') == 4
    for details in html.split("<details>")[1:]:
        name = re.search(r"<b>(p\d)</b>", details)[1]
        assert set(re.findall(r"(p\d) of", details)) == {name}


def test_a_folder_that_is_not_there_and_no_calls_are_said_so(tmp_path):
    given = calls(ARMS, prompts=2)
    with pytest.raises(LLMError, match=r"The folder .* does not exist"):
        report.write(given, tmp_path / "no" / "r.html")
    with pytest.raises(LLMError, match="There are no calls"):
        report.write(given.iloc[:0], tmp_path / "r.html")
    with pytest.raises(LLMError, match="Did you mean 'large'"):
        report.write(given, tmp_path / "r.html", baseline="lagre")
    assert not (tmp_path / "r.html").exists()


def test_an_answer_has_its_first_time_by_the_metric_that_is_compared(tmp_path):
    given = calls(ARMS, prompts=3, repeats=1).assign(ttft_s=0.25, ttfo_s=1.25, thinking_s=1.0)
    html = report.write(given, tmp_path / "r.html").read_text(encoding="utf-8")
    assert "thought 1.00 s · first visible text after 1.25 s" in html
    assert "first token after" not in html
    plain = given.assign(ttfo_s=0.25, thinking_s=None, streamed=[False, *[True] * 5])
    html = report.write(plain, tmp_path / "r.html").read_text(encoding="utf-8")
    assert html.count("whole answer after 0.25 s") == 1
    assert html.count("first token after 0.25 s") == 5
    assert "thought" not in html


def test_the_page_begins_with_the_headline_and_the_table_in_words(tmp_path):
    given = calls({"small": (0.2, 0.1), "large": (0.9, 0.6)}, repeats=1)
    html = report.write(given, tmp_path / "r.html", metrics="exact", secondary="ttft_s").read_text(encoding="utf-8")
    top = html.partition("<body>")[2].partition("Summary by arm")[0]
    assert '<p class="headline">large is better on exact: ' in top
    head = re.findall(r'<th scope="col">([^<]+)', top.partition("<thead>")[2].partition("</thead>")[0])
    assert head == ["Arm", "Exact", "Difference", "Cost per call", "Time to first token", "Total time"]
    row = st.paired(given, metrics="exact").loc[("score_exact", "large")]
    assert f"<b>+{100 * row['difference']:.3g} points</b>" in top
    assert '<small class="better">better</small>' in top
    assert "<small>baseline</small>" in top
    columns = re.findall(r'<th scope="col">([^<]+)', html)
    assert not [name for name in columns if "_" in name]
