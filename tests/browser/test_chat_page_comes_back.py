"""The page of the chat server after a broken connection or a reload: nothing is lost, shown twice, or asked twice."""

import re
from urllib.parse import quote

import pytest

from tests.browser.chat_page import answers, ask, ask_and_hold, begin_chat, last_call, opened, questions, wait_for_end
from tests.browser.lab import needs_chromium
from tests.fakes import answer, error

pytestmark = [pytest.mark.browser, pytest.mark.timeout(600), needs_chromium]

WORDS = " ".join(f"w{n}" for n in range(200))


def test_after_a_broken_connection_the_answer_goes_on_without_gap_or_repetition(servers, model):
    with opened(servers) as page:
        page.evaluate("""() => { const Plain = WebSocket; window.sockets = [];
            window.WebSocket = class extends Plain { constructor(url) { super(url); sockets.push(this); } }; }""")
        model.reply(answer(WORDS, gap=0.03))
        ask(page, "Count on")
        for n in range(3):
            page.wait_for_function("n => sockets.length > n && sockets[n].readyState === 1", arg=n)
            page.wait_for_timeout(700)
            page.evaluate("n => sockets[n].close(4000)", n)
        wait_for_end(page)
        assert answers(page) == [WORDS]
        assert page.evaluate("sockets.length") >= 4
        assert len([request for request in model.requests if request.json]) == 1


def test_a_reloaded_page_shows_the_conversation_and_the_answer_that_runs(servers, model):
    with opened(servers) as page:
        ask(page, "A first question")
        wait_for_end(page)
        model.reply(answer(WORDS, gap=0.05))
        ask(page, "And a long one")
        page.wait_for_selector(".ipyllm-exchange:last-child .ipyllm-text p")
        page.reload()
        page.wait_for_selector(".ipyllm-exchange:nth-child(2)")
        wait_for_end(page)
        assert answers(page) == ["Hello from the fake.", WORDS]
        assert questions(page) == ["A first question", "And a long one"]
        page.locator(".ipyllm-exchange").first.locator(".ipyllm-footer", has_text="tokens").wait_for()


@pytest.mark.parametrize("ends", ["before the history", "after it", "at once"])
def test_an_answer_that_ends_while_a_reloaded_page_asks_for_it_is_shown_once(servers, model, ends):
    with opened(servers) as page:
        ask(page, f"A first question, {ends}")
        wait_for_end(page)
        model.reply(answer("Second and last.", gap=60))
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
            model.skip_pauses()
            page.wait_for_timeout(1500)  # longer than the server takes to add it
        page.evaluate("held.splice(0).forEach(send => send())")
        if ends == "after it":
            page.wait_for_function("() => window.again")
        model.skip_pauses()
        page.wait_for_selector(".ipyllm-exchange:nth-child(2)")
        wait_for_end(page)
        page.wait_for_timeout(500)  # nothing comes after
        assert answers(page) == ["Hello from the fake.", "Second and last."]
        assert page.locator(".ipyllm-bubble").count() == 2


def test_a_failed_question_and_a_draft_outlive_a_reload_and_can_be_asked_again(servers, model):
    with opened(servers) as page:
        ask(page, "First")
        wait_for_end(page)
        model.reply(error(400, "No such luck."))
        ask(page, "Give me an error")
        page.wait_for_selector(".ipyllm-error:has-text('No such luck.') >> text=Try again")
        ask(page, "Third")
        wait_for_end(page, 3)
        page.fill("textarea", "A draft")
        page.reload()
        page.wait_for_selector(".ipyllm-exchange:nth-child(3)")
        assert questions(page) == ["First", "Give me an error", "Third"]
        assert "No such luck." in page.inner_text(".ipyllm-exchange:nth-child(2) .ipyllm-error")
        assert re.search(r"lab/tiny.* s\b", page.inner_text(".ipyllm-exchange:nth-child(2) .ipyllm-foot"))
        assert page.input_value("textarea") == "A draft"
        page.click("text=Try again")
        wait_for_end(page)
        assert questions(page) == ["First", "Third", "Give me an error"]
        assert answers(page) == 3 * ["Hello from the fake."]
        page.fill("textarea", "")
        page.reload()
        page.wait_for_selector(".ipyllm-exchange:nth-child(3)")
        assert page.locator(".ipyllm-error:visible").count() == 0
        assert page.input_value("textarea") == ""


def test_a_question_that_fails_while_the_page_is_reloaded_is_shown_without_answer(servers, model):
    with opened(servers) as page:
        model.reply(answer("one", ttft=100))
        ask(page, "Never answered")
        page.wait_for_selector("[title='Stop the answer']")
        model.wait_for(lambda: any(request.json for request in model.requests))
        page.evaluate("""() => { const kept = JSON.parse(sessionStorage.getItem("ipyllm-chat"));
            sessionStorage.setItem("ipyllm-chat", JSON.stringify({...kept, session: "gone"})); }""")
        for _ in range(2):
            page.reload()
            page.wait_for_selector(".ipyllm-error:has-text('before an answer came') >> text=Try again")
            assert questions(page) == ["Never answered"]


