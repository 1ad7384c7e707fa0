"""Starts kernels that run one experiment, and counts what they have asked, paid and recorded."""

from __future__ import annotations

import subprocess
from collections import Counter

import psutil

from ipyllm import Experiment, OpenAIService, usage
from ipyllm.ledger import Ledger

KERNEL = """
    import multiprocessing, sys, warnings
    from concurrent.futures import ProcessPoolExecutor
    from ipyllm import Experiment, OpenAIService

    def main():
        url, n, concurrency, workers, rate = sys.argv[1], *map(int, sys.argv[2:])
        service = OpenAIService("a", base_url=url, max_retries=0, max_tokens=2, requests_per_minute=rate or None)
        prompts = [str(number) for number in range(n)]
        experiment = Experiment(prompts, models=service, warmup=0, name="shared", concurrency=concurrency)
        print("ready", flush=True)
        sys.stdin.readline()
        if workers:
            with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
                experiment.run(pool, progress=False)
        else:
            experiment.run(progress=False)
        print(experiment.results().state, flush=True)

    if __name__ == "__main__":
        main()
"""


def start(python, server, n, *, kernels=1, concurrency=8, workers=0, rate=0):
    """Start kernels at once on an experiment of ``n`` prompts."""
    arguments = server.base_url, n, concurrency, workers, rate
    started = [python(KERNEL, *arguments, stdin=subprocess.PIPE, warnings="default") for _ in range(kernels)]
    for kernel in started:
        assert kernel.stdout.readline() == "ready\n", kernel.stderr.read()
    for kernel in started:
        kernel.stdin.write("\n")
        kernel.stdin.flush()
    return started


def kill(kernel):
    """Kill a kernel, and return the workers of its pool, which live on."""
    workers = psutil.Process(kernel.pid).children(recursive=True)
    kernel.kill()
    kernel.wait()
    return workers


def finish(kernel, n):
    """Wait until a kernel has the whole results."""
    out, err = kernel.communicate(timeout=110)
    assert out.strip() == f"{n} of {n} calls have an answer.", err


def same_experiment(server, n, concurrency=8):
    """Return the experiment in this process."""
    service = OpenAIService("a", base_url=server.base_url, max_retries=0, max_tokens=2)
    prompts = [str(number) for number in range(n)]
    return Experiment(prompts, models=service, warmup=0, name="shared", concurrency=concurrency)


def check_account(server, n, most_twice, place=None):
    """Each trial has one answer, at most so many were asked twice, and each request has a row, of known highest cost.

    A request is recorded before it is sent, so that there may be rows of requests that were never sent.
    """
    with Ledger(place) if place else Ledger(current()) as ledger:
        rows = usage(kernel=None, experiment="shared", ledger=ledger)
    answered = rows[rows["status"] == "ok"]
    assert len(answered) == answered["prompt"].nunique() == n
    assert set(rows["status"]) <= {"ok", "interrupted"}
    asked = Counter(request.prompt for request in server.requests)
    assert len(asked) == n
    assert sum(asked.values()) - n <= most_twice
    rows_of = Counter(rows["prompt"])
    assert all(rows_of[prompt] >= times for prompt, times in asked.items()), "a request without a row"
    assert len(rows) - n <= most_twice
    return rows


def current():
    """Return the path of this process's ledger."""
    from ipyllm.settings import get_settings

    return get_settings().ledger
