"""The first parts of a row are put after the request was sent, and before anything else of the row."""

import asyncio

import pytest

from ipyllm import OllamaService
from ipyllm.pipeline.call import Call
from ipyllm.pipeline.exchange_row import ExchangeRow
from ipyllm.runtime.service_thread import make_calls_on_running_loop, stop_service_thread
from ipyllm.transport.stamped_socket import StampedSocket
from tests.fakes import answer


class Rows:
    """Takes rows, and notes what happened meanwhile."""

    def __init__(self):
        self.happened = []

    def put(self, row):
        self.happened.append({name: row[name] for name in ("status", "request", "response") if name in row})


class Account:
    """The place of a call in a budget that others share."""

    is_limited, needs_row = False, True

    def __init__(self, rows):
        self._rows = rows

    async def hold(self, bound_usd, model):
        pass

    def spend(self, cost_usd):
        pass

    def end(self):
        pass

    async def sent(self):
        self._rows.happened.append("waits for the row")


@pytest.fixture
def rows(monkeypatch):
    rows = Rows()
    usual = StampedSocket._note_send
    monkeypatch.setattr(StampedSocket, "_note_send", lambda self: rows.happened.append("sent") or usual(self))
    yield rows
    stop_service_thread()


def happened(fake, rows, account=None, **script):
    service = OllamaService("m", base_url=fake.base_url, max_retries=0)

    async def run():
        make_calls_on_running_loop()
        fake.default = answer("Warm.")
        await service.achat("Hello")
        fake.default = answer("So.", **script)
        rows.happened.clear()
        call = Call(service, service.request("Hello"), ledger=rows, account=account)
        await call.start().wait_async()
        await asyncio.to_thread(stop_service_thread)

    asyncio.run(run())
    return rows.happened


def test_a_request_is_sent_before_its_row_is_put(fake, rows):
    sent, begun, ended = happened(fake, rows, ttft=0.1)
    assert sent == "sent"
    assert begun["status"] == "running"
    assert begun["request"]["body"]["model"] == "m"
    assert ended == {"status": "ok", "response": "So."}


def test_a_row_that_others_must_see_is_put_before(fake, rows):
    begun, waits, *_, ended = happened(fake, rows, Account(rows))
    assert begun["status"] == "running"
    assert waits == "waits for the row"
    assert ended["status"] == "ok"


def test_nothing_is_put_where_nothing_was_noted(rows):
    request = OllamaService("m").request("Hello")
    ExchangeRow("01", request, rows).put_waiting()
    assert rows.happened == []
