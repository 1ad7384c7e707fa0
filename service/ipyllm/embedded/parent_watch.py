"""The child's side of "a helper process lives no longer than we do", however we end.

The parent keeps the write end of the child's standard input and never writes to it after the start. When the
parent is gone, even by SIGKILL, the operating system closes that pipe: the child reads end-of-file and goes.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["hold", "run"]

_POLL_S = 1.0


def hold(when_alone: Callable[[], None]) -> None:
    """Wait until the parent is gone, then call ``when_alone``.

    The parent's process id is looked at too: a process forked from the parent holds a copy of the pipe, and
    may outlive it.
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
    when_alone()


def run(command: list[str]) -> None:
    """Run ``command`` in this process's group and exit with its status; end the whole group with the parent."""
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL)  # noqa: S603 (built by ipyllm.embedded.pull)

    def end() -> None:
        if sys.platform == "win32":
            child.kill()
        else:
            os.killpg(0, signal.SIGKILL)

    threading.Thread(target=hold, args=(end,), daemon=True).start()
    status = child.wait()
    os._exit(status if status >= 0 else 1)  # sys.exit would wait for the thread's read


if __name__ == "__main__":
    run(sys.argv[1:])
