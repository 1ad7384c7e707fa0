"""``%%llm_compare``: one prompt to several models at once, side by side; ``%llm_vote``: which is better."""

from __future__ import annotations

import sys
from itertools import product
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any

from IPython.core.magic import Magics, cell_magic, line_magic, magics_class, no_var_expand

from ipyllm_magics.command_line import family_options
from ipyllm_magics.command_line.options import help_text, parse
from ipyllm_magics.commands.interrupts import no_more_interrupts, undisturbed
from ipyllm_magics.errors import Interrupted, MagicError, one_sentence
from ipyllm_magics.prompt import kernel_context, request_builder

if TYPE_CHECKING:
    import pandas as pd
    from IPython.core.interactiveshell import InteractiveShell

    from ipyllm import Comparison
    from ipyllm.conversations.history import ConversationHistory
    from ipyllm.events import Event
    from ipyllm.messages import Message
    from ipyllm.response import ChatResponse
    from ipyllm_magics.command_line.options import Parsed
    from ipyllm_magics.display.output_formats import Form
    from ipyllm_magics.display.side_by_side import Columns

__all__ = ["CompareMagics"]

_WHAT = """\
Asks several models the same at once; the answers stream side by side, each with its own clock, tokens and cost.

    %%llm_compare -m ollama/llama3.2 -m openai/gpt-5-mini       %%llm_compare --vary temperature=0,1
    What is a monad?                                            Name a colour.

The prompt is a template over your variables, as for %%llm. One model that fails does not stop the others.
A comparison is part of no conversation: so there is neither --new nor --no-history, and -c only reads."""
_VOTE = "Keeps which answer of the last comparison is better, in the ledger: a mark (A), tie or both_bad."
_STOP_S = 5.0
_SWITCH_S = 0.0005
_NAME = "_llm_compare"


