"""Ray's tasks as an executor, over a stand-in with Ray's documented interface."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest

from ipyllm import Experiment, LLMError, executors


@pytest.fixture
def ray(monkeypatch):
    """Stand in for ``ray``: ``remote(**options)(function).remote(…).future()`` runs in a thread."""
    threads = ThreadPoolExecutor(2)
    calls = {"init": 0}

    def remote(**options):
        calls["options"] = options
        return lambda function: SimpleNamespace(
            remote=lambda *args: SimpleNamespace(future=lambda: threads.submit(function, *args))
        )

    def init():
        calls["init"] += 1

    stand_in = SimpleNamespace(
        remote=remote, init=init, is_initialized=lambda: calls["init"] > 0, cluster_resources=lambda: {"CPU": 6.0}
    )
    monkeypatch.setitem(sys.modules, "ray", stand_in)
    yield calls
    threads.shutdown()


def test_an_experiment_runs_as_tasks_of_ray(ray, model):
    results = Experiment([str(n) for n in range(12)], models=model(), warmup=0).run(
        executors.ray(num_cpus=2), progress=False
    )
    assert results.state == "12 of 12 calls have an answer."
    assert ray == {"init": 1, "options": {"max_retries": 0, "num_cpus": 2}}
    assert set(results.calls["executor"]) == {"3 × RayExecutor"}


def test_without_ray_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(LLMError, match="pip install ray"):
        executors.ray()
