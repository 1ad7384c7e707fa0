"""A service keeps its address from call to call, as long as nothing changes that it follows from."""

from __future__ import annotations

import pickle

import pytest

from ipyllm import OpenAIService
from ipyllm.text.secrets import value_of

KEYS = ["sk-one-a9Xq2LmT7vB4zP0w", "sk-two-b8Yr3MnU6wC5yQ1x"]


@pytest.fixture
def service(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEYS[0])
    return OpenAIService("m")


def test_an_address_is_kept(service):
    assert service.address() is service.address()


@pytest.mark.parametrize(
    ("name", "value", "seen"),
    [
        ("OPENAI_API_KEY", KEYS[1], lambda address: value_of(address.api_key)),
        ("OPENAI_BASE_URL", "http://127.0.0.1:1/v1", lambda address: address.base_url),
        ("SSL_CERT_FILE", "/some/authorities.pem", lambda address: address.authorities[0].path),
        ("IPYLLM_CA_FILE", "/some/authorities.pem", lambda address: address.authorities[-1].path),
    ],
    ids=["key", "address", "authorities of OpenSSL", "authorities"],
)
def test_what_changes_holds_for_the_next_call(name, value, seen, service, monkeypatch):
    service.address()
    monkeypatch.setenv(name, value)
    assert seen(service.address()) == value


def test_a_service_of_somebody_s_own_may_change_its_mind():
    class Own(OpenAIService):
        url, key = "http://127.0.0.1:1/v1", KEYS[0]

        def base_url(self):
            return self.url

        def api_key(self):
            return self.key

    service = Own("m")
    service.address()
    service.url = "http://127.0.0.1:2/v1"
    assert service.address().base_url == service.url
    service.key = KEYS[1]
    assert value_of(service.address().api_key) == KEYS[1]


def test_a_pickle_has_no_key_of_the_latest_call(service):
    service.address()
    assert KEYS[0].encode() not in pickle.dumps(service)


def test_a_key_that_a_service_returns_as_text_is_kept_as_a_secret():
    class Own(OpenAIService):
        def api_key(self):
            return KEYS[0]

    service = Own("m")
    service.address()
    assert KEYS[0] not in repr(vars(service))
