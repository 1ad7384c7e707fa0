"""The request of a past call, as it was sent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ipyllm.errors import bad_request
from ipyllm.text.format import shorten

if TYPE_CHECKING:
    from ipyllm.ledger import Ledger
    from ipyllm.response import ChatResponse

__all__ = ["sent_request"]


def sent_request(call: str | ChatResponse, *, ledger: Ledger | None = None) -> dict[str, Any]:
    """Return the request that a call sent to the server, with all its messages and parameters.

    Parameters
    ----------
    call : str or ChatResponse
        The column ``call_id`` of ``usage()``, or the response.
    ledger : Ledger, optional
        Default: the current one.

    Returns
    -------
    dict
        The JSON that was sent. Keys are masked, and images and other files replaced by their size and SHA-256.

    Raises
    ------
    LLMError
        ``bad_request``: there is no such call; nothing was sent for it; or its text was not stored, or deleted since.

    Examples
    --------
    >>> from ipyllm.ledger import Ledger
    >>> with Ledger("sqlite://") as ledger:
    ...     ledger.put({"call_id": "01", "request": {"body": {"model": "m", "messages": []}}})
    ...     sent_request("01", ledger=ledger)
    {'model': 'm', 'messages': []}
    """
    call_id = call if isinstance(call, str) else getattr(call, "call_id", None)
    if not isinstance(call_id, str):
        raise bad_request(f"sent_request() needs a call_id or a ChatResponse, not {type(call).__name__}.")
    if ledger is None:
        from ipyllm.ledger import current_ledger

        ledger = current_ledger()
    parts = []
    wanted: str | None = call_id
    shared: int | None = None
    while wanted is not None:
        part = _stored(ledger, wanted, "" if wanted == call_id else f" of which the call {call_id!r} sent a part again")
        parts.append((part["body"], shared))
        wanted, shared = part.get("after"), part.get("shared")
    body: dict[str, Any] = dict(parts[0][0])
    field = "messages" if "messages" in body else "input"
    if len(parts) > 1:
        messages: list[Any] = []
        for earlier, n_shared in reversed(parts):
            messages = [*messages, *earlier[field]][:n_shared]
        body[field] = messages
    return body


def _stored(ledger: Ledger, call_id: str, whose: str) -> dict[str, Any]:
    from ipyllm.ledger.packed import unpack
    from ipyllm.ledger.query import Query

    query = Query(call_ids=(call_id,), packed=True)
    rows = ledger.read(query)
    if not rows:
        raise bad_request(f"The ledger has no call {shorten(call_id, 40)!r}{whose}. usage() lists them.")
    packed = rows[0][query.columns.index("request")]
    if packed is None:
        status = rows[0][query.columns.index("status")]
        raise bad_request(
            f"The ledger has no request of the call {call_id!r}{whose} ({status}): nothing was sent for it, its text "
            "was not stored (IPYLLM_STORE_TEXT=0), or deleted since."
        )
    try:
        stored: dict[str, Any] = unpack(packed)
    except ValueError:
        raise bad_request(f"The request of the call {call_id!r} is damaged in the ledger.") from None
    return stored
