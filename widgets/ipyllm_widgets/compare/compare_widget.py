"""``CompareWidget``: the same questions to several models, answers side by side, and votes on which is better."""

from __future__ import annotations

from inspect import signature
from typing import TYPE_CHECKING, Any, ClassVar, cast

from ipyllm.errors import bad_request
from ipyllm.services.parameters import refuse_misspelt_options
from ipyllm.text.surrogates import replace_surrogates
from ipyllm.user_file import write_file
from ipyllm_widgets import modules
from ipyllm_widgets.attachments.files import received_files
from ipyllm_widgets.compare.compare_controller import CompareController
from ipyllm_widgets.compare.compare_settings import ArmSettings, CompareSettings
from ipyllm_widgets.compare.vote_ranking import ranking_of_votes
from ipyllm_widgets.given_models import name_models
from ipyllm_widgets.live_widget import LiveWidget
from ipyllm_widgets.notebook_cell import current_cell, keep_conversations_of_notebook

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Mapping, Sequence

    import pandas as pd

    from ipyllm.comparison.comparison import Comparison
    from ipyllm.services.base import BaseLLMService
    from ipyllm_widgets.compare.compare_export import CompareFormat

__all__ = ["CompareWidget"]

_MIME = {"md": "text/markdown", "json": "application/json"}


