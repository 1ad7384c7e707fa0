"""Tests of TLS: own certificates by every setting, with both transports, and each certificate error by its name."""

from __future__ import annotations

import contextlib
import shutil
import socket
import socketserver
import ssl
import subprocess
import threading
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import pytest
import trustme

from ipyllm import LLMError, OpenAIService, create_llm_service, fallback
from ipyllm.registry.discovery import probe
from ipyllm.runtime.service_thread import service_thread
from tests import fakes
from tests.fakes import FakeLLM, answer

needs_openssl = pytest.mark.skipif(shutil.which("openssl") is None, reason="there is no openssl command")
VARIABLES = ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")


@pytest.fixture(autouse=True)
def no_certificates_of_the_machine(monkeypatch):
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="module")
def authority():
    return trustme.CA()


@contextmanager
def server(issuer, *names, **validity):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    issuer.issue_cert(*(names or ("127.0.0.1",)), **validity).configure_cert(context)
    with FakeLLM(tls=context) as running:
        yield running


@pytest.fixture
def secure(authority):
    """A fake that speaks https, with a certificate that its authority signed."""
    with server(authority) as running:
        yield running


@pytest.fixture
def ca_file(authority, tmp_path):
    path = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(path)
    return path


def by_variable(name):
    def trust(monkeypatch, config, ca_file, base_url):
        monkeypatch.setenv(name, str(ca_file))

    return trust


def by_folder(monkeypatch, config, ca_file, base_url):
    folder = ca_file.parent / "folder"
    folder.mkdir()
    (folder / "ours.pem").write_bytes(ca_file.read_bytes())
    (folder / "readme.txt").write_text("Not a certificate.")
    monkeypatch.setenv("SSL_CERT_DIR", f"/no/such/folder:{folder}")


def by_hashed_folder(monkeypatch, config, ca_file, base_url):
    by_folder(monkeypatch, config, ca_file, base_url)
    subprocess.run(["openssl", "rehash", str(ca_file.parent / "folder")], check=True, capture_output=True)
    (ca_file.parent / "folder" / "other.pem").write_text("-----BEGIN")


def by_setting(monkeypatch, config, ca_file, base_url):
    config.write_text(f'ca_file = "{ca_file}"\n' + config.read_text())


def by_endpoint(monkeypatch, config, ca_file, base_url):
    config.write_text(config.read_text() + f'ca_file = "{ca_file}"\n')


def by_setting_besides_a_variable(monkeypatch, config, ca_file, base_url):
    other = ca_file.parent / "other.pem"
    trustme.CA().cert_pem.write_to_path(other)
    monkeypatch.setenv("SSL_CERT_FILE", str(other))
    by_setting(monkeypatch, config, ca_file, base_url)


WAYS = {
    "SSL_CERT_FILE": by_variable("SSL_CERT_FILE"),
    "SSL_CERT_DIR": by_folder,
    "SSL_CERT_DIR, hashed": by_hashed_folder,
    "REQUESTS_CA_BUNDLE": by_variable("REQUESTS_CA_BUNDLE"),
    "CURL_CA_BUNDLE": by_variable("CURL_CA_BUNDLE"),
    "ca_file": by_setting,
    "ca_file of the endpoint": by_endpoint,
    "ca_file and SSL_CERT_FILE": by_setting_besides_a_variable,
}


def lab(own_settings, base_url):
    config = own_settings / "config.toml"
    config.write_text(f'[endpoints.lab]\nbase_url = "{base_url}"\nmodel = "m"\n')
    return config


@pytest.mark.parametrize("way", [pytest.param(name, marks=needs_openssl if "hashed" in name else ()) for name in WAYS])
def test_own_certificates_are_trusted_by_both_transports_and_for_the_list_of_models(
    monkeypatch, own_settings, secure, ca_file, way
):
    config = lab(own_settings, secure.base_url)
    with pytest.raises(LLMError, match="an authority that is not trusted here") as caught:
        create_llm_service("lab").chat("Hello")
    assert (caught.value.category, caught.value.attempts) == ("connection", 1)
    WAYS[way](monkeypatch, config, ca_file, secure.base_url)
    service = create_llm_service("lab")
    secure.reply(answer("one"), fakes.redirect(f"{secure.base_url}/chat/completions"), answer("two"), answer("three"))
    assert [service.chat("Hello").content for _ in range(3)] == ["one", "two", "three"]
    assert probe(["lab"])[0].models == ("fake-model",)


def test_the_list_of_models_names_a_certificate_error_too(own_settings, secure):
    lab(own_settings, secure.base_url)
    (result,) = probe(["lab"])
    assert "an authority that is not trusted here signed its certificate" in str(result.error)


