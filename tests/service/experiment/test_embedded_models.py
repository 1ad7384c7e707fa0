"""Embedded models share this machine's cores: an experiment asks them one call at a time, unless told otherwise."""

from __future__ import annotations

import shutil

import pytest

from ipyllm import Experiment, LocalService, OpenAIService, embedded, fallback
from ipyllm.experiment.progress_bar import _figures
from ipyllm.experiment.run_config import RunConfig
from ipyllm.experiment.run_progress import RunProgress
from ipyllm.experiment.spending_limit import SpendingLimit
from ipyllm.ledger import current_ledger
from ipyllm.statistics.latency_caveats import overlapping
from tests.fakes import answer

PROMPTS = [f"Count to {n}." for n in range(4)]


def _experiment(*models, **options):
    return Experiment(PROMPTS, models=list(models), params={"max_tokens": 12, "temperature": 0}, **options)


def _together(results):
    """Return whether each call, warm-ups included, was in flight with another."""
    calls = results.calls
    assert (calls["status"] == "ok").all()
    return overlapping(calls)


@pytest.mark.local_model
def test_one_call_at_a_time_over_all_embedded_models(tmp_path):
    other = tmp_path / "other.gguf"  # another file is another process, on the same cores
    shutil.copyfile(embedded.find("smollm2-135m"), other)
    experiment = _experiment("local/smollm2-135m", f"local/{other}", name="alone")
    results = experiment.run(progress=False)
    assert len(results.calls) == 2 * (len(PROMPTS) + 1)
    assert not _together(results).any()
    assert experiment.progress.one_at_a_time
    assert not [note for note in results.summary().notes if "same time" in note]


@pytest.mark.thorough
@pytest.mark.local_model
def test_several_at_once_on_request_and_the_notes_say_what_that_does_to_the_times():
    experiment = _experiment("local/smollm2-135m", concurrency=4, name="together", warmup=0)
    results = experiment.run(progress=False)
    assert _together(results).sum() >= 2
    assert not experiment.progress.one_at_a_time
    assert [note for note in results.summary().notes if "embedded models ran at the same time as others" in note]


def _asks_one_at_a_time(service, concurrency=None):
    config = RunConfig("e", "g", 1, concurrency, current_ledger(), SpendingLimit(None))
    return config.asks_one_at_a_time(service)


def test_a_route_counts_as_embedded_if_all_its_services_are(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "no-key-needed")
    local, remote = LocalService(), OpenAIService("gpt-6-luna")
    assert _asks_one_at_a_time(local)
    assert not _asks_one_at_a_time(local, concurrency=2)
    assert not _asks_one_at_a_time(remote)
    assert _asks_one_at_a_time(fallback(local, LocalService(temperature=1), name="here"))
    assert not _asks_one_at_a_time(fallback(local, remote, name="mixed"))


def test_other_endpoints_keep_their_concurrency(model, server):
    experiment = Experiment([f"{n}" for n in range(80)], models=model(), warmup=0)
    with server.held_until(9, answer("so")):
        results = experiment.run(progress=False)
    assert len(results.calls) == 80
    assert 8 < server.max_in_flight <= 32
    assert not experiment.progress.one_at_a_time


def test_the_progress_bar_says_it():
    assert _figures(RunProgress(4, one_at_a_time=True)) == {"calls at once": "1 (embedded model)"}
    assert _figures(RunProgress(4)) == {}


@pytest.mark.local_model
def test_the_state_of_a_run_says_it():
    experiment = _experiment("local/smollm2-135m", name="state", repeats=1000)
    results = experiment.start()
    assert "have not ended; embedded models are asked one call at a time." in results.state
    experiment.cancel()
    assert experiment.wait(60)
    assert "one call at a time" not in results.state
