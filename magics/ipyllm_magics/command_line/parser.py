"""Parser of a magic's line: options, then (for ``%llm``) the prompt exactly as written.

Quotes, braces and dashes in a prompt have no meaning here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ipyllm.text.suggest import suggest
from ipyllm_magics.command_line.converters import ConversionError
from ipyllm_magics.errors import MagicError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

__all__ = ["Option", "Parsed", "help_text", "parse", "parse_words", "unquote"]

_PART_OF_WORD = re.compile(r"""[^\s"']+|"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'""", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Option:
    """One option of a magic.

    Attributes
    ----------
    spelling : str
        Its flags: ``-m, --model``.
    help : str
        What it does, in half a sentence.
    convert : callable or None
        Turns its word into a value or raises ValueError; None for a switch, which takes no word.
    metavar : str
        Placeholder of its word in the help.
    example : str
        A use that works, for the documentation.
    dest : str
        Name of the value, by default that of the last flag. Options with the same name exclude each other.
    value : object
        Value of a switch.
    repeatable : bool
        Whether it may be given more than once; its value is then a list.
    """

    spelling: str
    help: str
    convert: Callable[[str], Any] | None = None
    metavar: str = ""
    example: str = ""
    dest: str = ""
    value: Any = True
    repeatable: bool = False

    @property
    def flags(self) -> tuple[str, ...]:
        """The flags as users write them."""
        return tuple(self.spelling.split(", "))

    @property
    def name(self) -> str:
        """Name of the value in :class:`Parsed`."""
        return self.dest or self.flags[-1].lstrip("-").replace("-", "_")


@dataclass(frozen=True, slots=True)
class Parsed:
    """Option values by name, and the unchanged text that follows them."""

    options: dict[str, Any]
    rest: str

    def __getitem__(self, name: str) -> Any:
        return self.options.get(name)


def parse(
    line: str, table: Sequence[Option], *, magic: str, prompt_follows: bool, excluded: Mapping[str, str] | None = None
) -> Parsed:
    r"""Parse the options at the start of ``line``.

    Examples
    --------
    >>> table = [Option("-t, --temperature", "sampling temperature", float)]
    >>> parsed = parse('-t 0 -- it\'s {"a": 1}', table, magic="%llm", prompt_follows=True)
    >>> parsed.options, parsed.rest
    ({'temperature': 0.0}, 'it\'s {"a": 1}')
    """
    by_flag = {flag: option for option in table for flag in option.flags}
    values: dict[str, Any] = {}
    given: dict[str, str] = {}
    rest = line.lstrip()
    while rest and _starts_option(rest):
        word, rest = _split_word(rest, magic)
        if word == "--":
            return Parsed(values, rest)
        flag, equals, text = word.partition("=") if word.startswith("--") else (word, "", "")
        option = by_flag.get(flag)
        if option is None:
            reason = (excluded or {}).get(flag)
            raise MagicError(
                f"{magic} has no option {flag}" + (f": {reason}." if reason else f". {suggest(flag, by_flag)}")
            )
        name = option.name
        if name in given and not option.repeatable:
            if given[name] in option.flags:
                raise MagicError(f"{magic} was given {flag} twice.")
            raise MagicError(f"{magic}: {given[name]} and {flag} contradict each other; give one of them.")
        given[name] = flag
        if option.convert is None:
            if equals:
                raise MagicError(f"{magic}: {flag} takes no value.")
            values[name] = option.value
            continue
        if not equals:
            text, rest = _value_word(option, rest, flag, by_flag, magic)
        value = _convert(option, text, flag, magic)
        values[name] = [*values.get(name, ()), value] if option.repeatable else value
    if rest and not prompt_follows:
        raise MagicError(f"{magic} cannot use {rest.rstrip()!r}. {suggest(rest, by_flag)}")
    return Parsed(values, rest)


def parse_words(line: str, table: Sequence[Option], magic: str) -> Parsed:
    """Parse a line whose options may stand before or after its words, as in ``%llm_history show -c review``."""
    flags = {flag for option in table for flag in option.flags}
    text = line.strip()
    found = (match.start() for match in re.finditer(r"\S+", text) if match[0].partition("=")[0] in flags)
    start = 0 if text.startswith("-") else next(found, 0)
    parsed = parse(text[start:], table, magic=magic, prompt_follows=True)
    return Parsed(parsed.options, f"{text[:start]} {parsed.rest}".strip())


def unquote(word: str) -> str:
    """Remove the quotes around a word, if there are any."""
    return word[1:-1] if len(word) > 1 and word[0] == word[-1] and word[0] in "\"'" else word


def _starts_option(rest: str) -> bool:
    # A single dash, a negative number or a markdown rule starts a prompt; "--" ends the options.
    return rest[0] == "-" and len(rest) > 1 and (rest[1].isalpha() or rest[1] == "-") and not rest.startswith("---")


def _value_word(option: Option, rest: str, flag: str, by_flag: Mapping[str, Option], magic: str) -> tuple[str, str]:
    if not rest or rest.split(maxsplit=1)[0] in by_flag:  # a value that looks like an option needs quotes
        raise MagicError(f"{magic}: {flag} needs a value ({option.metavar}).")
    return _split_word(rest, magic)


def _convert(option: Option, word: str, flag: str, magic: str) -> Any:
    assert option.convert is not None
    try:
        return option.convert(word)
    except ConversionError as exc:
        raise MagicError(f"{magic}: {flag} needs {exc.expected}, not {word!r}. {exc.hint}") from None
    except ValueError:
        raise MagicError(f"{magic}: {flag} needs a whole number, not {word!r}.") from None


def _split_word(text: str, magic: str) -> tuple[str, str]:
    """Split off the first word, whose quotes work as in a shell."""
    word, end = "", 0
    while part := _PART_OF_WORD.match(text, end):
        end = part.end()
        quote = part[0][0] if part[0][0] in "\"'" else ""
        word += re.sub(rf"\\([{quote}\\])", r"\1", part[0][1:-1]) if quote else part[0]
    if end < len(text) and not text[end].isspace():
        raise MagicError(f"{magic}: the quote {text[end]} in {text.strip()!r} is never closed.")
    return word, text[end:].lstrip()


def help_text(usage: str, description: str, table: Sequence[Option]) -> str:
    """Return the help page of a magic.

    Examples
    --------
    >>> print(help_text("%llm_history show", "Shows it.", [Option("-c, --conversation", "name", str, "NAME")]))
    %llm_history show
    <BLANKLINE>
    Shows it.
    <BLANKLINE>
      -c, --conversation NAME   name
    """
    rows = [(f"{option.spelling} {option.metavar}".rstrip(), option.help) for option in table]
    width = max(len(flags) for flags, _ in rows) + 3
    return f"{usage}\n\n{description}\n\n" + "\n".join(f"  {flags:<{width}}{text}" for flags, text in rows)
