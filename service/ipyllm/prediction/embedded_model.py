"""Finds the embedded model that is asked for more than an answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ipyllm.errors import bad_request

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ipyllm.embedded.server import EmbeddedServer

__all__ = ["decode_token", "server_of"]


def server_of(model: str | None, function: str) -> EmbeddedServer:
    """Return the running server of an embedded model, loaded if necessary; raise ``bad_request`` for another."""
    from ipyllm import embedded
    from ipyllm.registry.models import create_llm_service
    from ipyllm.services.local import LocalService
    from ipyllm.settings import get_settings

    service = create_llm_service(model)
    if not isinstance(service, LocalService):
        raise bad_request(
            f"{function} needs an embedded model, such as local/smollm2-135m: {service.full_name} tells nothing but "
            "its answers. For the tokens of these, give chat(…, logprobs=5).",
            model=service.full_name,
        )
    service.check()
    return embedded.get(embedded.resolve(service.model), n_ctx=get_settings().local_ctx)


def decode_token(codes: Iterable[Any]) -> str:
    r"""Return the text of a token's bytes; those of half a character as ``\xf0``.

    Examples
    --------
    >>> decode_token([32, 97]), decode_token([240, 159])
    (' a', '\\xf0\\x9f')
    """
    return bytes(codes).decode("utf-8", "backslashreplace")
