"""Comparisons as the ledger keeps them: a document of one that was made, and the one that is read from it again."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from ipyllm.comparison.arms import Arm, canonical_json
from ipyllm.comparison.compared_answers import VoteCast
from ipyllm.comparison.comparison import LABEL_TAG, Comparison
from ipyllm.comparison.earlier_service import EarlierService
from ipyllm.conversations.transcript import Transcript, Turn, document_of, from_document
from ipyllm.errors import LLMError
from ipyllm.ledger.current import current_ledger
from ipyllm.ledger.ids import made_at
from ipyllm.ledger.query import Query
from ipyllm.pipeline.stored_responses import response_to, stored_responses
from ipyllm.request import ChatRequest, Provenance

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ipyllm.messages import Message
    from ipyllm.response import ChatResponse

__all__ = ["comparison_document", "read_comparisons"]

_OF_CALLS = frozenset({"call_id", "model", "params", "response", "tags"})


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
        "vote_details": comparison.latest_vote and comparison.latest_vote._asdict(),
        "withdrawn": comparison.withdrawn_vote and comparison.withdrawn_vote._asdict(),
        "arms": [
            {
                "label": arm.label,
                "model": arm.model,
                "variant": arm.variant,
                "params": dict(arm.params),
                "system": arm.system,
                "service": arm.service.identity(),
            }
            for arm in comparison.arms
        ],
        "answers": document_of(Transcript(turns=tuple(turns))),
    }


def read_comparisons(
    documents: Sequence[tuple[Mapping[str, Any], Sequence[Message]]], provenance: Provenance
) -> list[Comparison]:
    """Return comparisons of their documents and questions, with what the ledger knows of their calls.

    They have ended, can be voted on and made a table of. Of an arm they know neither the service, whose key the ledger
    must not have, nor what was sent before the question: to ask it again, :meth:`Comparison.ask_again` takes an arm
    that has both. Until then, its service is an :class:`~ipyllm.comparison.earlier_service.EarlierService`.

    Raises
    ------
    ValueError, TypeError, KeyError, AttributeError
        A document is damaged.
    """
    begun = [_with_begun_calls(document, from_document(document["answers"]).turns) for document, _ in documents]
    stored = stored_responses(turn for each in begun for turn in each.turns)
    return [
        _comparison(document, question, each, stored, provenance)
        for (document, question), each in zip(documents, begun, strict=True)
    ]


def _comparison(
    document: Mapping[str, Any],
    question: Sequence[Message],
    begun: _Begun,
    stored: Mapping[str, ChatResponse],
    provenance: Provenance,
) -> Comparison:
    arms = zip(document["arms"], begun.turns, strict=True)
    made = Comparison.from_answers(
        [_arm(known, turn.key or "", question, provenance) for known, turn in arms],
        [_response(turn, stored) for turn in begun.turns],
        id=_text(document["id"]),
        blind=bool(document["blind"]),
        revealed=not document["hidden"],
        latest_vote=_latest_vote(document),
    )
    if begun.is_earlier_answer and (withdrawn := _vote(document.get("withdrawn"))) is not None:
        with suppress(LLMError):  # its answer is no longer in the ledger as it was
            made.cast_again(withdrawn)
    return made


def _latest_vote(document: Mapping[str, Any]) -> VoteCast | None:
    if document["vote"] is None:
        return None
    # Versions before kept the outcome only.
    return _vote(document.get("vote_details")) or VoteCast(_text(document["vote"]), bool(document["blind"]), {})


def _vote(known: Any) -> VoteCast | None:
    return None if known is None else VoteCast(_text(known["outcome"]), bool(known["was_blind"]), dict(known["tags"]))


class _Begun(NamedTuple):
    """Answers of a comparison; of those that had not ended, the calls that the ledger has, if any.

    ``is_earlier_answer`` says that one was asked for again, and nothing came of it: it is the answer from before.
    """

    turns: list[Turn]
    is_earlier_answer: bool = False


def _with_begun_calls(document: Mapping[str, Any], turns: Sequence[Turn]) -> _Begun:
    begun = [turn.key for turn in turns if turn.status == "interrupted" and turn.call_id is None]
    asked_at = made_at(_text(document["id"]))
    if not begun or asked_at is None:
        return _Begun(list(turns))
    query = Query(since=asked_at, tags={"comparison": document["id"]}, only=_OF_CALLS)
    ids: dict[str, str] = {}  # by what tells the arms' calls apart; of one that was asked again, the last with a text
    newest: dict[str, str] = {}
    for row in current_ledger().read(query):
        call = dict(zip(query.columns, row, strict=True))
        label = (call["tags"] or {}).get(LABEL_TAG)
        key = canonical_json([call["model"], call["params"]]) if label is None else label
        newest[key] = call["call_id"]
        if call["response"] or key not in ids:
            ids[key] = call["call_id"]
    # Calls of versions before have no label, and are known by their arm unless two arms are alike.
    alike = [canonical_json([known["model"], known["params"]]) for known in document["arms"]]
    keys = [
        _text(known["label"]) if known["label"] in ids or alike.count(key) > 1 else key
        for known, key in zip(document["arms"], alike, strict=True)
    ]
    found = [
        replace(turn, call_id=ids.get(key)) if turn.key in begun else turn
        for turn, key in zip(turns, keys, strict=True)
    ]
    asked = [key for turn, key in zip(turns, keys, strict=True) if turn.key in begun and key in ids]
    return _Begun(found, any(ids[key] != newest[key] for key in asked))


def _response(turn: Turn, stored: Mapping[str, ChatResponse]) -> ChatResponse:
    """Return the response of an answer, with the text that models were sent of it."""
    response = response_to(turn, stored)
    if response.status == "running":  # nothing shows yet that its process has ended
        response = replace(response, status="interrupted")
    if not turn.messages:
        return response
    items = turn.messages[-1].get("output_items", {}).get("items", ())
    return replace(response, content=turn.messages[-1].get("content") or "", output_items=tuple(items))


def _arm(known: Mapping[str, Any], mark: str, question: Sequence[Message], provenance: Provenance) -> Arm:
    model, system = _text(known["model"]), known.get("system")
    messages = [*([] if system is None else [{"role": "system", "content": _text(system)}]), *question]
    request = ChatRequest(model, tuple(messages), params=dict(known["params"]), provenance=provenance)
    service = EarlierService(model, known.get("service"))
    return Arm(_text(known["label"]), mark, model, service, model, request, variant=_text(known["variant"]))


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError("a stored comparison has another value than text")  # noqa: TRY004 - one kind of error to catch
    return value
