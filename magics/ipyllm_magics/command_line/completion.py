"""Tab completion on the line of a magic: its options, and what can stand after each."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

from IPython.core.completer import SimpleCompletion, context_matcher

from ipyllm_magics.command_line.completers import candidates
from ipyllm_magics.command_line.family_options import TABLES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from IPython.core.completer import CompletionContext, SimpleMatcherResult
    from IPython.core.interactiveshell import InteractiveShell

    from ipyllm_magics.command_line.options import Option

__all__ = ["At", "at_cursor", "install", "uninstall"]

_LINE = re.compile(r"\s*(?P<magic>%%?llm\w*)\s(?P<rest>.*)", re.DOTALL)
_WORD = re.compile(r"(?:\"(?:[^\"\\]|\\.)*\"?|'(?:[^'\\]|\\.)*'?|[^\s\"'])+")
_LISTS = {"tools"}  # whose words are lists with commas


class At(NamedTuple):
    """Where the cursor is: at an option's name (``option`` is None) or at the word after it; and what is typed."""

    option: Option | None
    partial: str


def at_cursor(rest: str, table: Sequence[Option]) -> At | None:
    """Say what is being typed at the end of ``rest``; None where it is no option: in the prompt.

    Examples
    --------
    >>> at_cursor("-t 0 --mod", TABLES["llm"])
    At(option=None, partial='--mod')
    >>> at = at_cursor("-t 0 -m ollama/ll", TABLES["llm"])
    >>> at.option.name, at.partial
    ('model', 'ollama/ll')
    >>> at_cursor("-t 0 what is", TABLES["llm"]) is None
    True
    """
    by_flag = {flag: option for option in table for flag in option.flags}
    words = _WORD.findall(rest)
    partial = words.pop() if words and not rest[-1:].isspace() else ""
    awaits: Option | None = None
    for word in words:
        if awaits is not None:
            awaits = None
            continue
        flag, equals, _ = word.partition("=")
        option = by_flag.get(flag if word.startswith("--") else word)
        if option is None:
            return None
        awaits = option if option.read is not None and not equals else None
    if awaits is not None:
        return At(awaits, partial.lstrip("\"'"))
    flag, equals, value = partial.partition("=")
    if equals and flag in by_flag:
        return At(by_flag[flag], value.lstrip("\"'"))
    return At(None, partial) if not partial or partial.startswith("-") else None


def _matcher(shell: InteractiveShell) -> Any:
    def ipyllm_matcher(context: CompletionContext) -> SimpleMatcherResult:
        line = _LINE.fullmatch(context.text_until_cursor)
        table = TABLES.get(line["magic"].lstrip("%")) if line is not None else None
        if line is None or table is None or (line["magic"].startswith("%%") and context.cursor_line > 0):
            return {"completions": []}
        at = at_cursor(line["rest"], table)
        if at is None:
            return {"completions": []}
        partial, kind = at.partial, "option"
        if at.option is None:
            found = sorted(flag for option in table for flag in option.flags if flag.startswith(partial))
        else:
            kind = at.option.completes
            if kind in _LISTS:
                partial = partial.rpartition(",")[2]
            found = candidates(kind, partial, shell.user_ns)
        return {
            "completions": [SimpleCompletion(_quoted(word), type=kind) for word in found],
            "matched_fragment": partial,
            "suppress": True,  # names of Python's make no sense here
        }

    return context_matcher()(ipyllm_matcher)


def _quoted(word: str) -> str:
    return f'"{word}"' if any(char.isspace() for char in word) else word


def install(shell: InteractiveShell) -> None:
    """Add the matcher to the shell's completer."""
    uninstall(shell)
    shell.Completer.custom_matchers.append(_matcher(shell))


def uninstall(shell: InteractiveShell) -> None:
    """Take it away."""
    matchers = shell.Completer.custom_matchers
    # By name: after a reload of the module it is another object.
    matchers[:] = [one for one in matchers if getattr(one, "__name__", "") != "ipyllm_matcher"]
