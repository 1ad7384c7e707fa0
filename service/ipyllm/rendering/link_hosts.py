"""Says where a link goes if its text names another host, or one that can be mistaken for another."""

from __future__ import annotations

import re
import unicodedata
from urllib.parse import urlsplit

__all__ = ["shown_host", "web_host"]

# A whole text that is an address, or an address with its scheme anywhere in it.
_ADDRESS = re.compile(
    r"(?<![\w=/&?%.-])https?:[/\\]{2}([^\s/\\?#]+)|(?:^|(?<=\s))(www\.[^\s/\\?#]+)|^((?:[\w-]+\.)+[^\W\d_]{2,24})(?::\d+)?(?:[/?#]\S*)?$",
    re.IGNORECASE,
)
# Scripts with letters that look like Latin ones.
_LOOK_ALIKES = frozenset({"CYRILLIC", "GREEK", "ARMENIAN", "CHEROKEE", "COPTIC", "LISU", "DESERET"})
_INVISIBLE = dict.fromkeys(
    [*range(0x202A, 0x202F), *range(0x2066, 0x206A), *range(0x200B, 0x2010), 0x2060, 0xFEFF, 0x00AD, 0x061C]
)
_SAMPLE = 2_000  # characters of a link's text that are looked at


def shown_host(label: str, target: str) -> str:
    """Return the host of ``target`` if the text of the link does not tell it truly; an empty string if it does.

    Examples
    --------
    >>> shown_host("https://bank.example/login", "https://evil.example")
    'evil.example'
    >>> shown_host("the docs", "https://docs.example"), shown_host("docs.example/a", "https://docs.example/a")
    ('', '')
    >>> shown_host("https://b\u0430nk.example", "https://xn--bnk-6cd.example")
    'xn--bnk-6cd.example'
    """
    host = web_host(target)
    if not host:
        return ""
    named = [
        next(filter(None, found.groups())) for found in _ADDRESS.finditer(label[:_SAMPLE].translate(_INVISIBLE).strip())
    ]
    told = [_plain(name) for name in named]
    if any(name != _plain(host) for name in told):
        return ascii_host(host)
    return ascii_host(host) if any(map(_is_mistakable, named)) else ""


def web_host(address: str) -> str:
    """Return the host of a web address, or an empty string."""
    try:
        parts = urlsplit(address)
    except ValueError:
        return ""
    return (parts.hostname or "") if parts.scheme in {"http", "https"} else ""


def ascii_host(host: str) -> str:
    """Return a host in ASCII, international ones in Punycode."""
    return ".".join(_ascii_label(label) for label in host.split("."))


def _ascii_label(label: str) -> str:
    if label.isascii():
        return label
    normal = unicodedata.normalize("NFKC", label).lower()
    return normal if normal.isascii() else "xn--" + normal.encode("punycode").decode("ascii")


def _plain(host: str) -> str:
    """Return what two names of one host have in common. A name with a user before it is that of no host."""
    if "@" in host:
        return host
    return ascii_host(re.sub(r":\d+$", "", host).rstrip(".,;:!?)]").lower().removeprefix("www."))


def _is_mistakable(host: str) -> bool:
    """Return whether letters that look like Latin ones stand beside Latin ones."""
    scripts = {unicodedata.name(letter, "").split(" ")[0] for letter in host if letter.isalpha()}
    return bool(scripts & _LOOK_ALIKES) and "LATIN" in scripts
