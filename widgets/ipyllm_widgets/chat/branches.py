"""The branches of a conversation: the shown path, which may end with a question that has no answer.

The shared :class:`~ipyllm.conversations.history.ConversationHistory` holds the shown path; a
:class:`~ipyllm_widgets.chat.turn_tree.TurnTree` remembers the other branches. Showing a branch puts its turns into the
history.
"""

from __future__ import annotations

import secrets
from itertools import count
from typing import TYPE_CHECKING, Any

from ipyllm.conversations.history import Turn
from ipyllm.errors import LLMError, bad_request
from ipyllm_widgets.chat.saved_branches import add_branches, branches_document
from ipyllm_widgets.chat.turn_tree import RemovedNode, TurnNode, TurnTree
from ipyllm_widgets.question_queue import QuestionQueue

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from ipyllm.conversations.history import ConversationHistory
    from ipyllm.conversations.shared_turns import RunningTurn
    from ipyllm.messages import Message
    from ipyllm.pipeline.stored_tool_calls import StoredToolCall
    from ipyllm.response import ChatResponse

__all__ = ["Branches"]


class Branches:
    """The branches of one conversation, as one widget shows them.

    Callers that change the path hold the channel's lock. Answers are stored without it, on the service thread.

    Parameters
    ----------
    history : ConversationHistory
        The shared conversation.
    numbers : iterator of int, optional
        Numbers of the turns' names.
    kept : dict, optional
        What an earlier kernel or other chats know of it, as :func:`branches_document` returned it.
    running : mapping, optional
        The turns whose calls ran before ``kept`` was read, as the history had them.

    Attributes
    ----------
    queue : QuestionQueue
        Questions that wait until the running answer has ended.
    stored : dict of str to ChatResponse
        Responses of calls that others made, or an earlier kernel, by the id of the call.
    stored_tool_calls : dict of str to sequence of StoredToolCall or None
        Their tool calls; None if the ledger does not have them.
    path : list of TurnNode
        The shown turns, the oldest first.
    tree : TurnTree
        The turns of all branches.
    tail : TurnNode or None
        The last turn of the path if the history does not hold it, because it is running or has no answer. Turns without
        an answer stay on the path, and are not sent to the model.
    """

    def __init__(
        self,
        history: ConversationHistory,
        numbers: Iterator[int] | None = None,
        kept: dict[str, Any] | None = None,
        running: Mapping[str, RunningTurn] | None = None,
    ) -> None:
        self.queue = QuestionQueue()
        self.stored: dict[str, ChatResponse] = {}
        self.stored_tool_calls: dict[str, Sequence[StoredToolCall] | None] = {}
        self.path: list[TurnNode] = []
        self.tail: TurnNode | None = None
        self._history = history
        self._numbers = count(1) if numbers is None else numbers
        self.tree = TurnTree(self._numbers)
        self._removed: dict[str, RemovedNode] = {}
        self._cleared: tuple[TurnTree, list[TurnNode]] | None = None
        self._prefix = secrets.token_hex(4)  # of the keys of this widget's turns, unique among widgets
        self._count = 0
        self.tail = add_branches(self.tree, kept, history.turns)
        for node in self.tree:
            if node.turn is None and (found := (running or {}).get(node.key or "")) is not None:
                node.elsewhere, node.response = found, None
        self.refresh_path()
        self._known = {node.key for node in self.tree if node.key is not None}  # of all turns that were here

    def document(self) -> tuple[dict[str, Any], set[str]]:
        """Return the tree as JSON, and the keys of the turns that it no longer has."""
        self.refresh_path()
        turns = [node.turn for node in self.path if node.turn is not None]
        tree = self.tree if self.path else TurnTree()  # the conversation was deleted, if perhaps elsewhere
        keys = {node.key for node in tree if node.key is not None}
        self._known |= keys | {node.key for node in self.tree if node.key is not None}
        return branches_document(tree, self.tail, turns), self._known - keys

    def refresh_path(self) -> None:
        """Set the path to the turns of the history and the unanswered ones between them, followed by the tail."""
        path = self.tree.path_of(self._history.turns)
        if self.tail is not None and (self.tail in path or not self.contains(self.tail)):
            self.tail = None
        if self.tail is not None:
            end = path[-1] if path else self.tree.root
            before = self.tree.unanswered_between(end, self.tail)
            if before is None:  # a magic has added a turn
                before = [node for node in self.tail.ancestors() if node.turn is None][:0:-1]
                self.tree.move(before[0] if before else self.tail, end)
            path += [*before, self.tail]
        self.path = path
        for node in path:
            if node.elsewhere is not None and node.elsewhere.response is not None:
                node.response, node.elsewhere = node.elsewhere.response, None
            if node.response is None and node.turn is not None and node.turn.call_id in self.stored:
                node.response, node.parts = self.stored[node.turn.call_id], None
                node.tool_calls = self.stored_tool_calls.get(node.turn.call_id, ())

    def shown_turn(self, name: str) -> TurnNode:
        """Return the turn of this name.

        Raises
        ------
        LLMError
            The path does not contain it.
        """
        node = self.tree.get(name)
        if node is None or node not in self.path:
            raise LLMError("That message no longer exists.", category="not_found")
        return node

    def contains(self, node: TurnNode) -> bool:
        """Return whether a turn still exists."""
        return self.tree.get(node.name) is node

    def append(self, question: Message) -> TurnNode:
        """Add a question as the tail; :meth:`refresh_path` adds it to the path."""
        self._count += 1
        parent = self.path[-1] if self.path else self.tree.root
        self.tail = self.tree.add(parent, question, f"{self._prefix}-{self._count}")
        return self.tail

    def store(self, node: TurnNode, answer: Message, response: ChatResponse) -> None:
        """Put a question and its answer, the message of a response, into the history, unless it was deleted."""
        node.turn = turn = Turn.answered((node.question, answer), node.key, response)
        if self.contains(node):
            self._history.put_turn(turn)

    def show_before(self, node: TurnNode, *, replace: bool) -> None:
        """Show the path up to a turn, without it; ``replace`` also removes the turn if it has no answer."""
        before = self.path[: self.path.index(node)]
        if replace and node.turn is None:
            self.tree.remove(node)
        self._show(before)

    def show_branch(self, node: TurnNode, branch: int) -> None:
        """Show another branch at this turn, counted from 1."""
        assert node.parent is not None
        siblings = node.parent.children
        if not 1 <= branch <= len(siblings):
            raise bad_request(f"There is no branch {branch}; there are {len(siblings)}.")
        self._show(self.tree.path_through(siblings[branch - 1]))

    def remove(self, node: TurnNode) -> None:
        """Remove a question and its answer; later turns stay. In place of the last turn its other version is shown."""
        at = self.path.index(node)
        remaining = [*self.path[:at], *self.path[at + 1 :]]
        self._removed[node.name] = removed = self.tree.remove(node)
        versions = [other for other in removed.parent.children if other not in removed.children]
        if at == len(remaining) and versions:
            remaining = self.tree.path_through(versions[min(removed.index, len(versions) - 1)])
        self._show(remaining)

    def restore(self, name: str) -> None:
        """Show a removed question again, where it was.

        Raises
        ------
        LLMError
            It was not removed, or the turn before it no longer exists.
        """
        removed = self._removed.pop(name, None)
        if removed is None or not self.tree.restore(removed):
            raise LLMError("That message can no longer be brought back.", category="not_found")
        self._show(self.tree.path_through(removed.node))

    def clear(self) -> None:
        """Remove all branches; the system prompt stays."""
        if self.path:
            self._cleared = self.tree, self.path
        self.tree = TurnTree(self._numbers)
        self._removed.clear()
        self.tail = None
        self._history.clear(keep_system=True)
        self.refresh_path()

    def restore_all(self) -> None:
        """Show the turns again that were removed by :meth:`clear`.

        Raises
        ------
        LLMError
            There are none, or there are turns since.
        """
        self.refresh_path()
        if self._cleared is None or self.path:
            raise LLMError("The conversation can no longer be brought back.", category="not_found")
        self.tree, path = self._cleared
        self._cleared = None
        self._show(path)

    def _show(self, path: Sequence[TurnNode]) -> None:
        self.tail = path[-1] if path and path[-1].turn is None else None
        self._history.replace_turns([node.turn for node in path if node.turn is not None])
        self.refresh_path()