@pytest.mark.parametrize("name", ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"])
def test_a_variable_counts_from_the_next_call_on(monkeypatch, secure, ca_file, name):
    service = OpenAIService("m", base_url=secure.base_url)
    with pytest.raises(LLMError, match="not trusted here"):
        service.chat("Hello")
    monkeypatch.setenv(name, str(ca_file))
    assert service.chat("Hello").status == "ok"
    monkeypatch.delenv(name)
    with pytest.raises(LLMError, match="not trusted here"):
        service.chat("Hello")


def test_the_variables_of_openssl_come_before_those_of_requests(monkeypatch, secure, ca_file, tmp_path):
    monkeypatch.setenv("SSL_CERT_FILE", str(ca_file))
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "none.pem"))
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path / "none"))
    assert OpenAIService("m", base_url=secure.base_url).chat("Hello").status == "ok"


@pytest.fixture
def named_here(monkeypatch):
    """Have the certificates of tests refused for one reason only: the authority is trusted."""

    def trust(pem, tmp_path):
        path = tmp_path / "trusted.pem"
        path.write_bytes(pem.bytes())
        monkeypatch.setenv("SSL_CERT_FILE", str(path))

    return trust


NOW = datetime.now(UTC)
REFUSED = {
    "expired": ({"not_before": NOW - timedelta(9), "not_after": NOW - timedelta(1)}, "its certificate has expired"),
    "early": ({"not_before": NOW + timedelta(1), "not_after": NOW + timedelta(9)}, "is not valid yet; check this"),
}


@pytest.mark.parametrize("transport", ["fast path", "client"])
@pytest.mark.parametrize("fault", REFUSED)
def test_a_certificate_out_of_its_time_is_named(authority, named_here, tmp_path, fault, transport):
    validity, said = REFUSED[fault]
    named_here(authority.cert_pem, tmp_path)
    with server(authority, **validity) as running:
        assert said in refusal(running.base_url, transport)


@pytest.mark.parametrize("transport", ["fast path", "client"])
def test_a_certificate_of_another_host_is_named(authority, named_here, tmp_path, transport):
    named_here(authority.cert_pem, tmp_path)
    for name in ("example.com", "10.0.0.1"):
        with server(authority, name) as running:
            said = refusal(running.base_url, transport)
            assert "its certificate is for another host" in said
            assert "use an address with a host name that the certificate has" in said


@needs_openssl
@pytest.mark.parametrize("transport", ["fast path", "client"])
def test_a_self_signed_certificate_is_named_and_is_trusted_as_ca_file(own_settings, tmp_path, transport):
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    command = f"openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=box -keyout {key} -out {certificate}"
    subprocess.run([*command.split(), "-addext", "subjectAltName=IP:127.0.0.1"], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with FakeLLM(tls=context) as running:
        assert "its certificate is self-signed; if you trust it, set ca_file" in refusal(running.base_url, transport)
        (own_settings / "config.toml").write_text(f'ca_file = "{certificate}"\n')
        assert OpenAIService("m", base_url=running.base_url).chat("Hello").status == "ok"


def test_the_certificate_of_the_server_itself_is_enough(own_settings, authority, tmp_path):
    certificate = authority.issue_cert("127.0.0.1")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    certificate.cert_chain_pems[0].write_to_path(tmp_path / "server.pem")
    (own_settings / "config.toml").write_text(f'ca_file = "{tmp_path / "server.pem"}"\n')
    with FakeLLM(tls=context) as running:
        assert OpenAIService("m", base_url=running.base_url).chat("Hello").status == "ok"


class NoTLS(socketserver.BaseRequestHandler):
    def handle(self):
        self.request.recv(1000)
        self.request.sendall(b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\n\r\n")


@pytest.mark.parametrize("transport", ["fast path", "client"])
def test_an_address_of_https_where_there_is_no_tls_is_named(transport):
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), NoTLS) as plain:
        threading.Thread(target=plain.serve_forever, daemon=True).start()
        said = refusal(f"https://127.0.0.1:{plain.server_address[1]}/v1", transport)
        plain.shutdown()
    assert "it does not speak TLS there; if the server has no https, write http:// in its address" in said


def refusal(base_url, transport):
    """Return the words of a certificate error, of either way to send."""
    service = OpenAIService("m", base_url=base_url, max_retries=2)
    if transport == "client":
        thread = service_thread()
        thread.submit(thread.transport.connection(service.address())).result(30).prepared.usable = False
    with pytest.raises(LLMError) as caught:
        service.chat("Hello")
    error = caught.value
    assert (error.category, error.attempts, error.status_code) == ("connection", 1, None)
    assert str(error).count(". ") == 0
    assert "_ssl.c" not in str(error)
    return str(error)


