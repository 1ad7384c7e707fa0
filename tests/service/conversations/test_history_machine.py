"""A conversation under any sequence of changes: nothing is lost, no turn is split, forks are independent."""

from __future__ import annotations

import copy
import tempfile
from pathlib import Path

from hypothesis import assume, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, rule

from ipyllm.conversations.history import ConversationHistory, Turn
from ipyllm.conversations.tokens import estimate_messages
from tests.service.conversations.samples import (
    ANSWER,
    BROKEN_TEXT,
    QUESTION,
    SYSTEM,
    TURN,
    calls_and_results,
    flatten,
    history_of,
    tool_round,
)
from tests.service.conversations.test_history_file import holds_no_key


class Conversations(RuleBasedStateMachine):
    """Each history against a list of (key, messages); forks must not know of each other."""

    histories = Bundle("histories")

    def __init__(self):
        super().__init__()
        self.pairs = []
        self.ids = 0
        self.folder = tempfile.TemporaryDirectory()

    def teardown(self):
        self.folder.cleanup()

    def _pair(self, history, turns):
        self.pairs.append((history, turns))
        return history, turns

    @rule(target=histories, system=SYSTEM)
    def new(self, system):
        return self._pair(history_of(system, []), [])

    @rule(pair=histories, question=QUESTION)
    def ask(self, pair, question):
        history, turns = pair
        history.extend([question])
        turns.append((None, [question]))

    @rule(pair=histories, answer=ANSWER)
    def answer(self, pair, answer):
        history, turns = pair
        history.extend([answer])
        if turns:
            turns[-1][1].append(answer)
        else:
            turns.append((None, [answer]))

    @rule(pair=histories, result=BROKEN_TEXT, hurry=st.none() | QUESTION)
    def use_a_tool(self, pair, result, hurry):
        history, turns = pair
        self.ids += 1
        call, result = tool_round(f"call-{self.ids}", result=result)
        history.extend([call, *([hurry] if hurry else []), result])
        if not turns:
            turns.append((None, []))
        turns[-1][1].extend([call, result])
        if hurry:
            turns.append((None, [hurry]))

    @rule(pair=histories, key=st.none() | st.sampled_from("abc"), messages=TURN)
    def put(self, pair, key, messages):
        history, turns = pair
        history.put_turn(Turn(messages, key))
        for place, (other, _) in enumerate(turns):
            if key is not None and other == key:
                turns[place] = (key, list(messages))
                return
        turns.append((key, list(messages)))

    @rule(pair=histories, n=st.integers(0, 3))
    def undo(self, pair, n):
        history, turns = pair
        gone = turns[max(0, len(turns) - n) :]
        del turns[max(0, len(turns) - n) :]
        assert [(turn.key, list(turn.messages)) for turn in history.undo(n)] == gone

    @rule(pair=histories)
    def clear(self, pair):
        history, turns = pair
        history.clear(keep_system=True)
        turns.clear()

    @rule(target=histories, pair=histories)
    def fork(self, pair):
        history, turns = pair
        return self._pair(history.fork(), copy.deepcopy(turns))

    @rule(target=histories, pair=histories)
    def save_and_load(self, pair):
        history, turns = pair
        assume(holds_no_key(history))
        path = Path(self.folder.name) / "saved.json"
        history.save(path)
        return self._pair(ConversationHistory.load(path), copy.deepcopy(turns))

    @rule(pair=histories, limit=st.integers(0, 300), before=st.none() | st.sampled_from("abc"))
    def trim(self, pair, limit, before):
        history, turns = pair
        seen = []
        for key, messages in turns:
            if before is not None and key == before:
                break
            seen.append(messages)
        kept = [m for m in history.get_messages(before=before, max_tokens=limit) if m["role"] not in LEADING]
        assert kept in [flatten(seen[n:]) for n in range(len(seen) + 1)]
        assert not kept or estimate_messages(kept) <= limit
        calls, results = calls_and_results(kept)
        assert calls == results
        fitted = history.fit(limit + 10_000_000, before=before)
        assert [m for m in fitted.messages if m["role"] not in LEADING] == flatten(seen)

    @invariant()
    def each_holds_what_was_put_into_it(self):
        for history, turns in self.pairs:
            assert [(turn.key, list(turn.messages)) for turn in history.turns] == turns


LEADING = ("system", "developer")
TestConversations = Conversations.TestCase
TestConversations.settings = settings(deadline=None, max_examples=60, stateful_step_count=30)
