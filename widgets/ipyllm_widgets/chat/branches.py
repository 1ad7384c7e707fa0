"""Which branch of a conversation is shown: the turns that its history holds, and behind them one that it does not.

The shared :class:`~ipyllm.conversations.history.ConversationHistory` says what is on the path; a :class:`~ipyllm_widgets.chat.tree.Tree`
remembers what stood beside it. To show another branch is to put its turns into the history.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from ipyllm.conversations.history import Turn
from ipyllm.errors import LLMError
from ipyllm_widgets.chat.tree import Node, Tree

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ipyllm.conversations.history import ConversationHistory
    from ipyllm.messages import Message

__all__ = ["Branches"]


class Branches:
    """The branches of one conversation, as one widget shows them.

    Whoever changes the path holds the outbox's lock; an answer is kept without it, on the thread that it comes on.

    Parameters
    ----------
    history : ConversationHistory
        What is shared.

    Attributes
    ----------
    path : list of Node
        What is shown, the oldest first.
    tail : Node or None
        The last question of the path, while it runs or when it came to nothing: it is not in the history.
    """

    def __init__(self, history: ConversationHistory) -> None:
        self.path: list[Node] = []
        self.tail: Node | None = None
        self._history = history
        self._tree = Tree()
        self._prefix = secrets.token_hex(4)  # keys of this widget's turns differ from those of any other
        self._count = 0

    def follow(self) -> None:
        """Make the path what the history holds, and behind it what is not in there."""
        path = self._tree.follow(self._history.turns)
        if self.tail in path:
            self.tail = None
        if self.tail is not None and self.holds(self.tail):
            path.append(self.tail)
        self.path = path

    def shown(self, name: str) -> Node:
        """Return the question of this name.

        Raises
        ------
        LLMError
            It is not on the path any more.
        """
        node = self._tree.get(name)
        if node is None or node not in self.path:
            raise LLMError("That message is not there any more.", category="not_found")
        return node

    def get(self, name: str) -> Node | None:
        """Return the question of this name, on whichever branch; None if it is gone."""
        return self._tree.get(name)

    def holds(self, node: Node) -> bool:
        """Whether a question is still there."""
        return self._tree.get(node.name) is node

    def place(self, node: Node) -> tuple[int, int]:
        """Which of how many branches that begin where this question stands, from 1."""
        return self._tree.branch(node)

    def append(self, question: Message) -> Node:
        """Add a question behind the path: the tail, once it is followed."""
        self._count += 1
        parent = self.path[-1] if self.path else self._tree.root
        self.tail = self._tree.add(parent, question, f"{self._prefix}-{self._count}")
        return self.tail

    def keep(self, node: Node, answer: Message, *, model: str, status: str) -> None:
        """Put a question and what came of it into the history."""
        self._history.put_turn(Turn((node.question, answer), node.key, model, status))

    def go_before(self, node: Node, *, instead: bool) -> None:
        """Show what is before this question, for another to be asked beside it; or ``instead``, if it has no answer."""
        before = self.path[: self.path.index(node)]
        if instead and node.turn is None:
            self._tree.remove(node)
        self.tail = None
        self._show(before)

    def go_to(self, node: Node, branch: int) -> None:
        """Show another of the branches that begin where this question stands, the first being 1."""
        assert node.parent is not None
        beside = node.parent.children
        if not 1 <= branch <= len(beside):
            raise LLMError(f"There is no branch {branch}; there are {len(beside)}.", category="bad_request")
        path = self._tree.through(beside[branch - 1])
        self.tail = path[-1] if path[-1].turn is None else None
        self._show(path)

    def remove(self, node: Node) -> None:
        """Take a question and its answer out; what follows stays."""
        left = [other for other in self.path if other is not node]
        self._tree.remove(node)
        if self.tail is node:
            self.tail = None
        self._show(left)

    def clear(self) -> None:
        """Forget all branches; the system prompt stays."""
        self._tree.clear()
        self.tail = None
        self._history.clear(keep_system=True)
        self.follow()

    def _show(self, path: Iterable[Node]) -> None:
        self._history.replace_turns([node.turn for node in path if node.turn is not None])
        self.follow()
