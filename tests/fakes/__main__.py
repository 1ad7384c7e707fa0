"""Runs the fake in a separate process, so that a benchmark does not share its interpreter lock.

Prints one line of JSON with `base_url` and `pid`, and stops on SIGTERM, SIGINT, or when its parent ends.
`GET /_fake/requests` returns the records (all processes share their clock), `DELETE` deletes them.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import threading
from pathlib import Path

from tests.fakes import FakeLLM, answer

_SAMPLE = """\
## A heading

Some *emphasis*, some **weight**, `code` and a [link](https://example.org).

- first
- second

| model | ttft |
| --- | ---: |
| tiny | 50 ms |

```python
def square(x: float) -> float:
    return x * x
```

"""


def main() -> None:
    """Parse the options, serve, wait."""
    parser = argparse.ArgumentParser(prog="python -m tests.fakes", description=__doc__)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--ttft", type=float, default=0.0, help="seconds to the first token chunk")
    parser.add_argument("--gap", type=float, default=0.0, help="seconds between token chunks")
    parser.add_argument("--chunks", type=int, help="number of token chunks (default: one per word)")
    parser.add_argument("--admit", type=int, help="reply 429 above that many in flight")
    parser.add_argument("--api-key", help="reply 401 to other keys")
    parser.add_argument("--model", action="append", dest="models", help="reply 404 to others (repeatable)")
    parser.add_argument("--no-coalesce", action="store_true", help="one write per chunk, even with --gap 0")
    text = parser.add_mutually_exclusive_group()
    text.add_argument("--text", default="Hello from the fake.")
    text.add_argument("--length", type=int, help="number of characters of plain text")
    text.add_argument("--markdown", type=int, help="number of characters of Markdown")
    text.add_argument("--file", type=Path, help="the text of this file")
    options = parser.parse_args()

    content = options.text
    if options.file:
        content = options.file.read_text(encoding="utf-8")
    elif size := options.length or options.markdown:
        unit = _SAMPLE if options.markdown else "word "
        content = (unit * (size // len(unit) + 1))[:size]

    stop, parent = threading.Event(), os.getppid()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    with FakeLLM(port=options.port, api_key=options.api_key, models=options.models) as fake:
        fake.default = answer(
            content,
            chunks=options.chunks,
            ttft=options.ttft,
            gap=options.gap,
            coalesce=not options.no_coalesce,
        )
        fake.admit(options.admit)
        print(json.dumps({"base_url": fake.base_url, "url": fake.url, "pid": os.getpid()}), flush=True)
        while not stop.wait(0.5) and os.getppid() == parent:
            pass


if __name__ == "__main__":
    main()
