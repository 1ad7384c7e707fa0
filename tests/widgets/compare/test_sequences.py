"""What people do to a comparison, in odd orders: no text, vote or row is lost, and each vote is on what was shown."""

from __future__ import annotations

import pytest

from ipyllm import CompareWidget, LLMError, usage, votes
from ipyllm.conversations import saved
from tests.fakes import answer, error_in_stream, server_error, stall, truncated
from tests.widgets.compare.comparing import eventually, rounds, text_of
from tests.widgets.page import PNG

HOSTILE = (
    "<script>alert(1)</script><img src=x onerror=alert(1)>\n\n```html\n</div><b onclick=x>A</b>\n```\n\n"
    "[x](javascript:alert(1))"
)
ANSWERS = {
    "good": "It is **Bern**.",
    "bad": "It is Basel.",
    "hostile": HOSTILE,
    "long": "A long line of words. \n\n" * 3_000,
    "blank": " \n",
}

pytestmark = pytest.mark.thorough

SEQUENCES = {
    "vote, undone, asked again": "ask vote:A vote:none regen:A vote:B vote:none",
    "vote, asked again, vote, restart": "ask vote:B regen:B vote:A restart vote:none restart vote:B",
    "restart between all steps": "ask restart vote:A restart regen:B restart vote:B restart ask restart vote:tie",
    "asked again twice from before": "ask restart regen:A restart regen:A regen:B restart vote:A",
    "follow-ups over restarts": "multi:on ask restart ask restart regen:A ask restart vote:B regen:B vote:A",
    "blind, restart, vote": "blind:on ask restart regen:A restart vote:A restart vote:both_bad",
    "blind follow-ups, open in between": "blind:on multi:on ask restart ask blind:off ask vote:A restart ask vote:B",
    "blind, models change": (
        "blind:on multi:on ask models:good,third restart ask models:third,bad,good ask restart vote:A"
    ),
    "one arm fails": "models:good,broken,bad ask vote:A restart regen:B vote:C restart",
    "all arms fail": "models:broken,broken2 ask restart regen:A restart ask clear undo",
    "an arm breaks off": "models:good,bad,cut,midway ask vote:A restart regen:C regen:D vote:B restart",
    "asked again in vain": "ask vote:A break regen:A mend restart vote:B break regen:B restart mend regen:B",
    "the same model twice": "twice ask vote:A restart regen:B vote:B restart twice multi:on ask restart regen:A",
    "eight arms": "models:good,bad,third,m4,m5,m6,m7,broken ask vote:G restart regen:H regen:B vote:C restart",
    "images": "image vote:A restart regen:B multi:on ask restart regen:A vote:A",
    "hostile markup": "models:hostile,good blind:on ask restart vote:A regen:A restart vote:A",
    "very long answers": "models:long,good ask restart vote:A restart regen:A vote:B restart",
    "empty and reasoning only": (
        "models:blank,thinks,empty,good blind:on multi:on ask restart ask vote:D regen:A restart"
    ),
    "stopped, asked again": "models:slow,good,bad begin stop restart regen:A stop restart vote:B",
    "one arm stopped": "models:slow,good,bad begin stop:A vote:B restart vote:C",
    "queued, stopped, sent": "models:slow,good begin queue queue stop models:good,bad next vote:A restart",
    "queued, then restarted": "models:slow,good begin queue restart models:good,bad ask vote:A restart",
    "queued, the cell again": "models:slow,good begin queue rerun stop models:good,bad next vote:A restart",
    "the cell again while it streams": "models:slow,good,bad begin rerun stop vote:B rerun regen:B vote:C restart",
    "the cell again, votes in both": "ask rerun vote:A back vote:B rerun regen:A restart vote:A",
    "cleared, undone, restarted": "ask vote:A clear undo restart vote:B clear restart ask vote:A",
    "cleared while it streams": (
        "models:slow,good begin clear undo restart regen:B clear undo models:good,bad ask vote:A"
    ),
    "interrupts": "interrupt ask vote:A interrupt:regen regen:A restart interrupt:regen vote:B restart",
    "killed while it streams": "models:slow,good,bad multi:on begin restart vote:B models:good,bad ask restart",
    "an earlier round voted on": "ask ask ask vote:A@1 restart vote:B@2 vote:tie@1 restart vote:none@2 regen:A vote:A",
}


