"""The page of the chat server: it streams, stops, comes back, keeps conversations, and runs no script of an answer."""

import re
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.browser.axe import needs_axe, violations
from tests.browser.lab import chromium, needs_chromium
from tests.fakes import FakeLLM, answer, error, reset
from tests.server.chat_server import ChatServerProcess
from tests.server.classroom import TOKENS

pytestmark = [pytest.mark.browser, pytest.mark.timeout(600), needs_chromium]

WORDS = " ".join(f"w{n}" for n in range(200))
MARKDOWN = """# Bern

The *capital*, with **134,591** people; $x^2$; a [link](https://example.org).

| city | people |
| --- | --- |
| Bern | 134,591 |

```python
def area(r):
    return 3.14 * r ** 2  # a comment that is longer than a phone is wide, so that it has to be scrolled
```

<script>document.title = "owned"</script><img src="https://evil.example/x.png" onerror="document.title='owned'">"""


@pytest.fixture(scope="module")
def servers():
    with FakeLLM() as fake, ChatServerProcess(fake) as server, chromium() as browser:
        yield fake, server, browser


@pytest.fixture
def fake(servers):
    fake = servers[0]
    fake.clear()
    fake.default = answer("Hello from the fake.")
    fake.on(lambda request: None)
    yield fake
    fake.skip_pauses()


