"""Magics around ``%%llm``: models, conversations, usage, settings and explanations of errors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from IPython.core.magic import Magics, line_magic, magics_class, no_var_expand

from ipyllm.text.suggest import suggest
from ipyllm_magics.command_line.options import TABLES
from ipyllm_magics.command_line.parser import Parsed, help_text, parse, parse_words, unquote
from ipyllm_magics.display.standard_output import print_text
from ipyllm_magics.errors import MagicError, one_sentence
from ipyllm_magics.prompt import kernel_context
from ipyllm_magics.prompt.scope import Scope

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

__all__ = ["HISTORY_VERBS", "MODELS_VERBS", "LLMFamilyMagics"]

_LIST_TIMEOUT_S = 3.0
HISTORY_VERBS = {
    "show": "", "list": "", "clear": "", "undo": "[N]", "fork": "NAME", "save": "FILE", "load": "FILE",
    "export": "FILE.md|.json|.ipynb", "request": "[N]",
}  # fmt: skip
"""Verbs of ``%llm_history``, each with its argument."""
MODELS_VERBS = {"list": "", "use": "MODEL", "pull": "MODEL"}
"""Verbs of ``%llm_models``, each with its argument."""


def _usage(verbs: dict[str, str]) -> str:
    return f"[{' | '.join(f'{verb} {argument}'.strip() for verb, argument in verbs.items())}]"


_PAGES = {
    "%llm_models": (
        f"{_usage(MODELS_VERBS)} [options]",
        "Lists the models that can be used, with window and price; sets the default model; downloads an embedded one.",
    ),
    "%llm_history": (
        f"{_usage(HISTORY_VERBS)} [options]",
        "Shows a conversation, or what was sent for a call; lists, copies, saves, loads, exports; removes turns.",
    ),
    "%llm_usage": (
        "[options]",
        "Returns calls as a DataFrame, or a summary, and prints the totals: of this kernel, this notebook, or all.",
    ),
    "%llm_config": (
        "[NAME [VALUE]] [options]",
        "Shows every setting and its source, keys masked; or changes one for this kernel.",
    ),
    "%llm_explain": (
        "[options] [question]",
        "Explains the last exception. Only its message, its code and the types of its variables are sent.",
    ),
}
"""Usage and description of each magic, for its help."""


@magics_class
class LLMFamilyMagics(Magics):
    """The magics around ``%%llm``."""

    shell: InteractiveShell

    @no_var_expand
    @line_magic
    def llm_models(self, line: str) -> Any:
        """List the models; ``use NAME`` sets the default, ``pull NAME`` downloads an embedded model."""
        magic = "%llm_models"
        with one_sentence():
            parsed = _parse(line, magic)
            if parsed is None:
                return None
            verb, argument = _split_verb(parsed.rest, MODELS_VERBS, "list", magic)
            from ipyllm_magics.commands import models

            if verb == "list":
                return models.table(timeout_s=parsed["timeout"] or _LIST_TIMEOUT_S, everything=bool(parsed["all"]))
            _refuse_unused(parsed, verb, magic, ("timeout", "all"))
            return print_text((models.use if verb == "use" else models.pull)(argument))

    @no_var_expand
    @line_magic
    def llm_history(self, line: str) -> Any:
        """Show, list, clear, undo, fork, save, load or export a conversation: ``%llm_history [verb] [-c NAME]``."""
        magic = "%llm_history"
        with one_sentence():
            parsed = _parse(line, magic)
            if parsed is None:
                return None
            verb, argument = _split_verb(parsed.rest, HISTORY_VERBS, "show", magic)
            from ipyllm_magics.commands import history

            if verb in {"list", "request"}:
                _refuse_unused(parsed, verb, magic, ("conversation", "replace"))
            elif verb not in {"save", "load", "export"}:
                _refuse_unused(parsed, verb, magic, ("replace",))
            if verb == "show":
                return history.show(parsed["conversation"] or "default", parsed["last"])
            _refuse_unused(parsed, verb, magic, ("last",))
            return _history(verb, argument, parsed["conversation"] or "default", replace=bool(parsed["replace"]))

    @no_var_expand
    @line_magic
    def llm_usage(self, line: str) -> Any:
        """Return the calls as a DataFrame; ``--by model`` summarises them."""
        magic = "%llm_usage"
        with one_sentence():
            parsed = _parse(line, magic, words=False)
            if parsed is None:
                return None
            if parsed["all"] and parsed["notebook"]:
                raise MagicError(f"{magic}: --all and --notebook contradict each other; give one of them.")
            if parsed["by"] is not None and parsed["full"]:
                raise MagicError(f"{magic}: --by summarises, so --full would have no effect.")
            from ipyllm_magics.commands import usage

            calls = usage.select_calls(parsed, kernel_context.notebook_cells() if parsed["notebook"] else None)
            table = usage.table(calls, by=parsed["by"], full=bool(parsed["full"]))
            print_text(usage.totals(calls))
            for kind in ("csv", "parquet"):
                if parsed[kind]:
                    print_text(usage.export(calls if parsed["by"] is None else table, parsed[kind], kind))
            return table

    @no_var_expand
    @line_magic
    def llm_config(self, line: str) -> Any:
        """Show all settings and their sources; ``%llm_config timeout 30`` changes one for this kernel."""
        magic = "%llm_config"
        with one_sentence():
            parsed = _parse(line, magic)
            if parsed is None:
                return None
            from ipyllm_magics.commands import config

            name, _, value = parsed.rest.strip().partition(" ")
            value = value.strip()
            if parsed["unset"]:
                if parsed["save"] or value or not name:
                    raise MagicError(f"{magic} --unset takes the name of one setting, and nothing else.")
                return print_text(config.unset(name))
            if name and value:
                return print_text(config.set_for_kernel(name, unquote(value), save=bool(parsed["save"])))
            _refuse_unused(parsed, "without a value", magic, ("save",))
            return config.table(self._changed_defaults(), name)

    @no_var_expand
    @line_magic
    def llm_explain(self, line: str) -> Any:
        """Explain the last exception, with its code and the types of its variables."""
        magic = "%llm_explain"
        with one_sentence():
            from ipyllm_magics.commands import explain
            from ipyllm_magics.prompt.magic_line import parse_line, refuse_trailing_options

            scope, table = Scope(self.shell), TABLES["llm_explain"]
            variables = self._llm().prompt_variables(scope)
            parsed = parse_line(line, table, variables, magic=magic, prompt_follows=True)
            if parsed["help"]:
                return _print_help(magic)
            refuse_trailing_options(parsed, table, magic)
            no_history = Parsed({**parsed.options, "history": False}, "")
            code = (parsed["format"] or self._llm().format) == "code"
            prompt = explain.prompt(parsed.rest, values=bool(parsed["values"]), code=code)
            return self._llm().answer(no_history, prompt, magic, scope)

    def _llm(self) -> Any:
        return self.shell.magics_manager.registry["LLMMagics"]

    def _changed_defaults(self) -> dict[str, Any]:
        """Return the notebook's defaults that ``%config`` changed."""
        llm = self._llm()
        original = llm.trait_defaults()
        return {name: value for name, value in llm.defaults().items() if value != original.get(name)}


