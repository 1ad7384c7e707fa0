"""Parser of a magic's line: options, then (for ``%llm``) the prompt exactly as written.

Quotes, braces and dashes in a prompt have no meaning here. In the value of an option ``{{ }}`` is one word, whatever is
in it.
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

__all__ = ["Option", "Parsed", "help_text", "parse", "parse_words", "trailing_options", "unquote"]

_PART_OF_WORD = re.compile(r"""\{\{.*?\}\}|(?:(?!\{\{)[^\s"'])+|"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'""", re.DOTALL)
_MAX_TAIL = 300  # characters at the end of a prompt that are looked at for options
_MIN_COMMON_PREFIX = 5  # of a misspelt flag, dashes included


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
    """Option values by name, and the unchanged text that follows them; ``marked_end``: a ``--`` ends the options."""

    options: dict[str, Any]
    rest: str
    marked_end: bool = False

    def __getitem__(self, name: str) -> Any:
        return self.options.get(name)


def parse(
    line: str,
    table: Sequence[Option],
    *,
    magic: str,
    prompt_follows: bool,
    excluded: Mapping[str, str] | None = None,
    fill_in: Callable[[str, str], str] | None = None,
    hint: Callable[[str], str] | None = None,
) -> Parsed:
    r"""Parse the options at the start of ``line``.

    Parameters
    ----------
    line, table, magic, prompt_follows
        The line, the options of its magic, the magic's name, and whether text may follow the options.
    excluded : mapping, optional
        Flags that this magic does not have, with the reasons.
    fill_in : callable, optional
        Fills in the template of an option's value; it is given the flag and the value. ``--raw`` turns it off.
    hint : callable, optional
        Says what text that cannot be used was probably meant to be.

    Examples
    --------
    >>> table = [Option("-t, --temperature", "sampling temperature", float)]
    >>> parsed = parse('-t 0 -- it\'s {"a": 1}', table, magic="%llm", prompt_follows=True)
    >>> parsed.options, parsed.rest
    ({'temperature': 0.0}, 'it\'s {"a": 1}')
    """
    by_flag = {flag: option for option in table for flag in option.flags}
    words: list[tuple[Option, str, str]] = []  # option, flag, value
    given: dict[str, str] = {}
    rest, marked_end = line.lstrip(), False
    while not marked_end and rest and _starts_option(rest):
        word, rest = _split_word(rest, magic)
        if word == "--":
            marked_end = True
            continue
        flag, equals, text = word.partition("=")
        option = by_flag.get(flag)
        if option is None:
            reason = (excluded or {}).get(flag)
            raise MagicError(
                f"{magic} has no option {flag}" + (f": {reason}." if reason else f". {_near(word, by_flag)}")
            )
        if option.name in given and not option.repeatable:
            if given[option.name] in option.flags:
                raise MagicError(f"{magic} was given {flag} twice.")
            raise MagicError(f"{magic}: {given[option.name]} and {flag} contradict each other; give one of them.")
        given[option.name] = flag
        if option.convert is None and equals:
            raise MagicError(f"{magic}: {flag} takes no value.")
        if option.convert is not None and not equals:
            text, rest = _value_word(option, rest, flag, by_flag, magic)
        words.append((option, flag, text))
    if rest and not prompt_follows:
        raise MagicError(f"{magic} cannot use {rest.rstrip()!r}. {hint(rest) if hint else suggest(rest, by_flag)}")
    fill = None if "raw" in given else fill_in
    return Parsed(_values(words, magic, fill), rest, marked_end)


def _values(
    words: list[tuple[Option, str, str]], magic: str, fill_in: Callable[[str, str], str] | None
) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for option, flag, text in words:
        if option.convert is None:
            values[option.name] = option.value
            continue
        value = _convert(option, text if fill_in is None else fill_in(flag, text), flag, magic)
        values[option.name] = [*values.get(option.name, ()), value] if option.repeatable else value
    return values


def _near(word: str, by_flag: Mapping[str, Option]) -> str:
    """Return what a word that is no option was probably meant to be."""
    short, value = word[:2], word[2:]
    if not word.startswith("--") and short in by_flag and by_flag[short].convert is not None and not value.isalpha():
        return f"Did you mean '{short} {value}'?"
    flag = f"--{word.partition('=')[0].lstrip('-')}"
    for end in range(len(flag), _MIN_COMMON_PREFIX - 1, -1):
        if near := [known for known in by_flag if known.startswith(flag[:end])]:
            return f"Did you mean {near[0]!r}?"
    return suggest(flag, by_flag)


def trailing_options(text: str, table: Sequence[Option]) -> str | None:
    """Return the options with which a prompt ends, because they were written after it; None if there are none.

    ``--help`` is none: it may well be part of a question.

    Examples
    --------
    >>> table = [Option("-t, --temperature", "sampling temperature", float), Option("--quiet", "nothing is shown")]
    >>> trailing_options("What is this? -t 0 --quiet", table), trailing_options("What does ls -t do?", table)
    ('-t 0 --quiet', None)
    """
    flags = {flag for option in table for flag in option.flags}
    text = f" {text}"[-_MAX_TAIL:]
    for match in re.finditer(r"(?:^|(?<=\s))(-{1,2}[A-Za-z][\w-]*)(?![\w-])", text):
        tail = text[match.start() :]
        if match[1] not in flags:
            continue
        try:
            found = parse(tail, table, magic="", prompt_follows=False)
        except MagicError:
            continue
        return None if "help" in found.options else tail.strip()
    return None


def parse_words(line: str, table: Sequence[Option], magic: str) -> Parsed:
    """Parse a line whose options may stand before or after its words, as in ``%llm_history show -c review``."""
    flags = {flag for option in table for flag in option.flags}
    text = line.strip()
    found = (match.start() for match in re.finditer(r"\S+", text) if match[0].partition("=")[0] in flags)
    start = 0 if text.startswith("-") else next(found, 0)
    parsed = parse(text[start:], table, magic=magic, prompt_follows=True)
    return Parsed(parsed.options, f"{text[:start]} {parsed.rest}".strip(), parsed.marked_end)


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
