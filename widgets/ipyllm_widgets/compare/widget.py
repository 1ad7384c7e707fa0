"""``CompareWidget``: one prompt to several models, in columns side by side, and votes on which answer is better."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any, ClassVar

from ipyllm.errors import LLMError
from ipyllm.rendering import COLUMNS_STYLE, STYLE, columns_html, columns_text
from ipyllm_widgets import modules
from ipyllm_widgets.available_models import listed
from ipyllm_widgets.base import LiveWidget
from ipyllm_widgets.compare.compare_controller import CompareSession, CompareSettings, Seat
from ipyllm_widgets.compare.ranking import ranking_of_votes
from ipyllm_widgets.render_thread import Feed
from ipyllm_widgets.static_output import KeptOutput

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pandas as pd

    from ipyllm.comparison.comparison import Comparison

__all__ = ["CompareWidget"]

_TITLE = 120  # characters of the prompt above what is kept


class CompareWidget(LiveWidget):
    """One prompt to several models at once, side by side.

    Parameters
    ----------
    models : sequence of str
        Whom to ask, two or more: ``service/model`` or aliases. The same model may stand twice with other ``each``.
    blind : bool
        Shuffle the answers, and hide whose they are until a vote was cast.
    system : str, optional
        System message for all.
    each : sequence of mapping, optional
        Parameters of each model alone, in the order of ``models``.
    **params
        Parameters for all: ``temperature``, ``max_tokens``, …

    Raises
    ------
    LLMError
        For a model that does not exist or a parameter that cannot be right.

    Examples
    --------
    >>> widget = CompareWidget(models=["ollama/llama3.2", "ollama/qwen3"], blind=True, temperature=0)
    >>> widget.models
    ['ollama/llama3.2', 'ollama/qwen3']
    >>> widget.close()
    """

    _esm = modules.script("compare.js")
    _css = modules.styles("widget.css", "compare.css")
    _commands: ClassVar[frozenset[str]] = frozenset({"hello", "ask", "stop", "vote", "set", "text"})

    def __init__(
        self,
        models: Sequence[str] = (),
        *,
        blind: bool = False,
        system: str | None = None,
        each: Sequence[Mapping[str, Any]] = (),
        **params: Any,
    ) -> None:
        names = listed(models)
        own = list(each) or [{}] * len(names)
        if len(own) != len(names):
            raise LLMError(
                f"each has parameters for {len(own)} models, but there are {len(names)}.", category="bad_request"
            )
        # All that may be refused comes before the widget: the page would begin to show what is gone already.
        self._first = CompareSettings([]).with_changes(
            {
                "seats": [{"model": name, "params": given} for name, given in zip(names, own, strict=True)],
                "params": params,
                "system": system,
                "blind": blind,
            }
        )
        super().__init__()

    def _begin(self) -> None:
        self._feed = Feed(self._draw, self._show_failure)
        self._kept = KeptOutput(self._shown)
        self._session = CompareSession(
            self.outbox,
            self._first,
            wake=lambda urgent: self._feed.wake(urgent=urgent),
            keep=self._kept.update,
        )

    def _draw(self) -> int:
        return self._session.draw()

    def _snapshot(self) -> dict[str, Any]:
        return self._session.snapshot()

    def _shown(self) -> tuple[str, str]:
        """Return the last comparison as HTML and as text, for whoever reads the notebook without a kernel."""
        columns, prompt = self._session.columns(), self._session.prompt
        if not columns:
            return "", ""
        title = escape(prompt if len(prompt) <= _TITLE else prompt[: _TITLE - 1] + "…")
        html = STYLE + COLUMNS_STYLE + columns_html(columns)
        html = f'<details class="ipyllm-transcript" open><summary>{title}</summary>{html}</details>'
        return html, f"{prompt}\n\n{columns_text(columns)}"

    def close(self) -> None:
        """Stop what runs and take the widget away."""
        if hasattr(self, "_session"):
            self._session.close()
        super().close()

    def _ipython_display_(self) -> None:
        self._kept.show_below(self)

    def __repr__(self) -> str:
        return f"CompareWidget(models={self.models!r}, blind={self.blind!r})"

    # ---- for Python ----------------------------------------------------------------------------------

    @property
    def models(self) -> list[str]:
        """Whom the next prompt goes to."""
        return [seat.model for seat in self._session.settings.seats]

    @models.setter
    def models(self, names: Sequence[str]) -> None:
        known = {seat.model: seat for seat in self._session.settings.seats}
        seats = [known.get(name, Seat(name)) for name in listed(names)]
        self._session.set({"seats": [{"model": seat.model, "params": seat.params} for seat in seats]})

    @property
    def blind(self) -> bool:
        """Whether the next answers are shown without names until a vote was cast."""
        return self._session.settings.blind

    @blind.setter
    def blind(self, hidden: bool) -> None:
        self._session.set({"blind": hidden})

    @property
    def running(self) -> bool:
        """Whether answers are coming."""
        return self._session.running

    @property
    def comparison(self) -> Comparison | None:
        """What was asked last, with its responses; None before the first."""
        return self._session.comparison

    def ask(self, prompt: str) -> Comparison:
        """Ask all models, and return at once; the answers stream into the widget.

        Returns
        -------
        Comparison
            ``.wait()`` waits for all answers; ``.to_dataframe()`` has them as a table.

        Raises
        ------
        LLMError
            It cannot be asked, or answers are still coming; nothing was sent.
        """
        return self._session.ask(prompt)

    def stop(self) -> None:
        """Stop the answers that are coming, if any; what came is kept."""
        self._session.stop()

    def vote(self, which: str) -> str:
        """Keep which answer is better, in the ledger: a mark (``"A"``), ``"tie"`` or ``"both_bad"``."""
        return self._session.vote(which)

    def ranking(self) -> pd.DataFrame:
        """Return how the votes of this kernel's widgets rank the models (:func:`ipyllm.statistics.ranking`).

        Raises
        ------
        LLMError
            There are no votes yet.
        """
        return ranking_of_votes()

    # ---- for the browser -----------------------------------------------------------------------------

    def _do_ask(self, content: dict[str, Any], _buffers: Sequence[Any]) -> None:
        self._session.ask(self._ask_for(content, "prompt", str))

    def _do_stop(self, content: dict[str, Any], _buffers: Sequence[Any]) -> None:
        mark = self._ask_for(content, "mark", str) if "mark" in content else None
        self._session.stop(mark, self._ask_for(content, "question", int))

    def _do_vote(self, content: dict[str, Any], _buffers: Sequence[Any]) -> None:
        self._session.vote(self._ask_for(content, "which", str), self._ask_for(content, "question", int))

    def _do_text(self, content: dict[str, Any], _buffers: Sequence[Any]) -> None:
        """Tell the whole of a question too long to be told each time; the view that asked has not gone on."""
        self.outbox.tell("text", nonce=content.get("nonce"), text=self._session.prompt)

    def _do_set(self, content: dict[str, Any], _buffers: Sequence[Any]) -> None:
        changes: dict[str, Any] = {}
        for name, kind in (("seats", list), ("params", dict), ("system", str)):
            if name in content:
                changes[name] = self._ask_for(content, name, kind)
        if not all(map(_is_seat, changes.get("seats", []))):
            raise LLMError("The page sent models that are none: reload it.", category="bad_request")
        if "blind" in content:
            changes["blind"] = self._ask_for(content, "blind", bool)
        self._session.set(changes)


def _is_seat(item: Any) -> bool:
    return isinstance(item, dict) and isinstance(item.get("model"), str) and isinstance(item.get("params", {}), dict)
