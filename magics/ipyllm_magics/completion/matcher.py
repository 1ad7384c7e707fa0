"""Tab completion on the line of a magic: its options, the values of each, and the words of its commands."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

from ipyllm_magics.command_line.options import TABLES
from ipyllm_magics.completion.completers import candidates, word_candidates

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from IPython.core.completer import CompletionContext, SimpleMatcherResult
    from IPython.core.interactiveshell import InteractiveShell

    from ipyllm_magics.command_line.parser import Option

__all__ = ["CursorWord", "install", "uninstall", "word_at_cursor"]

_WITH_PROMPT = {"llm", "llm_compare", "llm_explain"}
_LINE = re.compile(r"\s*(?P<magic>%%?llm\w*)\s(?P<rest>.*)", re.DOTALL)
_WORD = re.compile(r"(?:\"(?:[^\"\\]|\\.)*\"?|'(?:[^'\\]|\\.)*'?|[^\s\"'])+")


class CursorWord(NamedTuple):
    """The word at the cursor, as it is typed: the value of an option, or, if that is None, an option's name or a word.

    ``before`` are the words before it that belong to no option.
    """

    option: Option | None
    typed: str
    before: tuple[str, ...] = ()


def word_at_cursor(rest: str, table: Sequence[Option]) -> CursorWord:
    """Return the word at the end of ``rest``.

    Examples
    --------
    >>> word_at_cursor("-t 0 --mod", TABLES["llm"])
    CursorWord(option=None, typed='--mod', before=())
    >>> word = word_at_cursor("-t 0 -m ollama/ll", TABLES["llm"])
    >>> word.option.name, word.typed
    ('model', 'ollama/ll')
    >>> word_at_cursor("use -", TABLES["llm_models"]).before
    ('use',)
    """
    by_flag = {flag: option for option in table for flag in option.flags}
    words = _WORD.findall(rest)
    typed = words.pop() if words and not rest[-1:].isspace() else ""
    awaits_value: Option | None = None
    before: list[str] = []
    for word in words:
        if awaits_value is not None:
            awaits_value = None
            continue
        flag, equals, _ = word.partition("=")
        option = by_flag.get(flag)
        if option is None:
            before.append(word)
        else:
            awaits_value = option if option.convert is not None and not equals else None
    if awaits_value is not None:
        return CursorWord(awaits_value, typed, tuple(before))
    flag, equals, value = typed.partition("=")
    if equals and flag in by_flag:
        return CursorWord(by_flag[flag], value, tuple(before))
    return CursorWord(None, typed, tuple(before))


def _matcher(shell: InteractiveShell) -> Any:
    from IPython.core.completer import SimpleCompletion, context_matcher

    def ipyllm_matcher(context: CompletionContext) -> SimpleMatcherResult:
        line = _LINE.fullmatch(context.text_until_cursor)
        magic = line["magic"].lstrip("%") if line is not None else ""
        if line is None or magic not in TABLES or (line["magic"].startswith("%%") and context.cursor_line > 0):
            return {"completions": []}
        word = word_at_cursor(line["rest"], TABLES[magic])
        in_prompt = word.before or (word.option is None and word.typed and not word.typed.startswith("-"))
        if magic in _WITH_PROMPT and in_prompt:
            return {"completions": []}
        kind, typed, found = _candidates(magic, word, line["rest"], shell.user_ns)
        return {
            "completions": [SimpleCompletion(_quote(each, typed), type=kind) for each in found],
            "matched_fragment": typed,
            "suppress": True,  # Python's names make no sense here
        }

    return context_matcher()(ipyllm_matcher)


def _candidates(
    magic: str, word: CursorWord, rest: str, variables: Mapping[str, Any]
) -> tuple[str, str, Sequence[str]]:
    """Return the kind of the word at the cursor, what of it is replaced, and the candidates."""
    table, typed = TABLES[magic], word.typed
    if word.option is not None:
        kind = word.option.name
        typed = typed.rpartition(",")[2] if kind == "tools" else typed  # a list with commas
        return kind, typed, candidates(kind, typed.lstrip("\"'"), variables, _models_on_line(rest, table))
    words = [] if typed.startswith("-") else word_candidates(magic, word.before, typed.lstrip("\"'"), variables)
    if words:
        return "word", typed, words
    flags = sorted(flag for option in table for flag in option.flags if flag.startswith(typed))
    return "option", typed, flags if typed.startswith("-") or not typed else []


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


def _quote(word: str, typed: str) -> str:
    """Return the word in quotes if it needs them or they are typed already; those of a folder stay open.

    >>> _quote("a plot.png", "a"), _quote("plot.png", "'pl"), _quote("my plots/", '"m')
    ('"a plot.png"', "'plot.png'", '"my plots/')
    """
    quote = typed[:1] if typed[:1] in {"'", '"'} else '"' if any(char.isspace() for char in word) else ""
    return f"{quote}{word}{'' if word.endswith('/') else quote}"


def install(shell: InteractiveShell) -> None:
    """Add the matcher to the shell's completer; IPython before 8.6 takes none, and completes nothing of ours."""
    from IPython.core import completer

    uninstall(shell)
    if hasattr(completer, "context_matcher"):
        shell.Completer.custom_matchers.append(_matcher(shell))


def uninstall(shell: InteractiveShell) -> None:
    """Remove the matcher."""
    matchers = shell.Completer.custom_matchers
    # By name: after a reload of the module it is another object.
    matchers[:] = [matcher for matcher in matchers if getattr(matcher, "__name__", "") != "ipyllm_matcher"]
