"""The page of the chat server in a browser: opened for a user, asked, and read."""

from __future__ import annotations

from contextlib import contextmanager

from tests.fakes import answer
from tests.server.classroom import TOKENS


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
    page.wait_for_function("() => document.querySelector('select option:not([value])') && !location.search")
    try:
        yield page
        assert wrong == []
        assert all(url.startswith((server.url, "data:")) for url in asked), asked
    finally:
        context.close()


def ask(page, text):
    """Send a question."""
    page.fill("textarea", text)
    page.keyboard.press("Enter")


def ask_and_hold(page, model, text):
    """Send a question whose answer waits after its first word, which is shown."""
    model.reply(answer("one two", gap=100))
    ask(page, text)
    page.wait_for_selector(".ipyllm-running .ipyllm-text p")


def begin_chat(page, model, question, text):
    """Begin a conversation, which gets the name of its question."""
    model.reply(answer(text))
    page.click("text=New chat")
    ask(page, question)
    wait_for_end(page)
    page.wait_for_selector(f".ipyllm-conversation[aria-current] b:text-is('{question}')")


def wait_for_end(page, number=None):
    """Wait for the end of an answer: the last, or by its number."""
    place = ":last-child" if number is None else f":nth-child({number})"
    page.wait_for_selector(f".ipyllm-exchange{place}:not(.ipyllm-running)")


def questions(page):
    """The questions that are shown."""
    return page.locator(".ipyllm-bubble").all_inner_texts()


def answers(page):
    """The texts of the answers that are shown."""
    return page.locator(".ipyllm-exchange .ipyllm-text").all_inner_texts()


def last_call(model):
    """What the model server was asked last."""
    return [request for request in model.requests if request.json][-1].json
