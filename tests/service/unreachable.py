"""An address at which nobody takes a connection."""

from __future__ import annotations

import contextlib
import socket
from contextlib import contextmanager


@contextmanager
def nobody_accepts():
    """Yield a base URL where a connection is neither taken nor refused, because the queue of the port is full."""
    with socket.socket() as full, contextlib.ExitStack() as waiting:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for _ in range(2):  # the next one has to wait
            connection = waiting.enter_context(socket.socket())
            connection.setblocking(False)
            connection.connect_ex(full.getsockname())
        yield f"http://127.0.0.1:{full.getsockname()[1]}/v1"