def _history(verb: str, argument: str, name: str, *, replace: bool) -> Any:
    from ipyllm_magics.commands import history

    if verb == "list":
        return history.table()
    if verb == "request":
        return history.request(argument)
    if verb == "undo" and argument and not (argument.isdecimal() and int(argument) > 0):
        raise MagicError(f"%llm_history undo takes a number of turns, 1 or more, not {argument!r}.")
    if verb == "undo":
        return print_text(history.undo(name, int(argument or 1)))
    if verb == "clear":
        return print_text(history.clear(name))
    if verb == "fork":
        return print_text(history.fork(name, argument))
    file_action = {"save": history.save, "load": history.load, "export": history.export}[verb]
    return print_text(file_action(name, argument, replace=replace))


def _parse(line: str, magic: str, *, words: bool = True) -> Parsed | None:
    """Parse the line; if it asks for help, print it and return None."""
    table = TABLES[magic.lstrip("%")]
    parsed = parse_words(line, table, magic) if words else parse(line, table, magic=magic, prompt_follows=False)
    if not parsed["help"]:
        return parsed
    _print_help(magic)
    return None


def _print_help(magic: str) -> None:
    usage, description = _PAGES[magic]
    print_text(help_text(f"{magic} {usage}", description, TABLES[magic.lstrip("%")]))


def _split_verb(words: str, verbs: dict[str, str], default: str, magic: str) -> tuple[str, str]:
    """Split ``verb argument``; ``verbs`` maps each verb to its argument: none, ``NAME``, or an optional ``[N]``."""
    verb, _, argument = words.strip().partition(" ")
    argument = unquote(argument.strip())
    if not verb:
        return default, ""
    if verb not in verbs:
        raise MagicError(f"{magic} has no command {verb!r}. {suggest(verb, verbs)}")
    expected = verbs[verb]
    if expected and not expected.startswith("[") and not argument:
        raise MagicError(f"{magic} {verb} needs {expected}: {magic} {verb} {expected.partition('|')[0]}.")
    if not expected and argument:
        raise MagicError(f"{magic} {verb} cannot use {argument!r}.")
    return verb, argument


def _refuse_unused(parsed: Parsed, what: str, magic: str, names: tuple[str, ...]) -> None:
    """Raise an error for options that would have no effect."""
    for name in names:
        if parsed[name] is not None:
            raise MagicError(f"{magic} {what}: --{name} would have no effect.")