class Person:
    """Does the steps, and remembers what was answered."""

    def __init__(self, two, restart, interrupt_next_call):
        self.two, self.restart, self.interrupt = two, restart, interrupt_next_call
        self.made = []
        self.models, self.each, self.broken = ["good", "bad"], [], False
        self.texts = {}
        two.on(self.reply)
        self.make()

    def reply(self, request):
        model = request.json["model"]
        if self.broken or model.startswith("broken"):
            return server_error()
        special = {
            "slow": stall("It", after=1),
            "cut": truncated("It is cut off", after=2),
            "midway": error_in_stream("It is midway", after=2),
            "thinks": answer("", reasoning="Bern or Basel?"),
            "empty": answer(""),
        }
        return special.get(model) or answer(ANSWERS.get(model, f"{model} says Zug."))

    def make(self):
        self.made.append(
            CompareWidget(models=[f"openai/{model}" for model in self.models], name="capitals", each=self.each)
        )

    @property
    def widget(self):
        return self.made[-1]

    def rest(self):
        eventually(lambda: not self.widget.running)

    def do(self, step):
        name, _, value = step.partition(":")
        getattr(self, f"do_{name}")(value)

    def do_ask(self, _):
        self.widget.ask("Which capital?").wait()
        self.rest()

    def do_image(self, _):
        self.widget.ask("What is it?", images=[PNG]).wait()
        self.rest()

    def do_begin(self, _):
        self.widget.ask("Which capital?")
        others = len(self.models) - 1
        eventually(lambda: [turn["status"] for turn in rounds(self.widget)[-1][1].values()].count("ok") == others)
        eventually(lambda: text_of(rounds(self.widget)[-1][1]["A"]))

    def do_queue(self, _):
        self.widget._controller.queue("And then?")

    def do_next(self, _):
        waiting = self.widget._controller.snapshot()["settings"]["queue"]
        self.widget._controller.send_next()
        eventually(lambda: not self.widget._controller.snapshot()["settings"]["queue"] and not self.widget.running)
        assert len(rounds(self.widget)) == 1 + len(waiting)

    def do_stop(self, mark):
        self.widget._controller.stop(mark or None)
        for widget in self.made:  # of a cell that ran again, the earlier one's answers stream
            eventually(lambda widget=widget: not widget.running)

    def do_vote(self, value):
        which, _, question = value.partition("@")
        self.widget._controller.vote(which, int(question) if question else None)

    def do_regen(self, mark):
        last = self.widget._controller.rounds[-1]
        self.widget.regenerate(mark)
        if self.models[0] == "slow" and mark == "A":
            return
        self.rest()
        if not self.broken:
            self.texts.pop((last.comparison.id, last.index_of(mark)), None)

    def do_interrupt(self, what):
        begin = (lambda: self.widget.regenerate("A")) if what else (lambda: self.widget.ask("Which capital?"))
        self.interrupt()
        with pytest.raises(KeyboardInterrupt):
            begin()
        self.rest()

    def do_restart(self, _):
        before = [(asked.question, asked.comparison) for asked in self.widget._controller.rounds]
        votes_before = [(known.vote_cast, known.withdrawn_vote) for _, known in before]
        left = saved.look_up_document("comparison", "capitals")
        for widget in self.made:  # as the end of a kernel does, of which no widget learns
            widget.stop()
            eventually(lambda widget=widget: not widget.running)
        if left is not None:
            saved.save_document("comparison", "capitals", left)
        self.restart()
        self.texts = {key: text for key, text in self.texts.items() if text}
        self.make()
        after = self.widget._controller.rounds
        assert [asked.question for asked in after] == [question for question, _ in before]
        for asked, (cast, withdrawn) in zip(after, votes_before, strict=True):
            # The vote that asking again had withdrawn comes back if nothing had come.
            back = withdrawn.outcome if withdrawn is not None and asked.comparison.vote_cast is not None else None
            assert asked.comparison.vote_cast == (cast or back)

    def do_rerun(self, _):
        self.make()

    def do_back(self, _):
        self.made.append(self.made[-2])

    def do_models(self, names):
        self.models = names.split(",")
        self.widget.models = [f"openai/{model}" for model in self.models]

    def do_twice(self, _):
        self.widget._controller.set(arms=[{"model": "openai/good", "params": {"temperature": at}} for at in (0, 1)])

    def do_blind(self, value):
        self.widget.blind = value == "on"

    def do_multi(self, value):
        self.widget.multi_turn = value == "on"

    def do_break(self, _):
        self.broken = True

    def do_mend(self, _):
        self.broken = False

    def do_clear(self, _):
        self.widget.clear()

    def do_undo(self, _):
        self.widget._controller.undo_clear()

    def check(self):
        """Compare what is shown with what was, and with the ledger."""
        controller = self.widget._controller
        calls = usage().set_index("call_id") if self.two.requests else None
        cast = votes(None).set_index("comparison")
        shown = rounds(self.widget)
        assert len(shown) == len(controller.rounds)
        for asked, (question, turns) in zip(controller.rounds, shown, strict=True):
            comparison = asked.comparison
            complete = {}
            for index, (arm, response) in enumerate(zip(comparison.arms, comparison.responses, strict=True)):
                turn = turns[arm.mark]
                if response is None:
                    assert turn["status"] == "running"
                    continue
                expected = self.texts.setdefault((comparison.id, index), response.content)
                assert response.content == expected
                if not any(widget.running for widget in self.made):
                    assert turn["status"] == response.status
                    assert bool(text_of(turn)) == bool(response.content.strip()) or "<" in response.content
                assert "<script" not in str(turn["parts"])
                if response.call_id:
                    row = calls.loc[response.call_id]
                    assert row["model"] == arm.model == response.model
                    assert (row["response"] if isinstance(row["response"], str) else "") == response.content
                    assert row["tags"]["comparison"] == comparison.id
                if response.status == "ok":
                    complete[arm.full_label] = response.call_id
            if comparison.vote_cast is None:
                assert comparison.id not in cast.index
                assert question["vote"] is None
            else:
                vote = cast.loc[comparison.id]
                assert vote["arms"] == complete
                preferred = [turn["mark"] for turn in turns.values() if turn["preferred"]]
                labels = {arm.full_label: arm.mark for arm in comparison.arms}
                assert preferred == ([labels[vote["outcome"]]] if vote["outcome"] in labels else [])
            hidden = comparison.names_hidden
            assert [bool(turn["label"]) for turn in turns.values()] == [not hidden] * len(turns)
        if calls is not None and not self.widget.running:
            assert len(calls) >= len(self.two.requests), "each request has its row"

    def close(self):
        for widget in self.made:
            widget.close()


@pytest.mark.parametrize("steps", SEQUENCES.values(), ids=SEQUENCES.keys())
def test_nothing_is_lost(two, restart, interrupt_next_call, steps):
    person = Person(two, restart, interrupt_next_call)
    try:
        for step in steps.split():
            person.do(step)
            person.check()
    except (LLMError, AssertionError) as exc:
        exc.add_note(f"at {step!r} of {steps!r}")
        raise
    finally:
        person.close()
