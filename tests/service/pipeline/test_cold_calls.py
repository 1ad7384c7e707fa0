"""Which calls are cold: a model was loaded for them, or for another that their server had not begun to answer."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from ipyllm import LocalService
from tests.fakes import answer
from tests.ledger_rows import rows


@pytest.fixture
def service(fake, monkeypatch):
    """An embedded model that the fake serves, loaded with the first call."""
    loaded = set()
    server = SimpleNamespace(base_url=fake.base_url, api_key=None)

    def get(path, **_options):
        loaded.add(path)
        return server

    monkeypatch.setattr("ipyllm.embedded.resolve", str)
    monkeypatch.setattr("ipyllm.embedded.is_running", loaded.__contains__)
    monkeypatch.setattr("ipyllm.embedded.get", get)
    fake.default = answer("Hello.", ttft=60)
    return LocalService()


def begin(service, fake, n_sent):
    """Start a call, and return it once its request, the ``n_sent``th, has come."""
    call = service.call(service.request("Hello"))
    fake.wait_for(lambda: len(fake.requests) == n_sent)
    return call


def test_all_are_that_were_sent_before_the_first_token_of_a_loaded_model(service, fake):
    calls = [begin(service, fake, n_sent) for n_sent in (1, 2)]
    fake.skip_pauses()
    assert [call.wait().cold for call in calls] == [True, True], "the second found the server running"
    assert not service.chat("Hello").cold
    assert rows().sort_values("started_at")["cold"].tolist() == [True, True, False]


def test_the_next_is_after_one_that_was_stopped_before_its_first_token(service, fake):
    first = begin(service, fake, 1)
    first.cancel()
    assert first.done.wait(60)
    second = begin(service, fake, 2)
    fake.skip_pauses()
    assert (first.response.cold, second.wait().cold) == (True, True)
    assert not service.chat("Hello").cold
