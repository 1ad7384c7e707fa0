"""The options of the magics: one table that parsing, help, completion and documentation read.

A line is options, then (for ``%llm``) the prompt exactly as written: quotes, braces and dashes in a prompt
mean nothing here.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ipyllm_magics.command_line import converters
from ipyllm_magics.errors import MagicError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

__all__ = ["CONVERSATION", "HELP", "LLM", "Option", "Parsed", "help_text", "parse"]


@dataclass(frozen=True, slots=True)
class Option:
    """One option.

    Attributes
    ----------
    flags : tuple of str
        As users write it.
    name : str
        As the code calls it; two options of one name exclude each other.
    help : str
        What it does, in half a sentence.
    read : callable or None
        Turns its word into a value, or raises ValueError; without it the option is a flag.
    metavar : str
        Stands for its word in the help.
    value : object
        Value of a flag.
    many : bool
        Whether it may be given more than once: its value is then a list.
    example : str
        A use of it that works, for the documentation.
    completes : str
        What its word can be, for completion: see :mod:`ipyllm_magics.command_line.completers`.
    """

    flags: tuple[str, ...]
    name: str
    help: str
    read: Callable[[str], Any] | None = None
    metavar: str = ""
    value: Any = True
    many: bool = False
    example: str = ""
    completes: str = ""


@dataclass(frozen=True, slots=True)
class Parsed:
    """Options by name, and what follows them, untouched."""

    options: dict[str, Any]
    rest: str

    def __getitem__(self, name: str) -> Any:
        return self.options.get(name)


CONVERSATION = Option(
    ("-c", "--conversation"),
    "conversation",
    "conversation to go on with",
    str,
    "NAME",
    example="-c review",
    completes="conversation",
)
HELP = Option(("-h", "--help"), "help", "show this", example="--help")
LLM: tuple[Option, ...] = (
    Option(
        ("-m", "--model"),
        "model",
        "model, `service/model` or an alias",
        str,
        "MODEL",
        example="-m ollama/llama3.2",
        completes="model",
    ),
    Option(
        ("-s", "--system"),
        "system",
        "system message of the conversation",
        str,
        "TEXT",
        example='-s "Be brief."',
    ),
    CONVERSATION,
    Option(("--new",), "new", "begin the conversation anew", example="--new"),
    Option(
        ("--no-history",),
        "history",
        "neither read nor remember the conversation",
        value=False,
        example="--no-history",
    ),
    Option(
        ("-o", "--output"),
        "output",
        "variable that takes the ChatResponse (the last one is always in _llm)",
        converters.variable,
        "VAR",
        example="-o answer",
        completes="variable",
    ),
    Option(
        ("-f", "--format"),
        "format",
        "how the answer is shown: markdown, text, code (also put into the next cell), json, html (boxed in)",
        converters.one_of(*converters.FORMATS),
        "FORMAT",
        example="-f code",
        completes="format",
    ),
    Option(
        ("--schema",),
        "schema",
        "class, type or JSON schema the answer must fit; the value is in -o's `parsed`",
        str,
        "NAME",
        example="--schema City",
        completes="schema",
    ),
    Option(
        ("--tools",),
        "tools",
        "functions of yours that the model may call",
        converters.names,
        "f,g",
        example="--tools weather,add",
        completes="tools",
    ),
    Option(
        ("--image",),
        "image",
        "picture to ask about: a file, an address, or a variable (figure, array, PIL); may be repeated",
        str,
        "PATH|URL|VAR",
        many=True,
        example="--image plot.png",
        completes="image",
    ),
    Option(
        ("-t", "--temperature"),
        "temperature",
        "0 (always the likeliest word) to 2",
        converters.number,
        "NUMBER",
        example="-t 0",
    ),
    Option(("--max-tokens",), "max_tokens", "longest answer, in tokens", int, "N", example="--max-tokens 200"),
    Option(
        ("--top-p",),
        "top_p",
        "choose among the likeliest words that together have this probability",
        converters.number,
        "NUMBER",
        example="--top-p 0.9",
    ),
    Option(("--seed",), "seed", "seed of the sampling", int, "N", example="--seed 7"),
    Option(
        ("--stop",),
        "stop",
        "text at which the answer ends; may be repeated",
        converters.something,
        "TEXT",
        many=True,
        example='--stop "\\n\\n"',
    ),
    Option(
        ("-p", "--param"),
        "params",
        "any other parameter of the model, its value as JSON; may be repeated",
        converters.parameter,
        "NAME=VALUE",
        many=True,
        example="-p presence_penalty=0.5",
        completes="parameter",
    ),
    Option(
        ("--timeout",),
        "timeout",
        "longest silence, in seconds",
        converters.seconds,
        "SECONDS",
        example="--timeout 120",
    ),
    Option(("--cache",), "cache", "answer from our own cache if it can", example="--cache"),
    Option(("--no-cache",), "cache", "ask the model in any case", value=False, example="--no-cache"),
    Option(
        ("--tag",),
        "tags",
        "finds the call again in `usage()`, as the column tags.KEY; may be repeated",
        converters.tag,
        "KEY=VALUE",
        many=True,
        example="--tag arm=terse",
    ),
    Option(("--raw",), "raw", "send the prompt as written: {{ }} is not filled in", example="--raw"),
    Option(("--quiet",), "quiet", "show nothing; the answer is in -o and in _llm", example="--quiet"),
    Option(
        ("--dry-run",), "dry_run", "show what would be sent and what it may cost; send nothing", example="--dry-run"
    ),
    HELP,
)


def parse(
    line: str,
    table: Sequence[Option],
    *,
    magic: str,
    prompt_follows: bool,
    without: Mapping[str, str] | None = None,
) -> Parsed:
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
    without : mapping, optional
        Options of ``%%llm`` that this magic has not, and why.

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
    given: dict[str, str] = {}
    rest = line.lstrip()
    while rest and _is_option(rest):
        word, rest = _word(rest, magic)
        if word == "--":
            return Parsed(found, rest)
        flag, equals, value = word.partition("=") if word.startswith("--") else (word, "", "")
        option = by_flag.get(flag)
        if option is None:
            why = (without or {}).get(flag)
            raise MagicError(f"{magic} has no option {flag}{f': {why}.' if why else '.' + _nearest(flag, by_flag)}")
        if option.name in given and not option.many:
            raise MagicError(_twice(given[option.name], flag, option, magic))
        given[option.name] = flag
        if option.read is None:
            if equals:
                raise MagicError(f"{magic}: {flag} takes no value.")
            found[option.name] = option.value
            continue
        if not equals:
            value, rest = _argument(option, rest, flag, by_flag, magic)
        read = _value(option, value, flag, magic)
        found[option.name] = [*found.get(option.name, ()), read] if option.many else read
    if rest and not prompt_follows:
        raise MagicError(f"{magic} does not know what to do with {rest.rstrip()!r}.{_nearest(rest, by_flag)}")
    return Parsed(found, rest)


def _is_option(rest: str) -> bool:
    # A lone dash, a negative number or a markdown rule begin a prompt; "--" ends the options.
    return (rest[0] == "-" and len(rest) > 1 and (rest[1].isalpha() or rest[1] == "-")) and not rest.startswith("---")


def _twice(before: str, flag: str, option: Option, magic: str) -> str:
    if before in option.flags:
        return f"{magic} was given {flag} twice."
    return f"{magic}: {before} and {flag} contradict each other; give one of them."


def _argument(option: Option, rest: str, flag: str, by_flag: dict[str, Option], magic: str) -> tuple[str, str]:
    """Return the word of an option and what follows it; another option is none, unless it stands in quotes."""
    if not rest or rest.split(maxsplit=1)[0] in by_flag:
        raise MagicError(f"{magic}: {flag} needs a value ({option.metavar}).")
    return _word(rest, magic)


def _value(option: Option, word: str, flag: str, magic: str) -> Any:
    assert option.read is not None
    try:
        return option.read(word)
    except converters.UnfitError as exc:
        raise MagicError(f"{magic}: {flag} needs {exc.expected}, not {word!r}.{exc.hint}") from None
    except ValueError:
        raise MagicError(f"{magic}: {flag} needs a whole number, not {word!r}.") from None


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
    >>> print(help_text("%llm_history show", "Shows the conversation.", [CONVERSATION]))
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
