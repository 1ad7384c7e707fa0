"""Tab completion on the line of a magic: its options and the values of each."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

from IPython.core.completer import SimpleCompletion, context_matcher

from ipyllm_magics.command_line.options import TABLES
from ipyllm_magics.completion.completers import candidates

if TYPE_CHECKING:
    from collections.abc import Sequence

    from IPython.core.completer import CompletionContext, SimpleMatcherResult
    from IPython.core.interactiveshell import InteractiveShell

    from ipyllm_magics.command_line.parser import Option

__all__ = ["CursorWord", "install", "uninstall", "word_at_cursor"]

_LINE = re.compile(r"\s*(?P<magic>%%?llm\w*)\s(?P<rest>.*)", re.DOTALL)
_WORD = re.compile(r"(?:\"(?:[^\"\\]|\\.)*\"?|'(?:[^'\\]|\\.)*'?|[^\s\"'])+")


class CursorWord(NamedTuple):
    """The word at the cursor: the name of an option (``option`` is None) or an option's value."""

    option: Option | None
    partial: str


def word_at_cursor(rest: str, table: Sequence[Option]) -> CursorWord | None:
    """Return the word at the end of ``rest``; None if it belongs to the prompt.

    Examples
    --------
    >>> word_at_cursor("-t 0 --mod", TABLES["llm"])
    CursorWord(option=None, partial='--mod')
    >>> word = word_at_cursor("-t 0 -m ollama/ll", TABLES["llm"])
    >>> word.option.name, word.partial
    ('model', 'ollama/ll')
    >>> word_at_cursor("-t 0 what is", TABLES["llm"]) is None
    True
    """
    by_flag = {flag: option for option in table for flag in option.flags}
    words = _WORD.findall(rest)
    partial = words.pop() if words and not rest[-1:].isspace() else ""
    awaits_value: Option | None = None
    for word in words:
        if awaits_value is not None:
            awaits_value = None
            continue
        flag, equals, _ = word.partition("=")
        option = by_flag.get(flag if word.startswith("--") else word)
        if option is None:
            return None
        awaits_value = option if option.convert is not None and not equals else None
    if awaits_value is not None:
        return CursorWord(awaits_value, partial.lstrip("\"'"))
    flag, equals, value = partial.partition("=")
    if equals and flag in by_flag:
        return CursorWord(by_flag[flag], value.lstrip("\"'"))
    return CursorWord(None, partial) if not partial or partial.startswith("-") else None


def _matcher(shell: InteractiveShell) -> Any:
    def ipyllm_matcher(context: CompletionContext) -> SimpleMatcherResult:
        line = _LINE.fullmatch(context.text_until_cursor)
        table = TABLES.get(line["magic"].lstrip("%")) if line is not None else None
        if line is None or table is None or (line["magic"].startswith("%%") and context.cursor_line > 0):
            return {"completions": []}
        word = word_at_cursor(line["rest"], table)
        if word is None:
            return {"completions": []}
        partial, kind = word.partial, "option"
        if word.option is None:
            found = sorted(flag for option in table for flag in option.flags if flag.startswith(partial))
        else:
            kind = word.option.name
            if kind == "tools":  # a list with commas
                partial = partial.rpartition(",")[2]
            found = candidates(kind, partial, shell.user_ns, _models_on_line(line["rest"], table))
        return {
            "completions": [SimpleCompletion(_quote(word), type=kind) for word in found],
            "matched_fragment": partial,
            "suppress": True,  # Python's names make no sense here
        }

    return context_matcher()(ipyllm_matcher)


def _models_on_line(rest: str, table: Sequence[Option]) -> list[str]:
    """Return the models that ``-m`` gives.

    >>> _models_on_line("-m openai/gpt-6-luna --model=ollama/qwen3 --effort l", TABLES["llm"])
    ['openai/gpt-6-luna', 'ollama/qwen3']
    """
    flags = {flag for option in table if option.name in {"model", "models"} for flag in option.flags}
    words = _WORD.findall(rest)
    found = [words[index + 1] for index, word in enumerate(words[:-1]) if word in flags]
    found += [word.partition("=")[2] for word in words if "=" in word and word.partition("=")[0] in flags]
    return [word.strip("\"'") for word in found]


def _quote(word: str) -> str:
    return f'"{word}"' if any(char.isspace() for char in word) else word


def install(shell: InteractiveShell) -> None:
    """Add the matcher to the shell's completer."""
    uninstall(shell)
    shell.Completer.custom_matchers.append(_matcher(shell))


def uninstall(shell: InteractiveShell) -> None:
    """Remove the matcher."""
    matchers = shell.Completer.custom_matchers
    # By name: after a reload of the module it is another object.
    matchers[:] = [matcher for matcher in matchers if getattr(matcher, "__name__", "") != "ipyllm_matcher"]
