"""The page of the chat server: it streams, stops, keeps conversations, and runs no script of an answer."""

import re
from pathlib import Path

import pytest

from tests.browser.axe import needs_axe, violations
from tests.browser.chat_page import answers, ask, ask_and_hold, begin_chat, last_call, opened, questions, wait_for_end
from tests.browser.lab import needs_chromium
from tests.fakes import answer, reset

pytestmark = [pytest.mark.browser, pytest.mark.timeout(600), needs_chromium]

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


@pytest.mark.smoke
def test_a_question_is_answered_as_it_streams_and_nothing_of_it_runs(servers, model):
    with opened(servers) as page:
        model.reply(answer(f"Wait for it.\n\n{MARKDOWN}", gap=5))
        ask(page, "Which city is the capital?")
        page.wait_for_selector(".ipyllm-running .ipyllm-text p")  # it has begun, and is shown
        model.skip_pauses()
        wait_for_end(page)
        assert page.locator(".ipyllm-text strong").inner_text() == "134,591"
        assert page.locator(".ipyllm-text td").first.inner_text() == "Bern"
        assert page.locator(".ipyllm-text math").count() == 1
        assert page.locator(".ipyllm-text :is(script, [onerror], img)").count() == 0
        assert page.title() == "Which city is the capital? – Chat"
        assert "lab/tiny" in page.inner_text(".ipyllm-foot")
        assert page.locator(".ipyllm-bubble").inner_text() == "Which city is the capital?"
        assert page.locator(".ipyllm-conversation[aria-current] b").inner_text() == "Which city is the capital?"
        page.locator(
            ".ipyllm-conversation[aria-current] .ipyllm-footer", has_text=re.compile(r"20\d\d")
        ).wait_for()  # its date


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


@pytest.mark.parametrize("name", ["../app.py", "..%2fapp.py", "page.html", "/etc/passwd", "chat/chat.js", "nothing.js"])
def test_only_the_files_of_the_page_are_served(servers, name):
    assert servers[1].get(f"/ipyllm/static/{name}").status in {403, 404}


def test_the_example_of_a_page_in_the_documentation_gets_the_answer(servers, model):
    page_of_docs = (Path(__file__).parents[2] / "docs" / "server.md").read_text(encoding="utf-8")
    found = re.findall(r"```javascript\n(.*?)```", page_of_docs, re.DOTALL)
    (code,) = [code for code in found if "new WebSocket" in code]
    model.reply(answer("Two and two are four.", gap=0.01))
    with opened(servers) as page:
        program = f"(async () => {{ {code.replace('local/smollm2-135m', 'lab/tiny')}; return text; }})()"
        assert page.evaluate(program) == "Two and two are four."


def test_stop_keeps_what_came_and_cancels_the_call(servers, model):
    with opened(servers) as page:
        model.reply(answer("one two three", gap=100))
        ask(page, "Stop me")
        page.wait_for_selector(".ipyllm-text p")
        page.keyboard.press("Escape")
        wait_for_end(page)
        assert answers(page) == ["one"]
        assert "cancelled" in page.inner_text(".ipyllm-foot")
        model.wait_for(lambda: model.requests[-1].closed_by_client, timeout=60)


def test_conversations_are_listed_opened_and_deleted(servers, model):
    with opened(servers) as page:
        for name in ("Of birds", "Of fish"):
            begin_chat(page, model, name, f"It is about {name}.")
        page.click(".ipyllm-conversation b:text-is('Of birds')")
        page.wait_for_selector(".ipyllm-text:has-text('It is about Of birds.')")
        ask(page, "More?")
        wait_for_end(page)
        sent = last_call(model)["messages"]
        assert [m["content"] for m in sent] == ["Of birds", "It is about Of birds.", "More?"]
        page.once("dialog", lambda dialog: dialog.accept())
        page.click("[aria-label='Delete “Of birds”']")
        page.wait_for_selector(".ipyllm-conversation b:text-is('Of birds')", state="detached")
        page.wait_for_selector(".ipyllm-nothing")
    with opened(servers, user="ben") as page:
        assert page.locator(".ipyllm-conversation", has_text="Of fish").count() == 0


