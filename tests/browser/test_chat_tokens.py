"""An answer of a chat by its tokens, in JupyterLab: by keyboard, accessible, in both themes."""

from __future__ import annotations

import pytest

from tests.browser.axe import needs_axe, violations
from tests.browser.chat import Chat, screenshot
from tests.browser.lab import needs_chromium
from tests.fakes import answer

pytestmark = [pytest.mark.browser, pytest.mark.thorough, needs_chromium, needs_axe, pytest.mark.timeout(300)]


def test_tokens_take_the_place_of_the_text_and_give_it_back(stage):
    lab, fake = stage
    fake.default = answer("One <b>two</b> three, and a few words more to be read.", chunks=12)
    name = f"tokens-{next(lab.conversation_numbers)}"
    lab.notebook.rewrite([f"from ipyllm import ChatWidget\nchat = ChatWidget(conversation={name!r}, logprobs=4)\nchat"])
    chat = Chat(lab.notebook.run(0))
    turn = chat.ask("Count")
    button = chat.button("Tokens", turn)
    assert button.get_attribute("aria-pressed") == "false"
    button.press("Enter")
    tokens = turn.locator(".ipyllm-tokens")
    tokens.wait_for()
    assert not turn.locator(".ipyllm-text").is_visible()
    assert "<b>two</b>" in tokens.text_content()
    tokens.locator("label input").first.focus()
    lab.page.keyboard.press("Space")
    lab.page.keyboard.press("ArrowRight")
    shown = tokens.locator("label:has(:checked)")
    assert "61 %" in shown.get_attribute("title")
    assert violations(lab.page, ".ipyllm-chat") == []
    screenshot(lab, "chat-tokens")
    button.click()
    assert not tokens.is_visible()
    assert turn.locator(".ipyllm-text").is_visible()
    assert button.get_attribute("aria-pressed") == "false"
