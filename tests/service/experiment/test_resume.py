"""Resuming a stopped run: answered trials are not asked or paid for again."""

from __future__ import annotations

import signal
import threading
import time
import warnings
from collections import Counter

import pytest

from ipyllm import Experiment, usage
from ipyllm.ledger import Ledger, current_ledger, set_ledger
from tests.fakes import answer, bad_json, content_filter, context_length_exceeded, model_not_found, server_error

SCRIPT = """
    import sys
    from ipyllm import Experiment, OpenAIService

    service = OpenAIService("a", base_url=sys.argv[1], max_retries=0)
    experiment = Experiment([str(n) for n in range(40)], models=service, concurrency=4, warmup=0, name="long")
    try:
        experiment.run(progress=False)
    except KeyboardInterrupt as exc:
        print(exc)
        sys.exit(3)
    print(experiment.results().state)
"""


def slow(server):
    """Answer 20 calls at once, then none until the gate is opened."""
    gate, seen = threading.Event(), []

    def decide(request):
        seen.append(request.prompt)
        return answer(request.prompt.upper(), ttft=0.0 if len(seen) <= 20 or gate.is_set() else 60.0)

    server.on(decide)
    return gate, seen


def answered(server, n, name="long"):
    def there():
        with Ledger(current_ledger()._writer._target) as ledger:
            rows = usage(kernel=None, experiment=name, ledger=ledger)
        return (rows["status"] == "ok").sum() >= n

    server.wait_for(there, timeout=60)


def test_what_was_answered_is_not_asked_again(model, server):
    make = lambda: Experiment(["so", "la"], models=[model("a"), model("b")], repeats=2, name="x")  # noqa: E731
    make().run(progress=False)
    before = len(server.requests)
    results = make().run(progress=False)
    assert len(server.requests) == before
    assert results.state == "8 of 8 calls have an answer (8 of 8 from an earlier run at concurrency 32)."


def test_the_same_experiment_without_a_name_goes_on_and_more_repeats_ask_only_these(model, server):
    Experiment(["so", "la"], models=model(), warmup=0).run(progress=False)
    with pytest.warns(
        UserWarning, match="it was 1 arm × 2 prompts × 1 repeat, now it is 1 arm × 2 prompts × 3 repeats"
    ):
        Experiment(["so", "la"], models=model(), warmup=0, repeats=3).run(progress=False)
    assert len(server.requests) == 6
    Experiment(["so", "la"], models=model(), warmup=0, name="anew").run(progress=False)
    assert len(server.requests) == 8


@pytest.mark.parametrize(
    "refusal", [model_not_found, bad_json, context_length_exceeded], ids=lambda make: make.__name__
)
def test_what_a_server_refused_is_asked_again_since_it_may_be_configured_by_now(model, server, refusal):
    experiment = Experiment(["so", "la"], models=model(), warmup=0, concurrency=1)
    server.on(lambda request: refusal() if request.prompt == "la" else answer("x"))
    with warnings.catch_warnings(action="ignore"):
        assert experiment.run(progress=False).undone == 1
    server.on(lambda _: answer("x"))
    assert experiment.run(progress=False).state.startswith("2 of 2 calls have an answer")
    assert Counter(request.prompt for request in server.requests) == {"so": 1, "la": 2}


def test_what_failed_is_asked_again_and_the_verdict_of_a_content_filter_stays(model, server):
    replies = {"la": [server_error()], "mi": [content_filter("so"), answer("never")]}
    server.on(lambda request: replies[request.prompt].pop(0) if replies.get(request.prompt) else answer("x"))
    experiment = Experiment(["so", "la", "mi"], models=model(), warmup=0)
    first = experiment.run(progress=False)
    assert first.undone == 1
    calls = experiment.run(progress=False).calls.set_index("prompt")
    assert calls["status"].to_dict() == {"so": "ok", "la": "ok", "mi": "error"}
    assert calls.loc["mi", "error_category"] == "content_filter"
    assert Counter(request.prompt for request in server.requests) == {"so": 1, "la": 2, "mi": 1}


@pytest.mark.thorough
@pytest.mark.parametrize("kill", [signal.SIGKILL, signal.SIGINT], ids=["killed", "interrupted"])
def test_a_kernel_that_ended_in_the_middle_has_paid_for_nothing_in_vain(python, server, model, kill):
    gate, seen = slow(server)
    process = python(SCRIPT, server.base_url)
    answered(server, 20)
    process.send_signal(kill)
    out, _ = process.communicate(timeout=60)
    if kill == signal.SIGINT:
        assert process.returncode == 3
        assert "20 of 40 calls have an answer." in out
        assert "Call run() again to continue" in out
    gate.set()
    seen_before = len(seen)
    again = python(SCRIPT, server.base_url)
    out, err = again.communicate(timeout=90)
    assert out.strip() == "40 of 40 calls have an answer (20 of 40 from an earlier run at concurrency 4).", err
    assert len(seen) - seen_before == 20
    rows = usage(kernel=None, experiment="long")
    assert Counter(rows["status"]) == {"ok": 40, ("interrupted" if kill == signal.SIGKILL else "cancelled"): 4}
    calls = Experiment([str(n) for n in range(40)], models=model(), warmup=0, name="long").results().calls
    assert sorted(calls["prompt"]) == sorted(str(n) for n in range(40))
    assert (calls["status"] == "ok").all()


