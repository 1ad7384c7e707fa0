"""``--vary prompt=…``: several texts, or variables with templates, that stand for ``{{ prompt }}`` in the body."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ipyllm_magics.errors import MagicError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ipyllm_magics.command_line.parser import Parsed
    from ipyllm_magics.prompt.template import PromptVariables

__all__ = ["check_variants", "prompt_variants"]

_PROMPT = "prompt"


def prompt_variants(parsed: Parsed, variables: PromptVariables, magic: str) -> dict[str, PromptVariables]:
    """Return the variables for the body by the name of each variant; without variants, under an empty name.

    The name of a text variable stands for its value, a template, and is the variant's name. Other values are the text
    itself, and are named ``v1``, ``v2`` and so on.
    """
    given = next((values for name, values in parsed["vary"] or () if name == _PROMPT), None)
    if given is None:
        return {"": variables}
    if parsed["raw"]:
        raise MagicError(f"{magic}: --raw fills in nothing, so --vary prompt has no effect; give one of them.")
    found: dict[str, PromptVariables] = {}
    for number, value in enumerate(map(str, given), 1):
        template = variables.names.get(value)
        if isinstance(template, str):
            found[value] = variables.having(_PROMPT, variables.fill_in(template, f"The prompt {value}"))
        else:
            found[f"v{number}"] = variables.having(_PROMPT, value)
    return found


def check_variants(prompts: Mapping[str, str], magic: str) -> None:
    """Raise an error if the body makes the same prompt of two variants."""
    names: dict[str, str] = {}
    for name, text in prompts.items():
        if (other := names.setdefault(text, name)) != name:
            raise MagicError(
                f"{magic}: the prompts {other} and {name} are the same. Write {{{{ prompt }}}} in the body, where the "
                "varied part stands."
            )
