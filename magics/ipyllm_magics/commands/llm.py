"""``%%llm`` and ``%llm``: read the line, ask the service, show the answer, keep it."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from IPython.core.magic import Magics, line_cell_magic, magics_class, no_var_expand
from traitlets import Bool, Dict, Float, Int, TraitError, Unicode, observe, validate

from ipyllm_magics.command_line import options
from ipyllm_magics.command_line.converters import FORMATS, did_you_mean
from ipyllm_magics.command_line.options import help_text, parse
from ipyllm_magics.errors import MagicError, one_sentence
from ipyllm_magics.prompt import kernel_context

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell
    from traitlets import Bunch

    from ipyllm.response import ChatResponse
    from ipyllm_magics.command_line.options import Parsed
    from ipyllm_magics.display.output_formats import Form
    from ipyllm_magics.display.renderer import Drawing
    from ipyllm_magics.prompt.request_builder import Question

__all__ = ["LLMMagics"]

_WHAT = """\
Asks a model; the answer streams into the cell, and one line under it says how fast it came and what it cost.

    %%llm -m ollama/llama3.2 -t 0        %llm what is this?
    Here is a table: {{ df }}
    What is odd about it?

The prompt is a Jinja2 template over your variables: {{ df }} describes a DataFrame, {{ cells[-3:] }} stands for the
last cells with their outputs, {{ error }} for the last exception with its code. Single braces are left alone.
Defaults for the whole notebook: %config LLMMagics.temperature = 0 (%config LLMMagics lists them)."""


@magics_class
class LLMMagics(Magics):
    """Ask language models from the notebook. ``%llm --help`` lists the options.

    These are the notebook's defaults: an option on a line comes before them, and they come before the settings.
    """

    shell: InteractiveShell

    model = Unicode(None, allow_none=True, help="Default model, as `%llm_models use` sets it.").tag(config=True)
    system = Unicode(None, allow_none=True, help="System message of conversations that have none.").tag(config=True)
    conversation = Unicode("default", help="Conversation that is gone on with.").tag(config=True)
    format = Unicode("markdown", help=f"How answers are shown: {', '.join(FORMATS)}.").tag(config=True)
    temperature = Float(None, allow_none=True, help="Sampling temperature.").tag(config=True)
    max_tokens = Int(None, allow_none=True, help="Longest answer, in tokens.").tag(config=True)
    top_p = Float(None, allow_none=True, help="Nucleus sampling.").tag(config=True)
    seed = Int(None, allow_none=True, help="Seed of the sampling.").tag(config=True)
    params = Dict(help="Further parameters of the model, by name.").tag(config=True)
    timeout = Float(None, allow_none=True, help="Longest silence, in seconds.").tag(config=True)
    cache = Bool(None, allow_none=True, help="Whether our own cache may answer.").tag(config=True)
    tags = Dict(help="Tags of every call.").tag(config=True)
    value_tokens = Int(1_000, min=20, help="Tokens that one value may take in a prompt.").tag(config=True)
    code_in_next_cell = Bool(True, help="Whether `-f code` puts the code into the next cell.").tag(config=True)

    def __init__(self, shell: InteractiveShell) -> None:
        super().__init__(shell)
        self._calls = kernel_context.CallCounter()

    @validate("model")
    def _model_exists(self, proposal: Bunch) -> str | None:
        from ipyllm.errors import LLMError
        from ipyllm.registry.models import resolve

        name: str | None = proposal["value"]
        try:
            if name is not None:
                resolve(name)
        except LLMError as exc:
            raise TraitError(str(exc)) from None
        return name

    @observe("model")
    def _use_model(self, change: Bunch) -> None:
        from ipyllm.registry.models import set_default_model

        set_default_model(change["new"])  # so that it and `%llm_models use` are one thing: whatever was said last

    @validate("format")
    def _format_exists(self, proposal: Bunch) -> str:
        name: str = proposal["value"]
        if name not in FORMATS:
            raise TraitError(f"format must be one of {', '.join(FORMATS)}, not {name!r}.{did_you_mean(name, FORMATS)}")
        return name

    @no_var_expand
    @line_cell_magic
    def llm(self, line: str, cell: str | None = None) -> None:
        """Ask a model."""  # replaced below by the page that --help shows
        magic = "%llm" if cell is None else "%%llm"
        with one_sentence():
            asked = parse(line, options.LLM, magic=magic, prompt_follows=cell is None)
            if asked["help"]:
                print(_help(magic))  # noqa: T201 - a magic answers on standard output
                return
            prompt = (asked.rest if cell is None else cell).strip("\n")
            if not prompt.strip():
                where = "after the options" if cell is None else "under the %%llm line"
                raise MagicError(f"The prompt is empty: write it {where}.")
            if not asked["raw"]:
                from ipyllm_magics.prompt.template import filled_in_cell

                prompt = filled_in_cell(prompt, self.shell, self.value_tokens)
            self.answer(asked, prompt, magic)

    def answer(self, asked: Parsed, prompt: str, magic: str) -> None:
        """Ask ``prompt``, its template filled in, and show the answer; with ``--dry-run``, say what would be asked.

        Raises
        ------
        MagicError, LLMError
            One sentence: options that contradict each other, or what went wrong with the call.
        """
        from ipyllm_magics.commands import history
        from ipyllm_magics.display import output_formats
        from ipyllm_magics.prompt import request_builder

        request_builder.check_together(asked, magic)
        form = output_formats.chosen(asked, self.format)
        made = self._question(asked, prompt)
        if asked["dry_run"]:
            from ipyllm_magics.prompt import dry_run

            print(dry_run.describe(made, form.name, asked["output"], anew=bool(asked["new"])))  # noqa: T201
            return
        for note in (made.note, None if asked["new"] else history.outdated(made.history, made.key)):
            if note:
                print(note, file=sys.stderr)  # noqa: T201 - a remark belongs in the cell, on one line
        self._ask(made, asked, form)

    def defaults(self) -> dict[str, Any]:
        """Return the notebook's own defaults, by name."""
        return {name: getattr(self, name) for name in self.trait_names(config=True)}

    def _question(self, asked: Parsed, prompt: str) -> Question:
        from ipyllm.request import Provenance
        from ipyllm_magics.prompt import request_builder

        cell = kernel_context.cell_id(self.shell)
        key = self._calls.next_key(self.shell, counts=not asked["dry_run"])
        provenance = Provenance(origin="magic", cell_id=cell)
        return request_builder.make(asked, self.defaults(), prompt, self.shell.user_ns, provenance, key)

    def _ask(self, made: Question, asked: Parsed, form: Form) -> None:
        from ipyllm_magics.commands.run_call import ask

        drawing = self._drawing(made.service.full_name, form, quiet=bool(asked["quiet"]))
        call = ask(made.service, made.request, drawing, keep=lambda response: self._keep(response, made, asked, form))
        response = call.outcome()
        if form.name == "code" and response.content:
            self._offer_code(response.content)
        elif form.name == "json" and response.parsed is None:
            self._must_hold_json(response.content)

    def _drawing(self, model: str, form: Form, *, quiet: bool) -> Drawing:
        if quiet:
            from ipyllm_magics.display.renderer import Nothing

            return Nothing()
        if kernel_context.is_notebook(self.shell):
            from ipyllm_magics.display.cell import CellDrawing

            return CellDrawing(self.shell, model, form)
        from ipyllm_magics.display.terminal import TerminalDrawing

        return TerminalDrawing(form)

    def _keep(self, response: ChatResponse, made: Question, asked: Parsed, form: Form) -> None:
        """Keep what came, whole or not: in the variables and in the conversation."""
        from ipyllm.conversations.history import Turn
        from ipyllm.ledger import current_ledger

        if form.name == "json" and response.parsed is None and response.status == "ok":
            response = _with_json(response)
        self.shell.user_ns["_llm"] = response
        if asked["output"]:
            self.shell.user_ns[asked["output"]] = response
        history = made.history
        if history is not None and (response.content or response.status == "ok"):
            if asked["new"]:  # only now: a call that came to nothing must not have cost the conversation
                history.clear()
            if made.system is not None:
                history.add_message("system", made.system)
            answer = {"role": "assistant", "content": response.content}
            history.put_turn(Turn((made.message, answer), made.key, response.model, response.status))
        warning = current_ledger().take_warning()
        if warning:
            print(warning, file=sys.stderr)  # noqa: T201 - a warning belongs in the cell, on one line

    def _offer_code(self, answer: str) -> None:
        from ipyllm_magics.display.output_formats import NotThereError, code_of, for_next_cell

        try:
            code = code_of(answer)
        except NotThereError as exc:
            raise MagicError(f"{exc}; the answer is in _llm.", "no code") from None
        if self.code_in_next_cell:
            self.shell.set_next_input(for_next_cell(code))

    def _must_hold_json(self, answer: str) -> None:
        from ipyllm_magics.display.output_formats import NotThereError, json_of

        try:
            json_of(answer)
        except NotThereError as exc:
            raise MagicError(
                f"{exc}; the answer is in _llm. Ask for JSON in the prompt, or give a --schema.", "no json"
            ) from None


def _with_json(response: ChatResponse) -> ChatResponse:
    from ipyllm_magics.display.output_formats import NotThereError, json_of

    try:
        return replace(response, parsed=json_of(response.content))
    except NotThereError:  # said when the answer is shown
        return response


def _help(magic: str) -> str:
    return help_text(f"{magic} [options] prompt", _WHAT, options.LLM)


LLMMagics.llm.__doc__ = _help("%%llm")
