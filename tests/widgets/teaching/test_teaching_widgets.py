"""The widgets for a class without a browser: what they are given, what the page may send, what a notebook keeps."""

import base64
import json
import math
import re
import zlib

import comm
import pandas as pd
import pytest

from ipyllm import ChatResponse, ContextExplorer, ConversationHistory, LatencyExplorer, LLMError, SamplingExplorer
from ipyllm.logprobs import read_logprobs
from ipyllm.prediction.distribution import Distribution
from ipyllm.timing import Timing
from tests.service.rendering.payloads import PAYLOADS
from tests.widgets.page import PageComm

TEXTS = (" the", " a", "\n", "\\xf0", "<b>&", *(f" w{index}" for index in range(20)))
WEIGHTS = [0.4, 0.3, 0.1, 0.05, 0.03, *[0.006] * 20]
FOUND = Distribution("Once upon", "local/m", TEXTS, tuple(map(math.log, WEIGHTS)), is_whole=True)
CALLS = pd.DataFrame(
    {
        "model": ["lab/slow", "lab/fast", "lab/broken"],
        "ttft_s": [0.5, 0.1, None],
        "ttfo_s": [0.5, 0.1, None],
        "e2e_s": [3.0, 1.0, None],
        "total_s": [3.2, 1.1, 2.0],
        "output_tokens": pd.array([30, 40, None], dtype="Int64"),
        "error_category": [None, None, "timeout"],
    }
)


def history():
    found = ConversationHistory()
    found.add_message("system", "Be brief.")
    for text in ("Who was Ada Lovelace?", "What did she write?", "For which machine?"):
        found.add_message("user", text)
        found.add_message("assistant", "A long answer. " * 10)
    return found


@pytest.fixture(autouse=True)
def pages(monkeypatch):
    monkeypatch.setattr(comm, "create_comm", PageComm)


@pytest.fixture
def sampling():
    return SamplingExplorer(FOUND, top_k=3)


def payload(widget):
    return json.loads(zlib.decompress(widget.get_state("data")["data"]))


def svg(html):
    (data,) = re.findall(r'src="data:image/svg\+xml;base64,([^"]+)"', html)
    return base64.b64decode(data).decode()


def test_the_page_gets_the_distribution_with_visible_white_space(sampling):
    data = payload(sampling)
    assert data["texts"][:5] == ["␣the", "␣a", "⏎", "\\xf0", "<b>&"]
    assert len(data["logprobs"]) == len(TEXTS)
    assert sampling.remaining["token"].to_list() == [" the", " a", "\n"]
    assert sampling.remaining["probability"].to_list() == pytest.approx([0.5, 0.375, 0.125])
    assert sampling.remaining["drawn"].sum() == 100


def test_the_page_moves_the_controls_of_the_kernel_and_the_kernel_those_of_the_page(sampling):
    page = sampling.comm
    assert page.click("adjust", settings={"top_k": 0, "min_p": 0.2})["error"] is None
    assert len(sampling.remaining) == 3
    assert sampling.get_state("settings")["settings"]["min_p"] == 0.2
    sampling.adjust(top_k=1)
    assert page.custom[-1]["settings"]["top_k"] == 1
    assert len(sampling.remaining) == 1


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"temperature": 9}, "temperature must be a number between 0 and 2"),
        ({"temprature": 1}, "There is no control 'temprature'. Did you mean 'temperature'?"),
        ({"top_k": "1"}, "top_k must be a whole number"),
        (7, "wrong 'settings'"),
    ],
)
def test_what_the_page_may_not_send_changes_nothing(sampling, settings, said):
    before = dict(sampling.get_state("settings")["settings"])
    assert said in sampling.comm.click("adjust", settings=settings)["error"]
    assert sampling.get_state("settings")["settings"] == before


