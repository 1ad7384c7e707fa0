"""Says about how many tokens a draft would send, and what they cost, while it is typed; on a thread of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from ipyllm.conversations.likely_tokens import likely_message_tokens
from ipyllm.errors import LLMError
from ipyllm.settings import SettingsError
from ipyllm.text.format import count, money
from ipyllm_widgets.render_thread import RenderThread

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from ipyllm.messages import Message
    from ipyllm.services.base import BaseLLMService
    from ipyllm.settings_models import Price

__all__ = ["Draft", "DraftEstimator", "NextCall", "estimate_sentence"]

_BYTES_PER_TOKEN = 4  # of a file, which is not read for this
_MOST_COUNTED = 10**9  # bytes or images


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


class NextCall(NamedTuple):
    """One of the calls that the draft would be sent by: a chat makes one, a comparison several.

    Attributes
    ----------
    service : BaseLLMService
        Whom it asks.
    system : str
        The system prompt, or "".
    before : sequence
        The messages of each turn before, the oldest first; the same objects as long as the turns are the same.
    """

    service: BaseLLMService
    system: str
    before: Sequence[Sequence[Message]]


class DraftEstimator:
    """Estimates the newest draft; while one is estimated, others wait, and only the last of them counts.

    Parameters
    ----------
    next_calls : callable
        Returns the calls that would be made.
    tell : callable
        Receives the page and the sentence.
    on_error : callable
        Receives an exception that is a bug of ours.
    """

    def __init__(
        self,
        next_calls: Callable[[], Sequence[NextCall]],
        tell: Callable[[str, str], None],
        on_error: Callable[[Exception], None],
    ) -> None:
        self._next_calls = next_calls
        self._tell = tell
        self._thread = RenderThread(self._estimate, on_error)
        self._draft = Draft()
        self._tokens: dict[int, tuple[Sequence[Message], int]] = {}  # of turns, by the id of their messages

    def ask(self, text: str, view: str, amounts: Mapping[str, int]) -> None:
        """Estimate a draft soon; ``amounts`` are the other fields of a :class:`Draft`. Returns at once."""
        bounded = {name: min(max(amount, 0), _MOST_COUNTED) for name, amount in amounts.items()}
        self._draft = Draft(text, view=view, **bounded)
        self._thread.wake()

    def _estimate(self) -> int:
        draft = self._draft
        try:
            sentence = "" if draft.is_empty else self._sentence(draft, self._next_calls())
        except (LLMError, SettingsError):  # no such model, a setting that is wrong: asking says so
            sentence = ""
        self._tell(draft.view, sentence)
        return len(sentence)

    def _sentence(self, draft: Draft, calls: Sequence[NextCall]) -> str:
        known = self._tokens
        turns = {id(turn): turn for call in calls for turn in call.before}
        self._tokens = {name: known.get(name) or (turn, likely_message_tokens(turn)) for name, turn in turns.items()}
        before = [[self._tokens[id(turn)][1] for turn in call.before] for call in calls]
        return estimate_sentence(draft, calls, before) if calls else ""


def estimate_sentence(draft: Draft, calls: Sequence[NextCall], before: Sequence[Sequence[int]] = ((),)) -> str:
    """Return about how many tokens would be sent, and what they cost.

    Parameters
    ----------
    draft : Draft
    calls : sequence of NextCall
        One or more.
    before : sequence of sequence of int
        Likely tokens of the turns before, for each call. The oldest of those that do not fit the model's window are not
        sent, and not counted.

    Examples
    --------
    >>> from ipyllm import create_llm_service
    >>> service = create_llm_service("openai/gpt-6-luna")
    >>> estimate_sentence(Draft("Why is the sky blue?"), [NextCall(service, "", [])], [[200, 300]])
    '~510 tokens to send · ~$0.000051 and the answer'
    """
    sent, typed = [], draft.tokens()
    for call, turns in zip(calls, before, strict=True):
        window = call.service.context_window()
        system = likely_message_tokens([{"role": "system", "content": call.system}]) if call.system else 0
        tokens = typed + system
        if window is not None and tokens > window:
            return f"~{tokens:,} tokens, more than the {window:,} that {call.service.full_name} can read"
        for turn in reversed(turns):
            if window is not None and tokens + turn > window:
                break
            tokens += turn
        sent.append(tokens)
    least, most = min(sent), max(sent)
    to_each = f" to each of {len(calls)} models" if len(calls) > 1 else " to send"
    uncounted = f", without {count(draft.uncounted, 'PDF file')}" if draft.uncounted else ""
    amount = f"~{least:,}" if least == most else f"~{least:,} to {most:,}"
    cost = _cost([call.service for call in calls], sent)
    return " · ".join(filter(None, (f"{amount} tokens{to_each}{uncounted}", cost)))


def _cost(services: Sequence[BaseLLMService], sent: Sequence[int]) -> str:
    """Return the cost of what is sent; empty if no price is known."""
    prices = [_price(service) for service in services]
    known = [(price, tokens) for price, tokens in zip(prices, sent, strict=True) if price is not None]
    if not known:
        return ""
    missing = f", {count(unknown, 'price')} unknown" if (unknown := len(prices) - len(known)) else ""
    if not any(price.input_usd_per_mtok or price.output_usd_per_mtok for price, _ in known):
        return f"free for {len(known)} of {len(prices)} models{missing}" if unknown else "free"
    total = sum(tokens * price.input_usd_per_mtok / 1e6 for price, tokens in known)
    return f"~{money(float(f'{total:.2g}'))} and the {'answers' if len(services) > 1 else 'answer'}{missing}"


def _price(service: BaseLLMService) -> Price | None:
    try:
        return service.price()
    except LLMError:  # a route that has not chosen, an address that is missing
        return None
