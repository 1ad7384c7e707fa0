"""One line for each request: who asked for what, with what outcome. No content, no keys, no addresses with tokens."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from ipyllm.observability.logs import log

if TYPE_CHECKING:
    from tornado.web import RequestHandler

__all__ = ["log_request"]

_logger = logging.getLogger("ipyllm.server.access")


def log_request(handler: RequestHandler, user: str | None, **fields: Any) -> None:
    """Log a request that has ended, as fields of a record of ``ipyllm.server.access``."""
    request = handler.request
    log(
        _logger,
        logging.INFO,
        "request",
        user=user,
        method=request.method,
        route=type(handler).__name__,
        status=handler.get_status(),
        seconds=round(request.request_time(), 3),
        **fields,
    )
