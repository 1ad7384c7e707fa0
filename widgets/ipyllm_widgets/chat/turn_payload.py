"""A question and its answer as the browser gets them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ipyllm.messages import text_of
from ipyllm.rendering import footer_text
from ipyllm.text.surrogates import replace_surrogates
from ipyllm_widgets.chat.images import addresses
from ipyllm_widgets.live_answer import parts_of

if TYPE_CHECKING:
    from ipyllm_widgets.chat.tree import Node

__all__ = ["exchange_of"]

_LONGEST_SHOWN = 20_000  # characters of a question that are sent to the browser unasked


def exchange_of(node: Node, branch: tuple[int, int], *, running: bool) -> dict[str, Any]:
    """Return what is shown of ``node``; while it runs, its answer is told by deltas instead.

    Parameters
    ----------
    node : Node
        Its ``parts`` are rendered here if they have not been.
    branch : tuple of int
        Which of how many, from 1.
    running : bool
        Whether its answer is coming.

    Examples
    --------
    >>> from ipyllm_widgets.chat.tree import Node
    >>> told = exchange_of(Node("t1", None, {"role": "user", "content": "Hi"}), (1, 2), running=False)
    >>> told["text"], told["branch"], told["status"]
    ('Hi', [1, 2], 'cancelled')
    """
    text = text_of(node.question)
    told: dict[str, Any] = {
        "id": node.name,
        "text": replace_surrogates(text[:_LONGEST_SHOWN]),
        "chars": len(text),
        "images": addresses(node.question),
        "branch": list(branch),
        "note": node.note,
        "error": None,
    }
    if running:
        return told | {"status": "running", "footer": node.asked}
    if node.parts is None:
        node.parts = parts_of("", node.answer)
    return told | {"parts": node.parts} | _end(node)


def _end(node: Node) -> dict[str, Any]:
    response = node.response
    if response is not None:
        said = response.error_message if response.status != "cancelled" else None
        return {
            "status": response.status,
            "footer": footer_text(response),
            "error": replace_surrogates(said) if said else None,
        }
    if node.turn is not None:
        return {"status": node.turn.status, "footer": node.turn.model or ""}
    return {"status": "cancelled", "footer": ""}
