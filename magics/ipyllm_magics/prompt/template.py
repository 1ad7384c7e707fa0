"""Fills in prompts as templates over the user's variables, in the shared sandbox, with summaries of the values."""

from __future__ import annotations

import re
from copy import copy
from functools import partial
from typing import TYPE_CHECKING, Any

from ipyllm_magics.errors import Interrupted, MagicError
from ipyllm_magics.prompt.summarize_value import BUDGET_TOKENS, summarize_value

if TYPE_CHECKING:
    from collections.abc import Mapping

    from IPython.core.interactiveshell import InteractiveShell

    from ipyllm_magics.prompt.scope import Scope

__all__ = ["PromptVariables", "fill_in"]

_SPECIAL = re.compile(r"\{\{|\{%")
_RAW = "use --raw to send braces as they are"


def fill_in(
    prompt: str,
    variables: Mapping[str, Any],
    notebook_context: Mapping[str, Any] | None = None,
    budget: int = BUDGET_TOKENS,
    *,
    subject: str = "The prompt",
    place: str = "in a cell above",
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
        return SandboxedTemplate(prompt, subject=f"{subject}'s template", to_text=to_text, advice=_RAW).render(names)
    except UndefinedNameError as exc:
        raise MagicError(exc.sentence(subject, f"define it {place}, or {_RAW}.")) from None
    except LLMError as exc:
        raise MagicError(str(exc)) from None
    except KeyboardInterrupt:
        raise Interrupted("the prompt was not filled in, and nothing was sent.") from None


class PromptVariables:
    """What the templates on a magic's line and in its prompt may name: variables, executed cells, the last error."""

    def __init__(self, shell: InteractiveShell, scope: Scope, budget: int) -> None:
        from ipyllm_magics.prompt.notebook_context import ExecutedCells, LastError

        self.names = scope.assigned
        self._context = {"cells": ExecutedCells(shell), "error": LastError()}
        self._place = "in the function or in a cell above" if scope.in_function else "in a cell above"
        self._budget = budget

    def having(self, name: str, value: str) -> PromptVariables:
        """Return these variables and one more, which takes the place of another of its name."""
        other = copy(self)
        other.names = {**self.names, name: value}
        return other

    def fill_in(self, text: str, subject: str = "The prompt") -> str:
        """Return ``text`` with its expressions replaced by their values."""
        return fill_in(text, self.names, self._context, self._budget, subject=subject, place=self._place)
