"""Builds the payload of a turn for the browser."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ipyllm.pipeline.stored_responses import response_to
from ipyllm.text.surrogates import replace_surrogates
from ipyllm_widgets.attachments.files import attached_files, question_text
from ipyllm_widgets.attachments.images import image_urls
from ipyllm_widgets.chat.answer_footer import answer_footer
from ipyllm_widgets.chat.answer_tokens import has_all_tokens
from ipyllm_widgets.live_answer import parts_of, waiting_payload

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ipyllm.pipeline.waiting import Waiting
    from ipyllm_widgets.chat.turn_tree import TurnNode

__all__ = ["turn_payload"]

_SHOWN_CHARS = 20_000  # of a question; the browser asks for the rest


def turn_payload(
    node: TurnNode,
    position: tuple[int, int],
    *,
    running: bool,
    waiting: Waiting | None = None,
    resumable: bool = False,
    feedback: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Return the payload of ``node``, without the parts of a running answer, which deltas send.

    ``waiting`` is what its call waits for, ``resumable`` whether the answer can be continued, ``feedback`` what was
    said of answers, by the id of the call. Renders the ``parts`` if they are None. ``position`` is the number of the
    branch, from 1, and of all branches.

    Examples
    --------
    >>> from ipyllm_widgets.chat.turn_tree import TurnNode
    >>> payload = turn_payload(TurnNode("t1", None, {"role": "user", "content": "Hi"}), (1, 2), running=False)
    >>> payload["text"], payload["branch"], payload["status"]
    ('Hi', [1, 2], 'cancelled')
    """
    text = question_text(node.question)
    payload: dict[str, Any] = {
        "id": node.name,
        "text": replace_surrogates(text[:_SHOWN_CHARS]),
        "chars": len(text),
        "images": image_urls(node.question),
        "files": [file._asdict() for file in attached_files(node.question)],
        "branch": list(position),
        "note": node.note,
        "error": None,
        "resumable": resumable,
        "waiting": waiting_payload(waiting),
        "feedback": None if running or node.call_id is None else (feedback or {}).get(node.call_id, ""),
    }
    if node.elsewhere is not None:
        return payload | {"status": "running", "footer": f"{node.requested_model} · asked in another chat"}
    if running:
        return payload | {"status": "running", "footer": node.requested_model}
    if node.parts is None:
        node.parts = _parts(node)
    return payload | {"parts": node.parts} | _outcome(node)


def _parts(node: TurnNode) -> dict[str, Any]:
    """Return the answer as HTML, of all its steps, as it was when they streamed."""
    response = node.response
    if response is None:
        return parts_of("", node.answer, node.tool_calls)
    earlier = [step for step in response.steps if step.call_id != response.call_id]
    reasoning = [step.reasoning for step in (*earlier, response) if step.reasoning]
    # The text of an answer without a last step is that of the earlier ones.
    texts = [step.content for step in earlier if step.content and response.content]
    calls = response.tool_results or node.tool_calls
    return parts_of("\n\n".join(reasoning), "\n\n".join([*texts, node.answer]), calls)


def _outcome(node: TurnNode) -> dict[str, Any]:
    response = node.response
    if response is None and node.turn is not None:
        response = response_to(node.turn, {})
    if response is not None:
        error = response.error_message if response.status != "cancelled" else None
        return {
            "status": response.status,
            "footer": answer_footer(response, error_shown=bool(error)),
            "error": replace_surrogates(error) if error else None,
            "tokens": has_all_tokens(response),
        }
    return {"status": "cancelled", "footer": ""}
