"""The text so far is in the ledger while an answer goes on, in case its kernel is killed."""

from __future__ import annotations

import time

from ipyllm import OpenAIService, usage
from tests.fakes import stall


def stored(wanted):
    """Return what the ledger has of the latest response, once it is what is ``wanted``, or after half a minute."""
    until = time.monotonic() + 30
    while (found := usage(kernel=None).iloc[-1]).response != wanted and time.monotonic() < until:
        time.sleep(0.1)
    return found


def test_text_is_stored_within_seconds_of_its_arrival(fake):
    fake.default = stall("one two three four", after=2)
    service = OpenAIService("m", base_url=fake.base_url, api_key="k", max_retries=0)
    call = service.call(service.request("Hello"))
    found = stored("one two")
    assert (found.response, found.status) == ("one two", "running")
    call.cancel()
    assert call.done.wait(30)
