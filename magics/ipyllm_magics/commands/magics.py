"""The magics around ``%%llm``: models, conversations, usage, settings, errors explained. This class only dispatches."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from IPython.core.magic import Magics, line_magic, magics_class, no_var_expand

from ipyllm_magics.command_line import family_options
from ipyllm_magics.command_line.converters import did_you_mean
from ipyllm_magics.command_line.options import Option, Parsed, help_text, parse
from ipyllm_magics.errors import MagicError, one_sentence
from ipyllm_magics.prompt import kernel_context

if TYPE_CHECKING:
    from collections.abc import Callable

    from IPython.core.interactiveshell import InteractiveShell

__all__ = ["LLMFamilyMagics"]

_PROBE_S = 3.0
_PIECE = re.compile(r"\S+")
_HISTORY = {
    "show": "", "list": "", "clear": "", "undo": "[N]", "fork": "NAME", "save": "FILE", "load": "FILE",
    "export": "FILE.md|.json|.ipynb",
}  # fmt: skip
_MODELS = {"list": "", "use": "MODEL", "pull": "MODEL"}


@magics_class
class LLMFamilyMagics(Magics):
    """What belongs to ``%%llm`` (see ``llm.py``)."""

    shell: InteractiveShell

    @no_var_expand
    @line_magic
    def llm_models(self, line: str) -> Any:
        """List what can be used; ``use NAME`` makes it the default, ``pull NAME`` fetches an embedded model."""
        with one_sentence():
            asked = _parse(line, family_options.MODELS, "%llm_models")
            if asked["help"]:
                what = (
                    "Lists what can be used and reached, with window and price; makes a model the default, or "
                    "fetches an embedded one."
                )
                return _print(help_text(f"%llm_models [{_verbs(_MODELS)}] [options]", what, family_options.MODELS))
            verb, argument = _verb(asked.rest, _MODELS, "list", "%llm_models")
            from ipyllm_magics.commands import models

            if verb == "list":
                return models.table(timeout_s=asked["timeout"] or _PROBE_S, everything=bool(asked["all"]))
            _unused(asked, verb, "%llm_models", ("timeout", "all"))
            action = models.use if verb == "use" else models.pull
            return _print(action(argument))

    @no_var_expand
    @line_magic
    def llm_history(self, line: str) -> Any:
        """Show, list, clear, undo, fork, save, load or export a conversation: ``%llm_history [verb] [-c NAME]``."""
        with one_sentence():
            asked = _parse(line, family_options.HISTORY, "%llm_history")
            if asked["help"]:
                what = (
                    "Shows a conversation, or lists them all; takes turns back, copies it under another name, "
                    "saves and loads it, or exports it for others to read."
                )
                return _print(help_text(f"%llm_history [{_verbs(_HISTORY)}] [options]", what, family_options.HISTORY))
            verb, argument = _verb(asked.rest, _HISTORY, "show", "%llm_history")
            if verb == "list":
                _unused(asked, verb, "%llm_history", ("conversation", "replace"))
            elif verb not in {"save", "load", "export"}:
                _unused(asked, verb, "%llm_history", ("replace",))
            return _history(verb, argument, asked["conversation"] or "default", replace=bool(asked["replace"]))

    @no_var_expand
    @line_magic
    def llm_usage(self, line: str) -> Any:
        """Return the calls as a DataFrame; ``--by model`` summarises them."""
        with one_sentence():
            asked = _parse(line, family_options.USAGE, "%llm_usage", words=False)
            if asked["help"]:
                what = (
                    "Returns calls as a DataFrame, or a summary of them, and says what they came to: "
                    "this kernel's, this notebook's, or all."
                )
                return _print(help_text("%llm_usage [options]", what, family_options.USAGE))
            if asked["all"] and asked["notebook"]:
                raise MagicError("%llm_usage: --all and --notebook contradict each other; give one of them.")
            if asked["by"] is not None and asked["full"]:
                raise MagicError("%llm_usage: --by summarises, so --full would have no effect.")
            from ipyllm_magics.commands import usage

            found = usage.calls(asked, kernel_context.notebook_cells(self.shell) if asked["notebook"] else None)
            shown = usage.narrowed(found, by=asked["by"], full=bool(asked["full"]))
            _print(usage.total(found))
            for kind in ("csv", "parquet"):
                if asked[kind]:
                    _print(usage.exported(found if asked["by"] is None else shown, asked[kind], kind))
            return shown

    @no_var_expand
    @line_magic
    def llm_config(self, line: str) -> Any:
        """Show all settings and where each comes from; ``%llm_config timeout 30`` sets one for this kernel."""
        magic = "%llm_config"
        with one_sentence():
            asked = _parse(line, family_options.CONFIG, magic)
            if asked["help"]:
                what = "Shows every setting and where it comes from, keys masked; or sets one for this kernel."
                return _print(help_text(f"{magic} [NAME [VALUE]] [options]", what, family_options.CONFIG))
            from ipyllm_magics.commands import config

            name, _, value = asked.rest.strip().partition(" ")
            value = value.strip()
            if asked["unset"]:
                if asked["save"] or value or not name:
                    raise MagicError(f"{magic} --unset takes the name of one setting, and nothing else.")
                return _print(config.unset(name))
            if name and value:
                return _print(config.set_here(name, _unquoted(value), save=bool(asked["save"])))
            _unused(asked, "without a value", magic, ("save",))
            shown = config.table(self._notebook_defaults())
            if not name:
                return shown
            found = shown[shown["setting"] == name.lower().removeprefix("ipyllm_")]
            if found.empty:
                near = did_you_mean(name, shown["setting"]) or " %llm_config lists them."
                raise MagicError(f"There is no setting {name!r}.{near}")
            return found

    @no_var_expand
    @line_magic
    def llm_explain(self, line: str) -> Any:
        """Have the last exception explained, with its code and the types of its variables."""
        with one_sentence():
            asked = parse(line, family_options.EXPLAIN, magic="%llm_explain", prompt_follows=True)
            if asked["help"]:
                what = (
                    "Has the last exception explained: its message, the code that raised it, and the types of the "
                    "variables in it. Nothing else of the notebook is sent."
                )
                return _print(help_text("%llm_explain [options] [question]", what, family_options.EXPLAIN))
            from ipyllm_magics.commands import explain

            # Of no conversation: an error is no turn of it.
            alone = Parsed({**asked.options, "history": False}, "")
            return self._llm().answer(alone, explain.prompt(asked.rest, values=bool(asked["values"])), "%llm_explain")

    def _llm(self) -> Any:
        return self.shell.magics_manager.registry["LLMMagics"]

    def _notebook_defaults(self) -> dict[str, Any]:
        own = self._llm()
        usual = own.trait_defaults()
        return {name: value for name, value in own.defaults().items() if value != usual.get(name)}


def _history(verb: str, argument: str, name: str, *, replace: bool) -> Any:
    from ipyllm_magics.commands import history

    if verb == "show":
        return history.show(name)
    if verb == "list":
        return history.listing()
    if verb == "undo" and argument and not (argument.isdecimal() and int(argument) > 0):
        raise MagicError(f"%llm_history undo takes a number of turns, 1 or more, not {argument!r}.")
    actions: dict[str, Callable[[], str]] = {
        "clear": lambda: history.clear(name),
        "undo": lambda: history.undo(name, int(argument or 1)),
        "fork": lambda: history.fork(name, argument),
        "save": lambda: history.save(name, argument, replace=replace),
        "load": lambda: history.load(name, argument, replace=replace),
        "export": lambda: history.export(name, argument, replace=replace),
    }
    return _print(actions[verb]())


def _parse(line: str, table: tuple[Option, ...], magic: str, *, words: bool = True) -> Parsed:
    """Read a line whose options may stand before or behind its words."""
    flags = {flag for option in table for flag in option.flags}
    text = line.strip()
    first = next((found.start() for found in _PIECE.finditer(text) if found[0].partition("=")[0] in flags), None)
    if not words or not first or text.startswith("-"):
        return parse(text, table, magic=magic, prompt_follows=words)
    asked = parse(text[first:], table, magic=magic, prompt_follows=True)
    return Parsed(asked.options, " ".join(filter(None, (text[:first].strip(), asked.rest.strip()))))


def _verb(words: str, verbs: dict[str, str], default: str, magic: str) -> tuple[str, str]:
    """Split ``verb argument``; ``verbs`` says what each takes: nothing, something, or ``[something]``."""
    verb, _, argument = words.strip().partition(" ")
    argument = _unquoted(argument.strip())
    if not verb:
        return default, ""
    if verb not in verbs:
        hint = did_you_mean(verb, verbs).replace("'", "") or f" It has: {', '.join(verbs)}."
        raise MagicError(f"{magic} has no {verb!r}.{hint}")
    takes = verbs[verb]
    if takes and not takes.startswith("[") and not argument:
        raise MagicError(f"{magic} {verb} needs {takes}: {magic} {verb} {takes.partition('|')[0]}.")
    if not takes and argument:
        raise MagicError(f"{magic} {verb} does not know what to do with {argument!r}.")
    return verb, argument


def _unquoted(word: str) -> str:
    return word[1:-1] if len(word) > 1 and word[0] == word[-1] and word[0] in "\"'" else word


def _verbs(verbs: dict[str, str]) -> str:
    return " | ".join(f"{verb} {takes}".strip() for verb, takes in verbs.items())


def _unused(asked: Parsed, what: str, magic: str, names: tuple[str, ...]) -> None:
    """Refuse options that would have no effect, instead of ignoring them."""
    for name in names:
        if asked[name] is not None:
            raise MagicError(f"{magic} {what}: --{name} would have no effect.")


def _print(text: str) -> None:
    print(text)  # noqa: T201 - a magic answers on standard output