@contextmanager
def opened(servers, *, user="ana", width=1000, height=700, scheme="light"):
    """A page of a user in a browser of its own; every error on it fails the test."""
    _, server, browser = servers
    context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)
    page, wrong, asked = context.new_page(), [], []
    page.on("console", lambda message: wrong.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.wrong = wrong
    page.set_default_timeout(90_000)
    page.goto(f"{server.url}/ipyllm/?token={TOKENS[user]}")
    page.wait_for_function("() => document.querySelector('select option') && !location.search")
    try:
        yield page
        assert wrong == []
        assert all(url.startswith((server.url, "data:")) for url in asked), asked
    finally:
        context.close()


def ask(page, text):
    page.fill("textarea", text)
    page.keyboard.press("Enter")


def wait_for_end(page):
    page.wait_for_selector(".ipyllm-exchange:last-child:not(.ipyllm-running)")


def answers(page):
    return page.locator(".ipyllm-exchange .ipyllm-text").all_inner_texts()


@pytest.mark.smoke
def test_a_question_is_answered_as_it_streams_and_nothing_of_it_runs(servers, fake):
    with opened(servers) as page:
        fake.reply(answer(f"Wait for it.\n\n{MARKDOWN}", gap=5))
        ask(page, "Which city is the capital?")
        page.wait_for_selector(".ipyllm-running .ipyllm-text p")  # it has begun, and is shown
        fake.skip_pauses()
        wait_for_end(page)
        assert page.locator(".ipyllm-text strong").inner_text() == "134,591"
        assert page.locator(".ipyllm-text td").first.inner_text() == "Bern"
        assert page.locator(".ipyllm-text math").count() == 1
        assert page.locator(".ipyllm-text :is(script, [onerror], img)").count() == 0
        assert page.title() == "Chat"
        assert "lab/tiny" in page.inner_text(".ipyllm-foot")
        assert page.locator(".ipyllm-bubble").inner_text() == "Which city is the capital?"
        assert page.locator(".ipyllm-conversation[aria-current] b").inner_text() == "Which city is the capital?"


@pytest.mark.thorough
def test_the_page_is_only_for_users_and_loads_nothing_from_elsewhere(servers):
    _, server, _ = servers
    with server.request("GET", "/ipyllm/", user=None) as response:
        assert response.status in {302, 403}
        assert b"static/page.js" not in response.read()
    reply = server.get("/ipyllm/")
    policy = reply.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    assert not re.search(rb"<script(?! defer src=)|<style|style=|\son\w+=|https?://", reply.body)


@pytest.mark.thorough
@pytest.mark.parametrize("name", ["../app.py", "..%2fapp.py", "page.html", "/etc/passwd", "chat/chat.js", "nothing.js"])
def test_only_the_files_of_the_page_are_served(servers, name):
    assert servers[1].get(f"/ipyllm/static/{name}").status in {403, 404}


@pytest.mark.thorough
def test_the_example_of_a_page_in_the_documentation_gets_the_answer(servers, fake):
    page_of_docs = (Path(__file__).parents[2] / "docs" / "server.md").read_text(encoding="utf-8")
    found = re.findall(r"```javascript\n(.*?)```", page_of_docs, re.DOTALL)
    (code,) = [code for code in found if "new WebSocket" in code]
    fake.reply(answer("Two and two are four.", gap=0.01))
    with opened(servers) as page:
        program = f"(async () => {{ {code.replace('local/smollm2-135m', 'lab/tiny')}; return text; }})()"
        assert page.evaluate(program) == "Two and two are four."


@pytest.mark.thorough
def test_stop_keeps_what_came_and_cancels_the_call(servers, fake):
    with opened(servers) as page:
        fake.reply(answer("one two three", gap=100))
        ask(page, "Stop me")
        page.wait_for_selector(".ipyllm-text p")
        page.keyboard.press("Escape")
        wait_for_end(page)
        assert answers(page) == ["one"]
        assert "cancelled" in page.inner_text(".ipyllm-foot")
        fake.wait_for(lambda: fake.requests[-1].closed_by_client, timeout=60)


@pytest.mark.thorough
def test_after_a_broken_connection_the_answer_goes_on_without_gap_or_repetition(servers, fake):
    with opened(servers) as page:
        page.evaluate("""() => { const Plain = WebSocket; window.sockets = [];
            window.WebSocket = class extends Plain { constructor(url) { super(url); sockets.push(this); } }; }""")
        fake.reply(answer(WORDS, gap=0.03))
        ask(page, "Count on")
        for n in range(3):
            page.wait_for_function("n => sockets.length > n && sockets[n].readyState === 1", arg=n)
            page.wait_for_timeout(700)
            page.evaluate("n => sockets[n].close(4000)", n)
        wait_for_end(page)
        assert answers(page) == [WORDS]
        assert page.evaluate("sockets.length") >= 4
        assert len([request for request in fake.requests if request.json]) == 1


@pytest.mark.thorough
def test_a_reloaded_page_shows_the_conversation_and_the_answer_that_runs(servers, fake):
    with opened(servers) as page:
        ask(page, "A first question")
        wait_for_end(page)
        fake.reply(answer(WORDS, gap=0.05))
        ask(page, "And a long one")
        page.wait_for_selector(".ipyllm-exchange:last-child .ipyllm-text p")
        page.reload()
        page.wait_for_selector(".ipyllm-exchange:nth-child(2)")
        wait_for_end(page)
        assert answers(page) == ["Hello from the fake.", WORDS]
        assert page.locator(".ipyllm-bubble").all_inner_texts() == ["A first question", "And a long one"]
        page.locator(".ipyllm-exchange").first.locator(".ipyllm-footer", has_text="tokens").wait_for()


@pytest.mark.thorough
@pytest.mark.parametrize("ends", ["before the history", "after it", "at once"])
def test_an_answer_that_ends_while_a_reloaded_page_asks_for_it_is_shown_once(servers, fake, ends):
    with opened(servers) as page:
        ask(page, f"A first question, {ends}")
        wait_for_end(page)
        fake.reply(answer("Second and last.", gap=60))
        ask(page, "And a long one")
        page.wait_for_selector(".ipyllm-exchange:nth-child(2) .ipyllm-text p")
        page.add_init_script("""const Plain = WebSocket; window.held = [];
            window.WebSocket = class extends Plain {
                send(text) {
                    if (text.includes('history')) held.push(() => super.send(text)); else super.send(text);
                }
                close(...args) {  // as `again` does, to have the answer from its beginning
                    if (args[0] === 4001) window.again = true;
                    super.close(...args);
                }
            }""")
        page.reload()
        page.wait_for_function("() => window.held.length > 0")
        if ends == "before the history":
            fake.skip_pauses()
            page.wait_for_timeout(1500)  # longer than the server takes to add it
        page.evaluate("held.splice(0).forEach(send => send())")
        if ends == "after it":
            page.wait_for_function("() => window.again")
        fake.skip_pauses()
        page.wait_for_selector(".ipyllm-exchange:nth-child(2)")
        wait_for_end(page)
        page.wait_for_timeout(500)  # nothing comes after
        assert answers(page) == ["Hello from the fake.", "Second and last."]
        assert page.locator(".ipyllm-bubble").count() == 2


@pytest.mark.thorough
def test_conversations_are_listed_opened_and_deleted(servers, fake):
    with opened(servers) as page:
        for name in ("Of birds", "Of fish"):
            fake.reply(answer(f"It is about {name}."))
            page.click("text=New chat")
            ask(page, name)
            wait_for_end(page)
            page.wait_for_selector(f".ipyllm-conversation[aria-current] b:text-is('{name}')")
        page.click(".ipyllm-conversation b:text-is('Of birds')")
        page.wait_for_selector(".ipyllm-text:has-text('It is about Of birds.')")
        ask(page, "More?")
        wait_for_end(page)
        sent = [request for request in fake.requests if request.json][-1].json["messages"]
        assert [m["content"] for m in sent] == ["Of birds", "It is about Of birds.", "More?"]
        page.once("dialog", lambda dialog: dialog.accept())
        page.click("[aria-label='Delete “Of birds”']")
        page.wait_for_selector(".ipyllm-conversation b:text-is('Of birds')", state="detached")
        page.wait_for_selector(".ipyllm-nothing")
    with opened(servers, user="ben") as page:
        assert page.locator(".ipyllm-conversation", has_text="Of fish").count() == 0


@pytest.mark.thorough
def test_the_chosen_model_is_asked(servers, fake):
    with opened(servers) as page:
        page.wait_for_selector("option:text-is('lab/tiny')", state="attached")
        page.evaluate("document.querySelector('select').append(new Option('lab/other'))")
        page.select_option("select", "lab/other")
        ask(page, "Which are you?")
        wait_for_end(page)
        assert [request for request in fake.requests if request.json][-1].json["model"] == "other"


@pytest.mark.thorough
def test_a_refused_question_stays_in_the_composer_and_a_failed_answer_says_why(servers, fake):
    with opened(servers) as page:
        page.evaluate("document.querySelector('select').append(new Option('nope/x'))")
        page.select_option("select", "nope/x")
        ask(page, "Who are you?")
        page.wait_for_selector(".ipyllm-notice:not([hidden])")
        assert "nope" in page.inner_text(".ipyllm-notice")
        assert page.input_value("textarea") == "Who are you?"
        page.select_option("select", "lab/tiny")
        fake.on(lambda request: reset(answer("one two", gap=0.01), after=1))
        page.keyboard.press("Enter")
        wait_for_end(page)
        assert "lab/tiny" in page.inner_text(".ipyllm-error")


@pytest.mark.thorough
def test_a_failed_question_and_a_draft_outlive_a_reload_and_can_be_asked_again(servers, fake):
    with opened(servers) as page:
        ask(page, "First")
        wait_for_end(page)
        fake.reply(error(400, "No such luck."))
        ask(page, "Give me an error")
        page.wait_for_selector(".ipyllm-error:has-text('No such luck.') >> text=Try again")
        ask(page, "Third")
        page.wait_for_selector(".ipyllm-exchange:nth-child(3):not(.ipyllm-running)")
        page.fill("textarea", "A draft")
        page.reload()
        page.wait_for_selector(".ipyllm-exchange:nth-child(3)")
        bubbles = page.locator(".ipyllm-bubble")
        assert bubbles.all_inner_texts() == ["First", "Give me an error", "Third"]
        assert "No such luck." in page.inner_text(".ipyllm-exchange:nth-child(2) .ipyllm-error")
        assert re.search(r"lab/tiny.* s\b", page.inner_text(".ipyllm-exchange:nth-child(2) .ipyllm-foot"))
        assert page.input_value("textarea") == "A draft"
        page.click("text=Try again")
        wait_for_end(page)
        assert bubbles.all_inner_texts() == ["First", "Third", "Give me an error"]
        assert answers(page) == 3 * ["Hello from the fake."]
        page.fill("textarea", "")
        page.reload()
        page.wait_for_selector(".ipyllm-exchange:nth-child(3)")
        assert page.locator(".ipyllm-error:visible").count() == 0
        assert page.input_value("textarea") == ""


@pytest.mark.thorough
def test_a_question_that_fails_while_the_page_is_reloaded_is_shown_without_answer(servers, fake):
    with opened(servers) as page:
        fake.reply(answer("one", ttft=100))
        ask(page, "Never answered")
        page.wait_for_selector("[title='Stop the answer']")
        fake.wait_for(lambda: any(request.json for request in fake.requests))
        page.evaluate("""() => { const kept = JSON.parse(sessionStorage.getItem("ipyllm-chat"));
            sessionStorage.setItem("ipyllm-chat", JSON.stringify({...kept, session: "gone"})); }""")
        for _ in range(2):
            page.reload()
            page.wait_for_selector(".ipyllm-error:has-text('before an answer came') >> text=Try again")
            assert page.locator(".ipyllm-bubble").all_inner_texts() == ["Never answered"]


@pytest.mark.thorough
def test_a_question_that_was_lost_can_be_asked_again_after_a_reload(servers, fake):
    with opened(servers) as page:
        ask(page, "The same words")
        wait_for_end(page)
        page.evaluate("""() => { const send = WebSocket.prototype.send;
            WebSocket.prototype.send = function (text) { if (!text.includes('"ask"')) send.call(this, text); }; }""")
        ask(page, "The same words")
        page.wait_for_function("() => JSON.parse(sessionStorage.getItem('ipyllm-chat'))?.asked")
        page.reload()
        page.click(".ipyllm-error:has-text('before an answer came') >> text=Try again")
        page.wait_for_selector(".ipyllm-exchange:nth-child(2) .ipyllm-text:has-text('Hello from the fake.')")
        wait_for_end(page)
        assert page.locator(".ipyllm-bubble").all_inner_texts() == ["The same words", "The same words"]
        assert page.locator(".ipyllm-error:visible").count() == 0


@pytest.mark.thorough
def test_after_a_reload_the_seconds_of_an_answer_count_from_its_question(servers, fake):
    with opened(servers) as page:
        fake.reply(answer("one two", gap=100))
        ask(page, "Slowly")
        page.wait_for_selector(".ipyllm-running .ipyllm-text p")
        page.add_init_script("""const parse = JSON.parse;
            JSON.parse = (text) => {
                const value = parse(text);
                if (value?.elapsed_s !== undefined) value.elapsed_s += 3600;
                return value;
            };""")
        page.reload()
        page.wait_for_selector(".ipyllm-running .ipyllm-text p")
        assert re.fullmatch(r"answering · 36\d\d s", page.inner_text(".ipyllm-waiting"))
        page.keyboard.press("Escape")
        wait_for_end(page)


QUEUED = ".ipyllm-queued li span"


@pytest.mark.thorough
def test_questions_that_wait_are_asked_one_after_the_other_a_reload_between_them(servers, fake):
    with opened(servers) as page:
        fake.reply(answer("one two", gap=100))
        ask(page, "First")
        page.wait_for_selector(".ipyllm-running .ipyllm-text p")
        for text in ("Second", "Not this one", "Third"):
            ask(page, text)
        page.click(".ipyllm-queued li:nth-child(2) [title='Take back']")
        assert page.input_value("textarea") == "Not this one"
        assert page.locator(QUEUED).all_inner_texts() == ["Second", "Third"]
        page.reload()
        page.wait_for_selector(".ipyllm-running .ipyllm-text p")
        assert page.locator(QUEUED).all_inner_texts() == ["Second", "Third"]
        fake.skip_pauses()
        page.wait_for_selector(".ipyllm-exchange:nth-child(3):not(.ipyllm-running)")
        assert page.locator(".ipyllm-bubble").all_inner_texts() == ["First", "Second", "Third"]
        assert answers(page) == ["one two", "Hello from the fake.", "Hello from the fake."]
        assert page.locator(".ipyllm-queue:visible").count() == 0
        assert page.input_value("textarea") == "Not this one"


@pytest.mark.thorough
def test_after_a_stopped_answer_the_next_question_waits_for_the_user(servers, fake):
    with opened(servers) as page:
        fake.reply(answer("one two", gap=100))
        ask(page, "Stopped, then another")
        page.wait_for_selector(".ipyllm-running .ipyllm-text p")
        ask(page, "Second")
        page.keyboard.press("Escape")
        wait_for_end(page)
        page.wait_for_selector(".ipyllm-queue:has-text('Waiting for you')")
        page.click("text=New chat")
        assert page.locator(".ipyllm-queue:visible").count() == 0
        page.click(".ipyllm-conversation b:text-is('Stopped, then another')")
        page.click("text=Send now")
        page.wait_for_selector(".ipyllm-exchange:nth-child(2):not(.ipyllm-running)")
        assert page.locator(".ipyllm-bubble").all_inner_texts() == ["Stopped, then another", "Second"]


@pytest.mark.thorough
def test_conversations_are_searched_and_renamed(servers, fake):
    with opened(servers) as page:
        for name, text in (("Of cats", "They purr."), ("Of dogs", "They bark at the postman.")):
            fake.reply(answer(text))
            page.click("text=New chat")
            ask(page, name)
            wait_for_end(page)
            page.wait_for_selector(f".ipyllm-conversation[aria-current] b:text-is('{name}')")
        page.click("[aria-label='Rename “Of dogs”']")
        page.keyboard.type("Of cats")
        page.keyboard.press("Enter")
        page.wait_for_selector(".ipyllm-notice:has-text('You have a conversation')")
        page.wrong.clear()  # of the 409
        page.fill("[aria-label='New name of “Of dogs”']", "Of hounds")
        page.keyboard.press("Enter")
        page.wait_for_selector(".ipyllm-conversation[aria-current] b:text-is('Of hounds')")
        ask(page, "And cats?")  # over the same socket
        wait_for_end(page)
        page.reload()
        page.wait_for_selector(".ipyllm-exchange:nth-child(2)")
        page.click(".ipyllm-conversation b:text-is('Of cats')")
        page.fill(".ipyllm-search input", "POSTMAN")
        page.wait_for_selector(".ipyllm-excerpt:has-text('bark at the postman')")
        assert page.locator(".ipyllm-conversation b").all_inner_texts() == ["Of hounds"]
        page.click(".ipyllm-conversation")
        page.wait_for_selector(".ipyllm-found:has-text('postman')")
        page.fill(".ipyllm-search input", "unheard of")
        page.wait_for_selector(".ipyllm-side:has-text('No conversation contains')")
        page.fill(".ipyllm-search input", "")
        page.wait_for_selector(".ipyllm-conversation b:text-is('Of cats')")


@pytest.mark.thorough
def test_the_line_below_an_answer_that_streams_never_says_waiting(servers, fake):
    with opened(servers) as page:
        page.evaluate("setInterval = () => 0")
        fake.reply(answer("one two", gap=100))
        ask(page, "Slowly")
        page.wait_for_selector(".ipyllm-running .ipyllm-text p")
        assert page.inner_text(".ipyllm-waiting").startswith("answering")
        page.keyboard.press("Escape")
        wait_for_end(page)


@pytest.mark.thorough
def test_files_of_text_are_sent_and_others_are_refused_with_the_reason(servers, fake):
    with opened(servers) as page:
        for name, kind, words in (("a.pdf", "application/pdf", "text only"), ("b.png", "image/png", "text only")):
            page.set_input_files("input[type=file]", {"name": name, "mimeType": kind, "buffer": b"%PDF"})
            page.wait_for_selector(f".ipyllm-notice:has-text('{name}'):has-text('{words}')")
        page.set_input_files("input[type=file]", {"name": "c.bin", "mimeType": "", "buffer": b"a\0b"})
        ask(page, "Sum it up")
        page.wait_for_selector(".ipyllm-notice:has-text('c.bin'):has-text('no text')")
        assert page.input_value("textarea") == "Sum it up"
        page.click("[aria-label='Remove c.bin']")
        page.set_input_files("input[type=file]", {"name": "d.csv", "mimeType": "text/csv", "buffer": b"x,y\n1,2"})
        page.keyboard.press("Enter")
        wait_for_end(page)
        sent = [request for request in fake.requests if request.json][-1].json["messages"]
        assert [m["content"] for m in sent] == ['Sum it up\n\n<file name="d.csv">\nx,y\n1,2\n</file>']


@pytest.mark.thorough
@needs_axe
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [420, 1200])
def test_the_page_is_readable_and_accessible(servers, fake, width, scheme):
    fake.default = answer(MARKDOWN, reasoning="Hm.")
    with opened(servers, width=width, height=800, scheme=scheme) as page:
        ask(page, f"Which city is the capital, at {width} pixels?")
        wait_for_end(page)
        if width < 800:
            page.click(".ipyllm-fold")
        page.wait_for_selector(".ipyllm-conversation")
        assert page.evaluate("document.documentElement.scrollWidth") <= width  # nothing is beside the page
        bubble = page.locator(".ipyllm-bubble").bounding_box()
        assert bubble["x"] >= 0
        assert bubble["x"] + bubble["width"] <= width
        assert violations(page, "body") == []
        colour = "element => getComputedStyle(element).color"  # the browser's own blue is neither
        assert page.locator(".ipyllm-text a").first.evaluate(colour) in {"rgb(23, 103, 192)", "rgb(138, 184, 245)"}
        page.wrong.clear()  # axe itself is evaluated, which the policy tells
