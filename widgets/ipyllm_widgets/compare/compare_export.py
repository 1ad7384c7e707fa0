"""Exports a comparison: its rounds with all answers and votes, as markdown or JSON. API keys are masked."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Literal, get_args

from ipyllm.errors import bad_request
from ipyllm.rendering import escape_markdown, to_markdown
from ipyllm.rendering.markdown_source import fenced
from ipyllm.text.format import count
from ipyllm.text.redact import redact
from ipyllm.text.redact_json import redact_json
from ipyllm.text.suggest import suggest
from ipyllm.text.surrogates import replace_surrogates
from ipyllm_widgets.attachments.files import attached_files
from ipyllm_widgets.attachments.images import image_urls

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ipyllm_widgets.compare.compare_round import CompareRound

__all__ = ["CompareFormat", "export_comparison"]

CompareFormat = Literal["md", "json"]
_OUTCOMES = {"tie": "a tie", "both_bad": "all bad"}


def export_comparison(rounds: Sequence[CompareRound], form: CompareFormat) -> str:
    r"""Return the rounds as text. Names that a blind comparison still hides are left out.

    Raises
    ------
    LLMError
        The format does not exist.

    Examples
    --------
    >>> export_comparison([], "md")
    '# Comparison\n'
    """
    if form not in get_args(CompareFormat):
        raise bad_request(f"There is no format {form!r}. {suggest(form, get_args(CompareFormat))}")
    if form == "json":
        document = {"format": "ipyllm-comparison", "version": 1, "rounds": list(map(_as_json, rounds))}
        return json.dumps(redact_json(replace_surrogates(document)), ensure_ascii=False, indent=1) + "\n"
    lines = [line for asked in rounds for line in _as_markdown(asked)]
    return redact(replace_surrogates("\n\n".join(["# Comparison", *lines]))) + "\n"


def _as_json(asked: CompareRound) -> dict[str, Any]:
    return {
        "question": asked.number,
        "text": asked.text(),
        "files": [file._asdict() for file in attached_files(asked.question)],
        "images": len(image_urls(asked.question)),
        "follows": asked.follows,
        "vote": asked.comparison.vote_cast,
        "answers": [_answer(asked, index) for index in range(len(asked.answers))],
    }


def _answer(asked: CompareRound, index: int) -> dict[str, Any]:
    column, response = asked.comparison.column(index, render=False), asked.comparison.responses[index]
    hidden = asked.comparison.names_hidden
    reasoning = response.reasoning if response is not None else asked.answers[index].source("reasoning")
    return {
        "mark": column.mark,
        "model": None if hidden else asked.names[index],
        "status": "running" if response is None else response.status,
        "preferred": column.preferred,
        "text": asked.text(column.mark),
        "reasoning": "" if hidden else reasoning,
        "error": column.error or None,
        "footer": column.footer,
        "note": asked.note_on(index),
    }


def _as_markdown(asked: CompareRound) -> Iterator[str]:
    document = _as_json(asked)
    kind = " (follow-up, new letters)" if asked.has_new_letters else " (follow-up)" if asked.follows else ""
    yield f"## Question {asked.number}{kind}"
    yield fenced(document["text"]).rstrip()
    added = [f"{file['name']} ({file['chars']:,} characters)" for file in document["files"]]
    if document["images"]:
        added.append(count(document["images"], "image"))
    if added:
        yield f"With {escape_markdown(', '.join(added))}."
    for answer in document["answers"]:
        name = f"{answer['mark']} · {answer['model']}" if answer["model"] else f"{answer['mark']}"
        yield f"### {escape_markdown(name)}"
        if answer["text"]:
            yield to_markdown(answer["text"])
        state = "not ended" if answer["status"] == "running" else answer["error"] or ""
        if below := " · ".join(filter(None, (answer["footer"], answer["note"], state))):
            yield f"*{escape_markdown(below)}*"
    vote = document["vote"]
    preferred = next((answer["mark"] for answer in document["answers"] if answer["preferred"]), None)
    said = escape_markdown(preferred or _OUTCOMES.get(vote, str(vote))) if vote else "none"
    yield f"Vote: {said}."
