"""Several processes on one ledger: concurrent writes, forks, exits."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest

_MANY = """
    import sys, time
    from ipyllm.ledger import Ledger
    import ipyllm.ledger.store, psutil
    print("ready", flush=True)
    sys.stdin.readline()
    ledger = Ledger(sys.argv[1])
    for number in range(2000):
        call_id = f"{sys.argv[2]}-{number}"
        ledger.put({"call_id": call_id, "status": "running", "prompt": "Hello", "kernel_id": sys.argv[2]})
        ledger.put({"call_id": call_id, "status": "ok", "response": "Hi", "output_tokens": 1})
        if number % 100 == 0:
            time.sleep(0.005)
    assert ledger.flush(30)
    assert ledger.close()
    print(ledger.take_warning())
"""


@pytest.mark.thorough
def test_eight_processes_begin_one_ledger_at_once_and_lose_nothing(python, path, sql):
    processes = [python(_MANY, path, number, stdin=subprocess.PIPE) for number in range(8)]
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    before = time.monotonic()
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in processes:
        out, err = process.communicate(timeout=60)
        assert (process.returncode, out, err) == (0, "None\n", "")
    print(f"16000 rows by 8 processes in {time.monotonic() - before:.1f} s")
    assert sql("SELECT kernel_id, count(*), count(response) FROM calls WHERE status = 'ok' GROUP BY 1 ORDER BY 1") == [
        (str(number), 2000, 2000) for number in range(8)
    ]
    assert not list(path.parent.glob("*corrupt*"))


def test_the_interpreters_exit_waits_until_everything_is_written(run_script, path, sql):
    run_script(
        """
        import sys
        from ipyllm.ledger import Ledger
        ledger = Ledger(sys.argv[1])
        for number in range(1000):
            ledger.put({"call_id": str(number), "status": "ok"})
        """,
        path,
    )
    assert sql("SELECT count(*) FROM calls") == [(1000,)]


def test_an_exit_does_not_wait_for_a_ledger_that_cannot_be_written(run_script, tmp_path):
    (tmp_path / "file").touch()
    before = time.monotonic()
    run_script(
        """
        import sys
        from ipyllm.ledger import Ledger
        Ledger(sys.argv[1]).put({"call_id": "1", "status": "ok"})
        """,
        tmp_path / "file" / "ledger.sqlite",
    )
    assert time.monotonic() - before < 20


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_after_a_fork_parent_and_child_write_each_its_own(run_script, path, sql):
    run_script(
        """
        import os, sys, warnings
        warnings.simplefilter("ignore", DeprecationWarning)  # threads and fork, from Python 3.12 on
        from ipyllm.ledger.ids import kernel_id
        from ipyllm.ledger import Ledger
        ledger = Ledger(sys.argv[1])
        ledger.put({"call_id": "before", "status": "running", "kernel_id": kernel_id()})
        assert ledger.flush(30)
        for number in range(500):
            ledger.put({"call_id": f"queued-{number}", "status": "ok", "kernel_id": kernel_id()})
        children = []
        for child in range(4):
            pid = os.fork()
            if pid == 0:
                for number in range(200):
                    ledger.put({"call_id": f"{child}-{number}", "status": "ok", "kernel_id": kernel_id()})
                os._exit(0 if ledger.close(30) else 1)
            children.append(pid)
            ledger.put({"call_id": f"parent-{child}", "status": "ok", "kernel_id": kernel_id()})
        assert [os.waitpid(pid, 0)[1] for pid in children] == [0] * 4
        ledger.put({"call_id": "before", "status": "ok"})
        assert ledger.close(30)
        assert ledger.take_warning() is None
        """,
        path,
    )
    assert sql("SELECT count(*), count(DISTINCT kernel_id), count(DISTINCT writer_pid) FROM calls") == [
        (1 + 500 + 800 + 4, 5, 5)
    ]
    assert sql("SELECT count(*) FROM calls WHERE status <> 'ok'") == [(0,)]
    assert sql("PRAGMA integrity_check") == [("ok",)]


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_children_of_multiprocessing_write_before_they_end(path, sql, tmp_path, method):
    if method == "fork" and sys.platform != "linux":
        pytest.skip("fork is used on Linux")
    script = tmp_path / "script.py"
    script.write_text(
        f"""
import multiprocessing, sys, warnings
from ipyllm.ledger import Ledger
from ipyllm.ledger.ids import kernel_id

ledger = Ledger({str(path)!r})

def work(number):
    ledger.put({{"call_id": f"child-{{number}}", "status": "ok", "kernel_id": kernel_id()}})

if __name__ == "__main__":
    warnings.simplefilter("ignore", DeprecationWarning)
    ledger.put({{"call_id": "parent", "status": "ok", "kernel_id": kernel_id()}})
    context = multiprocessing.get_context({method!r})
    children = [context.Process(target=work, args=(number,)) for number in range(2)]
    for child in children:
        child.start()
    for child in children:
        child.join()
"""
    )
    subprocess.run([sys.executable, script], check=True, timeout=60)
    assert sql("SELECT count(*), count(DISTINCT kernel_id) FROM calls") == [(3, 3)]


def test_a_fork_waits_for_the_import_that_the_writer_is_in_the_middle_of(path, sql, tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        f"""
import os, sys, time, warnings
from ipyllm.ledger import Ledger

warnings.simplefilter("ignore", DeprecationWarning)


class Slow:
    def find_spec(self, name, path=None, target=None):
        if name == "sqlalchemy":
            time.sleep(2)


sys.meta_path.insert(0, Slow())
ledger = Ledger({str(path)!r})
ledger.put({{"call_id": "parent", "status": "ok"}})
while "ipyllm.ledger.store" not in sys.modules:
    time.sleep(0.01)
child = os.fork()
if child == 0:
    ledger.put({{"call_id": "child", "status": "ok"}})
    os._exit(0 if ledger.close(30) else 1)
assert os.waitpid(child, 0)[1] == 0, "the child's row was not written"
"""
    )
    subprocess.run([sys.executable, script], check=True, timeout=100)
    assert sql("SELECT count(*) FROM calls") == [(2,)]


def test_a_kernel_keeps_its_name_and_a_forked_process_makes_its_own(run_script):
    made, child, given, child_of_given = run_script(
        """
        import os, sys, warnings
        warnings.simplefilter("ignore", DeprecationWarning)
        from ipyllm.ledger.ids import kernel_id, set_kernel_id

        def in_child():
            reading, writing = os.pipe()
            pid = os.fork()
            if pid == 0:
                os.write(writing, kernel_id().encode())
                os._exit(0)
            os.close(writing)
            os.waitpid(pid, 0)
            with os.fdopen(reading) as answer:
                return answer.read()

        print(kernel_id(), in_child())
        set_kernel_id("the-notebook")
        print(kernel_id(), in_child())
        """
    ).split()
    assert made != child
    assert len(made) == len(child) == 26
    assert given == child_of_given == "the-notebook"
