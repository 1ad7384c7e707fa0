"""Requests to llama.cpp's own API, beside the one of OpenAI: tokens, templates, and distributions of the next token."""

from __future__ import annotations

import http.client
import json
from typing import TYPE_CHECKING, Any, Final

from ipyllm.errors import LLMError
from ipyllm.text.secrets import value_of

if TYPE_CHECKING:
    from ipyllm.embedded.server import EmbeddedServer

__all__ = ["ask_server"]

_TIMEOUT_S: Final = 120.0
_OK: Final = 200


def ask_server(server: EmbeddedServer, path: str, body: dict[str, Any]) -> Any:
    """Return the JSON that the server of an embedded model answers to ``body``.

    Raises
    ------
    LLMError
        ``api_error``: it refused the request, or ended.
    """
    address = server.base_url.removeprefix("http://").removesuffix("/v1")
    connection = http.client.HTTPConnection(address, timeout=_TIMEOUT_S)  # no proxy: it would see the key
    headers = {"Authorization": f"Bearer {value_of(server.api_key)}", "Content-Type": "application/json"}
    try:
        connection.request("POST", path, json.dumps(body).encode("utf-8", "replace"), headers)
        reply = connection.getresponse()
        data = json.loads(reply.read())
    except (OSError, http.client.HTTPException, ValueError) as exc:
        raise _failure(server, str(exc) or type(exc).__name__) from None
    finally:
        connection.close()
    if reply.status != _OK:
        error = data.get("error", {}) if isinstance(data, dict) else {}
        raise _failure(server, str(error.get("message", f"HTTP {reply.status}")))
    return data


def _failure(server: EmbeddedServer, why: str) -> LLMError:
    model = f"local/{server.model_name}"
    return LLMError(f"{model} could not answer: {why.rstrip('.')}.", category="api_error", model=model)
