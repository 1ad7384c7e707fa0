"""On the page of the chat server a question is edited and an answer given again; the other versions stay."""

import pytest

from tests.browser.axe import needs_axe, violations
from tests.browser.chat_page import answers, ask, last_call, opened, questions, wait_for_end
from tests.browser.lab import needs_chromium
from tests.fakes import answer, error

pytestmark = [pytest.mark.browser, pytest.mark.timeout(600), needs_chromium]


def begin(page, model, *pairs):
    """Ask questions and get answers, in a conversation that has the name of the first."""
    page.click("text=New chat")
    for at, (question, text) in enumerate(pairs, 1):
        model.reply(answer(text))
        ask(page, question)
        wait_for_end(page, at)


def edit(page, number, text):
    """Edit a question by its number."""
    page.click(f".ipyllm-exchange:nth-child({number}) [title='Edit and ask again']")
    page.fill(".ipyllm-edit textarea", text)
    page.keyboard.press("Enter")


def versions(page):
    """What stands beside the questions that have several versions."""
    return page.locator(".ipyllm-branch:visible").all_inner_texts()


def sent(model):
    """The contents of the messages that the model got last."""
    return [message["content"] for message in last_call(model)["messages"]]


@pytest.mark.smoke
def test_a_conversation_goes_on_from_an_edited_question_and_the_other_version_stays(servers, model):
    with opened(servers) as page:
        begin(page, model, ("Zero", "0"), ("One", "1"), ("Two", "2"))
        model.reply(answer("uno"))
        edit(page, 2, "Uno")
        wait_for_end(page, 2)
        assert (questions(page), answers(page)) == (["Zero", "Uno"], ["0", "uno"])
        assert sent(model) == ["Zero", "0", "Uno"]
        assert versions(page) == ["2/2"]
        assert page.evaluate("document.activeElement.ariaLabel").startswith("Message.")
        page.click("[title='Earlier version']")
        page.wait_for_selector(".ipyllm-exchange:nth-child(3)")
        assert (questions(page), answers(page)) == (["Zero", "One", "Two"], ["0", "1", "2"])
        assert versions(page) == ["1/2"]
        page.wait_for_function("() => document.activeElement.title === 'Later version'")  # for the next press of a key
        page.reload()
        page.wait_for_selector(".ipyllm-exchange:nth-child(3)")
        page.click("[title='Later version']")
        page.wait_for_selector(".ipyllm-exchange:nth-child(2):last-child")
        assert questions(page) == ["Zero", "Uno"]
        ask(page, "Dos")
        wait_for_end(page, 3)
        assert sent(model) == ["Zero", "0", "Uno", "uno", "Dos"]


def test_escape_cancels_and_the_keyboard_reaches_everything(servers, model):
    with opened(servers) as page:
        begin(page, model, ("One", "1"), ("Two", "2"))
        page.keyboard.press("ArrowUp")  # in the empty composer, as in the widget
        assert page.input_value(".ipyllm-edit textarea") == "Two"
        assert page.evaluate("document.activeElement.ariaLabel") == "Edit the question"
        page.keyboard.type(" and more")
        page.keyboard.press("Escape")
        assert questions(page) == ["One", "Two"]
        assert page.evaluate("document.activeElement.ariaLabel").startswith("Message.")
        page.focus(".ipyllm-log")
        page.keyboard.press("Tab")  # to the buttons of the newest message, which are one stop
        assert page.evaluate("document.activeElement.title") == "Copy answer"
        page.keyboard.press("ArrowUp")
        assert page.evaluate("document.activeElement.title") == "Edit and ask again"
        page.keyboard.press("Enter")
        page.keyboard.press("Escape")
        assert page.evaluate("document.activeElement.title") == "Edit and ask again"
        page.keyboard.press("Enter")
        page.keyboard.press("Shift+Enter")
        page.keyboard.type("three")
        page.keyboard.press("Enter")
        wait_for_end(page, 2)
        assert questions(page) == ["One", "Two\nthree"]
        page.click(".ipyllm-exchange:nth-child(1) [title='Edit and ask again']")
        page.fill(".ipyllm-edit textarea", " ")
        page.click("text=Ask again")  # nothing is asked
        page.click("text=Cancel")
        assert questions(page) == ["One", "Two\nthree"]


