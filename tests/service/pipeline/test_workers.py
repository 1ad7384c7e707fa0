"""Workers whose pool may end them at any time: the row of a call is in the ledger before its answer is returned."""

from __future__ import annotations

import os

import pytest

from tests.fakes import answer, status

_ASK = """
import os, signal, sys, warnings

warnings.simplefilter("ignore")  # threads and fork, from Python 3.12 on


def ask(number):
    import ipyllm

    service = ipyllm.create_llm_service("openai/m", api_key="test-key-1234567890abcd", base_url=os.environ["FAKE"])
    try:
        return service.chat(f"Question {number}").content
    except ipyllm.LLMError as error:
        return error.category


def ask_and_die(number):
    ask(number)
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    import multiprocessing
"""

_ENDINGS = {
    "pool": """
    context = multiprocessing.get_context(sys.argv[1])
    if sys.argv[1] == "fork":
        import ipyllm.pipeline.call, ipyllm.ledger.store
    with context.Pool(2) as pool:
        pool.map(ask, range(4))
    """,
    "killed": """
    context = multiprocessing.get_context(sys.argv[1])
    if sys.argv[1] == "fork":
        import ipyllm.pipeline.call, ipyllm.ledger.store
    workers = [context.Process(target=ask_and_die, args=(number,)) for number in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [-9] * 2
    """,
    "executor": """
    from concurrent.futures import ProcessPoolExecutor

    executor = ProcessPoolExecutor(2, mp_context=multiprocessing.get_context(sys.argv[1]))
    list(executor.map(ask, range(4)))
    for worker in list(executor._processes.values()):
        worker.kill()
    """,
}

_USUAL = {("fork", "pool"), ("spawn", "killed")}
"""What `make test` tries; each worker of the others imports ipyllm anew as well."""


@pytest.fixture
def rows_of(run_script, path, sql, fake, monkeypatch):
    """Run a script whose workers ask; return the statuses of the ledger's rows, and how many there are."""
    monkeypatch.setenv("IPYLLM_LEDGER", str(path))
    monkeypatch.setenv("FAKE", fake.base_url)
    monkeypatch.setenv("IPYLLM_MAX_RETRIES", "0")

    def run(script, *arguments):
        run_script(script, *arguments, warnings="ignore")
        return sql("SELECT status, count(*) FROM calls GROUP BY 1 ORDER BY 1")

    return run


_CASES = [
    pytest.param(method, ending, marks=[] if (method, ending) in _USUAL else pytest.mark.thorough)
    for method in ("fork", "spawn")
    for ending in _ENDINGS
]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize(("method", "ending"), _CASES)
def test_a_finished_call_has_its_row_however_its_worker_ends(rows_of, method, ending):
    assert rows_of(_ASK + _ENDINGS[ending], method) == [("ok", 2 if ending == "killed" else 4)]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_fork_that_ends_at_once_has_its_row(rows_of):
    script = """
    import ipyllm.pipeline.call, ipyllm.ledger.store
    for number in range(2):
        child = os.fork()
        if child == 0:
            ask(number)
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
    """
    assert rows_of(_ASK + script) == [("ok", 2)]


@pytest.mark.thorough
def test_a_call_that_fails_has_its_row_too(rows_of, fake):
    fake.default = status(500, "broken")
    assert rows_of(_ASK + _ENDINGS["killed"], "spawn") == [("error", 2)]


@pytest.mark.thorough
def test_a_worker_whose_ledger_cannot_be_written_returns_its_answer(run_script, path, fake, monkeypatch):
    path.parent.mkdir()
    (path.parent / "file").touch()
    monkeypatch.setenv("IPYLLM_LEDGER", str(path.parent / "file" / "ledger.sqlite"))
    monkeypatch.setenv("FAKE", fake.base_url)
    script = """
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        print(*map(len, pool.map(ask, range(2))))
    """
    fake.default = answer("Hello")
    assert "5 5" in run_script(_ASK + script, warnings="ignore")
