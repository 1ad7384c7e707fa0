"""A scriptable LLM server on loopback. See README.md beside this file.

>>> with FakeLLM() as fake:
...     fake.reply(answer("Hello", ttft=0.05), truncated("one two three", after=1), rate_limited(2))
...     fake.base_url.startswith("http://127.0.0.1:")
True
"""

from tests.fakes import faults, refusals
from tests.fakes.connection import Request
from tests.fakes.faults import *  # noqa: F403
from tests.fakes.refusals import *  # noqa: F403
from tests.fakes.script import Script, answer, deepseek, status
from tests.fakes.server import FakeLLM, released_once

__all__ = ["FakeLLM", "Request", "Script", "answer", "deepseek", "released_once", "status"]
__all__ += faults.__all__
__all__ += refusals.__all__
