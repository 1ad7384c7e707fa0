"""The tokens of an answer, for the chat's view of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ipyllm.errors import bad_request
from ipyllm.rendering.token_view import tokens_html

if TYPE_CHECKING:
    from ipyllm.response import ChatResponse

__all__ = ["answer_tokens_html", "has_all_tokens"]


def has_all_tokens(response: ChatResponse) -> bool:
    """Return whether the response has the log probabilities of its whole text; a continued answer has those of its end.

    Examples
    --------
    >>> from ipyllm import ChatResponse
    >>> has_all_tokens(ChatResponse(content="Hi", model="lab/m"))
    False
    """
    if not response.logprobs:
        return False
    told = b"".join(token.bytes for token in response.logprobs).decode("utf-8", "replace")
    return told.strip() == response.content.strip()


def answer_tokens_html(response: ChatResponse | None) -> str:
    """Return the tokens of an answer as sanitised HTML; raise ``bad_request`` if they are not known."""
    if response is None or not has_all_tokens(response):
        raise bad_request("The tokens of this answer are not known: ask again with the parameter logprobs=5.")
    return tokens_html(response.logprobs)
