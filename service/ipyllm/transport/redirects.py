"""Follows redirects of a model server on its own host only: another one must get neither the prompt nor the key."""

from __future__ import annotations

from typing import Final

import httpx2

__all__ = ["REDIRECTS", "RedirectRefusedError", "redirected"]

REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
"""Statuses that name another address."""

_KEEPS_METHOD: Final = frozenset({307, 308})
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}


class RedirectRefusedError(httpx2.RequestError):
    """A redirect that is not followed: what the server did, for a sentence that begins with its name.

    A RequestError, because the ``openai`` client passes these on as its own.
    """


def redirected(request: httpx2.Request, status_code: int, location: str) -> httpx2.Request:
    """Return the request to send next.

    It goes to the same host and port, or from ``http`` to ``https`` on the same host with the usual ports. Only a GET
    follows 301, 302 and 303, which turn a POST into a GET without the prompt (RFC 9110 §15.4).

    Raises
    ------
    RedirectRefusedError
        The redirect leads elsewhere.

    Examples
    --------
    >>> post = httpx2.Request("POST", "http://gpu-box/v1/chat/completions")
    >>> redirected(post, 307, "https://gpu-box/v1/chat/completions")
    <Request('POST', 'https://gpu-box/v1/chat/completions')>
    >>> redirected(post, 307, "https://elsewhere.example/v1")
    Traceback (most recent call last):
        ...
    ipyllm.transport.redirects.RedirectRefusedError: redirects to elsewhere.example
    """
    try:
        url = request.url.join(location)
        is_same_server = _is_same_server(request.url, url)
    except (httpx2.InvalidURL, ValueError):
        raise RedirectRefusedError("redirects to an address that is not valid") from None
    if not is_same_server:
        raise RedirectRefusedError(f"redirects to {_shown(request.url, url)}")
    if request.method != "GET" and status_code not in _KEEPS_METHOD:
        raise RedirectRefusedError(f"redirects to {url.copy_with(query=None, fragment=None, userinfo=b'')}")
    headers = [(name, value) for name, value in request.headers.multi_items() if name.lower() != "host"]
    return httpx2.Request(request.method, url, headers=headers, content=request.content, extensions=request.extensions)


def _is_same_server(before: httpx2.URL, after: httpx2.URL) -> bool:
    if before.host != after.host:
        return False
    if (before.scheme, _port(before)) == (after.scheme, _port(after)):
        return True
    return (before.scheme, _port(before), after.scheme, _port(after)) == ("http", 80, "https", 443)


def _port(url: httpx2.URL) -> int | None:
    return url.port or _DEFAULT_PORTS.get(url.scheme)


def _shown(before: httpx2.URL, after: httpx2.URL) -> str:
    """Return the host, with the scheme and port if it is another server on the same one."""
    if before.host != after.host:
        return after.netloc.decode("ascii")
    return f"{after.scheme}://{after.netloc.decode('ascii')}"
