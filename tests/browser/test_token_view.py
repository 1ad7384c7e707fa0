"""The view of tokens in a browser: by keyboard, readable in both themes, accessible, drawn at once."""

import pytest

from ipyllm import ChatResponse, TokenView
from ipyllm.logprobs import read_logprobs
from ipyllm.rendering.token_view import tokens_html
from tests.browser.axe import needs_axe, violations
from tests.browser.contrast import shown_texts
from tests.browser.drawing import DRAW
from tests.browser.lab import chromium, needs_chromium

pytestmark = [pytest.mark.browser, needs_chromium, pytest.mark.timeout(120)]

PAGE = """<!doctype html>
<html lang=en style="color-scheme:light dark"><title>Tokens</title>
<body style="background:Canvas;color:CanvasText"><main>"""
MIDDLE = """n => {
    const text = document.createRange();
    text.selectNodeContents(document.querySelectorAll('.ipyllm-tokens > label')[n].lastChild);
    const box = text.getClientRects()[0];
    return [box.x + box.width / 2, box.y + box.height / 2];
}"""


def tokens(n):
    items = [
        {
            "token": f" word{i}",
            "logprob": -((i % 7) ** 1.5) / 3,
            "top_logprobs": [{"token": " the", "logprob": -1.0}] * 5,
        }
        for i in range(n)
    ]
    return read_logprobs(items)


@pytest.fixture(scope="module")
def browser():
    with chromium() as browser:
        yield browser


@pytest.fixture(params=["light", "dark"])
def page(browser, request):
    page = browser.new_page(color_scheme=request.param)
    found = tokens(40)
    response = ChatResponse(content="".join(token.text for token in found), model="lab/m", logprobs=found)
    page.set_content(PAGE + TokenView(response)._repr_html_() + "</main>")
    yield page
    page.close()


def panel(page):
    return page.evaluate(
        """() => {
            const token = document.querySelector('.ipyllm-token:has(:checked)');
            return token && getComputedStyle(token, '::after').display === 'block' ? token.title : null;
        }"""
    )


@pytest.mark.smoke
def test_the_keyboard_reaches_every_token_and_shows_its_alternatives(page):
    assert panel(page) is None
    page.keyboard.press("Tab")
    page.keyboard.press("Space")
    assert "word0 100 %" in panel(page)
    for _ in range(5):
        page.keyboard.press("ArrowRight")
    assert "word5" in panel(page)
    assert "instead of it: ␣the 37 %" in panel(page)
    page.mouse.click(*page.evaluate(MIDDLE, 3))
    assert "word3" in panel(page)


@needs_axe
def test_it_is_accessible_and_can_be_read(page):
    assert violations(page, "main") == []
    too_little = [text for text in shown_texts(page, "main") if text["contrast"] < text["least"]]
    assert too_little == []


def test_2000_tokens_are_drawn_about_as_quickly_as_2000_plain_spans(browser):
    html = tokens_html(tokens(2000))
    plain = "".join(f"<span>{token.text}</span>" for token in tokens(2000))
    page = browser.new_page()
    page.set_content(PAGE + "</main>")
    page.evaluate(DRAW, html)
    times = {
        name: min(page.evaluate(DRAW, text) for _ in range(7)) for name, text in [("ours", html), ("plain", plain)]
    }
    assert times["ours"] < max(200, 12 * times["plain"]), times
    page.close()