def test_a_question_that_was_lost_can_be_asked_again_after_a_reload(servers, model):
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
        assert questions(page) == ["The same words", "The same words"]
        assert page.locator(".ipyllm-error:visible").count() == 0


def test_after_a_reload_the_seconds_of_an_answer_count_from_its_question(servers, model):
    with opened(servers) as page:
        ask_and_hold(page, model, "Slowly")
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


def test_questions_that_wait_are_asked_one_after_the_other_a_reload_between_them(servers, model):
    with opened(servers) as page:
        ask_and_hold(page, model, "First")
        for text in ("Second", "Not this one", "Third"):
            ask(page, text)
        page.click(".ipyllm-queued li:nth-child(2) [title='Take back']")
        assert page.input_value("textarea") == "Not this one"
        assert page.locator(".ipyllm-queued li span").all_inner_texts() == ["Second", "Third"]
        page.reload()
        page.wait_for_selector(".ipyllm-running .ipyllm-text p")
        assert page.locator(".ipyllm-queued li span").all_inner_texts() == ["Second", "Third"]
        model.skip_pauses()
        wait_for_end(page, 3)
        assert questions(page) == ["First", "Second", "Third"]
        assert answers(page) == ["one two", "Hello from the fake.", "Hello from the fake."]
        assert page.locator(".ipyllm-queue:visible").count() == 0
        assert page.input_value("textarea") == "Not this one"


def test_an_answer_goes_on_while_another_conversation_is_shown_which_has_a_draft_of_its_own(servers, model):
    with opened(servers) as page:
        ask_and_hold(page, model, "Goes on")
        page.wait_for_selector(".ipyllm-conversation[aria-current] b:text-is('Goes on')")  # before its end
        ask(page, "Then this")
        page.fill("textarea", "A draft")
        page.click("text=New chat")
        assert page.input_value("textarea") == ""
        page.wait_for_selector("[data-name='Goes on'] .ipyllm-mark-running")
        page.fill("textarea", "Another draft")
        page.click(".ipyllm-conversation b:text-is('Goes on')")
        page.wait_for_selector(".ipyllm-running .ipyllm-text:has-text('one')")
        assert questions(page) == ["Goes on"]
        assert page.input_value("textarea") == "A draft"
        assert page.locator(".ipyllm-queued li span").all_inner_texts() == ["Then this"]
        page.click("text=New chat")
        assert page.input_value("textarea") == "Another draft"
        model.skip_pauses()
        page.wait_for_selector("[data-name='Goes on'] .ipyllm-mark-new")
        page.click(".ipyllm-conversation b:text-is('Goes on')")
        wait_for_end(page, 2)
        assert questions(page) == ["Goes on", "Then this"]
        assert answers(page) == ["one two", "Hello from the fake."]
        assert page.locator(".ipyllm-error:visible").count() == 0
        assert page.locator(".ipyllm-mark").count() == 0
        assert page.input_value("textarea") == "A draft"


def test_a_question_that_fails_while_another_conversation_is_shown_can_be_asked_again(servers, model):
    with opened(servers) as page:
        model.reply(answer("First."), error(400, "No such luck.", delay=100))
        ask(page, "Fails unseen")
        wait_for_end(page)
        ask(page, "The second")
        page.wait_for_selector("[title='Stop the answer']")
        model.wait_for(lambda: len([request for request in model.requests if request.json]) == 2)
        page.click("text=New chat")
        model.skip_pauses()
        page.wait_for_selector("[data-name='Fails unseen'] .ipyllm-mark-failed")
        page.click(".ipyllm-conversation b:text-is('Fails unseen')")
        page.wait_for_selector(".ipyllm-exchange:nth-child(2) .ipyllm-error:has-text('No such luck.')")
        page.click("text=Try again")
        wait_for_end(page, 2)
        assert answers(page) == ["First.", "Hello from the fake."]
        assert questions(page) == ["Fails unseen", "The second"]


def test_a_stopped_answer_says_so_after_its_conversation_is_opened_again_and_can_be_asked_again(servers, model):
    with opened(servers) as page:
        ask_and_hold(page, model, "Stopped, then left")
        page.keyboard.press("Escape")
        page.wait_for_selector(".ipyllm-error:has-text('The answer was stopped.') >> text=Try again")
        page.click("text=New chat")
        assert page.inner_text(".ipyllm-away[role=status]") == ""
        page.click(".ipyllm-conversation b:text-is('Stopped, then left')")
        page.click(".ipyllm-error:has-text('The answer was stopped.') >> text=Try again")
        page.wait_for_selector(".ipyllm-text:has-text('Hello from the fake.')")
        wait_for_end(page, 1)
        assert answers(page) == ["Hello from the fake."]
        assert page.inner_text(".ipyllm-branch") == "2/2"  # the other is kept


