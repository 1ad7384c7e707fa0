"""Where a service is, and what opens it: address, key, headers, certificates, and where each of them comes from."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

from ipyllm.errors import LLMError, bad_request
from ipyllm.services.destination import check_destination
from ipyllm.services.profiles.refusal import how_to_give_a_key
from ipyllm.settings import cached_settings, get_settings
from ipyllm.settings_models import variable_value
from ipyllm.text.format import shorten
from ipyllm.text.redact import is_worth_masking, remember_secret
from ipyllm.text.secrets import as_secret, value_of
from ipyllm.transport.address import Address, canonical, has_user, is_in_domain, is_url, normalized, without_password
from ipyllm.transport.certificates import authority_sources

if TYPE_CHECKING:
    from collections.abc import Callable

    from pydantic import SecretStr

    from ipyllm.headers import Headers
    from ipyllm.settings import Settings
    from ipyllm.settings_models import Source

__all__ = ["AddressAndKey"]

_weak_key_was_noted = False

_SHOWN = 100
"""Characters of a wrong address."""


class AddressAndKey(ABC):
    """The part of a provider that knows its server."""

    name: str
    """First part of a full model name."""
    model: str
    """The model's name at this service."""
    title: str
    """Name in sentences."""
    domain: str | None = None
    """The provider's own domain: keys are required, and the price tables hold, only there."""
    url: str | None = None
    """The provider's own address, used when neither the call nor the settings give one."""
    key_variable: str | None = None
    """Environment variable of the key, if a key is needed."""
    how_to_start: str | None = None
    """What starts the server on this machine, in backquotes, if it is one that users start themselves."""

    _base_url: str | None
    _api_key: SecretStr | None
    _key_was_looked_at: bool
    _given_headers: Headers
    _default_headers: Headers
    _latest_address: tuple[Settings, tuple[object, ...], Address] | None = None
    """The address of the latest call, and what it follows from: of settings that are the same object."""

    def __getstate__(self) -> dict[str, Any]:
        """Pickle without the key: another machine has its own in its settings."""
        return self.__dict__ | {"_api_key": None, "_latest_address": None}

    @property
    @abstractmethod
    def full_name(self) -> str:
        """Name of the model as users write it, ``service/model``."""

    def base_url(self) -> str:
        """Return the address in use: the one given, else the settings', else the provider's own."""
        url = self._base_url or getattr(get_settings(), f"{self.name}_base_url", None) or self.url
        if url is None:
            raise NotImplementedError(f"{type(self).__name__} defines neither url nor base_url().")
        return url

    def api_key(self) -> str | SecretStr | None:
        """Return the key in use: the one given, else the settings'; or None."""
        if self._api_key:
            return self._api_key
        key: SecretStr | None = getattr(get_settings(), f"{self.name}_api_key", None)
        return key

    def _variable_of_key(self) -> str | None:
        """Return the variable that the key comes from, or could be given by; None if it is given otherwise."""
        variable = None if self._api_key else self.key_variable
        return variable if variable is None or variable_value(variable) or not self.api_key() else None

    def weak_key_note(self) -> str | None:
        """Return a sentence if the key is not masked, the first time in this process that one is found."""
        global _weak_key_was_noted
        if self._key_was_looked_at or _weak_key_was_noted:
            return None
        self._key_was_looked_at = True
        base_url, key = self._base_url_if_known(), as_secret(self.api_key())
        if (
            not key
            or base_url is None
            or not is_url(base_url)
            or Address(base_url).is_loopback
            or is_worth_masking(value_of(key))
        ):
            return None
        _weak_key_was_noted = True
        return (
            f"The key of {self.title} is short, or made of words: it is not masked in outputs, logs and the ledger, "
            "because ordinary text has such words too."
        )

    def headers(self) -> Headers:
        """Return the headers of every request: those given."""
        return self._default_headers

    def ca_file(self) -> str | None:
        """Return the file of authorities that are trusted besides the usual ones: the settings'; or None."""
        return cached_settings().ca_file

    def address(self) -> Address:
        """Return the address for a call; raise if a required key is missing, or the address is not a URL."""
        settings = get_settings()
        given = self.base_url(), as_secret(self.api_key()), self.headers(), self.ca_file()
        latest = self._latest_address
        if latest is not None and latest[0] is settings and latest[1] == given:
            address = latest[2]
        else:
            address = self._checked_address(*given)
            self._latest_address = settings, given, address
        if address.api_key or address.headers.hold_a_key:
            self._check_destination(address, self._sources_of_key)
        return address

    def _checked_address(self, url: str, key: SecretStr | None, headers: Headers, ca_file: str | None) -> Address:
        base_url = normalized(url)
        remember_secret(key)
        if not is_url(base_url):
            raise bad_request(
                f"The address of {self.title} is not a URL: {shorten(without_password(base_url), _SHOWN)!r}; "
                "it should look like http://host:8000/v1.",
                model=self.full_name,
            )
        if has_user(base_url):
            raise bad_request(
                f"The address of {self.title} has a user name or a password in it, and a request has only one key: "
                "leave it out of the address, and give it as api_key=… or default_headers=….",
                model=self.full_name,
            )
        if not _can_be_sent(key):
            raise LLMError(
                f"The key of {self.title} contains invalid characters. Copy it again, without quotes and line ends.",
                category="authentication",
                model=self.full_name,
            )
        if not (key or headers.hold_a_key) and self.key_variable and self.needs_key(base_url):
            raise LLMError(
                f"{self.title} needs a key: {how_to_give_a_key(self.key_variable)}.",
                category="authentication",
                model=self.full_name,
            )
        return Address(base_url, key or None, headers, authority_sources(ca_file))

    def check_headers(self, headers: Headers, address: Address) -> None:
        """Raise ``authentication`` if the headers of one call hold a key that must not be sent to the address."""
        if headers.hold_a_key:
            self._check_destination(address, lambda _: {"an argument"})

    def _check_destination(self, address: Address, key_from: Callable[[Address], set[Source | None]]) -> None:
        if not address.is_loopback and not self._is_own_host(address.base_url):
            sources = key_from(address)
            check_destination(address.base_url, self._address_source(), sources, title=self.title, model=self.full_name)

    def _sources_of_key(self, address: Address) -> set[Source | None]:
        """Return where the key and the headers that hold one come from."""
        sources = self._key_sources() if address.api_key else set()
        return sources | (self._header_sources() if address.headers.hold_a_key else set())

    def _address_source(self) -> Source | None:
        """Return where the address comes from; None for the code of the service."""
        return "an argument" if self._base_url else get_settings().source_of(f"{self.name}_base_url")

    def _key_sources(self) -> set[Source | None]:
        """Return where the key comes from."""
        return {"an argument" if self._api_key else get_settings().source_of(f"{self.name}_api_key")}

    def _header_sources(self) -> set[Source | None]:
        """Return where headers come from that may hold a key."""
        return {"an argument"} if self._given_headers else set()

    def _is_own_host(self, base_url: str) -> bool:
        """Return whether an address leads to the provider itself, over TLS."""
        return self.url is not None and base_url.startswith("https://") and self._is_own_domain(base_url)

    def check(self) -> None:
        """Check that a call can be sent, without sending anything; raise the error that every call would get."""
        self.address()

    def needs_key(self, base_url: str) -> bool:
        """Return whether the server at this address refuses calls without a key."""
        return self.domain is None or self._is_own_domain(base_url)

    def _address_without_key(self) -> Address | None:
        base_url = normalized(self.base_url())
        return Address(base_url) if is_url(base_url) else None

    def public_address(self) -> str | None:
        """Return the full address in one spelling and without keys; None if it is not known before a call."""
        base_url = self._base_url_if_known()
        return None if base_url is None else canonical(base_url)

    def _base_url_if_known(self) -> str | None:
        try:
            return self.base_url()
        # An embedded model that is not loaded, a route that has not chosen; an address that is missing.
        except (NotImplementedError, LLMError):
            return None

    def _is_own_domain(self, base_url: str) -> bool:
        return self.domain is not None and is_in_domain(base_url, self.domain)


def _can_be_sent(key: SecretStr | None) -> bool:
    return value_of(key).isascii() and value_of(key).isprintable() if key else True
