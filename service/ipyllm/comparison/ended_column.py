"""Column that shows the answer of an arm that has ended."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from ipyllm.rendering import Column, footer_text, reasoning_html
from ipyllm.rendering.folding import folded_html
from ipyllm.rendering.footer import STOPPED_AT_LIMIT
from ipyllm.response import name_failure

if TYPE_CHECKING:
    from ipyllm.comparison.arms import Arm
    from ipyllm.response import ChatResponse

__all__ = ["ended_column"]


def ended_column(
    arm: Arm, response: ChatResponse, *, names_hidden: bool, same_limit: bool, preferred: bool, render: bool
) -> Column:
    """Return the column of an answer; without HTML if ``render`` is False.

    ``same_limit`` says whether the same number of tokens was set for the answers of all arms.
    """
    error = (response.error_message or "") if response.status in {"error", "truncated"} else ""
    if error and names_hidden:  # the sentence names the model
        failure = name_failure(
            response.error_category or response.status, response.cause, message=response.error_message
        )
        error = f"This arm failed: {failure}."
    # The heading shows the name. If that is hidden, times, counts and cost could reveal it, and sway the vote; a limit
    # that is the same for all does not.
    cut_off = STOPPED_AT_LIMIT if same_limit and response.finish_reason == "length" else ""
    return Column(
        arm.mark,
        "" if names_hidden else arm.label,
        # Whether a model reasons, and how, could reveal it.
        reasoning_html("" if names_hidden else response.reasoning) + folded_html(response.content) if render else "",
        response.content,
        cut_off if names_hidden else footer_text(replace(response, model=""), error_shown=bool(error)),
        error,
        preferred=preferred,
    )