def test_an_answer_is_given_again_and_a_stopped_one_too(servers, model):
    with opened(servers) as page:
        begin(page, model, ("Which?", "first"))
        model.reply(answer("second third", gap=100))
        page.click("[title='Answer again']")
        page.wait_for_selector(".ipyllm-running .ipyllm-text:has-text('second')")
        assert page.locator("[title='Edit and ask again']:visible").count() == 0
        page.keyboard.press("Escape")
        page.wait_for_selector(".ipyllm-error:has-text('The answer was stopped.')")
        assert (versions(page), questions(page)) == (["2/2"], ["Which?"])
        assert page.locator("[title='Answer again']:visible").count() == 0  # which "Try again" does
        page.click("text=Try again")
        page.wait_for_selector(".ipyllm-text:has-text('Hello from the fake.')")
        wait_for_end(page, 1)
        assert sent(model) == ["Which?"]
        assert versions(page) == ["3/3"]
        page.click("[title='Earlier version']")
        page.wait_for_selector(".ipyllm-error:has-text('The answer was stopped.')")
        assert answers(page) == ["second"]
        page.wait_for_function("() => document.activeElement.title === 'Earlier version'")  # of two buttons that one
        page.keyboard.press("Enter")
        page.wait_for_selector(".ipyllm-text:has-text('first')")
        assert versions(page) == ["1/3"]


def test_a_version_is_shown_where_the_other_stood(servers, model):
    with opened(servers, height=500) as page:
        begin(page, model, *((f"{text} " * 80, f"{text} " * 200) for text in ("First", "Second", "Third")))
        model.reply(answer("Shorter"))
        edit(page, 2, "An edit " * 60)
        wait_for_end(page, 2)

        def top():
            return page.locator(".ipyllm-exchange:nth-child(2)").bounding_box()["y"]

        page.locator("[title='Earlier version']").scroll_into_view_if_needed()
        before = top()
        page.click("[title='Earlier version']")
        page.wait_for_selector(".ipyllm-exchange:nth-child(3)")
        page.wait_for_function(
            """before => { const shown = document.querySelector(".ipyllm-exchange:nth-child(2)");
                return Math.abs(shown.getBoundingClientRect().top - before) < 2; }""",
            arg=before,
        )


def test_a_failed_question_is_shown_in_its_own_version_only(servers, model):
    with opened(servers) as page:
        begin(page, model, ("Has two versions", "1"))
        model.reply(answer("2"))
        edit(page, 1, "The second")
        wait_for_end(page, 1)
        model.reply(error(400, "No such luck."))
        ask(page, "Fails in the second")
        page.wait_for_selector(".ipyllm-error:has-text('No such luck.')")
        page.click("[title='Earlier version']")
        page.wait_for_selector(".ipyllm-branch:has-text('1/2')")
        assert questions(page) == ["Has two versions"]
        page.click("[title='Later version']")
        page.wait_for_selector(".ipyllm-branch:has-text('2/2')")
        assert questions(page) == ["The second", "Fails in the second"]


def test_an_edit_that_fails_leaves_the_conversation_and_can_be_tried_again(servers, model):
    with opened(servers) as page:
        begin(page, model, ("Fails first", "1"), ("Two", "2"))
        model.reply(error(400, "No such luck."))
        edit(page, 1, "Uno")
        for _ in range(2):
            page.wait_for_selector(".ipyllm-exchange:nth-child(3) .ipyllm-error:has-text('No such luck.')")
            assert questions(page) == ["Fails first", "Two", "Uno"]
            assert versions(page) == []
            note = page.inner_text(".ipyllm-exchange:nth-child(3) .ipyllm-reply")
            assert "This was an edit of “Fails first”, which stays as it was." in note
            page.reload()
        model.reply(answer("uno"))
        page.click("text=Try again")
        page.wait_for_selector(".ipyllm-text:has-text('uno')")
        wait_for_end(page, 1)
        assert (questions(page), versions(page)) == (["Uno"], ["2/2"])
        assert page.locator(".ipyllm-error:visible").count() == 0


