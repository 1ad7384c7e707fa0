"""The tokens of an answer, each shaded by its probability, with the likeliest alternatives: HTML without a script.

The tokens are radio buttons that look like text: the tab key reaches them as one, arrow keys go from token to token,
and a saved notebook shows alternatives without a kernel. The alternatives are titles, because a viewer that removes
styles would show hidden text.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Final

from ipyllm.logprobs import perplexity
from ipyllm.rendering.footer import footer_html, footer_markdown, footer_text
from ipyllm.rendering.markdown_source import escape_markdown, fenced
from ipyllm.rendering.style import styled
from ipyllm.text.format import count
from ipyllm.text.terminal import strip_control_sequences

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ipyllm.logprobs import TokenChoice, TokenLogprob
    from ipyllm.response import ChatResponse

__all__ = ["TokenView", "percent", "token_label", "tokens_html", "tokens_markdown", "tokens_text"]

_CLASSES: Final = ((0.9, "likely"), (0.5, "fair"), (0.2, "doubtful"), (0.05, "unlikely"), (0.0, "rare"))
_UNKNOWN: Final = "unknown"
_LEGEND: Final = (
    ("likely", "90 % and more"),
    ("fair", "50 to 90 %"),
    ("doubtful", "20 to 50 %"),
    ("unlikely", "5 to 20 %"),
    ("rare", "below 5 %"),
)
_LISTED: Final = 5  # least likely tokens in plain text
_EDGES: Final = str.maketrans({" ": "␣", "\n": "⏎", "\t": "⇥", "\r": "␍"})


def percent(probability: float | None) -> str:
    """Return a probability in per cent, with as many digits as tell something.

    Examples
    --------
    >>> percent(0.7788), percent(0.0312), percent(0.0002), percent(None)
    ('78 %', '3.1 %', '0.02 %', 'unknown')
    """
    if probability is None:
        return _UNKNOWN
    value = 100 * probability
    if value >= 99.95:  # noqa: PLR2004
        return "100 %"
    return f"{value:.0f} %" if 10 <= value < 99 else f"{value:.2g} %" if value < 10 else f"{value:.1f} %"  # noqa: PLR2004


def token_label(text: str) -> str:
    r"""Return the text of a token with its white space made visible.

    Examples
    --------
    >>> token_label(" Paris"), token_label("\n\n")
    ('␣Paris', '⏎⏎')
    """
    return strip_control_sequences(text).translate(_EDGES) or "(empty)"


def tokens_html(tokens: Sequence[TokenLogprob]) -> str:
    """Return the tokens as HTML, without styles: see :func:`~ipyllm.rendering.style.styled`."""
    group = f"ipyllm-{secrets.token_hex(6)}"
    legend = "".join(f'<span class="ipyllm-token ipyllm-{name}">{words}</span> ' for name, words in _LEGEND)
    if any(token.logprob is None for token in tokens):
        legend += '<span class="ipyllm-token ipyllm-unknown">not told by the server</span> '
    return (
        '<fieldset class="ipyllm-tokens mathjax_ignore tex2jax_ignore"><legend class="ipyllm-footer">'
        f"Probability of each token: {legend}· click a token, or use tab and arrow keys, for its alternatives</legend>"
        f"{''.join(_token_html(token, group) for token in tokens)}</fieldset>"
    )


def _token_html(token: TokenLogprob, group: str) -> str:
    shown = escape(strip_control_sequences(token.text).replace("\r", "␍")).replace("\n", "⏎\n") or "∅"
    return (
        f'<label class="ipyllm-token ipyllm-{_class_of(token)}" title="{escape(_title(token))}">'
        f'<input type="radio" name="{group}">{shown}</label>'
    )


def _class_of(token: TokenChoice) -> str:
    probability = token.probability
    return _UNKNOWN if probability is None else next(name for least, name in _CLASSES if probability >= least)


def _title(token: TokenLogprob) -> str:
    others = [choice for choice in token.alternatives if choice.bytes != token.bytes]
    own = f"{token_label(token.text)} {percent(token.probability)}"
    if not others:
        return own
    return f"{own}; instead of it: " + ", ".join(
        f"{token_label(choice.text)} {percent(choice.probability)}" for choice in others
    )


def tokens_text(tokens: Sequence[TokenLogprob]) -> str:
    """Return the text of the tokens, and which were the least likely, as plain text."""
    return f"{_answer_of(tokens)}\n\n{_summary(tokens)}"


def tokens_markdown(tokens: Sequence[TokenLogprob]) -> str:
    """Return the text of the tokens, and which were the least likely, as markdown."""
    return f"{fenced(_answer_of(tokens))}\n\n{escape_markdown(_summary(tokens))}"


def _answer_of(tokens: Sequence[TokenLogprob]) -> str:
    return strip_control_sequences(b"".join(token.bytes for token in tokens).decode("utf-8", "backslashreplace"))


def _summary(tokens: Sequence[TokenLogprob]) -> str:
    known = sorted((token for token in tokens if token.logprob is not None), key=lambda token: token.logprob or 0.0)
    found = perplexity(known)
    if found is None:
        return f"{count(len(tokens), 'token')}, of unknown probability"
    least = ", ".join(f"{token_label(token.text)} {percent(token.probability)}" for token in known[:_LISTED])
    return f"{count(len(tokens), 'token')}, perplexity {found:.2f}; least likely: {least}"


@dataclass(frozen=True, slots=True)
class TokenView:
    """An answer as a notebook shows it by its tokens, each shaded by its probability.

    Parameters
    ----------
    response : ChatResponse
        Of a call with ``logprobs=N``.

    Examples
    --------
    >>> from ipyllm.logprobs import read_logprobs
    >>> from ipyllm.response import ChatResponse
    >>> tokens = read_logprobs([{"token": "Hi", "logprob": -0.5, "top_logprobs": []}])
    >>> TokenView(ChatResponse(content="Hi", model="local/smollm2-135m", logprobs=tokens))
    Hi
    <BLANKLINE>
    1 token, perplexity 1.65; least likely: Hi 61 %
    <BLANKLINE>
    local/smollm2-135m
    """

    response: ChatResponse

    def __post_init__(self) -> None:
        if not self.response.logprobs:
            raise ValueError("The response has no log probabilities: ask with logprobs=5.")

    def __repr__(self) -> str:
        return f"{tokens_text(self.response.logprobs)}\n\n{footer_text(self.response)}"

    def _repr_html_(self) -> str:
        return styled(tokens_html(self.response.logprobs) + footer_html(self.response))

    def _repr_markdown_(self) -> str:
        return f"{tokens_markdown(self.response.logprobs)}\n\n{footer_markdown(self.response)}"
