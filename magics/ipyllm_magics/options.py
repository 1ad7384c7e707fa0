"""The options of the magics: one table that parsing, help and documentation read.

A line is options, then (for ``%llm``) the prompt exactly as written: quotes, braces and dashes in a prompt
mean nothing here.
"""

from __future__ import annotations

import difflib
import keyword
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ipyllm_magics.errors import MagicError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["CONVERSATION", "HISTORY", "LLM", "MODELS", "USAGE", "Option", "Parsed", "help_text", "parse"]


@dataclass(frozen=True, slots=True)
class Option:
    """One option. ``read`` turns its word into a value; without it the option is a flag."""

    flags: tuple[str, ...]
    name: str
    help: str
    read: Callable[[str], Any] | None = None
    metavar: str = ""
    value: Any = True


@dataclass(frozen=True, slots=True)
class Parsed:
    """Options by name, and what follows them, untouched."""

    options: dict[str, Any]
    rest: str

    def __getitem__(self, name: str) -> Any:
        return self.options.get(name)


def _number(word: str) -> float:
    return float(word)


def _variable(word: str) -> str:
    if not word.isidentifier() or keyword.iskeyword(word):
        raise ValueError("the name of a variable")
    return word


def _seconds(word: str) -> float:
    value = float(word)
    if not 0 < value < float("inf"):
        raise ValueError("a number of seconds above 0")
    return value


_EXPECTED: dict[Callable[[str], Any], str] = {
    int: "a whole number",
    _number: "a number",
    _seconds: "a number of seconds above 0",
    _variable: "the name of a variable",
}

CONVERSATION = Option(("-c", "--conversation"), "conversation", "conversation to go on with", str, "NAME")
LLM: tuple[Option, ...] = (
    Option(("-m", "--model"), "model", "model, `service/model` or an alias", str, "MODEL"),
    Option(("-s", "--system"), "system", "system message of the conversation", str, "TEXT"),
    CONVERSATION,
    Option(("--new",), "new", "begin the conversation anew"),
    Option(("--no-history",), "history", "neither read nor remember the conversation", value=False),
    Option(("-o", "--output"), "output", "variable that takes the ChatResponse", _variable, "VAR"),
    Option(("-t", "--temperature"), "temperature", "0 (always the likeliest word) to 2", _number, "NUMBER"),
    Option(("--max-tokens",), "max_tokens", "longest answer, in tokens", int, "N"),
    Option(("--seed",), "seed", "seed of the sampling", int, "N"),
    Option(("--timeout",), "timeout", "longest silence, in seconds", _seconds, "SECONDS"),
    Option(("--raw",), "raw", "send the prompt as written: {{ }} is not filled in"),
    Option(("--quiet",), "quiet", "show nothing; the answer is in -o and in _llm"),
    Option(("-h", "--help"), "help", "show this"),
)
HISTORY: tuple[Option, ...] = (CONVERSATION, Option(("-h", "--help"), "help", "show this"))
MODELS: tuple[Option, ...] = (Option(("-h", "--help"), "help", "show this"),)
USAGE: tuple[Option, ...] = (
    Option(("--by",), "by", "summarise by model, status, params.temperature, tags.arm, …", str, "COLUMN[,COLUMN]"),
    Option(("--all",), "all", "calls of every kernel, not only this one"),
    Option(("--full",), "full", "every column of the ledger"),
    Option(("-h", "--help"), "help", "show this"),
)


def parse(line: str, table: Sequence[Option], *, magic: str, prompt_follows: bool) -> Parsed:
    r"""Read the options at the start of ``line``.

    Parameters
    ----------
    line : str
        What follows the magic's name.
    table : sequence of Option
        The options there are.
    magic : str
        As the user wrote it, for messages.
    prompt_follows : bool
        Whether free text may follow the options; if not, any other word is an error.

    Raises
    ------
    MagicError
        One sentence: what is wrong, and what was probably meant.

    Examples
    --------
    >>> parsed = parse('-m local/x -t 0 -- it\'s {"a": 1}', LLM, magic="%llm", prompt_follows=True)
    >>> parsed.options, parsed.rest
    ({'model': 'local/x', 'temperature': 0.0}, 'it\'s {"a": 1}')
    """
    by_flag = {flag: option for option in table for flag in option.flags}
    found: dict[str, Any] = {}
    rest = line.lstrip()
    while rest and _is_option(rest):
        word, rest = _word(rest, magic)
        if word == "--":
            return Parsed(found, rest)
        flag, equals, value = word.partition("=") if word.startswith("--") else (word, "", "")
        option = by_flag.get(flag)
        if option is None:
            raise MagicError(f"{magic} has no option {flag}.{_nearest(flag, by_flag)}")
        if option.name in found:
            raise MagicError(f"{magic} was given {flag} twice.")
        if option.read is None:
            if equals:
                raise MagicError(f"{magic}: {flag} takes no value.")
            found[option.name] = option.value
            continue
        if not equals:
            if not rest:
                raise MagicError(f"{magic}: {flag} needs a value ({option.metavar}).")
            value, rest = _word(rest, magic)
        found[option.name] = _value(option, value, flag, magic)
    if rest and not prompt_follows:
        raise MagicError(f"{magic} does not know what to do with {rest.rstrip()!r}.{_nearest(rest, by_flag)}")
    return Parsed(found, rest)


def _is_option(rest: str) -> bool:
    # A lone dash, a negative number or a markdown rule begin a prompt; "--" ends the options.
    return (rest[0] == "-" and len(rest) > 1 and (rest[1].isalpha() or rest[1] == "-")) and not rest.startswith("---")


def _value(option: Option, word: str, flag: str, magic: str) -> Any:
    assert option.read is not None
    try:
        return option.read(word)
    except ValueError:
        expected = _EXPECTED.get(option.read, option.metavar)
        raise MagicError(f"{magic}: {flag} needs {expected}, not {word!r}.") from None


def _word(text: str, magic: str) -> tuple[str, str]:
    """Read one word as a shell would, quotes and all; return it and what follows it."""
    word: list[str] = []
    place, quote = 0, ""
    while place < len(text):
        char = text[place]
        if quote:
            if char == quote:
                quote = ""
            elif char == "\\" and text[place + 1 : place + 2] in {quote, "\\"}:
                place += 1
                word.append(text[place])
            else:
                word.append(char)
        elif char in "\"'":
            quote = char
        elif char.isspace():
            break
        else:
            word.append(char)
        place += 1
    if quote:
        raise MagicError(f"{magic}: the quote {quote} in {text.strip()!r} is never closed.")
    return "".join(word), text[place:].lstrip()


def _nearest(word: str, by_flag: dict[str, Option]) -> str:
    near = difflib.get_close_matches(word, by_flag, n=1)
    return f" Did you mean {near[0]}?" if near else f" It has: {', '.join(sorted(by_flag))}."


def help_text(usage: str, what: str, table: Sequence[Option]) -> str:
    """Write the help page of a magic.

    Examples
    --------
    >>> print(help_text("%llm_history show", "Shows the conversation.", HISTORY[:1]))
    %llm_history show
    <BLANKLINE>
    Shows the conversation.
    <BLANKLINE>
      -c, --conversation NAME   conversation to go on with
    """
    rows = [
        (", ".join(option.flags) + (f" {option.metavar}" if option.metavar else ""), option.help) for option in table
    ]
    width = max(len(flags) for flags, _ in rows) + 3
    listed = "\n".join(f"  {flags:<{width}}{text}" for flags, text in rows)
    return f"{usage}\n\n{what}\n\n{listed}"