def test_an_answer_that_is_not_given_again_stays_and_the_failure_says_so(servers, model):
    with opened(servers) as page:
        begin(page, model, ("Again and again", "1"))
        model.reply(error(400, "No such luck."))
        page.click("[title='Answer again']")
        page.wait_for_selector(".ipyllm-exchange:nth-child(2) .ipyllm-error:has-text('No such luck.')")
        assert "the earlier one stays." in page.inner_text(".ipyllm-exchange:nth-child(2)")
        assert questions(page) == ["Again and again", "Again and again"]


def test_what_comes_last_is_in_sight(servers, model):
    with opened(servers, width=420, height=800) as page:

        def in_sight(selector):
            page.wait_for_selector(selector)
            page.wait_for_function(
                """selector => { const log = document.querySelector(".ipyllm-log").getBoundingClientRect();
                    const { top, bottom } = document.querySelector(selector).getBoundingClientRect();
                    return top >= log.top && bottom <= log.bottom; }""",
                arg=selector,
            )

        begin(page, model, *((f"{text} " * 80, text) for text in ("First", "Second", "Third")))
        model.reply(error(400, "No such luck."))
        page.click(".ipyllm-exchange:nth-child(1) [title='Answer again']")
        in_sight(".ipyllm-exchange:nth-child(4) .ipyllm-error")
        model.reply(answer("one two", gap=100))
        ask(page, "Held")
        in_sight(".ipyllm-running .ipyllm-text p")
        for action in ("Edit and ask again", "Answer again"):
            assert page.locator(f"[title='{action}']:visible").count() > 0
            assert page.locator(f"[title='{action}']:visible:enabled").count() == 0
        for text in ("Waits", "Waits, too"):
            ask(page, text)
        page.wait_for_selector(".ipyllm-queued li:nth-child(2)")
        in_sight(".ipyllm-running .ipyllm-text p")
        page.keyboard.press("Escape")
        page.click("text=New chat")
        page.click(".ipyllm-fold")
        page.click(".ipyllm-conversation")
        in_sight(".ipyllm-exchange:last-child .ipyllm-foot")


def test_a_failed_question_is_edited_where_it_stands(servers, model):
    with opened(servers) as page:
        begin(page, model, ("Before it", "1"))
        model.reply(error(400, "No such luck."))
        ask(page, "Wrong")
        page.wait_for_selector(".ipyllm-error:has-text('No such luck.')")
        edit(page, 2, "Right")
        page.wait_for_selector(".ipyllm-text:has-text('Hello from the fake.')")
        wait_for_end(page, 2)
        assert questions(page) == ["Before it", "Right"]
        page.reload()
        page.wait_for_selector(".ipyllm-exchange:nth-child(2)")
        assert questions(page) == ["Before it", "Right"]


def test_an_edit_that_streams_goes_on_over_a_reload_and_while_another_conversation_is_shown(servers, model):
    with opened(servers) as page:
        begin(page, model, ("To be edited", "1"), ("Two", "2"))
        model.reply(answer("one two", gap=100))
        edit(page, 1, "Edited")
        page.wait_for_selector(".ipyllm-running .ipyllm-text:has-text('one')")
        page.reload()
        page.wait_for_selector(".ipyllm-running .ipyllm-text:has-text('one')")
        assert questions(page) == ["Edited"]
        page.click("text=New chat")
        page.click(".ipyllm-conversation b:text-is('To be edited')")
        page.wait_for_selector(".ipyllm-running .ipyllm-text:has-text('one')")
        assert questions(page) == ["Edited"]
        model.skip_pauses()
        wait_for_end(page, 1)
        assert (answers(page), versions(page)) == (["one two"], ["2/2"])