@magics_class
class CompareMagics(Magics):
    """Compare models side by side."""

    shell: InteractiveShell

    def __init__(self, shell: InteractiveShell) -> None:
        super().__init__(shell)
        self._shown: tuple[Comparison, Columns] | None = None

    @no_var_expand
    @cell_magic
    def llm_compare(self, line: str, cell: str) -> None:
        """Ask several models the same at once: ``%%llm_compare -m A -m B`` above a prompt."""
        magic = "%%llm_compare"
        with one_sentence():
            table, without = family_options.COMPARE, family_options.COMPARE_WITHOUT
            asked = parse(line, table, magic=magic, prompt_follows=False, without=without)
            if asked["help"]:
                print(help_text(f"{magic} -m A -m B [options]", _WHAT, table))  # noqa: T201
                return
            prompt = cell.strip("\n")
            if not prompt.strip():
                raise MagicError(f"The prompt is empty: write it under the {magic} line.")
            request_builder.check_together(asked, magic)
            _check_variations(asked, magic)
            defaults = self.shell.magics_manager.registry["LLMMagics"].defaults()
            if not asked["raw"]:
                from ipyllm_magics.prompt.template import filled_in_cell

                prompt = filled_in_cell(prompt, self.shell, defaults["value_tokens"])
            self._compare(asked, defaults, prompt)

    @no_var_expand
    @line_magic
    def llm_vote(self, line: str) -> None:
        """Keep which answer of the last comparison is better: ``%llm_vote A``, ``%llm_vote tie``."""
        with one_sentence():
            asked = parse(line, family_options.VOTE, magic="%llm_vote", prompt_follows=True)
            if asked["help"]:
                print(help_text("%llm_vote A | B | … | tie | both_bad", _VOTE, family_options.VOTE))  # noqa: T201
                return
            from ipyllm import Comparison

            comparison = self.shell.user_ns.get(_NAME)
            if not isinstance(comparison, Comparison):
                raise MagicError("There is no comparison to vote on yet: run %%llm_compare first.")
            if not asked.rest.strip():
                marks = ", ".join(arm.mark for arm in comparison.arms)
                raise MagicError(f"%llm_vote needs one of: {marks}, tie, both_bad.")
            outcome = comparison.vote(asked.rest)
            if self._shown is not None and self._shown[0] is comparison:
                self._shown[1].again()
            print(_said(comparison, outcome))  # noqa: T201 - a magic answers on standard output
            _warn()

    def _compare(self, asked: Parsed, defaults: dict[str, Any], prompt: str) -> None:
        from ipyllm_magics.display import output_formats

        form = output_formats.chosen(asked, defaults["format"])
        comparison, note = self._make(asked, defaults, prompt)
        if asked["dry_run"]:
            from ipyllm_magics.prompt.dry_run import describe_comparison

            name = asked["conversation"]
            print(describe_comparison(comparison, form.name, asked["output"], name, note))  # noqa: T201
            return
        if note:
            print(note, file=sys.stderr)  # noqa: T201 - a remark belongs in the cell, on one line
        columns = self._columns(comparison, form, quiet=bool(asked["quiet"]))
        self._shown = comparison, columns
        self._ask(comparison, columns, asked["output"], form)
        _raise_if_all_failed(comparison)
        _raise_if_none_fits(comparison, form)

    def _make(self, asked: Parsed, defaults: dict[str, Any], prompt: str) -> tuple[Comparison, str | None]:
        """Return the comparison, and what to say of earlier turns that do not fit."""
        from ipyllm import Comparison
        from ipyllm.request import Provenance
        from ipyllm_magics.commands.history import existing

        variables, name = self.shell.user_ns, asked["conversation"]
        history = None if name is None else existing(name)
        message = request_builder.message_of(prompt, asked["image"] or (), variables)
        system = request_builder.new_system(asked, defaults, history)
        options, sets = request_builder.options_for_all(asked, defaults, variables), _sets(asked)
        before, note = _before(asked, history, message, [{"system": system, **options, **each} for each in sets])
        comparison = Comparison(
            [message],
            models=asked["models"] or (),
            params=sets,
            system=system,
            conversation_history=before,
            provenance=Provenance(origin="magic", conversation=name, cell_id=kernel_context.cell_id(self.shell)),
            blind=bool(asked["blind"]),
            **options,
        )
        return comparison, note

    def _columns(self, comparison: Comparison, form: Form, *, quiet: bool) -> Columns:
        from ipyllm_magics.display import side_by_side

        if quiet:
            return side_by_side.NoColumns()
        if kernel_context.is_notebook(self.shell):
            return side_by_side.NotebookColumns(self.shell, comparison, form)
        return side_by_side.TerminalColumns(comparison, form)

    def _ask(self, comparison: Comparison, columns: Columns, output: str | None, form: Form) -> None:
        """Start all arms, draw at the drawing's pace, stop them all when interrupted; keep what came in any case."""
        events: SimpleQueue[tuple[int, Event]] = SimpleQueue()
        interrupted = False
        # Rendering many columns is Python's own work: at the usual 5 ms, chunks would be stamped late by as much.
        patience = sys.getswitchinterval()
        sys.setswitchinterval(_SWITCH_S)
        try:
            comparison.start(lambda arm, event: events.put((arm, event)), waits=True)
            while not comparison.done.is_set():
                with undisturbed():
                    _take(events, columns)
                    columns.draw()
                comparison.wait_for(comparison.done, columns.pause())
        except KeyboardInterrupt:
            interrupted = True
        finally:
            # Also when drawing failed: the requests must not go on, and what came must not be lost.
            sys.setswitchinterval(patience)
            with no_more_interrupts():
                if not comparison.done.is_set():
                    comparison.cancel()
                    comparison.done.wait(_STOP_S)
                self.shell.user_ns[_NAME] = comparison
                if output:
                    self.shell.user_ns[output] = _table(comparison, form)
                _warn()
        with no_more_interrupts():
            columns.finish()
        if interrupted:
            raise Interrupted(f"stopped all {len(comparison.arms)} arms; what had arrived is kept.")


def _table(comparison: Comparison, form: Form) -> pd.DataFrame:
    """Return one row for every arm; where answers are read as JSON, with what they came to."""
    frame = comparison.to_dataframe()
    if form.name == "json":
        frame["parsed"] = [_parsed(response) for response in comparison.responses]
    return frame


