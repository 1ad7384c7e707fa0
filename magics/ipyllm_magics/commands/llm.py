"""``%%llm`` and ``%llm``: parse the line, ask the service, show the answer, store it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from IPython.core.magic import Magics, line_cell_magic, magics_class, no_var_expand
from traitlets import Bool, Dict, Float, Int, TraitError, Unicode, observe, validate

from ipyllm.text.suggest import suggest
from ipyllm_magics.command_line.converters import FORMATS
from ipyllm_magics.command_line.options import LLM
from ipyllm_magics.command_line.parser import help_text
from ipyllm_magics.commands.code_cells import CodeCells
from ipyllm_magics.commands.notes import print_ledger_warning, print_note
from ipyllm_magics.display.standard_output import print_text
from ipyllm_magics.errors import MagicError, one_sentence
from ipyllm_magics.prompt import kernel_context
from ipyllm_magics.prompt.scope import Scope

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell
    from traitlets import Bunch

    from ipyllm.response import ChatResponse
    from ipyllm_magics.command_line.parser import Parsed
    from ipyllm_magics.display.output_formats import OutputFormat
    from ipyllm_magics.display.renderer import Renderer
    from ipyllm_magics.prompt.request_builder import PreparedRequest
    from ipyllm_magics.prompt.template import PromptVariables

__all__ = ["LLMMagics"]

_DESCRIPTION = """\
Asks a model; the answer streams into the cell, with a line about its speed, tokens and cost below.

    %%llm -m ollama/llama3.2 -t 0        %llm what is this?
    Here is a table: {{ df }}
    What is odd about it?

