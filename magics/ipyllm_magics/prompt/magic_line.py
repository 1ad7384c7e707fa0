"""Reads the line and the prompt of a magic, and notices what was probably meant to be something else.

Options after the prompt, a model's name in its place, and ``{x}`` or ``$x``, which IPython fills in for other magics.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ipyllm_magics.command_line.parser import parse, trailing_options
from ipyllm_magics.errors import MagicError
from ipyllm_magics.prompt.ipython_expansion import find_expansion

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ipyllm_magics.command_line.parser import Option, Parsed
    from ipyllm_magics.prompt.template import PromptVariables

__all__ = ["parse_line", "read_body", "read_prompt", "refuse_trailing_options"]


def parse_line(
    line: str,
    table: Sequence[Option],
    variables: PromptVariables,
    *,
    magic: str,
    prompt_follows: bool,
    excluded: Mapping[str, str] | None = None,
) -> Parsed:
    """Parse the options of a line, with the templates in their values filled in."""
    raw = ", or --raw to send it as it is" if any(option.name == "raw" for option in table) else ""

    def fill_in(flag: str, value: str) -> str:
        found = find_expansion(value, variables.names)
        if found is not None:
            raise MagicError(
                f"{magic}: {found.written} after {flag} is not filled in; write {found.meant} for its value{raw}."
            )
        return variables.fill_in(value, f"The value of {flag}")

    def hint(rest: str) -> str:
        name = rest.split(maxsplit=1)[0]
        if _is_model(name):
            return f"Did you mean -m {name}?"
        return f"The prompt stands in the lines below {magic}."

    parsed = parse(
        line, table, magic=magic, prompt_follows=prompt_follows, excluded=excluded, fill_in=fill_in, hint=hint
    )
    if prompt_follows and parsed["model"] is None and not parsed.marked_end:
        _refuse_model(parsed.rest, magic)
    return parsed


def refuse_trailing_options(parsed: Parsed, table: Sequence[Option], magic: str) -> None:
    """Raise an error if the prompt on a line ends with options."""
    if not parsed.marked_end and (options := trailing_options(parsed.rest, table)) is not None:
        raise MagicError(
            f"{options} stands after the prompt and would be sent as part of it. Write options before it: "
            f"{magic} {options} …; or {magic} -- … to send it."
        )


def read_prompt(parsed: Parsed, variables: PromptVariables, table: Sequence[Option], magic: str) -> str:
    """Return the prompt on the line of a magic, its template filled in."""
    text = parsed.rest
    if not text.strip():
        raise MagicError("The prompt is empty: write it after the options.")
    refuse_trailing_options(parsed, table, magic)
    if parsed["raw"]:
        return text
    found = find_expansion(text, variables.names)
    if found is not None:
        raise MagicError(
            f"{found.written} in the prompt is not filled in; write {found.meant} for its value, or --raw to send it "
            "as it is."
        )
    return variables.fill_in(text)


def read_body(
    body: str, parsed: Parsed, variables: PromptVariables, table: Sequence[Option], magic: str
) -> tuple[str, str | None]:
    """Return the prompt in the body of a cell, its template filled in, and a note about what was not filled in.

    ``{x}`` is sent: IPython fills in nothing in a body, where code with braces is common.
    """
    prompt = body.strip("\n")
    if not prompt.strip():
        raise MagicError(f"The prompt is empty: write it under the {magic} line.")
    for line in () if parsed.marked_end else (prompt.split("\n", 1)[0], prompt.rsplit("\n", 1)[-1]):
        if (options := trailing_options(line, table)) is not None and options == line.strip():
            raise MagicError(
                f"{options} stands in the prompt and would be sent as part of it. Write options on the first line: "
                f"{magic} {options}; or end that line with -- to send it."
            )
    if parsed["raw"]:
        return prompt, None
    found = find_expansion(prompt, variables.names)
    note = found and f"{found.written} is sent as it is; {found.meant} would be filled in with the variable's value."
    return variables.fill_in(prompt), note


def _refuse_model(prompt: str, magic: str) -> None:
    first, _, rest = prompt.strip().partition(" ")
    if "/" in first and _is_model(first):
        raise MagicError(
            f"{first} stands where the prompt begins. Did you mean {magic} -m {first} {'…' if rest else 'and a prompt'}"
            f"? Write {magic} -- {first} … if it belongs to the prompt."
        )


def _is_model(name: str) -> bool:
    from ipyllm.errors import LLMError
    from ipyllm.registry.models import resolve
    from ipyllm.settings import SettingsError

    try:
        resolve(name)
    except (LLMError, SettingsError):  # reported by the call
        return False
    return True