def test_the_notebook_keeps_a_picture_and_a_table_that_follow_the_controls(sampling, published):
    sampling._ipython_display_()
    first = published[-1]["data"]["text/html"]
    assert "3 of 25 tokens remain; the model gave them 80 %." in first
    assert "<td>removed</td>" in first
    assert "script" not in first.lower()
    assert "␣the" in svg(first)
    assert "␣the  40 % → 50 %" in published[-1]["data"]["text/plain"]
    sampling.adjust(top_k=1)
    assert "1 of 25 tokens remains" in published[-1]["data"]["text/html"]


def test_the_answer_of_any_server_can_be_explored():
    item = {"token": "Hi", "logprob": -0.7, "top_logprobs": [{"token": "Oh", "logprob": -1.2}]}
    response = ChatResponse(content="Hi", model="lab/m", logprobs=read_logprobs([item]))
    explorer = SamplingExplorer(response)
    assert explorer.remaining["token"].to_list() == ["Hi", "Oh"]
    assert "that the server told" in explorer._table()
    assert payload(explorer)["isWhole"] is False
    with pytest.raises(LLMError, match="There is no control 'temp'"):
        SamplingExplorer(response, temp=1)


def test_the_window_fills_up_and_the_oldest_turns_are_left_out():
    explorer = ContextExplorer(history(), "openai/gpt-5-mini", window=160, reserve=32)
    assert explorer.steps["left_out_turns"].to_list() == [0, 0, 1]
    assert explorer.steps["shared"].to_list() == [0, 20, 8]
    assert explorer.steps["counted_input"].isna().all()
    html = explorer._static_content().html
    assert "(1 turn)" in html
    assert "Context window of 160 tokens, 32 kept for the answer" in svg(html)
    explorer.adjust(window=8000)
    assert explorer.steps["left_out_turns"].to_list() == [0, 0, 0]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"window": 10}, "window must be a whole number, 64 or more"),
        ({"window": 100, "reserve": 100}, "reserve must be less than the window of 100 tokens"),
        ({"window": 100, "turn": 4}, "turn must be at most 3"),
        ({"window": 100, "turn": 0}, "turn must be a whole number, 1 or more"),
    ],
)
def test_a_window_that_cannot_be_is_refused(given, said):
    with pytest.raises(LLMError, match=said):
        ContextExplorer(history(), "openai/gpt-5-mini", **given)


def test_of_a_long_conversation_the_newest_turns_are_shown_with_all_before_them_counted():
    long = ConversationHistory()
    for index in range(70):
        long.add_message("user", f"Question {index}")
        long.add_message("assistant", "Answer " * 20)
    explorer = ContextExplorer(long, "openai/gpt-5-mini", window=100_000)
    assert len(explorer.steps) == 60
    assert explorer.steps["question"].iloc[0] == "Question 10"
    assert explorer.steps["history"].iloc[0] > 0
    with pytest.raises(LLMError, match="turn must be above 10"):
        explorer.adjust(turn=5)
    with pytest.raises(LLMError, match="no turns yet"):
        ContextExplorer(ConversationHistory())


def test_what_the_server_counted_stands_beside_the_estimates(chat, models):
    widget = chat("counted")
    widget.send("Hello").wait()
    widget.comm.wait_until_idle()
    steps = ContextExplorer("counted", window=4096).steps
    assert steps["counted_input"].to_list() == [10]
    assert "10" in ContextExplorer("counted", window=4096)._table()


def test_calls_are_time_lines_in_the_order_asked_for():
    explorer = LatencyExplorer(CALLS, order="total")
    assert explorer.phases["model"].to_list() == ["lab/fast", "lab/broken", "lab/slow"]
    assert explorer.phases["wait"].to_list() == pytest.approx([0.1, 2.0, 0.5])
    html = explorer._static_content().html
    assert "failed: timeout" in html
    assert html.index("lab/fast") < html.index("lab/slow")
    explorer.adjust(order="asked", time=1.0)
    assert "a line at 1.00 s" in svg(explorer._static_content().html)
    assert payload(explorer)["calls"][0]["tokens"] == 30


