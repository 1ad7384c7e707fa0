"""The widgets with the rules and colours of VS Code's notebook webview, and on a page without a theme.

VS Code itself does not run: :mod:`tests.browser.webview` emulates it.
"""

from __future__ import annotations

from pathlib import Path

import anywidget
import comm
import pytest

from tests.answered_experiment import MODELS, reviews
from tests.browser.axe import needs_axe, violations
from tests.browser.chat import SCREENSHOTS, Chat, environment
from tests.browser.compare import Compare
from tests.browser.explorer import Explorer
from tests.browser.lab import chromium, needs_chromium
from tests.browser.teaching import MAKE as TEACHING
from tests.browser.webview import THEMES, Webview, WebviewComm
from tests.fakes import answer, drip, server_error
from tests.service.rendering.payloads import PAYLOADS

pytestmark = [pytest.mark.browser, needs_chromium, pytest.mark.timeout(240)]

ANSWER = """# Slope

The *slope* is `b` in $y = a + bx$, see [a book](https://example.org/book).

```python
@cache
def slope(x, y):  # least squares
    return cov(x, y) / var(x) if x else "none", 0.5
```

| x | y |
| - | - |
| 1 | 2 |

> A line has one.
"""


def reply_by_model(request):
    """What each model of these tests says."""
    return {
        "gpt-6-sol": answer(ANSWER, reasoning="Lines, then."),
        "endless": drip("word ", every=0.02),
        "broken": server_error(),
        "strange": answer("\n\n".join(PAYLOADS.values())),
    }.get(request.json["model"], answer("It has one."))


@pytest.fixture(autouse=True)
def server(fake, monkeypatch, tmp_path):
    """The fake server, for widgets of this very process."""
    fake.on(reply_by_model)
    for name, value in environment(fake, tmp_path).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("IPYLLM_MAX_RETRIES", "0")
    monkeypatch.setattr(comm, "create_comm", WebviewComm)
    return fake


@pytest.fixture(scope="module")
def browser():
    with chromium() as opened:
        yield opened


@pytest.fixture
def webview(request, browser):
    """A page with nothing of any other test's: each has a context of its own in the one browser."""
    with Webview(getattr(request, "param", "vscode-dark"), browser) as opened:
        yield opened


@pytest.fixture
def make_widget(request):
    """Widgets, closed at the end."""
    from ipyllm import ChatWidget, CompareWidget, UsageDashboard
    from ipyllm_widgets.explorer.results_explorer import ResultsExplorer

    kinds = {
        "chat": ChatWidget,
        "compare": CompareWidget,
        "dashboard": UsageDashboard,
        "explorer": ResultsExplorer,
        **TEACHING,
    }
    widgets = []

    def make(kind, *args, **options):
        if kind == "chat":
            options = {"conversation": request.node.name, **options}
        widgets.append(kinds[kind](*args, **options))
        return widgets[-1]

    yield make
    for widget in widgets:
        if hasattr(widget, "stop"):
            widget.stop()
        widget.close()


def shown_chat(webview, make_widget):
    """A chat with everything a chat can show."""
    output = webview.show(make_widget("chat", model="openai/gpt-6-sol", system="Be short."))
    chat = Chat(output)
    ask(webview, chat, "What is a slope?")
    choose(webview, chat, "openai/broken")
    chat.type("And now?")
    webview.wait_until(lambda: chat.turns.last.locator(".ipyllm-error").is_visible())
    chat.button("Settings").click()
    return ".ipyllm-chat", chat.root


def shown_compare(webview, make_widget):
    """A comparison after its vote."""
    compare = Compare(webview.show(make_widget("compare", ["openai/gpt-6-sol", "openai/broken", "openai/other"])))
    compare.ask("What is a slope?")
    webview.wait_until(lambda: compare.button("Tie").is_visible())
    compare.button("A", compare.votes).click()
    webview.wait_until(lambda: compare.ranking.locator("table").is_visible())
    return ".ipyllm-compare", compare.root


def shown_dashboard(webview, make_widget):
    """A dashboard with a call opened."""
    from ipyllm import LLMError, OpenAIService

    for name in ("gpt-6-sol", "gpt-6.1-terra"):
        OpenAIService(name).chat("What is a slope?", tags={"arm": "a"})
    with pytest.raises(LLMError):
        OpenAIService("broken").chat("And now?")
    root = webview.show(make_widget("dashboard", every_s=0.2))
    webview.wait_until(lambda: root.locator("[data-call]").count() == 3)
    root.locator("[data-call]").last.click()
    webview.wait_until(lambda: root.locator(".ipyllm-opened").is_visible())
    return ".ipyllm-dashboard", root


