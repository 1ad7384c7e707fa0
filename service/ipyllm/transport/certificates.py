"""TLS certificates: which authorities are trusted, and what is wrong with the certificate of a server."""

from __future__ import annotations

import os
import re
import ssl
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from ipyllm.errors import bad_request
from ipyllm.settings import CERTIFICATE_VARIABLES

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["AuthoritySource", "authority_sources", "certificate_problem", "ssl_context"]

CA_FILE: Final = "ca_file in the settings"
_OF_OPENSSL: Final = CERTIFICATE_VARIABLES[:2]
_OF_REQUESTS: Final = CERTIFICATE_VARIABLES[2:]
_FOLDERS: Final = _OF_OPENSSL[1]
_HASHED_NAME: Final = re.compile(r"[0-9a-f]{8}\.\d+")  # as `openssl rehash` makes them, and OpenSSL looks them up


class AuthoritySource(NamedTuple):
    """A file or folder of trusted authorities, and what names it."""

    named_by: str
    path: str


def authority_sources(ca_file: str | None) -> tuple[AuthoritySource, ...]:
    """Return where trusted authorities are listed; without any, those of the system are trusted.

    The variables of OpenSSL (``SSL_CERT_FILE``, ``SSL_CERT_DIR``), else those of requests and curl, replace the
    system's authorities, as they do for these tools. ``ca_file`` adds to whichever are trusted otherwise.
    """
    found = [AuthoritySource(name, path) for name in _OF_OPENSSL if (path := os.environ.get(name))]
    if not found:
        found = [AuthoritySource(name, path) for name in _OF_REQUESTS if (path := os.environ.get(name))][:1]
    if ca_file:
        found.append(AuthoritySource(CA_FILE, ca_file))
    return tuple(found)


def ssl_context(sources: Sequence[AuthoritySource]) -> ssl.SSLContext:
    """Return the context that trusts these authorities. Takes milliseconds, and reads files.

    Raises
    ------
    LLMError
        ``bad_request``: a file does not exist or has no certificates, in one sentence.
    """
    if all(source.named_by == CA_FILE for source in sources):
        import httpx2

        context = httpx2.create_ssl_context(trust_env=False)
    else:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if sources:  # then an intermediate authority, or the certificate of the server itself, is enough
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    for source in sources:
        _load(context, source, is_only=len(sources) == 1)
    return context


def _load(context: ssl.SSLContext, source: AuthoritySource, *, is_only: bool) -> None:
    given = source.path.split(os.pathsep) if source.named_by == _FOLDERS else [source.path]
    paths = [Path(path).expanduser() for path in given]
    existing = [path for path in paths if path.exists()]
    if not existing:
        if source.named_by == _FOLDERS and not is_only:
            return  # as OpenSSL does: its file is what counts
        raise bad_request(f"{_named(source)} does not exist; it should be the path of a PEM file with certificates.")
    try:
        loaded = [_load_folder(context, path) if path.is_dir() else _load_file(context, path) for path in existing]
    except OSError as exc:
        raise bad_request(f"{_named(source)} cannot be read ({exc.strerror or exc}).") from None
    if not any(loaded):
        raise bad_request(
            f"{_named(source)} has no certificates in PEM form, which begin with -----BEGIN CERTIFICATE-----; "
            "`openssl x509 -inform der -in FILE -out FILE.pem` converts one."
        )


def _named(source: AuthoritySource) -> str:
    return f"{source.path!r}, which {source.named_by} names,"


def _load_file(context: ssl.SSLContext, path: Path) -> bool:
    """Trust the certificates of a file; return whether it has any."""
    path.open("rb").close()  # for OpenSSL, a file that it may not read is one without certificates
    try:
        context.load_verify_locations(cafile=path)
    except ssl.SSLError:
        return False
    return True


def _load_folder(context: ssl.SSLContext, folder: Path) -> bool:
    """Trust the certificates of a folder, also of one that nobody has prepared with ``openssl rehash``."""
    files = [path for path in folder.iterdir() if path.is_file()]
    if any(_HASHED_NAME.fullmatch(path.name) for path in files):
        context.load_verify_locations(capath=folder)
        return True
    return any([_load_file(context, path) for path in files])  # noqa: C419 - each must be loaded


_SELF_SIGNED: Final = 18
_UNKNOWN_AUTHORITY: Final = frozenset({2, 19, 20, 21})
_NOT_YET_VALID: Final = 9
_EXPIRED: Final = 10
_OTHER_HOST: Final = frozenset({62, 64})
# X509_V_ERR_… of OpenSSL, x509_vfy.h

_NO_TLS: Final = frozenset({"WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "HTTP_REQUEST"})


def certificate_problem(causes: Iterable[BaseException]) -> str | None:
    """Return what is wrong with the certificate of a server, or with its TLS, and what to do; None if nothing is.

    Examples
    --------
    >>> error = ssl.SSLCertVerificationError("…")
    >>> error.verify_code, error.verify_message = 10, "certificate has expired"
    >>> certificate_problem([error])
    "its certificate has expired; the server needs a new one, or this machine's clock is wrong"
    """
    for error in causes:
        # aiohttp's own is an SSLCertVerificationError too, which knows nothing.
        if isinstance(error, ssl.SSLCertVerificationError) and hasattr(error, "verify_code"):
            return _problem(error.verify_code, error.verify_message)
        if isinstance(error, ssl.SSLError) and getattr(error, "reason", None) in _NO_TLS:
            return "it does not speak TLS there; if the server has no https, write http:// in its address"
    return None


def _problem(code: int, message: str) -> str:
    if code == _SELF_SIGNED:
        return "its certificate is self-signed; if you trust it, set ca_file in the settings to that certificate"
    if code in _UNKNOWN_AUTHORITY:
        return (
            "an authority that is not trusted here signed its certificate; set ca_file in the settings, or "
            "SSL_CERT_FILE, to the certificate of that authority"
        )
    if code == _EXPIRED:
        return "its certificate has expired; the server needs a new one, or this machine's clock is wrong"
    if code == _NOT_YET_VALID:
        return "its certificate is not valid yet; check this machine's clock"
    if code in _OTHER_HOST:
        return (
            f"its certificate is for another host ({message.rstrip('.')}); use an address with a host name that the "
            "certificate has"
        )
    return f"its certificate was refused ({message.rstrip('.')}); check it, or set ca_file in the settings"
