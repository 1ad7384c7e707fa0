"""A job is completed exactly once, whoever runs or cancels it."""

from __future__ import annotations

import asyncio
import threading

import pytest

from ipyllm.tools.job import UserCodeJob


async def outcome(job):
    """Return the result of a job that must be complete once this loop has run its callbacks."""
    for _ in range(3):
        await asyncio.sleep(0)
    assert job.outcome.done(), "whoever waits for it would wait for ever"
    return job.result()


def test_a_job_cancelled_before_it_begins_is_complete_at_once_and_never_runs():
    async def main():
        ran = []
        job = UserCodeJob(lambda: ran.append(1))
        job.cancel()
        with pytest.raises(asyncio.CancelledError):
            await outcome(job)
        job.run()
        assert ran == []

    asyncio.run(main())


def test_a_job_cancelled_while_a_plain_function_runs_does_not_wait_for_it():
    async def main():
        begun, stop = threading.Event(), threading.Event()

        def works():
            begun.set()
            stop.wait(60)
            return "too late"

        job = UserCodeJob(works)
        worker = threading.Thread(target=job.run_in_worker)
        worker.start()
        assert begun.wait(60)
        job.cancel()
        try:
            with pytest.raises(asyncio.CancelledError):
                await outcome(job)
        finally:
            stop.set()
            worker.join(60)
        with pytest.raises(asyncio.CancelledError):
            await outcome(job)

    asyncio.run(main())


def test_a_cancelled_coroutine_is_complete_before_it_has_cleaned_up():
    async def main():
        cleaned_up, ended = asyncio.Event(), []

        async def works():
            try:
                await asyncio.sleep(60)
            finally:
                await cleaned_up.wait()

        job = UserCodeJob(works)
        job.start(asyncio.get_running_loop(), ended.append)
        await asyncio.sleep(0)
        job.cancel()
        with pytest.raises(asyncio.CancelledError):
            await outcome(job)
        assert ended == []
        cleaned_up.set()
        for _ in range(5):
            await asyncio.sleep(0)
        assert ended == [job]

    asyncio.run(main())
