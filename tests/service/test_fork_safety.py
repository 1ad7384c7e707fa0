"""Files are closed before a fork, and both processes continue independently."""

from __future__ import annotations

import os

import pytest

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")

_SCRIPT = r"""
    import os, sys
    from ipyllm import fork_safety

    def say(line):
        os.write(1, f"{line}\n".encode())  # in one piece: parent and child write at once

    class Owner:
        def close(self, timeout):
            say(f"{os.getpid() == parent} close")
            return True
        def before_fork(self):
            say("True before")
        def after_fork_in_parent(self):
            say("True parent")
        def after_fork_in_child(self):
            say("False child")

    parent, owner = os.getpid(), Owner()
    fork_safety.register(owner)

    @fork_safety.in_forked_child
    def fails():
        say("False first callback")
        raise RuntimeError("one of them is broken")

    @fork_safety.in_forked_child
    def runs():
        say("False second callback")

    for _ in range(2):
        child = os.fork()
        if child == 0:
            os._exit(0)
        os.waitpid(child, 0)
"""


def test_owners_come_before_callbacks_and_a_broken_callback_stops_no_other(python):
    out, err = (process := python(_SCRIPT)).communicate(timeout=60)
    assert process.returncode == 0
    lines = out.splitlines()
    in_parent = ["True before", "True parent"]
    in_child = ["False child", "False first callback", "False second callback"]
    assert [line for line in lines if line.startswith("True")] == [*in_parent * 2, "True close"]
    assert [line for line in lines if line.startswith("False")] == in_child * 2
    assert err.count("RuntimeError: one of them is broken") == 2


def test_an_owner_that_nobody_holds_is_left_alone(python):
    out, _ = python(_SCRIPT.replace("    for _ in", "    del owner\n    for _ in")).communicate(timeout=60)
    assert "before" not in out
    assert "close" not in out
    assert out.count("second callback") == 2