@pytest.mark.parametrize("ends", ["before", "during", "after"])
def test_after_a_reload_answers_of_other_conversations_go_on_and_are_marked(servers, model, ends):
    name, server = f"Goes on, ends {ends}", servers[1]
    with opened(servers) as page:
        ask_and_hold(page, model, name)
        page.click("text=New chat")
        page.wait_for_selector(f"[data-name='{name}'] .ipyllm-mark-running")
        if ends == "before":
            model.skip_pauses()
            page.wait_for_selector(f"[data-name='{name}'] .ipyllm-mark-new")
        elif ends == "during":  # while no page is there
            address = page.url
            page.goto("about:blank")
            model.skip_pauses()
            path = f"/ipyllm/api/conversations/{quote(name)}"
            model.wait_for(lambda: server.get(path).json.get("messages", [{}])[-1].get("content") == "one two")
            page.goto(address)
        page.reload()
        if ends == "after":
            page.wait_for_selector(f"[data-name='{name}'] .ipyllm-mark-running")
            model.skip_pauses()
        page.wait_for_selector(f"[data-name='{name}'] .ipyllm-mark-new")
        page.click(f".ipyllm-conversation b:text-is('{name}')")
        page.wait_for_selector(".ipyllm-exchange .ipyllm-text:has-text('one two')")
        assert questions(page) == [name]
        assert page.locator(".ipyllm-error:visible").count() == 0
        page.reload()
        page.wait_for_selector(".ipyllm-conversation[aria-current]")
        assert page.locator(".ipyllm-mark").count() == 0


def test_an_answer_that_another_conversation_lost_is_known_by_its_history(servers, model):
    with opened(servers) as page:
        for name in ("Kept all the same", "Lost for good"):
            page.click("text=New chat")
            ask_and_hold(page, model, name)
        page.click("text=New chat")
        page.wait_for_selector("[data-name='Lost for good'] .ipyllm-mark-running")
        page.evaluate("""() => { const kept = JSON.parse(sessionStorage.getItem("ipyllm-unseen"));
            for (const [, chat] of kept) chat.session = "gone";
            kept[1][1].asked.id = "never asked";
            window.addEventListener("pagehide", () => sessionStorage.setItem("ipyllm-unseen", JSON.stringify(kept)));
        }""")
        model.skip_pauses()
        page.wait_for_selector("[data-name='Lost for good'] .ipyllm-mark-new")
        page.reload()
        page.wait_for_selector("[data-name='Kept all the same'] .ipyllm-mark-new")
        page.wait_for_selector("[data-name='Lost for good'] .ipyllm-mark-failed")
        page.click(".ipyllm-conversation b:text-is('Lost for good')")
        page.wait_for_selector(".ipyllm-error:has-text('before an answer came') >> text=Try again")


def test_a_question_that_a_reload_kept_from_being_sent_is_asked_after_it(servers, model):
    with opened(servers) as page:
        page.add_init_script("""const isFirst = !sessionStorage.getItem("was here");
            sessionStorage.setItem("was here", "1");
            window.WebSocket = class extends WebSocket { // which the first time hears nothing of the server
                set onmessage(listener) { super.onmessage = isFirst ? () => {} : listener; }
            };""")
        page.reload()
        ask(page, "Kept from being sent")
        page.wait_for_selector("[title='Stop the answer']")
        page.click("text=New chat")
        page.reload()
        page.wait_for_selector("[data-name='Kept from being sent'] .ipyllm-mark-new")


BREAKABLE = """window.WebSocket = class extends WebSocket {
    constructor(url) {
        super(window.isGone ? url.replace(/session=[^&]*/, "session=gone") : url);
        window.socket = this;
    }
    send(message) {
        if (!window.isMute) super.send(message);
    }
};"""


def test_a_question_that_a_broken_connection_lost_is_asked_again_while_another_conversation_is_shown(servers, model):
    with opened(servers) as page:
        page.add_init_script(BREAKABLE)
        page.reload()
        begin_chat(page, model, "Before it breaks", "1")
        page.evaluate("window.isMute = true")
        ask(page, "Lost on its way")
        page.wait_for_selector("[title='Stop the answer']")
        page.click("text=New chat")
        page.wait_for_selector("[data-name='Before it breaks'] .ipyllm-mark-running")
        page.evaluate("() => { window.isMute = false; socket.close(4000); }")
        page.wait_for_selector("[data-name='Before it breaks'] .ipyllm-mark-new")
        page.click(".ipyllm-conversation b:text-is('Before it breaks')")
        wait_for_end(page, 2)
        assert questions(page) == ["Before it breaks", "Lost on its way"]


def test_a_renamed_conversation_goes_on_under_its_new_name_when_its_session_is_gone(servers, model):
    with opened(servers) as page:
        page.add_init_script(BREAKABLE)
        page.reload()
        begin_chat(page, model, "Before its rename", "1")
        page.click("[title='Rename “Before its rename”']")
        page.fill("input[aria-label^='New name']", "After its rename")
        page.keyboard.press("Enter")
        page.wait_for_selector(".ipyllm-conversation[aria-current] b:text-is('After its rename')")
        page.evaluate("() => { window.isGone = true; socket.close(4000); }")
        page.wait_for_function("() => socket.readyState === WebSocket.OPEN")
        ask(page, "It goes on")
        wait_for_end(page, 2)
        asked = [message["content"] for message in last_call(model)["messages"]]
        assert asked == ["Before its rename", "1", "It goes on"]
