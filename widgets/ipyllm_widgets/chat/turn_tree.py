"""Tree of all turns of a conversation, one path of which is shown.

The shared :class:`~ipyllm.conversations.history.ConversationHistory` holds the path; the tree remembers the other
branches. If a magic changes the conversation, the path changes, and no branch is lost.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING, Any

from ipyllm.messages import text_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ipyllm.conversations.history import Turn
    from ipyllm.conversations.shared_turns import RunningTurn
    from ipyllm.messages import Message
    from ipyllm.pipeline.stored_tool_calls import StoredToolCall
    from ipyllm.response import ChatResponse

__all__ = ["RemovedNode", "TurnNode", "TurnTree", "question_of"]


@dataclass(eq=False)
class TurnNode:
    """A question and its answer.

    Attributes
    ----------
    name : str
        Id in the browser.
    question : Message
        The user message.
    turn : Turn or None
        The turn in the history; None while it is running or if it has no answer.
    response : ChatResponse or None
        The response; of a call that this widget did not make, as the ledger has it. None if it is not known.
    requested_model : str
        Full name of the model that this widget asked.
    note : str
        Names the turns that were left out to fit the model's context window; empty for none.
    tool_calls : sequence of StoredToolCall or None
        The tool calls of an answer that this widget did not make; None if the ledger does not have them.
    elsewhere : RunningTurn or None
        Set while another chat of this kernel waits for its answer.
    parts : dict or None
        The answer as HTML; None if it is not rendered yet.
    shown_child : TurnNode or None
        The next turn of the branch that was last shown here.
    """

    name: str
    key: str | None
    question: Message
    parent: TurnNode | None = None
    turn: Turn | None = None
    response: ChatResponse | None = None
    requested_model: str = ""
    note: str = ""
    tool_calls: Sequence[StoredToolCall] | None = ()
    elsewhere: RunningTurn | None = None
    parts: dict[str, Any] | None = None
    children: list[TurnNode] = field(default_factory=list)
    shown_child: TurnNode | None = None

    @property
    def call_id(self) -> str | None:
        """Id of the call that answered, in the ledger; None if it is not known."""
        own = self.response.call_id if self.response is not None else ""
        return own or (self.turn.call_id if self.turn is not None else None)

    @property
    def answer(self) -> str:
        """Text of the answer in the history; empty for none."""
        if self.turn is None:
            return ""
        answers = (text_of(message) for message in self.turn.messages if message["role"] == "assistant")
        return "\n\n".join(text for text in answers if text)

    def ancestors(self) -> Iterator[TurnNode]:
        """Iterate from this node to the first turn."""
        node: TurnNode | None = self
        while node is not None and node.parent is not None:
            yield node
            node = node.parent


@dataclass(frozen=True)
class RemovedNode:
    """A turn that was removed, and where it was."""

    node: TurnNode
    parent: TurnNode
    index: int
    children: tuple[TurnNode, ...]


class TurnTree:
    """The turns under a root that holds no question.

    Parameters
    ----------
    numbers : iterator of int, optional
        Numbers of the turns' names; trees that one page shows share it.
    """

    def __init__(self, numbers: Iterator[int] | None = None) -> None:
        self.root = TurnNode("", None, {})
        self._count = count(1) if numbers is None else numbers
        self._by_key: dict[str, TurnNode] = {}
        self._by_name: dict[str, TurnNode] = {}

    def __iter__(self) -> Iterator[TurnNode]:
        return iter(tuple(self._by_name.values()))

    def get(self, name: str) -> TurnNode | None:
        """Return the turn of this name, or None."""
        return self._by_name.get(name)

    def add(self, parent: TurnNode, question: Message, key: str | None = None) -> TurnNode:
        """Add a question after ``parent``, as its last child."""
        node = TurnNode(f"t{next(self._count)}", key, question, parent)
        parent.children.append(node)
        parent.shown_child = node
        self._by_name[node.name] = node
        if key is not None:
            self._by_key[key] = node
        return node

    def remove(self, node: TurnNode) -> RemovedNode:
        """Remove a turn; its children become children of its parent."""
        parent = node.parent
        assert parent is not None
        index = parent.children.index(node)
        removed = RemovedNode(node, parent, index, tuple(node.children))
        parent.children[index : index + 1] = node.children
        for child in node.children:
            child.parent = parent
        if parent.shown_child is node:
            sibling = parent.children[min(index, len(parent.children) - 1)] if parent.children else None
            parent.shown_child = node.shown_child or sibling
        node.parent, node.children = None, []
        del self._by_name[node.name]
        if node.key is not None:
            del self._by_key[node.key]
        return removed

    def restore(self, removed: RemovedNode) -> bool:
        """Put a removed turn back before those that followed it, if they are still there; False if it cannot be."""
        node, parent = removed.node, removed.parent
        if parent is not self.root and self.get(parent.name) is not parent:
            return False
        if node.key is not None and node.key in self._by_key:  # a cell was run again
            return False
        node.children = [child for child in removed.children if child in parent.children]
        parent.children = [child for child in parent.children if child not in node.children]
        parent.children.insert(removed.index, node)
        node.parent = parent
        for child in node.children:
            child.parent = node
        if node.shown_child not in node.children:
            node.shown_child = node.children[0] if node.children else None
        parent.shown_child = node
        self._by_name[node.name] = node
        if node.key is not None:
            self._by_key[node.key] = node
        return True

    def path_of(self, turns: Sequence[Turn]) -> list[TurnNode]:
        """Return the nodes of the history's turns, with unanswered ones between them; add those that are missing."""
        parent, path = self.root, list[TurnNode]()
        seen: set[str] = set()
        keys = {turn.key for turn in turns}
        for turn in turns:
            node = self._find(parent, turn, seen)
            if node is None:
                node = self.add(parent, question_of(turn), turn.key)
            unanswered = self.unanswered_between(parent, node)
            if unanswered is None or any(other.key in keys for other in unanswered):
                self.move(node, parent)
            else:
                for other in unanswered:
                    parent.shown_child = parent = other
                path += unanswered
            if node.turn is not turn and (node.turn is None or node.turn.messages != turn.messages):
                # A cell was run again, or another widget has the answer.
                node.question, node.response, node.parts, node.note = question_of(turn), None, None, ""
                node.tool_calls, node.elsewhere = (), None
                node.turn = turn
            parent.shown_child = parent = node
            seen.add(node.name)
            path.append(node)
        return path

    def _find(self, parent: TurnNode, turn: Turn, seen: set[str]) -> TurnNode | None:
        if turn.key is not None:
            node = self._by_key.get(turn.key)
            return node if node is not None and node.name not in seen else None
        for child in parent.children:
            if child.turn is None and (found := self._find(child, turn, seen)) is not None:
                return found
            if child.key is None and child.turn is not None and child.turn.messages == turn.messages:
                return child
        return None

    def unanswered_between(self, ancestor: TurnNode, node: TurnNode) -> list[TurnNode] | None:
        """Return the turns between ``ancestor`` and ``node``, or None if an answered one is among them, or no path."""
        between: list[TurnNode] = []
        assert node.parent is not None
        while (node := node.parent) is not ancestor:
            if node.parent is None or node.turn is not None:
                return None
            between.insert(0, node)
        return between

    def move(self, node: TurnNode, parent: TurnNode) -> None:
        """Make a turn the last child of ``parent``."""
        assert node.parent is not None
        node.parent.children.remove(node)
        if node.parent.shown_child is node:
            node.parent.shown_child = None
        node.parent = parent
        parent.children.append(node)

    def path_through(self, node: TurnNode) -> list[TurnNode]:
        """Return the path through ``node`` to the end of the branch that was last shown there."""
        path = [*node.ancestors()][::-1]
        while path[-1].shown_child is not None:
            path.append(path[-1].shown_child)
        return path

    def position(self, node: TurnNode) -> tuple[int, int]:
        """Return the position among its siblings, from 1, and the number of siblings."""
        assert node.parent is not None
        return node.parent.children.index(node) + 1, len(node.parent.children)

    def clear(self) -> None:
        """Remove all turns; their names are not reused."""
        self.root = TurnNode("", None, {})
        self._by_key.clear()
        self._by_name.clear()


def question_of(turn: Turn) -> Message:
    """Return the question of a turn; an empty one if it has none."""
    first = turn.messages[0] if turn.messages else {}
    return first if first.get("role") == "user" else {"role": "user", "content": ""}