def test_the_same_first_question_in_two_tabs_begins_two_conversations(servers, model):
    with opened(servers) as first, opened(servers) as second:
        for page in (first, second):
            ask(page, "The same first words")
            wait_for_end(page)
        second.wait_for_selector(".ipyllm-conversation[aria-current] b:text-is('The same first words (2)')")
    assert len(last_call(model)["messages"]) == 1


def test_questions_that_are_asked_before_a_new_chat_has_its_name_wait_for_it(servers, model):
    with opened(servers) as page:
        held = []
        page.route("**/api/conversations", lambda route: route.continue_() if held else held.append(route))
        ask(page, "The first of two")
        ask(page, "The second of two")
        page.wait_for_selector(".ipyllm-queued li")
        model.wait_for(lambda: page.wait_for_timeout(50) or held)
        held[0].continue_()
        wait_for_end(page, 2)
        assert questions(page) == ["The first of two", "The second of two"]


def test_the_chosen_model_is_asked(servers, model):
    with opened(servers) as page:
        page.wait_for_selector("option:text-is('lab/tiny')", state="attached")
        page.evaluate("document.querySelector('select').append(new Option('lab/other'))")
        page.select_option("select", "lab/other")
        ask(page, "Which are you?")
        wait_for_end(page)
        assert last_call(model)["model"] == "other"


def test_a_refused_question_stays_in_the_composer_and_a_failed_answer_says_why(servers, model):
    with opened(servers) as page:
        page.evaluate("document.querySelector('select').append(new Option('nope/x'))")
        page.select_option("select", "nope/x")
        ask(page, "Who are you?")
        page.wait_for_selector(".ipyllm-notice:not([hidden])")
        assert "nope" in page.inner_text(".ipyllm-notice")
        assert page.input_value("textarea") == "Who are you?"
        page.select_option("select", "lab/tiny")
        model.on(lambda request: reset(answer("one two", gap=0.01), after=1))
        page.keyboard.press("Enter")
        wait_for_end(page)
        assert "lab/tiny" in page.inner_text(".ipyllm-error")


def test_after_a_stopped_answer_the_next_question_waits_for_the_user(servers, model):
    with opened(servers) as page:
        ask_and_hold(page, model, "Stopped, then another")
        ask(page, "Second")
        page.keyboard.press("Escape")
        wait_for_end(page)
        page.wait_for_selector(".ipyllm-queue:has-text('Waiting for you')")
        page.click("text=New chat")
        assert page.locator(".ipyllm-queue:visible").count() == 0
        page.click(".ipyllm-conversation b:text-is('Stopped, then another')")
        page.click("text=Send now")
        wait_for_end(page, 2)
        assert questions(page) == ["Stopped, then another", "Second"]


def test_conversations_are_searched_and_renamed(servers, model):
    with opened(servers) as page:
        begin_chat(page, model, "Of cats", "They purr.")
        begin_chat(page, model, "Of dogs", "They bark at the postman.")
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
        assert page.eval_on_selector(".ipyllm-excerpt", "it => it.scrollWidth <= it.clientWidth")  # nothing is cut
        assert page.locator(".ipyllm-conversation b").all_inner_texts() == ["Of hounds"]
        page.click(".ipyllm-conversation")
        page.wait_for_selector(".ipyllm-found:has-text('postman')")
        page.fill(".ipyllm-search input", "unheard of")
        page.wait_for_selector(".ipyllm-side:has-text('No conversation contains')")
        page.fill(".ipyllm-search input", "")
        page.wait_for_selector(".ipyllm-conversation b:text-is('Of cats')")


def test_a_conversation_that_goes_on_is_the_first_of_the_list_again(servers, model):
    with opened(servers) as page:
        begin_chat(page, model, "Begun first", "1")
        begin_chat(page, model, "Begun second", "2")
        assert page.locator(".ipyllm-conversation b").all_inner_texts()[:2] == ["Begun second", "Begun first"]
        page.click(".ipyllm-conversation b:text-is('Begun first')")
        page.wait_for_selector(".ipyllm-text:has-text('1')")
        page.click("[title='Rename “Begun second”']")
        page.fill("input[aria-label^='New name']", "Renamed")
        page.keyboard.press("Enter")
        page.wait_for_selector("[data-name='Renamed']:first-child")
        ask(page, "It goes on")
        wait_for_end(page, 2)
        page.wait_for_selector("[data-name='Begun first']:first-child")
        page.click("[title='Rename “Renamed”']")
        page.fill("input[aria-label^='New name']", "Renamed again")
        page.keyboard.press("Enter")
        page.wait_for_selector("[data-name='Renamed again']:nth-child(2)")  # a name is no change


