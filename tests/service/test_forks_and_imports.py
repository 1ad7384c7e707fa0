"""A fork waits for the imports of other threads: a child has whole modules only, and none that is locked for ever."""

from __future__ import annotations

import os

import pytest

from tests.fakes import answer

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")


_IMPORTING = r"""
    import os, sys, threading
    from pathlib import Path
    from ipyllm import fork_safety

    folder = Path(sys.argv[1])
    (folder / "slowly.py").write_text("import here; here.begun.set(); here.go_on.wait(100); done = True")
    (folder / "here.py").write_text("import threading; begun, go_on = threading.Event(), threading.Event()")
    sys.path.insert(0, str(folder))
    import here

    threading.Thread(target=lambda: __import__("slowly")).start()
    assert here.begun.wait(100)
    threading.Timer(0.5, here.go_on.set).start()
    pid = os.fork()
    if pid == 0:
        import slowly
        os._exit(7 if slowly.done else 1)
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))

    fork_safety._IMPORTS_S = 1000.0
    (folder / "forks.py").write_text("import os\nif (pid := os.fork()) == 0: os._exit(8)\nos.waitpid(pid, 0)")
    import forks  # the import of this thread itself is not waited for

    here.go_on.clear()
    del sys.modules["slowly"]
    fork_safety._IMPORTS_S = 0.1
    threading.Thread(target=lambda: __import__("slowly"), daemon=True).start()
    pid = os.fork()  # nor is one that does not end
    if pid == 0:
        os._exit(9)
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
    os._exit(0)
"""


def test_a_module_that_another_thread_imports_is_whole_in_the_child(python, tmp_path):
    out, err = python(_IMPORTING, tmp_path, warnings="ignore").communicate(timeout=100)
    assert (out, err) == ("7\n9\n", "")


_IMPORTS_THAT_BEGIN = r"""
    import importlib, logging, os, select, signal, sys, threading, time
    from contextlib import nullcontext
    from pathlib import Path
    from ipyllm import fork_safety

    folder, modules = Path(sys.argv[1]), 150
    for n in range(modules):
        (folder / f"late{n}.py").write_text("import time\ntime.sleep(0.004)\ndone = True")
        (folder / f"handler{n}.py").write_text("")
    sys.path.insert(0, str(folder))

    class SlowFinder:  # a module that is looked for is locked, and not yet in sys.modules
        def find_spec(self, name, path=None, target=None):
            if name.startswith("late"):
                time.sleep(0.004)

    sys.meta_path.insert(0, SlowFinder())
    current = 0

    def import_all():
        global current
        for current in range(modules):
            with logging._lock if current % 10 == 9 else nullcontext():  # as `logging.config` imports handlers
                importlib.import_module(f"late{current}")
                time.sleep(0.001 * (current % 7))
                importlib.import_module(f"handler{current}")

    thread = threading.Thread(target=import_all)
    thread.start()
    hung = forks = 0
    while thread.is_alive():
        forks += 1
        reader, writer = os.pipe()
        pid = os.fork()
        if pid == 0:
            for n in range(max(0, current - 1), min(modules, current + 2)):
                assert importlib.import_module(f"late{n}").done
            os.write(writer, b"ok")
            os._exit(0)
        os.close(writer)
        if not select.select([reader], [], [], 60)[0]:
            hung += 1
            os.kill(pid, signal.SIGKILL)
        os.close(reader)
        os.waitpid(pid, 0)
    print(f"{hung} hung", "of many" if forks > 10 else f"of {forks}", flush=True)
    os._exit(0)
"""


def test_no_import_begins_between_the_last_look_and_the_fork(python, tmp_path):
    out, err = python(_IMPORTS_THAT_BEGIN, tmp_path, warnings="ignore").communicate(timeout=300)
    assert (out, err) == ("0 hung of many\n", "")


_INTERRUPTED = r"""
    import os, signal, sys, threading
    from pathlib import Path
    from ipyllm import OllamaService, fork_safety, usage

    service = OllamaService("m", base_url=sys.argv[1])
    service.chat("before")
    folder = Path(sys.argv[2])
    (folder / "slowly.py").write_text("import here; here.begun.set(); here.go_on.wait(100)")
    (folder / "here.py").write_text("import threading; begun, go_on = threading.Event(), threading.Event()")
    sys.path.insert(0, str(folder))
    import here

    begin_no_imports = fork_safety._begin_no_imports

    def interrupted():  # an import that begins while the owners of files wait
        threading.Thread(target=lambda: __import__("slowly"), daemon=True).start()
        assert here.begun.wait(100)
        signal.setitimer(signal.ITIMER_REAL, 0.2)
        begin_no_imports()

    def interrupt(*_):
        raise KeyboardInterrupt

    signal.signal(signal.SIGALRM, interrupt)
    fork_safety._begin_no_imports = interrupted
    sys.unraisablehook = lambda what: print(what.exc_type.__name__)
    pid = os.fork()
    if pid == 0:
        os._exit(7)
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
    here.go_on.set()
    fork_safety._begin_no_imports = begin_no_imports
    print(service.chat("after").content, len(usage()), flush=True)
    pid = os.fork()
    if pid == 0:
        os._exit(8)
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
    os._exit(0)
"""


def test_an_interrupt_while_a_fork_waits_for_imports_leaves_nothing_locked(fake, python, tmp_path):
    fake.default = answer("So.")
    out, err = python(_INTERRUPTED, fake.base_url, tmp_path, warnings="ignore").communicate(timeout=100)
    assert (out, err) == ("KeyboardInterrupt\n7\nSo. 2\n8\n", "")
