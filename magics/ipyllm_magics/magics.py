"""The magics around ``%%llm``: ``%llm_models``, ``%llm_history`` and ``%llm_usage``."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Any

from IPython.core.magic import Magics, line_magic, magics_class, no_var_expand

from ipyllm_magics import options
from ipyllm_magics.errors import MagicError, one_sentence
from ipyllm_magics.options import help_text, parse

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

__all__ = ["LLMFamilyMagics"]


@magics_class
class LLMFamilyMagics(Magics):
    """What belongs to ``%%llm`` (see ``llm.py``): models, conversations, usage."""

    shell: InteractiveShell

    @no_var_expand
    @line_magic
    def llm_models(self, line: str) -> Any:
        """List what can be used; ``use NAME`` makes it the default, ``pull NAME`` fetches an embedded model."""
        with one_sentence():
            asked = parse(line, options.MODELS, magic="%llm_models", prompt_follows=True)
            if asked["help"]:
                what = "Lists what can be used, makes a model the default, or fetches an embedded one."
                return self._print_help("%llm_models [list | use MODEL | pull MODEL]", what, options.MODELS)
            verb, argument = _verb(asked.rest, {"list": False, "use": True, "pull": True}, "list", "%llm_models")
            from ipyllm_magics import models

            if verb == "list":
                return models.table()
            action = models.use if verb == "use" else models.pull
            print(action(argument))  # noqa: T201 - a magic answers on standard output
            return None

    @no_var_expand
    @line_magic
    def llm_history(self, line: str) -> Any:
        """Show or clear a conversation: ``%llm_history [show | clear] [-c NAME]``."""
        with one_sentence():
            magic = "%llm_history"
            head, _, tail = line.strip().partition(" ")
            # The verb may stand before or behind the options.
            verb_first = head and not head.startswith("-")
            asked = parse(tail if verb_first else line, options.HISTORY, magic=magic, prompt_follows=True)
            if asked["help"]:
                what = "Shows or clears a conversation."
                return self._print_help(f"{magic} [show | clear]", what, options.HISTORY)
            words = " ".join(word for word in (head if verb_first else "", asked.rest) if word)
            verb, _ = _verb(words, {"show": False, "clear": False}, "show", magic)
            from ipyllm_magics import conversations

            name = asked["conversation"] or "default"
            if verb == "clear":
                print(conversations.clear(name))  # noqa: T201 - a magic answers on standard output
                return None
            return conversations.show(name)

    @no_var_expand
    @line_magic
    def llm_usage(self, line: str) -> Any:
        """Return the calls as a DataFrame; ``--by model`` summarises them."""
        with one_sentence():
            asked = parse(line, options.USAGE, magic="%llm_usage", prompt_follows=False)
            if asked["help"]:
                what = "Returns this kernel's calls as a DataFrame, or a summary of them."
                return self._print_help("%llm_usage [options]", what, options.USAGE)
            from ipyllm_magics import usage_table

            return usage_table.table(by=asked["by"], everything=bool(asked["all"]), full=bool(asked["full"]))

    def _print_help(self, usage: str, what: str, table: tuple[options.Option, ...]) -> None:
        print(help_text(usage, what, table))  # noqa: T201 - a magic answers on standard output


def _verb(words: str, verbs: dict[str, bool], default: str, magic: str) -> tuple[str, str]:
    """Split ``verb argument``; ``verbs`` says which take one."""
    verb, _, argument = words.strip().partition(" ")
    argument = argument.strip()
    if not verb:
        return default, ""
    if verb not in verbs:
        near = difflib.get_close_matches(verb, verbs, n=1)
        hint = f"Did you mean {near[0]}?" if near else f"It has: {', '.join(verbs)}."
        raise MagicError(f"{magic} has no {verb!r}. {hint}")
    if verbs[verb] and not argument:
        raise MagicError(f"{magic} {verb} needs the name of a model.")
    if not verbs[verb] and argument:
        raise MagicError(f"{magic} {verb} does not know what to do with {argument!r}.")
    return verb, argument
