"""The address of a server, and checks of URLs that users give."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from pydantic import SecretStr

__all__ = ["Address", "is_in_domain", "is_url", "without_password"]

_LOOPBACK = {"localhost", "127.0.0.1", "::1"}


@dataclass(frozen=True, slots=True)
class Address:
    """A server's ``base_url``, up to and including ``/v1``, and the API key. A repr shows no key and no password."""

    base_url: str
    api_key: SecretStr | None = None

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
        return parts.scheme in {"http", "https"} and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:  # the port is not a number
        return False


def without_password(url: str) -> str:
    """Return a URL for display, without user, password and query."""
    # Up to the last "@", as addresses are read: those before it are part of the password.
    return re.sub(r"//[^/?#]*@", "//", url).partition("?")[0]


@lru_cache(maxsize=256)
def is_in_domain(base_url: str, domain: str) -> bool:
    """Return whether the host of a URL is a domain or below it."""
    host = urlsplit(base_url).hostname or ""
    return host == domain or host.endswith(f".{domain}")
