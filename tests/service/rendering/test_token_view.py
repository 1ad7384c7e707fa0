"""The view of tokens: each is shaded by its probability, hostile texts are texts, and it is quick."""

import re
from math import log
from time import process_time

import pytest

from ipyllm import ChatResponse, TokenView
from ipyllm.logprobs import TokenChoice, TokenLogprob
from ipyllm.rendering import styled
from ipyllm.rendering.token_view import tokens_html, tokens_text


def token(text, probability=0.5, others=()):
    data = text if isinstance(text, bytes) else text.encode()
    shown = data.decode("utf-8", "backslashreplace")
    choices = tuple(TokenChoice(other, other.encode(), log(p)) for other, p in others)
    return TokenLogprob(shown, data, None if probability is None else log(probability), choices)


@pytest.mark.parametrize(
    ("probability", "name"),
    [(1, "likely"), (0.91, "likely"), (0.5, "fair"), (0.21, "doubtful"), (0.06, "unlikely"), (1e-9, "rare"),
     (None, "unknown")],
)  # fmt: skip
def test_each_token_has_the_class_of_its_probability(probability, name):
    assert f'<label class="ipyllm-token ipyllm-{name}"' in tokens_html([token("Hi", probability)])


def test_a_token_names_its_alternatives_but_not_itself_twice():
    html = tokens_html([token(" Paris", 0.7, [(" Paris", 0.7), (" the", 0.1), ("\n", 0.002)])])
    assert 'title="␣Paris 70 %; instead of it: ␣the 10 %, ⏎ 0.2 %"' in html


def test_half_a_character_is_shown_by_its_bytes():
    tokens = [token(b"\xf0\x9f", None), token(b"\xa5\xa6", 0.9)]
    assert re.findall(r'">([^<]*)</label>', tokens_html(tokens)) == [r"\xf0\x9f", r"\xa5\xa6"]
    assert tokens_text(tokens).startswith("🥦\n")


@pytest.mark.parametrize(
    "text", ["<script>x</script>", '"><img src=x onerror=x>', "</label><b>", "\x1b[2J", "$x$", "&lt;"]
)
def test_hostile_tokens_are_texts(text):
    html = tokens_html([token(text, 0.5, [(text, 0.5), ("'\" onclick=x <i>", 0.1)])])
    assert not re.search(r"<(?!/?(fieldset|legend|label|span|input)\b)", html)
    assert set(re.findall(r"\s([a-z-]+)=", re.sub(r'"[^"]*"|>[^<]*<', '""', html))) <= {
        "class",
        "title",
        "type",
        "name",
    }
    assert "\x1b" not in html


def test_two_views_do_not_share_their_choice():
    names = {re.search(r'name="([^"]+)"', tokens_html([token("Hi")]))[1] for _ in range(2)}
    assert len(names) == 2


def test_a_response_without_probabilities_says_how_to_get_them():
    with pytest.raises(ValueError, match="ask with logprobs=5"):
        TokenView(ChatResponse(content="Hi"))


def test_a_view_has_its_styles_and_no_script():
    bundle = TokenView(ChatResponse(content="Hi", model="lab/m", logprobs=(token("Hi"),)))
    html = bundle._repr_html_()
    assert ".ipyllm-fair{" in html
    assert "<script" not in html
    assert "lab/m" in html
    assert "least likely: Hi 50 %" in bundle._repr_markdown_()


def test_2000_tokens_are_html_in_200_ms_of_processor_time():
    tokens = [token(f" w{i}", (i % 99 + 1) / 100, [(f" a{j}", 0.1) for j in range(5)]) for i in range(2000)]
    times = []
    for _ in range(5):
        before = process_time()
        styled(tokens_html(tokens))
        times.append(process_time() - before)
    assert min(times) < 0.2
