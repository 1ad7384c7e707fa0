"""``%%llm`` and ``%llm``: read the line, ask the service, show the answer, keep it."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from IPython.core.magic import Magics, line_cell_magic, magics_class, no_var_expand

from ipyllm.errors import LLMError
from ipyllm_magics import options, place
from ipyllm_magics.errors import MagicError, one_sentence
from ipyllm_magics.options import help_text, parse

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

    from ipyllm.history import ConversationHistory
    from ipyllm.response import ChatResponse
    from ipyllm.services.base import BaseLLMService
    from ipyllm_magics.drawing import Drawing
    from ipyllm_magics.options import Parsed

__all__ = ["LLMMagics"]

_PARAMS = ("temperature", "max_tokens", "seed")
_RESERVE = 1024  # tokens of the window left for the answer, unless --max-tokens says more


@magics_class
class LLMMagics(Magics):
    """Ask language models from the notebook. ``%llm --help`` lists the options."""

    shell: InteractiveShell

    def __init__(self, shell: InteractiveShell) -> None:
        super().__init__(shell)
        self._calls = place.CallCounter()

    @no_var_expand
    @line_cell_magic
    def llm(self, line: str, cell: str | None = None) -> None:
        """Ask a model and stream its answer into the cell: ``%%llm -m ollama/llama3.2 -t 0`` above a prompt.

        ``%llm what is this?`` does the same on one line. ``%llm --help`` lists the options.
        """
        magic = "%llm" if cell is None else "%%llm"
        with one_sentence():
            asked = parse(line, options.LLM, magic=magic, prompt_follows=cell is None)
            if asked["help"]:
                what = "Asks a model; the answer streams into the cell."
                print(help_text(f"{magic} [options] prompt", what, options.LLM))  # noqa: T201 - its answer
                return
            prompt = (asked.rest if cell is None else cell).strip("\n")
            if not prompt.strip():
                where = "after the options" if cell is None else "under the %%llm line"
                raise MagicError(f"The prompt is empty: write it {where}.")
            _check_together(asked, magic)
            if not asked["raw"]:
                from ipyllm_magics.template import fill_in

                prompt = fill_in(prompt, self.shell.user_ns)
            self._ask(asked, prompt)

    def _ask(self, asked: Parsed, prompt: str) -> None:
        from ipyllm.history import conversation
        from ipyllm.names import create_llm_service
        from ipyllm.request import Provenance
        from ipyllm_magics.ask import ask

        service = create_llm_service(asked["model"])
        params = {name: asked[name] for name in _PARAMS if asked[name] is not None}
        name = asked["conversation"] or "default"
        key = self._calls.next_key(self.shell)
        came_from = Provenance(
            origin="magic",
            conversation=None if asked["history"] is False else name,
            cell_id=place.cell_id(self.shell),
        )
        history = conversation(name) if asked["history"] is not False else None
        before, note = _before(history, service, key, prompt, asked)
        if note:
            print(note, file=sys.stderr)  # noqa: T201 - a remark belongs in the cell, on one line
        request = service.request(
            prompt,
            conversation_history=before,
            system=asked["system"],
            timeout=asked["timeout"],
            came_from=came_from,
            **params,
        )
        drawing = self._drawing(service.full_name, quiet=bool(asked["quiet"]))
        call = ask(service, request, drawing, keep=lambda response: self._keep(response, history, prompt, key, asked))
        call.outcome()

    def _drawing(self, model: str, *, quiet: bool) -> Drawing:
        if quiet:
            from ipyllm_magics.drawing import Nothing

            return Nothing()
        if place.is_notebook(self.shell):
            from ipyllm_magics.cell import CellDrawing

            return CellDrawing(self.shell, model)
        from ipyllm_magics.terminal import TerminalDrawing

        return TerminalDrawing()

    def _keep(
        self, response: ChatResponse, history: ConversationHistory | None, prompt: str, key: str | None, asked: Parsed
    ) -> None:
        """Keep what came, whole or not: in the variables and in the conversation."""
        from ipyllm.history import Turn
        from ipyllm.ledger import current_ledger

        self.shell.user_ns["_llm"] = response
        if asked["output"]:
            self.shell.user_ns[asked["output"]] = response
        if history is not None and (response.content or response.status == "ok"):
            if asked["new"]:  # only now: a call that came to nothing must not have cost the conversation
                history.clear()
            if asked["system"] is not None:
                history.add_message("system", asked["system"])
            question = {"role": "user", "content": prompt}
            answer = {"role": "assistant", "content": response.content}
            history.put_turn(Turn((question, answer), key, response.model, response.status))
        warning = current_ledger().take_warning()
        if warning:
            print(warning, file=sys.stderr)  # noqa: T201 - a warning belongs in the cell, on one line


def _check_together(asked: Parsed, magic: str) -> None:
    """Refuse options that make no sense together, instead of ignoring one."""
    for other in ("new", "conversation"):
        if asked["history"] is False and asked[other] is not None:
            raise MagicError(f"{magic}: --no-history and --{other} contradict each other; give one of them.")
    if asked["system"] is not None and not asked["system"].strip():
        raise MagicError(f"{magic}: -s needs the text of a system message; --new begins without one.")


def _before(
    history: ConversationHistory | None, service: BaseLLMService, key: str | None, prompt: str, asked: Parsed
) -> tuple[list[dict[str, Any]], str | None]:
    """Messages that the question follows, as many as fit the model's window; and what to say of those that do not."""
    if history is None or asked["new"]:
        return [], None
    window = service.context_window()
    if window is None:
        return history.get_messages(before=key), None
    asking = [{"role": "user", "content": prompt}]
    if asked["system"] is not None:
        asking.insert(0, {"role": "system", "content": asked["system"]})
    reserve = asked["max_tokens"] or min(_RESERVE, window // 2)
    try:
        fitted = history.fit(window, reserve=reserve, before=key, question=asking, model=service.full_name)
    except LLMError:
        # Our estimates lie above the truth: whether a long question fits by itself is the server's to say.
        return [], None
    return list(fitted.messages), fitted.note
