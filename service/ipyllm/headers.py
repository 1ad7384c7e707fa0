"""HTTP headers that users add to requests: checked, immutable, and shown by name only."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from ipyllm.text.redact import remember_secret
from ipyllm.text.secrets import as_secret

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pydantic import SecretStr

__all__ = ["NO_HEADERS", "Headers", "is_credential"]

_TOKEN: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")  # RFC 9110 §5.6.2
_NOT_A_VALUE: Final = re.compile(r"[^\t\x20-\x7e]")
_NOT_THE_USERS: Final = frozenset(
    {"content-length", "content-encoding", "transfer-encoding"}
    | {"connection", "expect", "keep-alive", "proxy-connection", "te", "trailer", "upgrade"}
)
"""Headers that say how the body is sent, or what the connection does: RFC 9110 §7.6.1, §10.1.1."""

_WORD: Final = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
_SECRET_WORDS: Final = frozenset({"bearer", "creds", "hmac", "pwd", "sig"})
_SECRET_ENDINGS: Final = (
    *("auth", "authorization", "authentication", "cookie", "credential", "credentials", "jwt", "key", "passcode"),
    *("passphrase", "passwd", "password", "secret", "signature", "token"),
)
"""Ends of words, because some names are written in one: ``x-authtoken``."""

_WITHOUT_EFFECT: Final = frozenset(
    {"user-agent", "referer", "http-referer", "x-title", "traceparent", "tracestate", "baggage"}
    | {"x-request-id", "x-correlation-id", "x-client-request-id"}
)
"""Headers that say who asks, or which call it is."""

_MASK: Final = "[header hidden]"
_MIN_HIDDEN: Final = 6  # characters; shorter values occur in ordinary words


def is_credential(name: str) -> bool:
    """Whether a header or query parameter of this name holds a key.

    Examples
    --------
    >>> [is_credential(name) for name in ("Authorization", "x-goog-api-key", "X-AuthTokenV2", "x-authtoken")]
    [True, True, True, True]
    >>> [is_credential(name) for name in ("anthropic-beta", "x-max-tokens", "x-tokenizer", "x-author")]
    [False, False, False, False]
    """
    words = [word.lower() for word in _WORD.findall(name)]
    return any(word.endswith(_SECRET_ENDINGS) or word in _SECRET_WORDS for word in words)


@dataclass(frozen=True, slots=True, repr=False)
class Headers:
    """Headers of a request. A repr shows their names; a pickle leaves out those that hold keys, as it does keys.

    Attributes
    ----------
    pairs : tuple of (str, SecretStr)
        Names and values. Iterating over the headers yields the values as text.

    Examples
    --------
    >>> call, service = Headers.of({"X-Team": "blue"}), Headers.of({"x-team": "red", "x-region": "eu"})
    >>> call.with_defaults(service)
    Headers('x-region', 'X-Team')
    """

    pairs: tuple[tuple[str, SecretStr], ...] = ()

    @classmethod
    def of(cls, given: Mapping[str, Any] | Headers | None) -> Headers:
        """Check names and values, and mask keys among them in every text from now on; a value of None is left out.

        Raises
        ------
        ValueError
            One sentence, which names the header and never shows its value.
        """
        if given is None or isinstance(given, Headers):
            return given or NO_HEADERS
        if not isinstance(given, Mapping):
            raise ValueError(  # noqa: TRY004 - pydantic passes on a ValueError, and our callers make bad_request of it
                f"headers are a mapping of names to values, such as {{'x-team': 'blue'}}, not {type(given).__name__}"
            )
        headers = NO_HEADERS
        for name, value in given.items():
            if value is not None:
                pair = _checked_name(name), as_secret(_checked_value(name, value))
                headers = cls((pair,)).with_defaults(headers)
        for name, value in headers:
            if is_credential(name):
                remember_secret(value)
                remember_secret(value.rpartition(" ")[2])  # without the scheme, as in "Bearer …"
        return headers

    def with_defaults(self, lower: Headers) -> Headers:
        """Return these headers and those of ``lower`` that have other names, in any case of letters."""
        if not (self.pairs and lower.pairs):
            return self if self.pairs else lower
        own = {name.lower() for name, _ in self.pairs}
        return Headers((*((name, value) for name, value in lower.pairs if name.lower() not in own), *self.pairs))

    def digest(self) -> str:
        """Return a hash of what may affect an answer; empty if there is nothing.

        Left out are keys, as everywhere, and headers that only say who asks.
        """
        relevant = sorted(
            (name.lower(), value)
            for name, value in self
            if name.lower() not in _WITHOUT_EFFECT and not is_credential(name)
        )
        return hashlib.sha256(json.dumps(relevant).encode()).hexdigest()[:32] if relevant else ""

    def hide(self, text: str) -> str:
        """Return ``text`` with the values of these headers masked, for the words of a server that repeats them."""
        for value in sorted({value for _, value in self if len(value) >= _MIN_HIDDEN}, key=len, reverse=True):
            text = text.replace(value, _MASK)
        return text

    @property
    def hold_a_key(self) -> bool:
        """Whether one of them holds a key."""
        return bool(self.pairs) and any(is_credential(name) for name, _ in self.pairs)

    def __bool__(self) -> bool:
        return bool(self.pairs)

    def __contains__(self, name: str) -> bool:
        return any(own.lower() == name.lower() for own, _ in self.pairs)

    def __iter__(self) -> Iterator[tuple[str, str]]:
        return ((name, value.get_secret_value()) for name, value in self.pairs)

    def __repr__(self) -> str:
        return f"Headers({', '.join(repr(name) for name, _ in self.pairs)})"

    def __reduce__(self) -> tuple[type[Headers], tuple[tuple[tuple[str, SecretStr], ...]]]:
        return Headers, (tuple((name, value) for name, value in self.pairs if not is_credential(name)),)


NO_HEADERS: Final = Headers()


def _checked_name(name: Any) -> str:
    if not isinstance(name, str) or not _TOKEN.fullmatch(name):
        raise ValueError(f"{name!a} is not a name of a header: it has letters, digits and hyphens, as in 'x-team'")
    if name.lower() in _NOT_THE_USERS:
        raise ValueError(f"the header {name} follows from the body or the connection, and cannot be given")
    return name


def _checked_value(name: str, value: Any) -> str:
    if hasattr(value, "get_secret_value"):
        value = value.get_secret_value()
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError(f"the header {name} must be text, not {type(value).__name__}")  # noqa: TRY004 - see above
    text = str(value).strip()
    if _NOT_A_VALUE.search(text):
        raise ValueError(f"the header {name} has a line end or a character that is not ASCII, which HTTP cannot send")
    return text