The prompt is a Jinja2 template over your variables: {{ df }} summarizes a DataFrame, {{ cells[-3:] }} inserts the
last cells with their outputs, {{ error }} the last exception with its code. Single braces are left alone.
Defaults for the whole notebook: %config LLMMagics.temperature = 0 (%config LLMMagics lists them)."""


@magics_class
class LLMMagics(Magics):
    """Ask language models from the notebook. ``%llm --help`` lists the options.

    These are the notebook's defaults. Options on a line and those of a service take precedence over them, and they over
    the settings.
    """

    shell: InteractiveShell

    model = Unicode(None, allow_none=True, help="Default model, as `%llm_models use` sets it.").tag(config=True)
    system = Unicode(None, allow_none=True, help="System message of conversations without one.").tag(config=True)
    conversation = Unicode("default", help="Conversation that is continued.").tag(config=True)
    format = Unicode("markdown", help=f"How answers are shown: {', '.join(FORMATS)}.").tag(config=True)
    effort = Unicode(None, allow_none=True, help="How much the model reasons: none, low, high, ….").tag(config=True)
    verbosity = Unicode(None, allow_none=True, help="How much the model writes: low, medium, high.").tag(config=True)
    temperature = Float(None, allow_none=True, help="Sampling temperature.").tag(config=True)
    max_tokens = Int(None, allow_none=True, help="Longest answer, in tokens.").tag(config=True)
    top_p = Float(None, allow_none=True, help="Nucleus sampling.").tag(config=True)
    seed = Int(None, allow_none=True, help="Seed of the sampling.").tag(config=True)
    logprobs = Int(None, allow_none=True, help="Log probabilities of tokens, with so many alternatives.").tag(
        config=True
    )
    params = Dict(help="Other parameters of the model, by name.").tag(config=True)
    timeout = Float(None, allow_none=True, help="Longest wait for new data, in seconds.").tag(config=True)
    cache = Bool(None, allow_none=True, help="Whether ipyllm's cache may answer.").tag(config=True)
    tags = Dict(help="Tags of every call.").tag(config=True)
    value_tokens = Int(1_000, min=20, help="Most tokens of one value in a prompt.").tag(config=True)
    code_in_next_cell = Bool(True, help="Whether `-f code` puts the code into the next cell.").tag(config=True)

    def __init__(self, shell: InteractiveShell) -> None:
        super().__init__(shell)
        self._calls = kernel_context.CallCounter()
        self.code_cells = CodeCells(shell)

    @validate("model")
    def _validate_model(self, proposal: Bunch) -> str | None:
        from ipyllm.errors import LLMError
        from ipyllm_magics.commands.models import check

        name: str | None = proposal["value"]
        try:
            if name is not None:
                check(name)
        except LLMError as exc:
            raise TraitError(str(exc)) from None
        return name

    @observe("model")
    def _model_changed(self, change: Bunch) -> None:
        from ipyllm.registry.models import set_default_model

        set_default_model(change["new"])  # the same default as `%llm_models use` sets: the last change counts

    @validate("format")
    def _validate_format(self, proposal: Bunch) -> str:
        name: str = proposal["value"]
        if name not in FORMATS:
            hint = suggest(name, FORMATS, otherwise="")
            raise TraitError(f"format must be one of {', '.join(FORMATS)}, not {name!r}. {hint}".rstrip())
        return name

    @no_var_expand
    @line_cell_magic
    def llm(self, line: str, cell: str | None = None) -> ChatResponse | None:
        """Ask a model."""  # replaced below by the page that --help shows
        magic = "%llm" if cell is None else "%%llm"
        with one_sentence():
            from ipyllm_magics.prompt.magic_line import parse_line, read_body, read_prompt

            scope = Scope(self.shell)
            variables = self.prompt_variables(scope)
            parsed = parse_line(line, LLM, variables, magic=magic, prompt_follows=cell is None)
            if parsed["help"]:
                print_text(_help(magic))
                return None
            note = None
            if cell is None:
                prompt = read_prompt(parsed, variables, LLM, magic)
            else:
                prompt, note = read_body(cell, parsed, variables, LLM, magic)
            print_note(note)
            return self.answer(parsed, prompt, magic, scope)

    def prompt_variables(self, scope: Scope) -> PromptVariables:
        """Return what templates may name."""
        from ipyllm_magics.prompt.template import PromptVariables

        return PromptVariables(self.shell, scope, self.value_tokens)

    def answer(self, parsed: Parsed, prompt: str, magic: str, scope: Scope) -> ChatResponse | None:
        """Ask ``prompt``, its template filled in; show and return the answer. With ``--dry-run``, only describe it."""
        from ipyllm_magics.commands import history
        from ipyllm_magics.display.output_formats import choose_format
        from ipyllm_magics.prompt import request_builder

        request_builder.check_options(parsed, magic)
        output_format = choose_format(parsed, self.format)
        prepared = self._prepare(parsed, prompt, scope)
        if parsed["dry_run"]:
            from ipyllm_magics.prompt import dry_run

            print_text(dry_run.describe(prepared, output_format.name, parsed["output"], new=bool(parsed["new"])))
            return None
        print_note(prepared.note)
        if not parsed["new"]:
            print_note(history.outdated_turns_note(prepared.history, prepared.key))
        return self._ask(prepared, parsed, output_format, scope)

    def defaults(self) -> dict[str, Any]:
        """Return the notebook's defaults, by name."""
        return {name: getattr(self, name) for name in self.trait_names(config=True)}

    def _prepare(self, parsed: Parsed, prompt: str, scope: Scope) -> PreparedRequest:
        from ipyllm.request import Provenance
        from ipyllm_magics.prompt import request_builder

        cell = kernel_context.cell_id(self.shell)
        key = self._calls.next_key(self.shell, counts=not parsed["dry_run"])
        provenance = Provenance(origin="magic", cell_id=cell)
        return request_builder.build_request(parsed, self.defaults(), prompt, scope.variables, provenance, key)

    def _ask(
        self, prepared: PreparedRequest, parsed: Parsed, output_format: OutputFormat, scope: Scope
    ) -> ChatResponse:
        from ipyllm_magics.commands.run_call import run_call

        stored: list[ChatResponse] = []

        def store(response: ChatResponse) -> None:
            stored.append(self._store(response, prepared, parsed, output_format, scope))

        renderer = self._renderer(prepared.service.full_name, output_format, quiet=bool(parsed["quiet"]))
        response = run_call(prepared.service, prepared.request, renderer, store).outcome()
        if output_format.name == "code" and response.content:
            self._put_code_below(response.content, prepared.key)
        elif output_format.name == "json" and response.parsed is None:
            _raise_if_not_json(response.content)
        elif output_format.name == "tokens" and response.content and not response.logprobs:
            raise MagicError(f"{response.model} sent no log probabilities; the answer is in _llm.", "no logprobs")
        return stored[-1]

    def _renderer(self, model: str, output_format: OutputFormat, *, quiet: bool) -> Renderer:
        if quiet:
            from ipyllm_magics.display.renderer import Renderer

            return Renderer()
        if kernel_context.is_notebook(self.shell):
            from ipyllm_magics.display.cell import CellRenderer

            return CellRenderer(self.shell, model, output_format)
        from ipyllm_magics.display.terminal import TerminalRenderer

        return TerminalRenderer(model, output_format)

    def _store(
        self,
        response: ChatResponse,
        prepared: PreparedRequest,
        parsed: Parsed,
        output_format: OutputFormat,
        scope: Scope,
    ) -> ChatResponse:
        """Store the response, complete or not, in the variables and in the conversation; return it as stored."""
        from ipyllm.conversations.history import Turn

        if output_format.name == "json" and response.parsed is None and response.status == "ok":
            from ipyllm_magics.display.output_formats import parsed_value

            response = replace(response, parsed=parsed_value(response))
        self.shell.user_ns["_llm"] = response
        if parsed["output"]:
            scope.assign(parsed["output"], response)
        history = prepared.history
        if history is not None and (response.content or response.status == "ok"):
            if parsed["new"]:  # only now: a call that failed must not clear the conversation
                history.clear()
            if prepared.system is not None:
                history.add_message("system", prepared.system)
            history.put_turn(Turn.answered((prepared.message, response.as_message()), prepared.key, response))
        print_ledger_warning()
        return response

    def _put_code_below(self, answer: str, key: str | None) -> None:
        from ipyllm_magics.display.output_formats import NotFoundInAnswerError, extract_code

        try:
            code = extract_code(answer)
        except NotFoundInAnswerError as exc:
            raise MagicError(f"{exc}; the answer is in _llm.", "no code") from None
        if self.code_in_next_cell:
            print_note(self.code_cells.put_below(code, key))


def _raise_if_not_json(answer: str) -> None:
    from ipyllm_magics.display.output_formats import NotFoundInAnswerError, extract_json

    try:
        extract_json(answer)
    except NotFoundInAnswerError as exc:
        hint = "Ask for JSON in the prompt, or use --schema."
        raise MagicError(f"{exc}; the answer is in _llm. {hint}", "no json") from None


def _help(magic: str) -> str:
    return help_text(f"{magic} [options] prompt", _DESCRIPTION, LLM)


LLMMagics.llm.__doc__ = _help("%%llm")
