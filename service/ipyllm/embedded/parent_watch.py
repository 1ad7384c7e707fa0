"""Exits a helper process when its parent process dies for any reason.

The parent holds the write end of the child's standard input and does not write to it after the start. When the parent
dies, even by SIGKILL, the operating system closes that pipe, and the child reads end-of-file.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading

__all__ = ["run", "wait_for_parent_exit"]

_POLL_S = 1.0


def wait_for_parent_exit() -> None:
    """Wait until the parent has exited.

    The parent's process id is checked too: a process forked from the parent holds a copy of the pipe and may outlive
    it.
    """
    parent = os.getppid()
    if sys.platform == "win32":
        os.read(0, 1)
    else:
        import select

        while os.getppid() == parent:
            readable, _, _ = select.select([0], [], [], _POLL_S)
            if readable and not os.read(0, 1):
                break


def run(command: list[str]) -> None:
    """Run ``command`` and exit with its status; kill the process group when the parent exits."""
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL)  # noqa: S603 (built by ipyllm.embedded.pull)

    def kill_with_parent() -> None:
        wait_for_parent_exit()
        if sys.platform == "win32":
            child.kill()
        else:
            os.killpg(0, signal.SIGKILL)

    threading.Thread(target=kill_with_parent, daemon=True).start()
    status = child.wait()
    os._exit(status if status >= 0 else 1)  # sys.exit would wait for the thread's read


if __name__ == "__main__":
    run(sys.argv[1:])
