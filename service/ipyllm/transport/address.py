"""The address of a server, and checks of URLs that users give."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, urlencode, urlsplit

from ipyllm.headers import NO_HEADERS, Headers, is_credential
from ipyllm.text.redact import remember_secret

if TYPE_CHECKING:
    from pydantic import SecretStr

    from ipyllm.transport.certificates import AuthoritySource

__all__ = ["Address", "canonical", "has_user", "is_in_domain", "is_url", "normalized", "with_path", "without_password"]

_LOOPBACK = {"localhost", "127.0.0.1", "::1"}
_LONGEST_HOST = 253
_NOT_IN_HOSTS = frozenset("%<>\\^`{|}\"'!$&()*+,;=~")
_USUAL_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Address:
    """A server, and all that belongs to every request to it.

    Attributes
    ----------
    base_url : str
        URL up to and with ``/v1``, and a query if every request has it.
    api_key : SecretStr or None
        Key. A repr shows no key and no password.
    headers : Headers
        Headers that the user adds to every request.
    authorities : tuple of AuthoritySource
        Where the authorities are listed whose certificates are trusted; the system's, if nowhere.
    """

    base_url: str
    api_key: SecretStr | None = None
    headers: Headers = NO_HEADERS
    authorities: tuple[AuthoritySource, ...] = ()

    def __hash__(self) -> int:
        return hash(self.base_url)  # each call looks several things up by its address

    def __repr__(self) -> str:
        return f"Address({without_password(self.base_url)!r})"

    @property
    def host(self) -> str:
        """Host and port, as the ledger's ``endpoint`` column shows them."""
        return _host(self.base_url)

    @property
    def is_loopback(self) -> bool:
        """Whether the server is on this machine."""
        return _is_loopback(self.base_url)

    @property
    def sends_own_key(self) -> bool:
        """Whether the user's headers hold the key, and none of ours is sent."""
        return self.api_key is None and self.headers.hold_a_key and "authorization" not in self.headers

    def url(self, path: str) -> str:
        """Return the URL of a path below the base URL, such as ``/models``, with the query."""
        root, mark, query = self.base_url.partition("?")
        return root + path + mark + query


@lru_cache(maxsize=256)
def normalized(base_url: str) -> str:
    """Return a URL that a user gave, without spaces around it, slashes at the end of its path, or a fragment.

    Keys in its query are masked in every text from now on.

    Examples
    --------
    >>> normalized(" http://host/v1/?api-version=1 ")
    'http://host/v1?api-version=1'
    """
    root, _, query = base_url.strip().partition("#")[0].partition("?")
    for name, value in parse_qsl(query):
        if is_credential(name):
            remember_secret(value)
    return root.rstrip("/") + (f"?{query}" if query else "")


def with_path(url: str, path: str) -> str:
    """Return a URL whose path ends in ``path``, before a query.

    Examples
    --------
    >>> with_path("https://host/?api-version=1", "/v1")
    'https://host/v1?api-version=1'
    """
    root, mark, query = normalized(url).partition("?")
    return (root if root.endswith(path) else root + path) + mark + query


# Every call asks these several times, of the same few addresses.
@lru_cache(maxsize=256)
def _host(base_url: str) -> str:
    return urlsplit(base_url).netloc.rpartition("@")[2]


@lru_cache(maxsize=256)
def _is_loopback(base_url: str) -> bool:
    return (urlsplit(base_url).hostname or "") in _LOOPBACK


@lru_cache(maxsize=256)
def is_url(text: str) -> bool:
    """Whether ``text`` is a valid HTTP(S) address of a server."""
    try:
        parts = urlsplit(text)
        is_right = parts.scheme in {"http", "https"} and (parts.port is None or parts.port > 0)
        return is_right and not any(map(_is_blank, text)) and _is_host(parts.hostname or "")
    except ValueError:  # the port is not a number, the host's brackets are not closed, or no such host can be
        return False


def _is_blank(character: str) -> bool:
    return character.isspace() or not character.isprintable()


def _is_host(name: str) -> bool:
    if ":" in name:  # `urlsplit` has checked it
        return True
    return bool(name) and len(name.encode("idna")) <= _LONGEST_HOST and not _NOT_IN_HOSTS.intersection(name)


@lru_cache(maxsize=256)
def has_user(url: str) -> bool:
    """Whether a URL has a user or a password in it."""
    return "@" in urlsplit(url).netloc


def without_password(url: str) -> str:
    """Return a URL for display, without user, password and query."""
    # Up to the last "@", as addresses are read: those before it are part of the password.
    return re.sub(r"//[^/?#]*@", "//", url).partition("?")[0]


@lru_cache(maxsize=256)
def canonical(url: str) -> str:
    """Return an address in one spelling, without user, password, and keys in its query: to compare and to store.

    Examples
    --------
    >>> canonical("HTTPS://me:secret@Host:443/v1/?key=s3cret&api-version=1")
    'https://host/v1?api-version=1'
    """
    if not is_url(url.strip()):
        return without_password(url.strip())
    parts = urlsplit(normalized(url))
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    port = "" if parts.port in {None, _USUAL_PORTS[parts.scheme]} else f":{parts.port}"
    query = urlencode(sorted(pair for pair in parse_qsl(parts.query) if not is_credential(pair[0])))
    return f"{parts.scheme}://{host}{port}{parts.path}" + (f"?{query}" if query else "")


@lru_cache(maxsize=256)
def is_in_domain(base_url: str, domain: str) -> bool:
    """Return whether the host of a URL is a domain or below it."""
    host = urlsplit(base_url).hostname or ""
    return host == domain or host.endswith(f".{domain}")
