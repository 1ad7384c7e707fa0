"""``%%llm_compare`` asks several models at once, side by side; ``%llm_vote`` records which answer is better."""

from __future__ import annotations

import sys
from contextlib import suppress
from itertools import product
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

from IPython.core.magic import Magics, cell_magic, line_magic, magics_class, no_var_expand

from ipyllm.errors import LLMError
from ipyllm.text.format import join_names
from ipyllm_magics.command_line.options import COMPARE, NOT_IN_COMPARE, VOTE
from ipyllm_magics.command_line.parser import help_text, parse
from ipyllm_magics.commands.interrupts import delay_interrupt, ignore_interrupts, stopped
from ipyllm_magics.commands.notes import print_ledger_warning, print_note
from ipyllm_magics.display.standard_output import print_text
from ipyllm_magics.errors import Interrupted, MagicError, in_words_of_magics, one_sentence
from ipyllm_magics.prompt import kernel_context, request_builder
from ipyllm_magics.prompt.scope import Scope

if TYPE_CHECKING:
    import pandas as pd
    from IPython.core.interactiveshell import InteractiveShell

    from ipyllm import Comparison
    from ipyllm.conversations.history import ConversationHistory
    from ipyllm.events import Event
    from ipyllm.messages import Message
    from ipyllm_magics.command_line.parser import Parsed
    from ipyllm_magics.display.output_formats import OutputFormat
    from ipyllm_magics.display.side_by_side import ColumnsRenderer

__all__ = ["CompareMagics"]

_DESCRIPTION = """\
Asks several models at once; the answers stream side by side, each with its own clock, tokens and cost.

    %%llm_compare -m ollama/llama3.2 -m openai/gpt-6-luna    %%llm_compare -m openai/gpt-6-luna --vary effort=low,high
    What is a monad?                                         Name a colour.

The prompt is a template over your variables, as for %%llm. A model that fails does not stop the others.
A comparison is not added to a conversation; with -c it starts from one. --new and --no-history do not exist."""
_VOTE_DESCRIPTION = (
    "Records which answer of the last comparison is better: a letter (A), tie or both_bad; none withdraws."
)
_SWITCH_INTERVAL_S = 0.0005
_VARIABLE = "_llm_compare"
_NO_VOTE = "none"