def test_what_another_kernel_is_asking_right_now_is_left_to_it_and_waited_for(python, server, model):
    gate, seen = slow(server)
    other = python(SCRIPT, server.base_url)
    answered(server, 20)
    server.wait_for(lambda: len(seen) == 24, timeout=60)
    gate.set()
    here = Experiment([str(n) for n in range(40)], models=model(), warmup=0, name="long", concurrency=4)
    here.start()
    # It asks what the other has not claimed, and does not end before the other.
    assert not here.wait(2)
    assert Counter(seen) == dict.fromkeys(Counter(seen), 1)
    assert here.results().undone >= 4
    other.kill()  # now its calls in flight are asked again
    assert here.wait(60)
    said = "40 of 40 calls have an answer (20 of 40 from an earlier run at concurrency 4)."
    assert here.results().state == said
    assert len(seen) == 44
    rows = usage(kernel=None, experiment="long")
    assert Counter(rows["status"]) == {"ok": 40, "interrupted": 4}


def test_a_changed_grid_says_what_changed_and_keeps_what_is_the_same(model, server):
    Experiment(["so", "la", "mi"], models=[model("a"), model("b")], name="x", warmup=0).run(progress=False)
    changed = Experiment(["so", "la", "fa"], models=[model("a"), model("c")], name="x", warmup=0)
    with pytest.warns(UserWarning, match="has changed") as said:
        results = changed.run(progress=False)
    assert str(said[0].message) == (
        "The grid of 'x' has changed: it was 2 arms × 3 prompts × 1 repeat, now it is 2 arms × 3 prompts × 1 repeat. "
        "New: arm 'c'. Removed from it, and left out of the results: arm 'b', 1 prompt (4 calls). "
        "2 of 6 calls are already done."
    )
    assert len(server.requests) == 6 + 4
    assert set(results.calls["arm"]) == {"a", "c"}
    assert len(results.calls) == 6


def test_other_parameters_under_the_same_name_are_another_arm(model, server):
    Experiment(["so"], models=model(), params={"temperature": 0}, name="x", warmup=0).run(progress=False)
    with pytest.warns(UserWarning, match="calls of arm 'a' with other parameters, headers, system prompt or text"):
        Experiment(["so"], models=model(), params={"temperature": 1}, name="x", warmup=0).run(progress=False)
    assert len(server.requests) == 2


def test_a_run_that_was_stopped_early_is_not_taken_for_a_changed_grid(model, server):
    experiment = Experiment([str(n) for n in range(30)], models=model(), concurrency=1, warmup=0)
    server.on(lambda _: answer("x", ttft=0.01))
    experiment.start()
    server.wait_for(lambda: len(server.requests) >= 3, timeout=90)
    experiment.cancel()
    assert experiment.wait(60)
    results = Experiment([str(n) for n in range(30)], models=model(), warmup=0).run(progress=False)
    assert results.state.startswith("30 of 30 calls have an answer (")
    assert "of 30 from an earlier run at concurrency 1)" in results.state


def test_rows_that_the_ledger_cannot_take_now_are_not_lost(model, server, tmp_path):
    (tmp_path / "in the way").write_text("")
    with Ledger(tmp_path / "in the way" / "ledger.sqlite") as ledger:
        set_ledger(ledger)
        experiment = Experiment(["so", "la"], models=model(), warmup=0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # that it cannot be read or written, whichever comes first
            experiment.run(progress=False)
            deadline = time.monotonic() + 60
            while len(experiment.results().calls) < 2 and time.monotonic() < deadline:
                time.sleep(0.05)
        assert experiment.results().state == "2 of 2 calls have an answer."
        (tmp_path / "in the way").unlink()
        assert ledger.flush(30)
        set_ledger(None)
    with Ledger(tmp_path / "in the way" / "ledger.sqlite") as ledger:
        assert len(usage(kernel=None, ledger=ledger)) == 2


def test_text_that_is_not_stored_is_scored_while_it_is_there(model, monkeypatch):
    monkeypatch.setenv("IPYLLM_STORE_TEXT", "0")
    results = Experiment(["so"], models=model(), warmup=0, scorers=[lambda response: response.content == "SO"]).run(
        progress=False
    )
    assert results.calls["prompt"].tolist() == ["so"]
    assert results.calls["score_lambda"].tolist() == [1.0]
    assert usage(kernel=None)["response"].isna().all()