def _parsed(response: ChatResponse | None) -> Any:
    from ipyllm_magics.display.output_formats import NotThereError, json_of

    if response is None or response.parsed is not None:
        return None if response is None else response.parsed
    try:
        return json_of(response.content)
    except NotThereError:  # its column says so
        return None


def _take(events: SimpleQueue[tuple[int, Event]], columns: Columns) -> None:
    while True:
        try:
            columns.take(*events.get_nowait())
        except Empty:
            return


def _check_variations(asked: Parsed, magic: str) -> None:
    names = [name for name, _ in asked["vary"] or ()]
    for name in names:
        if names.count(name) > 1:
            raise MagicError(f"{magic} was given --vary {name} twice; write all its values into one.")
        if name in request_builder.NOT_PARAMETERS and name != "system":
            raise MagicError(f"{magic}: {name} is no parameter of the model, and cannot be varied.")
        if asked[name] is not None or name in dict(asked["params"] or ()):
            raise MagicError(f"{magic}: {name} is both varied and given; leave one of the two.")


def _sets(asked: Parsed) -> list[dict[str, Any]]:
    """Return every combination of what is varied."""
    given = asked["vary"] or ()
    names = [name for name, _ in given]
    return [dict(zip(names, values, strict=True)) for values in product(*(values for _, values in given))]


def _before(
    asked: Parsed, history: ConversationHistory | None, message: Message, sets: list[dict[str, Any]]
) -> tuple[list[Message], str | None]:
    """Return what the question follows: for all arms the same, as much as fits each of their windows."""
    if history is None:
        return [], None
    from ipyllm.registry.models import create_llm_service

    services = [create_llm_service(model) for model in asked["models"] or (None,)]
    windows = [(window, each.full_name) for each in services if (window := each.context_window()) is not None]
    window, model = min(windows, default=(None, ""))
    longest = max((given for each in sets if isinstance(given := each.get("max_tokens"), int)), default=None)
    system = max((each["system"] for each in sets if each["system"]), key=len, default=None)
    return history.preceding([*request_builder.system_of(system), message], window, max_tokens=longest, model=model)


def _said(comparison: Comparison, outcome: str) -> str:
    names = {arm.label: arm.mark for arm in comparison.arms}
    if outcome in names:
        kept = f"Kept: {names[outcome]} is better, which is {outcome}."
    else:
        kept = "Kept: a tie." if outcome == "tie" else "Kept: all of them are bad."
    if not comparison.blind:
        return kept
    return f"{kept} It was: {', '.join(f'{arm.mark} = {arm.label}' for arm in comparison.arms)}."


def _raise_if_all_failed(comparison: Comparison) -> None:
    """Let Run All stop when nobody answered; a failed arm beside others is shown in its column."""
    errors = [error for error in comparison.errors if error is not None]
    if len(errors) == len(comparison.arms):
        told = "; ".join(f"{arm.mark}: {error}" for arm, error in zip(comparison.arms, errors, strict=True))
        raise MagicError(f"No arm got an answer. {told}", errors[0].category)


def _raise_if_none_fits(comparison: Comparison, form: Form) -> None:
    """Let Run All stop when no answer holds what ``-f`` takes out of one; its column says so of a single one."""
    from ipyllm_magics.display.output_formats import NotThereError

    told = []
    for arm, response in zip(comparison.arms, comparison.responses, strict=True):
        if form.whole is None or response is None:
            return
        if response.status == "error":
            told.append(f"{arm.mark}: it failed")  # its column says why; who it is may be hidden
            continue
        try:
            form.whole(response.content)
        except NotThereError as exc:
            told.append(f"{arm.mark}: {exc}")
        else:
            return
    raise MagicError(f"No answer fits -f {form.name}. {'; '.join(told)}; all are in _llm_compare.", f"no {form.name}")


def _warn() -> None:
    from ipyllm.ledger import current_ledger

    warning = current_ledger().take_warning()
    if warning:
        print(warning, file=sys.stderr)  # noqa: T201 - a warning belongs in the cell, on one line
