"""Fills in prompts as templates over the user's variables, in the shared sandbox, with summaries of the values."""

from __future__ import annotations

import re
from functools import partial
from typing import TYPE_CHECKING, Any

from ipyllm_magics.errors import MagicError
from ipyllm_magics.prompt.summarize_value import BUDGET_TOKENS, summarize_value

if TYPE_CHECKING:
    from collections.abc import Mapping

    from IPython.core.interactiveshell import InteractiveShell

    from ipyllm_magics.command_line.parser import Parsed

__all__ = ["fill_in", "read_prompt"]

_SPECIAL = re.compile(r"\{\{|\{%")
_RAW = "use --raw to send braces as they are"


def fill_in(
    prompt: str,
    variables: Mapping[str, Any],
    notebook_context: Mapping[str, Any] | None = None,
    budget: int = BUDGET_TOKENS,
) -> str:
    """Return ``prompt`` with its expressions replaced by their values.

    Examples
    --------
    >>> fill_in('{"q": "{{ word }}"}', {"word": "tea"})
    '{"q": "tea"}'
    >>> fill_in("Hi {{ nmae }}", {"name": "Ada"})
    Traceback (most recent call last):
        ...
    ipyllm_magics.errors.MagicError: The prompt uses {{ nmae }}, which is not defined; did you mean 'name'?
    """
    if not _SPECIAL.search(prompt):
        return prompt
    from ipyllm.errors import LLMError
    from ipyllm.templates.sandbox import SandboxedTemplate, UndefinedNameError

    names = {**(notebook_context or {}), **variables}
    to_text = partial(summarize_value, budget=budget)
    try:
        return SandboxedTemplate(prompt, subject="The prompt's template", to_text=to_text, advice=_RAW).render(names)
    except UndefinedNameError as exc:
        raise MagicError(exc.sentence("The prompt", f"define it in a cell above, or {_RAW}.")) from None
    except LLMError as exc:
        raise MagicError(str(exc)) from None


def read_prompt(text: str, parsed: Parsed, shell: InteractiveShell, budget: int, *, where: str) -> str:
    """Return the prompt; without ``--raw`` its template is filled in with variables, executed cells and last error."""
    from ipyllm_magics.prompt.notebook_context import ExecutedCells, LastError

    prompt = text.strip("\n")
    if not prompt.strip():
        raise MagicError(f"The prompt is empty: write it {where}.")
    if parsed["raw"]:
        return prompt
    return fill_in(prompt, _assigned(shell), {"cells": ExecutedCells(shell), "error": LastError()}, budget)


def _assigned(shell: InteractiveShell) -> dict[str, Any]:
    """Return the variables without those of IPython, which are its functions and histories."""
    own = shell.user_ns_hidden
    return {
        name: value
        for name, value in shell.user_ns.items()
        if name.startswith("_") or name not in own or own[name] is not value
    }
