"""Comparisons as the ledger keeps them: a document of one that was made, and the one that is read from it again."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

from ipyllm.comparison.arms import Arm
from ipyllm.comparison.comparison import Comparison
from ipyllm.conversations.transcript import Transcript, Turn, document_of, from_document
from ipyllm.errors import LLMError, bad_request
from ipyllm.pipeline.stored_responses import response_to, stored_responses
from ipyllm.registry.models import create_llm_service
from ipyllm.request import ChatRequest, Provenance
from ipyllm.runtime.interruptible import InterruptibleEvent

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from typing import Self

    from ipyllm.messages import Message
    from ipyllm.response import ChatResponse
    from ipyllm.services.base import BaseLLMService

__all__ = ["StoredComparison", "comparison_document", "read_comparisons"]


def comparison_document(comparison: Comparison) -> dict[str, Any]:
    """Return a comparison as JSON: its arms, the vote, and the answers so far."""
    turns = [
        Turn((), arm.mark, arm.model, "interrupted")  # so it stands if its kernel dies now
        if response is None
        else Turn.answered((response.as_message(),), arm.mark, response)
        for arm, response in zip(comparison.arms, comparison.responses, strict=True)
    ]
    return {
        "id": comparison.id,
        "blind": comparison.blind,
        "hidden": comparison.names_hidden,
        "vote": comparison.vote_cast,
        "arms": [
            {"label": arm.label, "model": arm.model, "variant": arm.variant, "params": dict(arm.params)}
            for arm in comparison.arms
        ],
        "answers": document_of(Transcript(turns=tuple(turns))),
    }


class StoredComparison(Comparison):
    """A comparison that has ended, as :func:`read_comparisons` reads it.

    It can be voted on and made a table of; its models cannot be asked again.
    """

    def __init__(
        self,
        document: Mapping[str, Any],
        question: Sequence[Message],
        turns: Iterable[Turn],
        stored: Mapping[str, ChatResponse],
        provenance: Provenance,
    ) -> None:
        self.id = _text(document["id"])
        self.blind, self._revealed = bool(document["blind"]), not document["hidden"]
        self.vote_cast = None if document["vote"] is None else _text(document["vote"])
        self._ended = [_response(turn, stored) for turn in turns]
        self.arms = tuple(
            _arm(known, turn.key or "", ChatRequest(_text(known["model"]), tuple(question), provenance=provenance))
            for known, turn in zip(document["arms"], turns, strict=True)
        )
        self._calls, self._n_running = [], 0
        self.done = InterruptibleEvent()
        self.done.set()

    @property
    def responses(self) -> list[ChatResponse | None]:
        """Responses in the order of the arms."""
        return [*self._ended]

    @property
    def errors(self) -> list[LLMError | None]:
        """Errors in the order of the arms; None for arms that succeeded."""
        return [
            None
            if response.error_message is None
            else LLMError(response.error_message, category=response.error_category or "unknown_error")
            for response in self._ended
        ]

    def start(self, *_: Any, **__: Any) -> Self:
        """Raise an error: it was started before."""
        raise RuntimeError("This comparison has already been started: create a new one.")

    def ask_again(self, *_: Any, **__: Any) -> None:
        """Raise an error: the service of the arm may be gone."""
        raise bad_request("These answers are from before the kernel was restarted: ask the question again.")

    def cancel_arm(self, index: int) -> None:
        """Do nothing: all arms have ended."""

    def _started_calls(self) -> list[Any]:
        return []


def read_comparisons(
    documents: Sequence[tuple[Mapping[str, Any], Sequence[Message]]], provenance: Provenance
) -> list[StoredComparison]:
    """Return comparisons of their documents and questions, with what the ledger knows of their calls.

    Raises
    ------
    ValueError, TypeError, KeyError, AttributeError
        A document is damaged.
    """
    turns = [from_document(document["answers"]).turns for document, _ in documents]
    stored = stored_responses(turn for each in turns for turn in each)
    return [
        StoredComparison(document, question, each, stored, provenance)
        for (document, question), each in zip(documents, turns, strict=True)
    ]


def _response(turn: Turn, stored: Mapping[str, ChatResponse]) -> ChatResponse:
    """Return the response of an answer, with the text that models were sent of it."""
    message = turn.messages[-1] if turn.messages else {}
    items = message.get("output_items", {}).get("items", ())
    return replace(response_to(turn, stored), content=message.get("content") or "", output_items=tuple(items))


def _arm(known: Mapping[str, Any], mark: str, request: ChatRequest) -> Arm:
    service: BaseLLMService | None = None
    with suppress(LLMError):  # the endpoint may be gone, or was a service with a key of its own
        service = create_llm_service(request.model)
    return Arm(
        _text(known["label"]),
        mark,
        request.model,
        cast("BaseLLMService", service),
        request.model,
        replace(request, params=dict(known["params"])),
        variant=_text(known["variant"]),
    )


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError("a stored comparison has another value than text")  # noqa: TRY004 - one kind of error to catch
    return value
