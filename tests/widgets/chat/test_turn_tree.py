"""The tree of branches under any sequence of changes by people and magics."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ipyllm.conversations.history import Turn
from ipyllm_widgets.chat.turn_tree import TurnTree

KEYS = st.sampled_from([None, "a", "b", "c", "d"])
TURNS = st.builds(
    lambda key, text: Turn([{"role": "user", "content": text}, {"role": "assistant", "content": "x"}], key),
    KEYS,
    st.sampled_from(["one", "two"]),
)
# A conversation has each key once.
CONVERSATIONS = st.lists(TURNS, max_size=6).map(
    lambda turns: [
        turn for n, turn in enumerate(turns) if turn.key is None or turn.key not in {t.key for t in turns[:n]}
    ]
)


def is_a_tree(tree):
    seen, todo = set(), [tree.root]
    while todo:
        node = todo.pop()
        assert id(node) not in seen
        seen.add(id(node))
        assert node.shown_child is None or node.shown_child in node.children
        for child in node.children:
            assert child.parent is node
            todo.append(child)
    assert {id(node) for node in tree} == seen - {id(tree.root)}


@given(st.lists(CONVERSATIONS, min_size=1, max_size=6))
def test_whatever_becomes_of_the_conversation_its_path_is_shown_and_the_tree_stays_one(conversations):
    tree = TurnTree()
    for turns in conversations:
        path = tree.path_of(turns)
        assert [node.turn.messages for node in path] == [turn.messages for turn in turns]
        assert [node.parent for node in path] == [tree.root, *path][: len(path)]
        is_a_tree(tree)
        assert tree.path_of(turns) == path, "the same conversation is the same path"


@given(CONVERSATIONS, CONVERSATIONS, st.data())
def test_removing_a_turn_keeps_what_followed_it_and_selecting_leads_back(first, second, data):
    tree = TurnTree()
    tree.path_of(first)
    path = tree.path_of(second)
    if path:
        node = data.draw(st.sampled_from(path))
        below = path[path.index(node) + 1 :]
        tree.remove(node)
        is_a_tree(tree)
        assert all(n in list(tree) for n in below)
    for node in tree:
        way = tree.path_through(node)
        assert node in way
        assert way[0].parent is tree.root
        at, of = tree.position(node)
        assert 1 <= at <= of