class CompareWidget(LiveWidget):
    """The same questions to several models at once, answers side by side. Earlier rounds stay above.

    In a notebook, the rounds come back after a restart of the kernel, as a chat does.

    Parameters
    ----------
    models : sequence of str or BaseLLMService
        Two or more models: ``service/model``, aliases or services, whose keys stay in the kernel. The same model may be
        given twice with different ``each``.
    name : str, optional
        Name under which the rounds are kept, and come back after a restart of the kernel; by default that of the cell.
    blind : bool
        Shuffle the answers, and hide the models' names until a vote was cast.
    multi_turn : bool
        Send each model its own earlier answers too; without, each question stands alone.
    system : str, optional
        System prompt for all.
    each : sequence of mapping, optional
        Parameters of each model alone, in the order of ``models``.
    **params
        Parameters for all: ``temperature``, ``max_tokens``, …

    Raises
    ------
    LLMError
        A model does not exist, or a parameter is invalid.

    Examples
    --------
    >>> widget = CompareWidget(models=["ollama/llama3.2", "ollama/qwen3"], blind=True, temperature=0)
    >>> widget.models
    ['ollama/llama3.2', 'ollama/qwen3']
    >>> widget.close()
    """

    _esm = modules.script("compare/compare.js")
    _css = modules.styles("widget.css", "composer.css", "compare/compare.css")
    _commands: ClassVar[Mapping[str, Mapping[str, type]]] = {
        "hello": {},
        "ask": {"prompt": str, "files?": list},
        "regenerate": {"mark": str, "question": int},
        "clear": {},
        "undo_clear": {},
        "stop": {"mark?": str, "question": int},
        "vote": {"which": str, "question": int},
        "set": {"arms?": list, "params?": dict, "system?": str, "blind?": bool, "multi_turn?": bool},
        "text": {"mark?": str, "question?": int, "file?": int},
        "draft": {"text": str, "file_bytes?": int, "images?": int, "uncounted?": int, "view?": str},
        "unqueue": {"question": str},
        "send_next": {},
        "prompts": {},
        "prompt": {"name": str},
        "export": {"format": str},
    }
    _controller: CompareController

    def __init__(
        self,
        models: Sequence[str | BaseLLMService] = (),
        *,
        name: str | None = None,
        blind: bool = False,
        multi_turn: bool = False,
        system: str | None = None,
        each: Sequence[Mapping[str, Any]] = (),
        **params: Any,
    ) -> None:
        refuse_misspelt_options(params, signature(CompareWidget.__init__).parameters, caller="A comparison")
        names, services = name_models(models)
        own = list(each) or [{}] * len(names)
        if len(own) != len(names):
            raise bad_request(f"each has parameters for {len(own)} models, but there are {len(names)}.")
        # Everything that may raise comes before `super().__init__()`, which makes the page show the widget.
        arms = [{"model": name, "params": given} for name, given in zip(names, own, strict=True)]
        self._initial_settings = CompareSettings([]).with_changes(
            {
                "arms": arms,
                "params": params,
                "system": system,
                "blind": blind,
                "multi_turn": multi_turn,
                "services": services,
            }
        )
        if not (name is None or (isinstance(name, str) and name.strip())):
            raise bad_request(f"The name of a comparison must be text, such as 'capitals', not {name!r}.")
        keep_conversations_of_notebook()
        cell = current_cell()
        self._name = replace_surrogates(name) if name is not None else f"cell {cell}" if cell else ""
        super().__init__()

    def _make_controller(self) -> CompareController:
        return CompareController(self._initial_settings, self.channel, self._show_failure, self._name)

    def __repr__(self) -> str:
        return f"CompareWidget(models={self.models!r}, blind={self.blind!r})"

    @property
    def models(self) -> list[str]:
        """Names of the models of the next prompt; services may be set too."""
        return [arm.model for arm in self._controller.settings.arms]

    @models.setter
    def models(self, models: Sequence[str | BaseLLMService]) -> None:
        settings = self._controller.settings
        names, services = name_models(models, settings.services)
        known = {arm.model: arm for arm in settings.arms}
        arms = [known.get(name, ArmSettings(name)) for name in names]
        self._controller.set(arms=[{"model": arm.model, "params": arm.params} for arm in arms], services=services)

    @property
    def blind(self) -> bool:
        """Whether the next answers are shown without names until a vote was cast."""
        return self._controller.settings.blind

    @blind.setter
    def blind(self, hidden: bool) -> None:
        self._controller.set(blind=hidden)

    @property
    def multi_turn(self) -> bool:
        """Whether the next question is sent with the earlier ones, to each model with its own answers."""
        return self._controller.settings.multi_turn

    @multi_turn.setter
    def multi_turn(self, follows: bool) -> None:
        self._controller.set(multi_turn=follows)

    @property
    def comparison(self) -> Comparison | None:
        """The last comparison, with its responses; None before the first."""
        return self._controller.comparison

    @property
    def comparisons(self) -> list[Comparison]:
        """The comparisons of all rounds that are shown, the oldest first."""
        return [asked.comparison for asked in self._controller.rounds]

    def ask(self, prompt: str, images: Iterable[Any] = (), files: Iterable[Any] = ()) -> Comparison:
        """Ask all models, and return at once; the answers stream into the widget.

        Parameters
        ----------
        prompt : str
            The question.
        images : iterable
            Paths of files, or bytes.
        files : iterable
            Paths of text, CSV, code or PDF files, or pairs of a name and bytes; they are sent as text.

        Returns
        -------
        Comparison
            ``.wait()`` waits for all answers; ``.to_dataframe()`` returns them as a table.

        Raises
        ------
        LLMError
            The prompt cannot be asked, or an answer is still streaming; nothing was sent.
        """
        return self._controller.ask(prompt, images, files)

    def regenerate(self, mark: str) -> None:
        """Ask one model the last question again; a vote on the answers is withdrawn."""
        self._controller.regenerate(mark)

    def export(self, format: CompareFormat = "md", path: str | os.PathLike[str] | None = None) -> str:  # noqa: A002 - the usual name
        """Return all rounds with their answers and votes as text, and write it to ``path`` if one is given.

        Parameters
        ----------
        format : {"md", "json"}
            Markdown, or JSON for programs.
        path : path-like, optional
            File to write.

        Raises
        ------
        LLMError
            The format does not exist, or the file cannot be written.
        """
        text = self._controller.export(format)
        if path is not None:
            write_file(path, text)
        return text

    def clear(self) -> None:
        """Remove all rounds; the votes stay in the ledger. Running answers are stopped."""
        self._controller.clear()

    def vote(self, which: str) -> str:
        """Store in the ledger which answer to the last question is better.

        ``which`` is a mark (``"A"``), ``"tie"`` or ``"both_bad"``; ``"none"`` withdraws the vote.
        """
        return self._controller.vote(which)

    def ranking(self) -> pd.DataFrame:
        """Rank the models by the votes of this kernel's widgets (:func:`ipyllm.statistics.ranking`).

        Votes on the rounds shown here count also if they were cast before the kernel was restarted.

        Raises
        ------
        LLMError
            There are no votes yet.
        """
        return ranking_of_votes(self._controller.comparison_ids)

    def _do_export(self, content: dict[str, Any], _buffers: Sequence[Any], *, format: str) -> None:  # noqa: A002 - as in `export`
        text = self.export(cast("CompareFormat", format))  # raises for another format
        self.channel.send(
            "file", nonce=content.get("nonce"), name=f"comparison.{format}", mime=_MIME[format], text=text
        )

    def _do_ask(
        self, _content: dict[str, Any], buffers: Sequence[Any], *, prompt: str, files: list[Any] | None = None
    ) -> None:
        self._controller.queue(prompt, *received_files(buffers, files))
        self._controller.draft("")

    def _do_unqueue(self, content: dict[str, Any], _buffers: Sequence[Any], *, question: str) -> None:
        self._controller.unqueue(question, lambda message: self._give_back(content, message))