def test_a_fallback_goes_on_from_a_server_whose_certificate_is_refused(secure, fake):
    arms = [OpenAIService("m", base_url=url) for url in (secure.base_url, fake.base_url)]
    assert fallback(*arms).chat("Hello").content == "Hello from the fake."


# ---- wrong files -----------------------------------------------------------------------------------------------


def not_pem(tmp_path):
    path = tmp_path / "wrong"
    path.write_bytes(b"\x30\x82\x01\x0a")
    return path


def a_key_only(tmp_path):
    path = tmp_path / "wrong"
    trustme.CA().private_key_pem.write_to_path(path)
    return path


def an_empty_folder(tmp_path):
    path = tmp_path / "wrong"
    path.mkdir()
    return path


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda folder: folder / "wrong", "does not exist; it should be the path of a PEM file"),
        (not_pem, "has no certificates in PEM form"),
        (a_key_only, "has no certificates in PEM form"),
        (an_empty_folder, "has no certificates in PEM form"),
    ],
    ids=["missing", "not PEM", "a key", "an empty folder"],
)
@pytest.mark.parametrize("named_by", [*VARIABLES, "ca_file in the settings"])
def test_a_file_without_certificates_is_one_sentence(monkeypatch, own_settings, secure, tmp_path, named_by, make, said):
    path = make(tmp_path)
    if named_by in VARIABLES:
        monkeypatch.setenv(named_by, str(path))
    else:
        (own_settings / "config.toml").write_text(f'ca_file = "{path}"\n')
    with pytest.raises(LLMError, match=said) as caught:
        OpenAIService("m", base_url=secure.base_url).chat("Hello")
    assert str(caught.value).startswith(f"'{path}', which {named_by} names, ")
    assert (caught.value.category, caught.value.attempts) == ("bad_request", 0)
    with (own_settings / "config.toml").open("a") as config:
        config.write(f'[endpoints.lab]\nbase_url = "{secure.base_url}"\nmodel = "m"\n')
    assert said in str(probe(["lab"])[0].error)


def test_a_server_without_tls_needs_none_of_them(monkeypatch, fake, tmp_path):
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "none.pem"))
    assert OpenAIService("m", base_url=fake.base_url).chat("Hello").status == "ok"


# ---- by a proxy --------------------------------------------------------------------------------------------------


class Tunnel(socketserver.StreamRequestHandler):
    """A proxy for https, which connects every host to one port of this machine."""

    def handle(self):
        self.server.asked.append(self.rfile.readline().decode().split()[1])
        while self.rfile.readline().strip():
            pass
        with socket.create_connection(("127.0.0.1", self.server.target)) as upstream:
            self.wfile.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            back = threading.Thread(target=self.forward, args=(upstream, self.connection), daemon=True)
            back.start()
            self.forward(self.connection, upstream)
            back.join()

    @staticmethod
    def forward(source, target):
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)


@pytest.mark.parametrize("trusted", [True, False])
def test_certificates_of_ones_own_hold_behind_a_proxy_of_the_environment(monkeypatch, authority, ca_file, trusted):
    for name in ("NO_PROXY", "no_proxy", "https_proxy"):
        monkeypatch.delenv(name, raising=False)
    with (
        server(authority, "model.invalid") as running,
        socketserver.ThreadingTCPServer(("127.0.0.1", 0), Tunnel) as proxy,
    ):
        proxy.daemon_threads, proxy.asked, proxy.target = True, [], int(running.url.rpartition(":")[2])
        threading.Thread(target=proxy.serve_forever, daemon=True).start()
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{proxy.server_address[1]}")
        service = OpenAIService(
            "m", base_url="https://model.invalid/v1?a=1", default_headers={"x-team": "blue"}, max_retries=0
        )
        if trusted:
            monkeypatch.setenv("SSL_CERT_FILE", str(ca_file))
            assert service.chat("Hello", extra_headers={"x-call": "7"}).status == "ok"
            (request,) = running.requests
            assert (request.headers["x-team"], request.headers["x-call"], request.query) == ("blue", "7", "a=1")
        else:
            with pytest.raises(LLMError, match="an authority that is not trusted here signed its certificate"):
                service.chat("Hello")
        assert proxy.asked == ["model.invalid:443"]
        service_thread().submit(service_thread().transport.aclose()).result(10)
        proxy.shutdown()