@magics_class
class CompareMagics(Magics):
    """Compares models side by side."""

    shell: InteractiveShell

    def __init__(self, shell: InteractiveShell) -> None:
        super().__init__(shell)
        self._last_shown: tuple[Comparison, ColumnsRenderer] | None = None

    @no_var_expand
    @cell_magic
    def llm_compare(self, line: str, cell: str) -> None:
        """Ask several models at once: ``%%llm_compare -m A -m B`` above a prompt."""
        magic = "%%llm_compare"
        with one_sentence():
            from ipyllm_magics.prompt.magic_line import parse_line, read_body
            from ipyllm_magics.prompt.prompt_variants import check_variants, prompt_variants

            llm, scope = self.shell.magics_manager.registry["LLMMagics"], Scope(self.shell)
            variables = llm.prompt_variables(scope)
            parsed = parse_line(line, COMPARE, variables, magic=magic, prompt_follows=False, excluded=NOT_IN_COMPARE)
            if parsed["help"]:
                print_text(help_text(f"{magic} -m A -m B [options]", _DESCRIPTION, COMPARE))
                return
            request_builder.check_options(parsed, magic)
            _check_variations(parsed, magic)
            prompts: dict[str, str] = {}
            for name, having in prompt_variants(parsed, variables, magic).items():
                prompts[name], note = read_body(cell, parsed, having, COMPARE, magic)
            check_variants(prompts, magic)
            print_note(note)
            self._compare(parsed, llm.defaults(), prompts, scope)

    @no_var_expand
    @line_magic
    def llm_vote(self, line: str) -> None:
        """Record which answer of the last comparison is better: ``%llm_vote A``, ``tie``, ``none``."""
        with one_sentence():
            parsed = parse(line, VOTE, magic="%llm_vote", prompt_follows=True)
            if parsed["help"]:
                print_text(help_text("%llm_vote A | B | … | tie | both_bad | none", _VOTE_DESCRIPTION, VOTE))
                return
            from ipyllm import Comparison

            comparison = self.shell.user_ns.get(_VARIABLE)
            if not isinstance(comparison, Comparison):
                raise MagicError("There is no comparison to vote on yet: run %%llm_compare first.")
            if not parsed.rest.strip():
                withdrawn = [] if comparison.vote_cast is None else [_NO_VOTE]
                marks = [comparison.arms[index].mark for index in comparison.complete]
                raise MagicError(f"%llm_vote needs one of: {', '.join([*marks, 'tie', 'both_bad', *withdrawn])}.")
            if parsed.rest.strip() == _NO_VOTE:
                if comparison.vote_cast is None:
                    raise MagicError("There is no vote on the last comparison.")
                outcome = comparison.vote(None)
            else:
                outcome = comparison.vote(parsed.rest)
            if self._last_shown is not None and self._last_shown[0] is comparison:
                self._last_shown[1].show_vote()
            print_text("The vote is withdrawn." if outcome is None else _vote_sentence(comparison, outcome))
            print_ledger_warning()

    def _compare(self, parsed: Parsed, defaults: dict[str, Any], prompts: dict[str, str], scope: Scope) -> None:
        from ipyllm_magics.display.output_formats import choose_format

        output_format = choose_format(parsed, defaults["format"])
        comparison, note = self._build(parsed, defaults, prompts, scope)
        if parsed["dry_run"]:
            from ipyllm_magics.prompt.dry_run import describe_comparison

            name = parsed["conversation"]
            print_text(describe_comparison(comparison, output_format.name, parsed["output"], name, note))
            return
        print_note(note)
        columns = self._renderer(comparison, output_format, quiet=bool(parsed["quiet"]))
        self._last_shown = comparison, columns
        self._run(comparison, columns, parsed["output"], output_format, scope)
        _raise_if_all_failed(comparison, shown=not parsed["quiet"])
        _raise_if_nothing_extracted(comparison, output_format)

    def _build(
        self, parsed: Parsed, defaults: dict[str, Any], prompts: dict[str, str], scope: Scope
    ) -> tuple[Comparison, str | None]:
        """Return the comparison, and a note about retired models and earlier turns that do not fit."""
        from ipyllm import Comparison
        from ipyllm.request import Provenance
        from ipyllm_magics.commands.history import existing_conversation

        variables, name = scope.variables, parsed["conversation"]
        history = None if name is None else existing_conversation(name, tell=True)
        images = parsed["image"] or ()
        messages = {n: [request_builder.user_message(text, images, variables)] for n, text in prompts.items()}
        system = request_builder.new_system(parsed, defaults, history)
        options, variations = request_builder.request_options(parsed, defaults, variables), _combinations(parsed)
        arms = [{"system": system, **options, **variation} for variation in variations]
        retired = _retirement_notes(parsed)
        longest = messages[max(prompts, key=lambda name: len(prompts[name]))][0]
        earlier, left_out = _earlier_messages(parsed, history, longest, arms)
        note = " ".join(text for text in (retired, left_out) if text) or None
        comparison = Comparison(
            messages if len(messages) > 1 else [longest],
            models=parsed["models"] or (),
            params=variations,
            system=system,
            conversation_history=earlier,
            provenance=Provenance(origin="magic", conversation=name, cell_id=kernel_context.cell_id(self.shell)),
            blind=bool(parsed["blind"]),
            **options,
        )
        return comparison, note

    def _renderer(self, comparison: Comparison, output_format: OutputFormat, *, quiet: bool) -> ColumnsRenderer:
        from ipyllm_magics.display import side_by_side

        if quiet:
            return side_by_side.ColumnsRenderer()
        if kernel_context.is_notebook(self.shell):
            return side_by_side.NotebookColumns(self.shell, comparison, output_format)
        return side_by_side.TerminalColumns(comparison, output_format)

    def _run(
        self,
        comparison: Comparison,
        columns: ColumnsRenderer,
        output: str | None,
        output_format: OutputFormat,
        scope: Scope,
    ) -> None:
        """Start all arms and draw them; stop all on an interrupt; store what arrived in any case."""
        from ipyllm_magics.commands.run_call import STOP_S, drain

        events: SimpleQueue[tuple[int, Event]] = SimpleQueue()
        interrupted = False
        # Rendering many columns is pure Python: at the usual 5 ms, chunks would get timestamps that are 5 ms late.
        switch_interval = sys.getswitchinterval()
        sys.setswitchinterval(_SWITCH_INTERVAL_S)
        try:
            comparison.start(lambda arm, event: events.put((arm, event)), waits=True)
            while not comparison.done.is_set():
                with delay_interrupt():
                    for index, event in drain(events):
                        columns.feed(index, event)
                    columns.draw()
                comparison.wait_for(comparison.done, columns.pause())
        except KeyboardInterrupt:
            interrupted = True
        finally:
            # Also when drawing failed: the requests must end, and what arrived must not be lost.
            sys.setswitchinterval(switch_interval)
            with ignore_interrupts():
                if not comparison.done.is_set():
                    comparison.cancel()
                    with suppress(LLMError):  # the service thread cannot end it
                        comparison.done.wait(STOP_S)
                self.shell.user_ns[_VARIABLE] = comparison
                if output:
                    scope.assign(output, _table(comparison, output_format))
                print_ledger_warning()
        with ignore_interrupts():
            columns.finish()
        if interrupted:
            raise Interrupted(stopped(f"all {len(comparison.arms)} arms", *comparison.responses))


