"""An answer of a chat by its tokens: offered where they are known, sent when they are asked for."""

from dataclasses import replace

from ipyllm import ChatResponse
from ipyllm.logprobs import read_logprobs
from ipyllm_widgets.chat.answer_tokens import has_all_tokens
from tests.fakes import answer


def asked_for_tokens(widget, turn):
    page = widget.comm
    ack = page.click("text", turn=turn["id"], part="tokens")
    return ack["error"], [message["text"] for message in page.custom if message["kind"] == "text"]


def test_an_answer_with_logprobs_offers_its_tokens_and_one_without_does_not(chat, models):
    models.default = answer("One <b>two</b> three.")
    widget = chat(logprobs=2)
    widget.send("Count").wait()
    (turn,) = widget.comm.wait_until_idle().turns
    assert turn["tokens"] is True
    error, (html,) = asked_for_tokens(widget, turn)
    assert error is None
    assert 'class="ipyllm-tokens' in html
    assert "61 %" in html
    assert "<b>" not in html

    plain = chat("plain")
    plain.send("Count").wait()
    (turn,) = plain.comm.wait_until_idle().turns
    assert turn["tokens"] is False
    error, html = asked_for_tokens(plain, turn)
    assert error == "The tokens of this answer are not known: ask again with the parameter logprobs=5."
    assert html == []


def test_a_continued_answer_of_which_only_the_end_has_tokens_offers_none():
    tokens = read_logprobs([{"token": " end", "logprob": -0.5}, {"token": ".", "logprob": -0.1}])
    response = ChatResponse(content="end.", model="lab/m", logprobs=tokens)
    assert has_all_tokens(response)
    assert not has_all_tokens(replace(response, content="The beginning and the end."))