def shown_explorer(webview, make_widget):
    """An explorer with a vote, a mark, a word diff and its keys."""
    explorer = Explorer(webview.show(make_widget("explorer", reviews(12, MODELS[:3], name="reviews"))), webview.page)
    webview.wait_until(lambda: explorer.active.count() == 1)
    explorer.press("j", "x", "d", "2", "?")
    webview.wait_until(lambda: explorer.answers.count() == 3 and explorer.grid.get_by_label("preferred").count() == 1)
    return ".ipyllm-explorer", explorer.root


def shown_for_a_class(kind):
    """Return how to show a widget for a class after a slider was moved."""

    def shown(webview, make_widget):
        root = webview.show(make_widget(kind))
        root.get_by_role("slider").first.press("ArrowLeft")
        webview.wait_until(lambda: webview.comm.commands("adjust") and not open_commands(webview))
        return ".ipyllm-teaching", root

    return shown


SHOWN = {
    "chat": shown_chat,
    "compare": shown_compare,
    "dashboard": shown_dashboard,
    "explorer": shown_explorer,
    **{kind: shown_for_a_class(kind) for kind in TEACHING},
}


def ask(webview, chat, text):
    count = chat.footers().count()
    chat.type(text)
    webview.wait_until(lambda: chat.footers().count() > count)


def choose(webview, chat, model):
    chat.model.fill(model)
    chat.model.press("Enter")
    webview.wait_until(lambda: webview.comm.commands("set"))


class ForbiddenThings(anywidget.AnyWidget):
    """Does what our widgets must not, for the test of the tests."""

    _esm = """export default { render({ el }) {
      el.innerHTML = '<img src="https://example.org/a.png"><b onclick="1">b</b>';
      try { new Function("return 1")(); } catch {}
      fetch("https://example.org/").catch(() => {});
      import("https://example.org/module.js").catch(() => {});
      confirm("Sure?");
      setTimeout(() => { throw new Error("late"); });
    } }"""


def test_the_page_notices_what_the_rules_forbid(webview):
    webview.show(ForbiddenThings())
    webview.wait_until(lambda: any("late" in problem for problem in webview.problems()))
    for expected in (
        "script-src: eval",
        "script-src-attr: inline",
        "img-src: https://example.org/a.png",
        "connect-src: https://example.org/",
        "script-src-elem: https://example.org/module.js",
        "Ignored call to 'confirm()'",
    ):
        webview.wait_until(lambda expected=expected: any(expected in problem for problem in webview.problems()))


@needs_axe
@pytest.mark.parametrize("webview", THEMES, indirect=True)
@pytest.mark.parametrize("kind", SHOWN)
def test_everything_is_drawn_with_enough_contrast_and_within_the_rules(webview, make_widget, kind):
    selector, root = SHOWN[kind](webview, make_widget)
    webview.frame.evaluate("document.activeElement.blur()")
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    root.screenshot(path=SCREENSHOTS / f"webview-{kind}-{webview.theme}.png")
    assert webview.problems() == []
    found = violations(webview.frame, selector)
    assert found == [], "\n".join(map(str, found))


def test_a_chat_sends_stops_and_exports(webview, make_widget):
    chat = Chat(webview.show(make_widget("chat", model="openai/endless")))
    chat.type("Go on")
    webview.wait_until(lambda: "word word" in chat.text())
    chat.button("Stop the answer").click()
    webview.wait_until(lambda: chat.footers().count() == 1)
    choose(webview, chat, "openai/gpt-6-sol")
    ask(webview, chat, "What is a slope?")
    chat.button("Answer again", chat.turns.last).click()
    webview.wait_until(lambda: chat.root.get_by_text("2/2").is_visible() and chat.footers().count() == 2)
    assert webview.comm.commands("send") == [{"text": text, "files": []} for text in ("Go on", "What is a slope?")]
    assert webview.comm.commands("stop") == [{}]
    assert webview.comm.commands("set") == [{"model": "openai/gpt-6-sol"}]
    assert len(webview.comm.commands("regenerate")) == 1
    with webview.page.expect_download() as download:
        chat.button("Export").click()
        chat.root.get_by_role("menuitem", name="Markdown").click()
        webview.wait_until(lambda: webview.comm.commands("export") == [{"format": "md"}] and not open_commands(webview))
    assert "cov(x, y)" in Path(download.value.path()).read_text()
    assert webview.problems() == []


