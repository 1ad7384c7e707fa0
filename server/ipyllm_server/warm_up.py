"""What the first call would wait for, done when the server starts: imports, threads, the ledger."""

from __future__ import annotations

import gc
import logging

from ipyllm.errors import LLMError
from ipyllm.ledger.current import ledger_for_calls
from ipyllm.ledger.query import ConversationQuery
from ipyllm.observability.logs import log, log_failure
from ipyllm.process_identity import this_process
from ipyllm.registry.available import available_models
from ipyllm.registry.models import create_llm_service
from ipyllm.runtime.service_thread import service_thread
from ipyllm.services import prices
from ipyllm.settings import SettingsError
from ipyllm.transport.libraries import load_libraries
from ipyllm_server.huge_pages import use_huge_pages

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
    thread = service_thread()
    load_libraries()
    prices.load()
    this_process()
    try:
        service = create_llm_service(model)
        service.request("Hello")
        ledger_for_calls().read(ConversationQuery(places=("server",), limit=1))
        available_models()
        service.check()
        if service.public_address() is not None:  # a route, or a model that is not loaded, has none yet
            thread.submit(thread.transport.connection(service.address())).result()
    except (LLMError, SettingsError) as exc:
        log(_logger, logging.WARNING, "the server could not be warmed up", reason=str(exc))
    except (OSError, ValueError) as exc:
        log_failure(_logger, "the server could not be warmed up", exc)
    # The 200,000 objects of the libraries live as long as the process: no pass over them, of 0.1 s, holds up an answer.
    gc.collect()
    gc.freeze()
    use_huge_pages()
