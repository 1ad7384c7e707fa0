"""Says about how many tokens a draft would send, and what they cost, while it is typed; on a thread of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from ipyllm.conversations.likely_tokens import likely_message_tokens
from ipyllm.errors import LLMError
from ipyllm.text.format import count, money
from ipyllm_widgets.render_thread import RenderThread

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ipyllm.conversations.transcript import Turn
    from ipyllm.messages import Message
    from ipyllm.services.base import BaseLLMService

__all__ = ["Draft", "DraftEstimator", "estimate_sentence"]

_BYTES_PER_TOKEN = 4  # of a file, which is not read for this


class Draft(NamedTuple):
    """What is typed and not sent.

    Attributes
    ----------
    text : str
        The text.
    file_bytes : int
        Size of the files that are sent as text.
    images : int
        Number of images.
    uncounted : int
        Number of files whose text is not known before they are sent.
    view : str
        The page that shows it.
    """

    text: str = ""
    file_bytes: int = 0
    images: int = 0
    uncounted: int = 0
    view: str = ""

    @property
    def is_empty(self) -> bool:
        """Whether nothing would be sent."""
        return not (self.text.strip() or self.file_bytes or self.images or self.uncounted)

    def tokens(self) -> int:
        """Return the likely number of tokens."""
        text = likely_message_tokens([{"role": "user", "content": self.text}])
        image = likely_message_tokens([{"content": [{"type": "image_url"}]}]) - likely_message_tokens([{}])
        return text + self.images * image + self.file_bytes // _BYTES_PER_TOKEN


class DraftEstimator:
    """Estimates the newest draft; while one is estimated, others wait, and only the last of them counts.

    Parameters
    ----------
    conversation : callable
        Returns the service, the system message or None, and the turns.
    tell : callable
        Receives the page and the sentence.
    on_error : callable
        Receives an exception that is a bug of ours.
    """

    def __init__(
        self,
        conversation: Callable[[], tuple[BaseLLMService, Message | None, Sequence[Turn]]],
        tell: Callable[[str, str], None],
        on_error: Callable[[Exception], None],
    ) -> None:
        self._conversation = conversation
        self._tell = tell
        self._thread = RenderThread(self._estimate, on_error)
        self._draft = Draft()
        self._tokens: dict[int, tuple[Turn, int]] = {}  # of turns, by their id; they are immutable

    def ask(self, draft: Draft) -> None:
        """Estimate a draft soon. Returns at once."""
        self._draft = draft
        self._thread.wake()

    def _estimate(self) -> int:
        draft = self._draft
        try:
            service, system, turns = self._conversation()
            known = self._tokens
            self._tokens = {
                id(turn): known.get(id(turn)) or (turn, likely_message_tokens(turn.messages)) for turn in turns
            }
            before = [tokens for _, tokens in self._tokens.values()]
            first = likely_message_tokens([system]) if system is not None else 0
            sentence = "" if draft.is_empty else estimate_sentence(service, draft, before, first)
        except LLMError:  # there is no such model: the page says so where it is chosen
            sentence = ""
        self._tell(draft.view, sentence)
        return len(sentence)


def estimate_sentence(service: BaseLLMService, draft: Draft, before: Sequence[int] = (), system: int = 0) -> str:
    """Return about how many tokens would be sent, and what they cost.

    Parameters
    ----------
    before : sequence of int
        Likely tokens of the turns before, the oldest first. The oldest of those that do not fit the model's window are
        not sent, and not counted.
    system : int
        Likely tokens of the system prompt.

    Examples
    --------
    >>> from ipyllm import create_llm_service
    >>> estimate_sentence(create_llm_service("openai/gpt-6-luna"), Draft("Why is the sky blue?"), [200, 300])
    '~510 tokens to send · ~$0.000051 and the answer'
    """
    window = service.context_window()
    tokens = draft.tokens() + system
    if window is not None and tokens > window:
        return f"~{tokens:,} tokens, more than the {window:,} that {service.full_name} can read"
    for turn in reversed(before):
        if window is not None and tokens + turn > window:
            break
        tokens += turn
    uncounted = f", without {count(draft.uncounted, 'PDF file')}" if draft.uncounted else ""
    return " · ".join(filter(None, (f"~{tokens:,} tokens to send{uncounted}", _cost(service, tokens))))


def _cost(service: BaseLLMService, tokens: int) -> str:
    try:
        price = service.price()
    except LLMError:  # a route that has not chosen, an address that is missing
        return ""
    if price is None:
        return ""
    if not (price.input_usd_per_mtok or price.output_usd_per_mtok):
        return "free"
    return f"~{money(float(f'{tokens * price.input_usd_per_mtok / 1e6:.2g}'))} and the answer"
