"""The settings of a chat in JupyterLab: parameters, the model and its effort."""

from __future__ import annotations

import pytest

from tests.browser.chat import opened, screenshot
from tests.browser.lab import needs_chromium

pytestmark = [pytest.mark.browser, needs_chromium, pytest.mark.timeout(300)]


def test_settings_reach_the_server_and_mistakes_are_said(lab, fake):
    _, chat = opened(lab, "chat.model = 'openai/other-model'", arguments="models=['openai/fake-model']")
    chat.button("Settings").click()
    chat.root.get_by_label("System prompt").fill("Be brief.")
    chat.root.get_by_label("Temperature").fill("0.5")
    chat.root.get_by_label("Max tokens").fill("7")
    chat.root.get_by_label("Other parameters").fill('{"stop": ["END"]}')
    chat.ask("Hello")
    sent = fake.requests[-1].json
    assert (sent["temperature"], sent["max_tokens"], sent["stop"]) == (0.5, 7, ["END"])
    assert sent["messages"][0]["content"] == "Be brief."
    chat.root.get_by_label("Temperature").fill("9")
    chat.root.get_by_label("Temperature").press("Tab")
    panel, temperature, other = (
        chat.root.locator(".ipyllm-settings"), chat.root.get_by_label("Temperature"),
        chat.root.get_by_label("Other parameters"),
    )  # fmt: skip
    panel.get_by_text("temperature must be").wait_for()
    assert temperature.input_value() == "9", "it stays, to be corrected"
    screenshot(lab, "chat-settings")
    temperature.fill("0.5")
    temperature.press("Tab")
    panel.get_by_text("temperature must be").wait_for(state="hidden")
    other.fill("stop=END")
    other.press("Tab")
    panel.get_by_text("must be a JSON object").wait_for()
    chat.root.get_by_label("Max tokens").fill("8")
    chat.root.get_by_label("Max tokens").press("Tab")
    assert other.input_value() == "stop=END"
    assert other.get_attribute("aria-invalid") == "true"
    other.press("Escape")
    panel.wait_for(state="hidden")
    assert chat.button("Settings").evaluate("e => e === document.activeElement")
    assert "temperature" in chat.button("Settings").get_attribute("title")
    chat.button("Settings").click()
    chat.root.get_by_label("Other parameters").fill("")
    chat.root.get_by_label("Temperature").fill("")
    chat.model.fill("opnai/fake-model")
    chat.model.press("Tab")
    chat.notice.get_by_text("did you mean 'openai/fake-model'").wait_for()
    chat.model.fill("openai/typed-by-hand")
    chat.ask("Again")
    assert fake.requests[-1].json["model"] == "typed-by-hand"
    assert "temperature" not in fake.requests[-1].json


def test_a_model_with_efforts_has_a_menu_of_them_and_others_have_none(lab, fake):
    _, chat = opened(lab, arguments="model='openai/gpt-6-luna'")
    chat.button("Settings").click()
    menu = chat.root.get_by_label("Effort")
    assert menu.locator("option").all_inner_texts() == ["default", "none", "low", "medium", "high", "xhigh", "max"]
    menu.select_option("low")
    chat.ask("Hello")
    assert fake.requests[-1].json["reasoning"] == {"effort": "low"}
    menu.select_option("default")
    chat.ask("Again")
    assert "reasoning" not in fake.requests[-1].json
    chat.model.fill("openai/fake-model")
    chat.model.press("Tab")
    menu.wait_for(state="hidden")
