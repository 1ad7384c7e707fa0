"""A redirect to another server gets neither the prompt nor the key."""

from __future__ import annotations

import httpx2
import pytest

from ipyllm import LLMError, OpenAIService
from ipyllm.registry.discovery import probe
from ipyllm.runtime.service_thread import service_thread
from ipyllm.transport.redirects import RedirectRefusedError, redirected
from tests import fakes
from tests.fakes import FakeLLM, answer

KEY = "sk-own-a9Xq2LmT7vB4zP0w"


@pytest.fixture
def elsewhere():
    with FakeLLM() as other:
        other.default = answer("I am another server.")
        yield other


@pytest.fixture
def service(fake):
    return OpenAIService("m", base_url=fake.base_url, api_key=KEY, max_retries=2)


@pytest.fixture(params=["fast path", "client"])
def transport(request, service):
    """Send through aiohttp directly, or through the openai client."""
    if request.param == "client":
        thread = service_thread()
        connection = thread.submit(thread.transport.connection(service.address())).result(30)
        connection.prepared.usable = False


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
@pytest.mark.usefixtures("transport")
def test_another_server_is_not_asked_and_is_named(fake, elsewhere, service, code):
    fake.default = fakes.redirect(f"{elsewhere.base_url}/chat/completions", code)
    with pytest.raises(LLMError) as caught:
        service.chat("my private prompt")
    port = elsewhere.url.rpartition(":")[2]
    assert f"redirects to http://127.0.0.1:{port}, which is not followed" in str(caught.value)
    assert (caught.value.category, caught.value.attempts) == ("bad_request", 1)
    assert elsewhere.requests == []
    assert len(fake.requests) == 1


@pytest.mark.parametrize("code", [301, 302, 303])
@pytest.mark.usefixtures("transport")
def test_a_redirect_that_would_lose_the_prompt_is_refused_on_the_same_host_too(fake, service, code):
    fake.default = fakes.redirect("/v2/chat/completions?key=secret", code)
    with pytest.raises(LLMError, match=r"redirects to http://127\.0\.0\.1:\d+/v2/chat/completions, which"):
        service.chat("Hello")
    assert len(fake.requests) == 1


@pytest.mark.parametrize("code", [307, 308])
@pytest.mark.usefixtures("transport")
def test_the_same_server_gets_the_whole_request_again(fake, service, code):
    fake.reply(fakes.redirect("/v1/chat/completions?moved", code), answer("here"))
    assert service.chat("Hello").content == "here"
    first, second = fake.requests
    assert (first.json, second.json) == (second.json, second.json)
    assert second.headers["authorization"] == f"Bearer {KEY}"


@pytest.mark.usefixtures("transport")
def test_redirects_in_a_circle_end(fake, service):
    fake.default = fakes.redirect(f"{fake.base_url}/chat/completions")
    with pytest.raises(LLMError, match="redirects more than 5 times"):
        service.chat("Hello")
    assert len(fake.requests) == 6


@pytest.mark.parametrize("location", ["http://[::1", "http://h:port/", "javascript:alert(1)", "//elsewhere"])
def test_a_location_that_is_no_address_is_refused(fake, service, location):
    fake.default = fakes.redirect(location)
    with pytest.raises(LLMError, match="redirects to"):
        service.chat("Hello")


def test_the_question_for_models_does_not_follow_elsewhere_either(fake, elsewhere, monkeypatch):
    monkeypatch.setenv("OPENAI_BASE_URL", fake.base_url)
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    fake.serve("/v1/models", fakes.redirect(f"{elsewhere.base_url}/models", 302))
    [result] = probe(["openai"])
    assert "which is not followed" in str(result.error)
    assert elsewhere.requests == []


@pytest.mark.parametrize(
    ("before", "location", "followed"),
    [
        ("http://gpu-box/v1", "https://gpu-box/v1", True),
        ("http://gpu-box/v1", "/v1/", True),
        ("https://gpu-box/v1", "https://gpu-box:443/v1/", True),
        ("https://gpu-box/v1", "http://gpu-box/v1", False),
        ("http://gpu-box:8000/v1", "https://gpu-box/v1", False),
        ("http://gpu-box/v1", "http://gpu-box:8080/v1", False),
        ("https://gpu-box/v1", "https://gpu-box.example/v1", False),
        ("https://gpu-box/v1", "//elsewhere.example/v1", False),
        ("https://gpu-box/v1", "https://gpu-box@elsewhere.example/v1", False),
    ],
)
def test_only_the_same_server_or_the_same_host_with_tls_is_followed(before, location, followed):
    request = httpx2.Request("POST", before, headers={"Authorization": f"Bearer {KEY}"}, content=b"{}")
    if not followed:
        with pytest.raises(RedirectRefusedError):
            redirected(request, 307, location)
        return
    following = redirected(request, 307, location)
    assert (following.url.host, following.method, following.content) == ("gpu-box", "POST", b"{}")
    assert following.headers["host"] == "gpu-box"
    assert following.headers["authorization"] == f"Bearer {KEY}"