def _table(comparison: Comparison, output_format: OutputFormat) -> pd.DataFrame:
    """Return a row for each arm, with the parsed values if answers are read as JSON."""
    from ipyllm_magics.display.output_formats import parsed_value

    frame = comparison.to_dataframe()
    if output_format.name == "json":
        frame["parsed"] = [None if response is None else parsed_value(response) for response in comparison.responses]
    return frame


def _check_variations(parsed: Parsed, magic: str) -> None:
    names = [name for name, _ in parsed["vary"] or ()]
    for name in names:
        if names.count(name) > 1:
            raise MagicError(f"{magic} was given --vary {name} twice; write all its values into one.")
        if name in request_builder.NOT_PARAMETERS and name not in {"system", "prompt"}:
            raise MagicError(f"{magic}: {name} is not a parameter of the model and cannot be varied.")
        if parsed[name] is not None or name in dict(parsed["params"] or ()):
            raise MagicError(f"{magic}: {name} is both varied and given; remove one of the two.")


def _combinations(parsed: Parsed) -> list[dict[str, Any]]:
    """Return every combination of the parameters and system messages that are varied."""
    variations = [(name, values) for name, values in parsed["vary"] or () if name != "prompt"]
    names = [name for name, _ in variations]
    return [dict(zip(names, values, strict=True)) for values in product(*(values for _, values in variations))]


def _earlier_messages(
    parsed: Parsed, history: ConversationHistory | None, message: Message, arms: list[dict[str, Any]]
) -> tuple[list[Message], str | None]:
    """Return the earlier messages, the same for all arms: as many as fit the smallest context window."""
    if history is None:
        return [], None
    from ipyllm.registry.models import create_llm_service

    services = [create_llm_service(model) for model in parsed["models"] or (None,)]
    windows = [(window, each.full_name) for each in services if (window := each.context_window()) is not None]
    window, model = min(windows, default=(None, ""))
    max_tokens = max((tokens for arm in arms if (tokens := request_builder.max_answer_tokens(arm))), default=None)
    system = max((arm["system"] for arm in arms if arm["system"]), key=len, default=None)
    new = [*request_builder.system_messages(system), message]
    return history.preceding(new, window, max_tokens=max_tokens, model=model)


def _retirement_notes(parsed: Parsed) -> str:
    from ipyllm.registry.models import create_llm_service

    notes = (create_llm_service(model).retirement_note() for model in parsed["models"] or (None,))
    return " ".join(note for note in notes if note)


def _vote_sentence(comparison: Comparison, outcome: str) -> str:
    names = {arm.label: arm.mark for arm in comparison.arms}
    if outcome in names:
        sentence = f"Recorded: {names[outcome]} ({outcome}) is better."
    else:
        sentence = "Recorded: a tie." if outcome == "tie" else "Recorded: all answers are bad."
    failed = [arm.mark for index, arm in enumerate(comparison.arms) if index not in comparison.complete]
    if failed:
        have = "has" if len(failed) == 1 else "have"
        sentence += f" {join_names(failed)} {have} no complete answer, and so no part in the vote."
    if not comparison.blind:
        return sentence
    return f"{sentence} The arms were: {', '.join(f'{arm.mark} = {arm.label}' for arm in comparison.arms)}."


def _raise_if_all_failed(comparison: Comparison, *, shown: bool) -> None:
    """Stop Run All if every arm failed; if the columns are ``shown``, they say why."""
    errors = [error for error in comparison.errors if error is not None]
    if len(errors) == len(comparison.arms):
        from ipyllm.pipeline.candidates import category_of

        reasons = "; ".join(f"{arm.mark}: {error}" for arm, error in zip(comparison.arms, errors, strict=True))
        why = "; their columns say why." if shown else f". {in_words_of_magics(reasons)}"
        kinds = {category_of(error) for error in errors}
        raise MagicError(f"Every arm failed{why}", kinds.pop() if len(kinds) == 1 else "error")


def _raise_if_nothing_extracted(comparison: Comparison, output_format: OutputFormat) -> None:
    """Stop Run All if no answer contains what ``-f`` extracts; if only some lack it, their columns say so."""
    from ipyllm_magics.display.output_formats import NotFoundInAnswerError

    reasons = []
    for arm, response in zip(comparison.arms, comparison.responses, strict=True):
        if output_format.extract is None or response is None:
            return
        if response.status == "error":
            reasons.append(f"{arm.mark}: it failed")  # its column says why; the model may be hidden
            continue
        try:
            output_format.extract(response)
        except NotFoundInAnswerError as exc:
            reasons.append(f"{arm.mark}: {exc}")
        else:
            return
    name = output_format.name
    raise MagicError(f"No answer fits -f {name}. {'; '.join(reasons)}; all answers are in _llm_compare.", f"no {name}")