@pytest.mark.parametrize("width", [420, 1200])
def test_the_page_says_which_conversation_it_shows(servers, model, width):
    name = f"A long name for a conversation at {width}"
    with opened(servers, width=width) as page:
        assert page.title() == page.inner_text("h1") == "Chat"
        ask(page, name)
        wait_for_end(page)
        assert (page.title(), page.text_content("h1")) == (f"{name} – Chat", name)
        heading, new_chat = (page.locator(each).bounding_box() for each in ("h1", "text=New chat"))
        assert abs(heading["y"] + heading["height"] / 2 - new_chat["y"] - new_chat["height"] / 2) < 3  # in one line
        assert heading["width"] > 60
        page.reload()
        page.wait_for_function("name => document.title.startsWith(name)", arg=name)
        if width < 800:
            page.click(".ipyllm-fold")
        page.click(f"[title='Rename “{name}”']")
        page.fill("input[aria-label^='New name']", f"Another, {width}")
        page.keyboard.press("Enter")
        page.wait_for_function("() => document.title.startsWith('Another')")
        page.click("text=New chat")
        assert page.title() == page.inner_text("h1") == "Chat"


def test_a_long_question_is_folded_edited_and_found_as_a_whole(servers, model):
    text = "Summarise this. " + 200 * "many words " + "the last ones"
    with opened(servers) as page:
        page.fill("textarea", text)
        page.keyboard.press("Enter")
        wait_for_end(page)
        assert len(page.inner_text(".ipyllm-words")) < 1300
        assert last_call(model)["messages"][0]["content"] == text
        page.click("[title='Edit and ask again']")
        assert page.input_value(".ipyllm-edit textarea") == text
        page.keyboard.press("Escape")
        page.click(f"text=Show all {len(text):,} characters")
        assert page.inner_text(".ipyllm-words") == text
        page.fill("[type=search]", "the last ones")
        page.wait_for_selector(".ipyllm-excerpt:has-text('the last ones')")
        page.click(".ipyllm-conversation")
        page.wait_for_selector(".ipyllm-exchange.ipyllm-found .ipyllm-link")


def test_a_narrow_page_tells_of_answers_in_other_conversations_without_the_list(servers, model):
    with opened(servers, width=420) as page:
        ask_and_hold(page, model, "On a phone")
        page.click("text=New chat")
        page.wait_for_selector(".ipyllm-fold.ipyllm-busy[title='“On a phone”: answering …']")
        model.skip_pauses()
        page.wait_for_selector(".ipyllm-fold.ipyllm-set[title='“On a phone”: new answer']")
        assert page.inner_text(".ipyllm-away[role=status]") == "“On a phone”: new answer"
        page.click(".ipyllm-fold")
        page.click(".ipyllm-conversation b:text-is('On a phone')")
        page.wait_for_selector(".ipyllm-fold:not(.ipyllm-set):not(.ipyllm-busy)")


def test_the_line_below_an_answer_that_streams_never_says_waiting(servers, model):
    with opened(servers) as page:
        page.evaluate("setInterval = () => 0")
        ask_and_hold(page, model, "Slowly")
        assert page.inner_text(".ipyllm-waiting").startswith("answering")
        page.keyboard.press("Escape")
        wait_for_end(page)


def test_files_of_text_are_sent_and_others_are_refused_with_the_reason(servers, model):
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
        sent = last_call(model)["messages"]
        assert [m["content"] for m in sent] == ['Sum it up\n\n<file name="d.csv">\nx,y\n1,2\n</file>']


@needs_axe
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [420, 1200])
def test_the_page_is_readable_and_accessible(servers, model, width, scheme):
    model.default = answer(MARKDOWN, reasoning="Hm.")
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
