"""A conversation with its branches: every question and answer there ever was, of which one path is shown.

The path is what the shared :class:`~ipyllm.conversations.history.ConversationHistory` holds; the tree only remembers what stood
beside it. So a magic that changes the conversation changes the path, and loses no branch.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING, Any

from ipyllm.messages import text_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ipyllm.conversations.history import Turn
    from ipyllm.messages import Message
    from ipyllm.response import ChatResponse

__all__ = ["Node", "Tree"]


@dataclass(eq=False)
class Node:
    """A question and what came of it.

    Attributes
    ----------
    name : str
        What the browser calls it.
    question : Message
        As it was asked.
    turn : Turn or None
        As the history keeps it; None while it runs, and when nothing came that could be kept.
    response : ChatResponse or None
        How the call ended, if this widget made it.
    asked : str
        Whom this widget asked, in full.
    note : str
        What of the conversation the model did not get, because it would not have fitted; empty for nothing.
    parts : dict or None
        The answer as HTML; None where it must be rendered first.
    """

    name: str
    key: str | None
    question: Message
    parent: Node | None = None
    turn: Turn | None = None
    response: ChatResponse | None = None
    asked: str = ""
    note: str = ""
    parts: dict[str, Any] | None = None
    children: list[Node] = field(default_factory=list)
    chosen: Node | None = None

    @property
    def answer(self) -> str:
        """Text of the answer, as the history keeps it; empty for none."""
        if self.turn is None:
            return ""
        answers = (text_of(message) for message in self.turn.messages if message["role"] == "assistant")
        return "\n\n".join(text for text in answers if text)

    def up(self) -> Iterator[Node]:
        """Iterate from this node to the first question."""
        node: Node | None = self
        while node is not None and node.parent is not None:
            yield node
            node = node.parent


class Tree:
    """Nodes under a root that is no question."""

    def __init__(self) -> None:
        self.root = Node("", None, {})
        self._count = count(1)
        self._by_key: dict[str, Node] = {}
        self._by_name: dict[str, Node] = {}

    def __iter__(self) -> Iterator[Node]:
        return iter(tuple(self._by_name.values()))

    def get(self, name: str) -> Node | None:
        """Node of this name, or None."""
        return self._by_name.get(name)

    def add(self, parent: Node, question: Message, key: str | None = None) -> Node:
        """Add a question after ``parent``, beside those that stand there."""
        node = Node(f"t{next(self._count)}", key, question, parent)
        parent.children.append(node)
        parent.chosen = node
        self._by_name[node.name] = node
        if key is not None:
            self._by_key[key] = node
        return node

    def remove(self, node: Node) -> None:
        """Take a node out; what followed it follows its parent."""
        parent = node.parent
        assert parent is not None
        place = parent.children.index(node)
        parent.children[place : place + 1] = node.children
        for child in node.children:
            child.parent = parent
        if parent.chosen is node:
            beside = parent.children[min(place, len(parent.children) - 1)] if parent.children else None
            parent.chosen = node.chosen or beside
        node.parent, node.children = None, []
        del self._by_name[node.name]
        if node.key is not None:
            del self._by_key[node.key]

    def follow(self, turns: Sequence[Turn]) -> list[Node]:
        """Return the path of these turns, which are the history's; those it does not know are added."""
        at, path = self.root, list[Node]()
        met: set[str] = set()
        for turn in turns:
            node = self._find(at, turn, met)
            if node is None:
                node = self.add(at, _question(turn), turn.key)
            elif node.parent is not at:
                self._move(node, at)
            if node.turn is not turn and (node.turn is None or node.turn.messages != turn.messages):
                if node.turn is not None:  # a cell that was run again
                    node.question, node.response, node.parts, node.note = _question(turn), None, None, ""
                node.turn = turn
            at.chosen = at = node
            met.add(node.name)
            path.append(node)
        return path

    def _find(self, at: Node, turn: Turn, met: set[str]) -> Node | None:
        if turn.key is not None:
            node = self._by_key.get(turn.key)
            return node if node is not None and node.name not in met else None
        for child in at.children:
            if child.key is None and child.turn is not None and child.turn.messages == turn.messages:
                return child
        return None

    def _move(self, node: Node, parent: Node) -> None:
        assert node.parent is not None
        node.parent.children.remove(node)
        if node.parent.chosen is node:
            node.parent.chosen = None
        node.parent = parent
        parent.children.append(node)

    def through(self, node: Node) -> list[Node]:
        """Return the path through ``node``, and on to where it went when it was last shown."""
        path = [*node.up()][::-1]
        while path[-1].chosen is not None:
            path.append(path[-1].chosen)
        return path

    def branch(self, node: Node) -> tuple[int, int]:
        """Which of how many, from 1."""
        assert node.parent is not None
        return node.parent.children.index(node) + 1, len(node.parent.children)

    def clear(self) -> None:
        """Forget everything; names are not given again."""
        self.root = Node("", None, {})
        self._by_key.clear()
        self._by_name.clear()


def _question(turn: Turn) -> Message:
    first = turn.messages[0] if turn.messages else {}
    return first if first.get("role") == "user" else {"role": "user", "content": ""}
