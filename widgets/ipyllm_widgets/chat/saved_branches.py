"""What a chat has beyond its conversation, in the ledger: questions without an answer, and other branches.

:mod:`ipyllm.conversations.saved` keeps the conversation itself. Here is the tree of its turns, with the contents of
those that are not in it.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from ipyllm.conversations import saved
from ipyllm.conversations.transcript import Transcript, Turn, document_of, from_document, validate_message
from ipyllm.observability.logs import log_failure
from ipyllm.pipeline.stored_responses import response_to, stored_responses
from ipyllm.pipeline.stored_tool_calls import stored_tool_calls
from ipyllm_widgets.chat.turn_tree import TurnNode, TurnTree, question_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence
    from datetime import datetime


__all__ = [
    "add_branches",
    "branches_changed_at",
    "branches_document",
    "look_up_branches",
    "merged_branches",
    "save_branches",
    "unanswered_conversations",
]

_KIND: Final = "branches"
_FORMAT: Final = {"format": "ipyllm-branches", "version": 1}
_STOPPED: Final = "The kernel stopped before the answer."
_logger = logging.getLogger("ipyllm.widgets")


def look_up_branches(name: str) -> dict[str, Any] | None:
    """Return the branches of the conversation of this name, for :func:`add_branches`; None if none are known."""
    found = saved.look_up_document(_KIND, name)
    return found if isinstance(found, dict) and found.get("nodes") else None


def unanswered_conversations(limit: int) -> list[tuple[str, datetime, list[dict[str, Any]]]]:
    """Return name, time and questions of conversations without any answer, the one that changed last first."""
    found = []
    for name, changed_at, document in saved.saved_documents(_KIND, limit):
        try:
            if document.get("nodes") and not document["turns"]:
                found.append((name, changed_at, [validate_message(entry["question"]) for entry in document["nodes"]]))
        except (ValueError, TypeError, KeyError, AttributeError) as exc:
            log_failure(_logger, f"the branches of the conversation {name!r} are damaged", exc)
    return found


def branches_changed_at(name: str) -> datetime | None:
    """Return when the branches of a conversation changed last; None if the ledger does not know."""
    return saved.changed_at(name, _KIND)


def save_branches(name: str, document: dict[str, Any] | None, changed: datetime | None = None) -> None:
    """Save the branches of a conversation, which ``changed`` then, or now; None forgets them. Never raises."""
    saved.save_document(_KIND, name, document or _FORMAT, changed)


def branches_document(tree: TurnTree, tail: TurnNode | None, turns: Sequence[Turn]) -> dict[str, Any]:
    """Return the tree as JSON, with the contents of what is not in the conversation, which has these ``turns``.

    Turns are told apart by their keys; those without one are only in the conversation.
    """
    keys = [turn.key for turn in turns if turn.key is not None]
    in_conversation = set(keys)
    return {
        **_FORMAT,
        "turns": keys,
        "tail": tail.key if tail is not None else None,
        "other_tails": [],
        "nodes": [
            {
                "key": node.key,
                "parent": _parent_key(node),
                "shown": node.parent is not None and node.parent.shown_child is node,
                **({} if node.key in in_conversation else _contents(node)),
            }
            for node in _in_order(tree)
            if node.key is not None
        ],
    }


def _parent_key(node: TurnNode) -> str | None:
    parent = node.parent
    while parent is not None and parent.key is None:
        parent = parent.parent
    return None if parent is None else parent.key


def merged_branches(mine: dict[str, Any], others: dict[str, Any] | None, removed: Collection[str]) -> dict[str, Any]:
    """Return the branches of one chat with those that only others have, without what any of them has ``removed``.

    Both are documents of :func:`branches_document` on one conversation, the first the later one.
    """
    keys = {entry["key"] for entry in mine["nodes"]}
    followed = {entry["parent"] for entry in mine["nodes"] if entry["shown"]}
    nodes = [
        *mine["nodes"],
        *(
            {**entry, "shown": entry["shown"] and entry["parent"] not in followed}
            for entry in ([] if others is None else others["nodes"])
            if entry["key"] not in keys
        ),
    ]
    gone = frozenset(removed).difference(mine["turns"])
    parents = {entry["key"]: entry["parent"] for entry in nodes}

    def kept_parent(key: str | None) -> str | None:
        while key in gone:
            key = parents.get(key)
        return key

    # A question that one chat waits for is its tail, too: that of another is the tail again when it has its answer.
    known = [] if others is None else [others["tail"], *others.get("other_tails", [])]
    unanswered = parents.keys() - gone - set(mine["turns"])
    tails = [tail for tail in dict.fromkeys([mine["tail"], *known]) if tail in unanswered]
    return {
        **mine,
        "tail": tails[0] if tails else None,
        "other_tails": tails[1:],
        "nodes": [{**entry, "parent": kept_parent(entry["parent"])} for entry in nodes if entry["key"] not in gone],
    }


def _in_order(tree: TurnTree) -> Iterator[TurnNode]:
    """Yield all turns, each before those that follow it."""
    waiting = tree.root.children[::-1]
    while waiting:
        node = waiting.pop()
        yield node
        waiting += node.children[::-1]


def _contents(node: TurnNode) -> dict[str, Any]:
    """Return a turn that is not in the conversation: its question, and the answer or why there is none."""
    turn = node.turn
    if turn is None:
        turn = Turn((), node.key, node.requested_model, "interrupted")  # so it stands if its kernel dies now
        if node.response is not None:
            turn = Turn.answered((), node.key, node.response)
    return {
        "question": node.question,
        "note": node.note,
        "error": _STOPPED if node.response is None else node.response.error_message,
        "answer": document_of(Transcript(turns=(turn,))),
    }


def add_branches(tree: TurnTree, document: dict[str, Any] | None, turns: Sequence[Turn]) -> TurnNode | None:
    """Add to an empty tree what a document of :func:`branches_document` has, and return the tail, if there is one.

    ``turns`` are those of the conversation now. If none of those that it had then is left, it is another one, and
    nothing is added; nor is what is damaged.
    """
    if document is None:
        return None
    by_key = {turn.key: turn for turn in turns if turn.key is not None}
    try:
        if document["turns"] and by_key.keys().isdisjoint(document["turns"]):
            return None
        kept = [(entry, _kept_turn(entry)) for entry in document["nodes"]]
        known = [turn for _, turn in kept if turn is not None]
        stored, tool_calls = stored_responses(known), stored_tool_calls(known)
        nodes: dict[str | None, TurnNode] = {None: tree.root}
        shown: list[TurnNode] = []
        for entry, turn in kept:
            key, parent = entry["key"], nodes.get(entry["parent"], tree.root)
            if turn is None and key not in by_key:
                nodes[key] = parent  # it was deleted since, and what followed stays
                continue
            nodes[key] = node = _add(tree, parent, entry, by_key.get(key) or turn)
            if turn is not None and key not in by_key:
                error = entry["error"]
                response = response_to(turn, stored)
                node.response = replace(response, error_message=error if error is None else str(error))
                node.tool_calls = tool_calls.get(turn.call_id or "", ())
            if entry["shown"]:
                shown.append(node)
        for node in shown:
            if node.parent is not None:
                node.parent.shown_child = node
        tail = nodes.get(document["tail"])
    except (ValueError, TypeError, KeyError, AttributeError) as exc:
        log_failure(_logger, "the branches of a conversation are damaged", exc)
        tree.clear()
        return None
    return tail if tail is not None and tail is not tree.root and tail.turn is None else None


def _kept_turn(entry: dict[str, Any]) -> Turn | None:
    """Return the turn of an entry, without messages if it has no answer; None if the conversation has it."""
    if not isinstance(entry["key"], str) or not isinstance(entry["parent"], str | None):
        raise ValueError("the key of a turn is not text")  # noqa: TRY004 - one kind of error to catch
    if "question" not in entry:
        return None
    (turn,) = from_document(entry["answer"]).turns
    return turn


def _add(tree: TurnTree, parent: TurnNode, entry: dict[str, Any], turn: Turn | None) -> TurnNode:
    assert turn is not None
    question = validate_message(entry["question"]) if "question" in entry else question_of(turn)
    node = tree.add(parent, question, entry["key"])
    node.turn = turn if turn.messages else None
    node.requested_model = turn.model or ""
    node.note = str(entry.get("note", ""))
    return node