def test_a_version_that_is_gone_is_told_and_nothing_is_lost(servers, model):
    _, server, _ = servers
    with opened(servers) as page:
        begin(page, model, ("Shown in two tabs", "1"))
        path = "/ipyllm/api/conversations/Shown%20in%20two%20tabs"
        (shown,) = server.get(path).json["answers"]
        server.chat("Edited elsewhere", conversation="Shown in two tabs", replaces=shown["call_id"])
        edit(page, 1, "Edited here")
        page.wait_for_selector(".ipyllm-exchange:nth-child(2) .ipyllm-error:has-text('not among those that are shown')")
        assert questions(page) == ["Edited elsewhere", "Edited here"]
        page.click(
            ".ipyllm-exchange:nth-child(2) >> text=Try again"
        )  # after it: there is nothing that it could replace
        page.wait_for_selector(".ipyllm-exchange:nth-child(2) .ipyllm-text:has-text('Hello from the fake.')")
        wait_for_end(page, 2)
        assert (questions(page), sent(model)[-1]) == (["Edited elsewhere", "Edited here"], "Edited here")
        with server.request("DELETE", path) as response:
            response.read()
        page.click("[title='Earlier version']")
        page.wait_for_selector(".ipyllm-notice:has-text('not among those of the answers that are shown')")


@needs_axe
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [420, 1200])
def test_editing_is_accessible_and_fits(servers, model, width, scheme):
    with opened(servers, width=width, height=800, scheme=scheme) as page:
        begin(page, model, ("A question", "1"), ("Another", "2"))
        page.click(".ipyllm-exchange:nth-child(2) [title='Answer again']")
        page.wait_for_selector(".ipyllm-branch:visible")
        page.click(".ipyllm-exchange:nth-child(1) [title='Edit and ask again']")
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        for selector in (".ipyllm-edit", ".ipyllm-edit .ipyllm-primary", ".ipyllm-branch:visible"):
            box = page.locator(selector).bounding_box()
            assert box["x"] >= 0
            assert box["x"] + box["width"] <= width
        assert violations(page, "body") == []
        page.wrong.clear()  # axe itself is evaluated, which the policy tells


@pytest.mark.parametrize("loses", ["page", "session"])
def test_an_edit_that_is_lost_before_its_answer_can_be_tried_again_and_replaces_nothing(servers, model, loses):
    with opened(servers) as page:
        page.add_init_script("""window.WebSocket = class extends WebSocket {
            constructor(url) {
                super(window.isGone ? url.replace(/session=[^&]*/, "session=gone") : url);
                window.sockets = [...(window.sockets ?? []), this];
            }
        };""")
        page.reload()
        begin(page, model, (f"Loses its {loses}", "1"), ("Two", "2"))
        model.reply(answer("uno", ttft=100))
        n_before = len(model.requests)
        edit(page, 1, "Uno")
        model.wait_for(lambda: any(request.json for request in model.requests[n_before:]))
        if loses == "page":
            page.evaluate("""() => { const kept = JSON.parse(sessionStorage.getItem("ipyllm-chat"));
                sessionStorage.setItem("ipyllm-chat", JSON.stringify({...kept, session: "gone"})); }""")
            page.reload()
        else:
            page.evaluate("() => { window.isGone = true; sockets.at(-1).close(4000); }")
        page.wait_for_selector(".ipyllm-exchange:nth-child(3) .ipyllm-error:has-text('The connection was lost before')")
        assert questions(page) == [f"Loses its {loses}", "Two", "Uno"]
        assert "stays as it was" in page.inner_text(".ipyllm-exchange:nth-child(3)")
        page.wait_for_selector("[title='Send']")