def test_links_images_and_copies_in_a_chat_keep_to_the_rules(webview, make_widget):
    chat = Chat(webview.show(make_widget("chat", model="openai/gpt-6-sol")))
    attach_picture(chat)
    ask(webview, chat, "What is this?")
    assert chat.turns.last.locator(".ipyllm-images img").evaluate("image => image.decode().then(() => image.width)")
    chat.root.get_by_role("link", name="a book").click()
    assert webview.links() == ["https://example.org/book"]
    code = chat.root.locator(".ipyllm-code")
    code.hover()
    chat.button("Copy code", code).click()
    code.get_by_text("Copied").wait_for()
    pasted = webview.frame.evaluate("navigator.clipboard.readText()")
    assert pasted.startswith("@cache")
    assert webview.problems() == []


def test_strange_answers_break_no_rule(webview, make_widget):
    chat = Chat(webview.show(make_widget("chat", model="openai/strange")))
    ask(webview, chat, "Show me")
    assert webview.problems() == []


def test_a_comparison_asks_stops_and_votes(webview, make_widget):
    compare = Compare(
        webview.show(make_widget("compare", ["openai/gpt-6-sol", "openai/endless", "openai/other"], blind=True))
    )
    compare.ask("What is a slope?")
    webview.wait_until(lambda: "word word" in " ".join(compare.texts()))
    compare.button("Stop the answer").click()
    webview.wait_until(lambda: compare.button("Tie").is_visible())
    compare.button("Tie").click()
    webview.wait_until(compare.root.get_by_text("endless", exact=True).first.is_visible)
    assert webview.comm.commands("ask") == [{"prompt": "What is a slope?", "files": []}]
    assert len(webview.comm.commands("stop")) == 1
    assert [vote["which"] for vote in webview.comm.commands("vote")] == ["tie"]
    assert webview.problems() == []


def test_a_dashboard_filters_opens_and_exports(webview, make_widget):
    _, root = shown_dashboard(webview, make_widget)
    root.locator('[data-filter="model"]').select_option("openai/gpt-6-sol")
    webview.wait_until(lambda: root.locator("[data-call]").count() == 1)
    with webview.page.expect_download() as download:
        root.get_by_role("button", name="CSV").click()
        webview.wait_until(lambda: not open_commands(webview))
    assert "openai/gpt-6-sol" in Path(download.value.path()).read_text()
    sent = [content["command"] for content in webview.comm.received if content.get("command") != "here"]
    assert sent == ["call", "filter", "export"]
    assert webview.problems() == []


@pytest.mark.parametrize("kind", ["chat", "compare"])
def test_the_transcript_that_is_kept_beside_a_widget_hides_while_the_widget_lives(webview, make_widget, kind):
    webview.show(make_widget(kind, *([["openai/gpt-6-sol", "openai/other"]] if kind == "compare" else [])))
    webview.frame.evaluate("webview.beside('<details class=\"ipyllm-transcript\" open>What was said</details>')")
    kept = webview.frame.get_by_text("What was said")
    kept.wait_for(state="hidden")
    webview.frame.evaluate("document.querySelector('.cell-output-ipywidget-background').remove()")
    kept.wait_for(state="visible")


def open_commands(webview):
    """The questions of the page that the kernel has not answered yet, or whose answer the page does not have."""
    answered = {message.get("nonce") for message in webview.comm.custom}
    waiting = {content["nonce"] for content in webview.comm.received if "nonce" in content} - answered
    return waiting or webview.n_delivered < len(webview.comm.sent)


def attach_picture(chat):
    """Paste a picture, as a person does."""
    chat.box.evaluate(
        """async (box) => {
            const canvas = document.createElement('canvas');
            canvas.width = canvas.height = 8;
            const blob = await new Promise((done) => canvas.toBlob(done));
            const data = new DataTransfer();
            data.items.add(new File([blob], 'dot.png', {type: 'image/png'}));
            box.dispatchEvent(new ClipboardEvent('paste', {clipboardData: data, bubbles: true, cancelable: true}));
        }"""
    )
    chat.root.locator(".ipyllm-thumbnail img").wait_for()
