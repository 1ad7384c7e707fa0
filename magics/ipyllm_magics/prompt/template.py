"""Prompts as templates over the user's variables: the shared sandbox, over short forms of values."""

from __future__ import annotations

import re
from functools import partial
from typing import TYPE_CHECKING, Any

from ipyllm_magics.errors import MagicError
from ipyllm_magics.prompt.summarize_value import BUDGET_TOKENS, compact

if TYPE_CHECKING:
    from collections.abc import Mapping

    from IPython.core.interactiveshell import InteractiveShell

__all__ = ["fill_in", "filled_in_cell"]

_SPECIAL = re.compile(r"\{\{|\{%")
_IPYTHONS = ("exit", "quit", "open", "get_ipython", "In", "Out")  # not what a prompt should reach
_RAW = "use --raw to send braces as they are"


def fill_in(
    prompt: str,
    variables: Mapping[str, Any],
    surroundings: Mapping[str, Any] | None = None,
    budget: int = BUDGET_TOKENS,
) -> str:
    """Return ``prompt`` with its expressions replaced by their values.

    Parameters
    ----------
    prompt : str
        As written.
    variables : mapping
        The user's.
    surroundings : mapping, optional
        What a template may name besides, such as ``cells``; a variable of the user's of that name comes first.
    budget : int
        Tokens of one value, see :func:`~ipyllm_magics.prompt.summarize_value.compact`.

    Raises
    ------
    MagicError
        For a name that does not exist (with the nearest that does), a template that does not parse, what the
        sandbox does not allow, a key among the values, and whatever an expression raises.

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

    names = {**(surroundings or {}), **variables}
    for name in _IPYTHONS:
        names.pop(name, None)
    present = partial(compact, budget=budget)
    try:
        return SandboxedTemplate(prompt, subject="The prompt's template", to_text=present, advice=_RAW).render(names)
    except UndefinedNameError as exc:
        raise MagicError(exc.sentence("The prompt", f"define it in a cell above, or {_RAW}.")) from None
    except LLMError as exc:
        raise MagicError(str(exc)) from None


def filled_in_cell(prompt: str, shell: InteractiveShell, budget: int) -> str:
    """Return ``prompt`` with the notebook's variables in it, and with what the notebook has just done."""
    from ipyllm_magics.prompt.notebook_context import Cells, LastError

    return fill_in(prompt, shell.user_ns, {"cells": Cells(shell), "error": LastError()}, budget)
