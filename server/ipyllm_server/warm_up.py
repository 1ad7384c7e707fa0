"""What the first call would wait for, done when the server starts: imports, threads, the ledger."""

from __future__ import annotations

import logging

from ipyllm.errors import LLMError
from ipyllm.ledger.current import current_ledger
from ipyllm.ledger.query import ConversationQuery
from ipyllm.observability.logs import log_failure
from ipyllm.registry.models import create_llm_service
from ipyllm.runtime.service_thread import service_thread

__all__ = ["warm_up"]

_logger = logging.getLogger("ipyllm.server")


def warm_up(model: str | None) -> None:
    """Make ready for a call to a model; for a thread of its own.

    What is wrong, such as a setting, is logged here, and told by the calls.

    Parameters
    ----------
    model : str or None
        Name of the model; None for the default.
    """
    import ipyllm.transport.fast_path
    import ipyllm.transport.timed_session  # noqa: F401 # both bring the HTTP libraries

    service_thread()
    try:
        create_llm_service(model).request("Hello")
        current_ledger().read(ConversationQuery(places=("server",), limit=1))
    except (LLMError, OSError, ValueError) as exc:
        log_failure(_logger, "the server could not be warmed up", exc)