def test_calls_of_one_model_are_told_apart_by_a_column():
    calls = CALLS.assign(model="lab/m", effort=["high", "none", "low"])
    explorer = LatencyExplorer(calls, label="effort", order="model")
    assert explorer.phases["effort"].to_list() == ["high", "low", "none"]
    data = payload(explorer)
    assert ([call["label"] for call in data["calls"]], data["label"]) == (["high", "none", "low"], "effort")
    assert data["orders"]["model"] == "by effort"
    assert "<th>effort</th>" in explorer._static_content().html
    with pytest.raises(LLMError, match="There is no column 'efort'"):
        LatencyExplorer(calls, label="efort")


def test_numbers_are_labels_too_in_their_order_and_a_missing_one_is_none():
    numbers = LatencyExplorer(CALLS.assign(top_k=[10, 0, 9]), label="top_k", order="model")
    assert numbers.phases["top_k"].to_list() == ["0", "9", "10"]
    assert [call["rank"] for call in payload(numbers)["calls"]] == [2, 0, 1]
    missing = LatencyExplorer(CALLS.assign(cold=[None, False, float("nan")]), label="cold", order="model")
    assert missing.phases["cold"].to_list() == ["False", "none", "none"]
    nameless = LatencyExplorer(CALLS.assign(model=[None, "lab/a", ""]))
    assert nameless.phases["model"].to_list() == ["unknown model", "lab/a", "unknown model"]
    with pytest.raises(LLMError, match="label must be the name of a column, not "):
        LatencyExplorer(CALLS, label=["model"])


def test_responses_are_calls_too():
    response = ChatResponse(content="Hi", model="lab/m", timing=Timing(ttft_s=0.2, e2e_s=1.0, total_s=1.0))
    assert LatencyExplorer([response, response]).phases["answer"].to_list() == pytest.approx([0.8, 0.8])
    assert len(LatencyExplorer(response).phases) == 1


@pytest.mark.parametrize(
    ("calls", "given", "said"),
    [
        (CALLS, {"order": "by luck"}, "There is no order 'by luck'"),
        (CALLS, {"time": -1}, "time must be a number of seconds"),
        (CALLS, {"most": 41}, "most must be at most 40"),
        (CALLS[["model"]], {}, "needs rows of usage"),
        (CALLS.head(0), {}, "There are no calls with a time yet"),
        (["Hi"], {}, "or responses, not str"),
        ([], {"label": "effort"}, "label is a column of a table"),
        (CALLS.assign(answer="yes"), {"label": "answer"}, "'answer' is the name of a column of phases"),
    ],
)
def test_what_is_no_call_is_refused(calls, given, said):
    with pytest.raises(LLMError, match=said):
        LatencyExplorer(calls, **given)


def test_texts_of_strangers_are_no_html_in_a_notebook():
    texts = tuple(PAYLOADS.values())[:12]
    found = Distribution(texts[0], "lab/<script>", texts, tuple(-float(n) for n in range(len(texts))), is_whole=True)
    talk = ConversationHistory()
    for text in texts:
        talk.add_message("user", text)
        talk.add_message("assistant", "Hi")
    calls = CALLS.assign(model=texts[:3], prompt=texts[:3])
    for widget in (
        SamplingExplorer(found),
        ContextExplorer(talk, "openai/gpt-5-mini", window=4000),
        LatencyExplorer(calls),
    ):
        html = widget._static_content().html
        assert set(re.findall(r"<(\w+)", html)) == {
            *("div", "img", "table", "caption", "thead", "tbody", "tr", "th", "td")
        } - ({"caption"} if isinstance(widget, LatencyExplorer) else set())
        assert set(re.findall(r"<(\w+)", svg(html))) <= {
            *("svg", "style", "defs", "pattern", "rect", "path", "circle", "text")
        }
