"""Names, prompts and answers that are HTML are shown as text, wherever something of ours draws HTML."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from importlib import import_module

import matplotlib as mpl
import pytest
import tqdm.notebook

from ipyllm import Experiment, LLMError, OpenAIService, compare, plots, summarise, usage
from ipyllm.conversations.history import ConversationHistory
from ipyllm.embedded.catalogue import CATALOGUE
from ipyllm.rendering.style import copy_script
from ipyllm_magics.commands.history import ConversationView
from ipyllm_widgets.chat.chat_export import export_chat
from ipyllm_widgets.chat.static_transcript import transcript
from tests.fakes import answer, error

pulling = import_module("ipyllm.embedded.pull")  # the package has a function of this name

HOSTILE = "<img src=x onerror=alert(1)>\"'&</summary><script>alert(1)</script> $x_{ <bar/>"


class _Tags(HTMLParser):
    def __init__(self):
        super().__init__()
        self.bad = []

    def handle_starttag(self, tag, attrs):
        scripted = [name for name, value in attrs if name.startswith("on") or "javascript:" in (value or "")]
        if tag in {"img", "script"} or scripted:
            self.bad.append((tag, *scripted))


def assert_harmless(html):
    tags = _Tags()
    tags.feed(html)
    assert tags.bad == []


@pytest.fixture
def model(fake, monkeypatch):
    monkeypatch.setenv("OPENAI_BASE_URL", fake.base_url)
    monkeypatch.setenv("OPENAI_API_KEY", "no-key-needed")
    fake.on(lambda request: error(400, HOSTILE) if "fail" in request.prompt else answer(HOSTILE))
    return lambda name: OpenAIService(name + HOSTILE.replace("/", ""), max_retries=0)


@pytest.fixture
def bars(monkeypatch):
    """The bars of a notebook, and every text that one of them had as HTML."""
    texts = []

    class Bar(tqdm.notebook.tqdm_notebook):
        @staticmethod
        def status_printer(*arguments, **options):
            container = tqdm.notebook.tqdm_notebook.status_printer(*arguments, **options)
            for child in container.children:
                child.observe(lambda change: texts.append(str(change["new"])), "value")
                texts.append(str(child.value))
            return container

    monkeypatch.setattr("tqdm.auto.tqdm", Bar)
    return texts


def length(response):
    return len(response.content)


@pytest.fixture
def results(model, bars):
    prompts = [{"question": HOSTILE, "id": f"{n}{HOSTILE}"} for n in range(2)]
    models = [model("a"), model("b")]
    experiment = Experiment(prompts, "{{ question }}", models=models, name=HOSTILE, warmup=0, scorers=[length])
    return experiment.run()


def test_the_bar_of_an_experiment(results, bars):
    assert any("onerror" in text for text in bars)
    for text in bars:
        assert_harmless(text)
        assert "&amp;lt;" not in text, "escaped twice"


def test_the_bar_of_a_pull(bars, monkeypatch):
    monkeypatch.setattr(pulling, "entry", lambda _: next(iter(CATALOGUE.values())))
    monkeypatch.setattr(pulling, "pull", lambda _, show: show(1, 2))
    pulling.pull_with_progress(HOSTILE)
    assert any("onerror" in text for text in bars)
    for text in bars:
        assert_harmless(text)


def test_the_tables_of_an_experiment(results, tmp_path):
    for html in (
        results._repr_html_(),
        results.summary()._repr_html_(),
        results.paired()._repr_html_(),
        usage()._repr_html_(),
        summarise(usage(), by="model")._repr_html_(),
    ):
        assert_harmless(html)
    page = results.report(tmp_path / "report.html").read_text()
    explorer = ['<script type="application/octet-stream" class="ipyllm-xdata">', '<script type="module">']
    assert re.findall("<script[^>]*>", page) == explorer
    assert "<img src=x" not in page


def test_the_pictures_of_an_experiment(results):
    mpl.use("agg")
    for draw in (plots.latency, plots.overview):
        figure = draw(results.calls)
        getattr(figure, "figure", figure).canvas.draw()


def test_a_comparison(model):
    compared = compare(HOSTILE, [model("a"), model("b")], system=HOSTILE)
    assert_harmless(compared._repr_html_())
    with pytest.raises(LLMError) as caught:
        model("c").chat("fail")
    assert_harmless(usage()._repr_html_())
    assert "onerror" in str(caught.value)


def test_conversations():
    history = ConversationHistory()
    history.add_message("system", HOSTILE)
    history.add_message("user", HOSTILE)
    history.add_message("assistant", HOSTILE)
    messages = history.to_messages()
    shown = ConversationView(HOSTILE, history)._repr_html_()
    assert shown.count("<script") == 1
    assert_harmless(shown.replace(copy_script(shown), ""))
    assert_harmless(transcript(messages, HOSTILE)[0])
    assert_harmless(export_chat(history, "html", title=HOSTILE))
