"""Controller of a comparison: its rounds as they are shown and exported, the votes and the ranking."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ipyllm.errors import LLMError, bad_request
from ipyllm.registry.models import common_efforts
from ipyllm_widgets.attachments.files import file_text
from ipyllm_widgets.attachments.images import MAX_IMAGE_BYTES, MAX_MESSAGE_IMAGE_BYTES
from ipyllm_widgets.compare.compare_calls import CompareCalls
from ipyllm_widgets.compare.compare_export import export_comparison
from ipyllm_widgets.compare.next_round import reveal_conversation
from ipyllm_widgets.compare.vote_ranking import ranking_html
from ipyllm_widgets.render_thread import RenderThread
from ipyllm_widgets.static_output import StaticContent

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from ipyllm.comparison.comparison import Comparison
    from ipyllm_widgets.compare.compare_export import CompareFormat
    from ipyllm_widgets.compare.compare_round import CompareRound
    from ipyllm_widgets.compare.compare_settings import CompareSettings
    from ipyllm_widgets.message_channel import MessageChannel

__all__ = ["CompareController"]

_LONG_COMPARISON = 10  # rounds; longer ones are rendered more seldom for the static output
_STOP_TIMEOUT_S = 10.0  # longest wait for answers that were stopped


class CompareController(CompareCalls):
    """Shows what several models answered to the same questions, and takes the votes.

    Each question with its answers is a round. Parameters are those of :class:`CompareCalls`.
    """

    def __init__(
        self, settings: CompareSettings, channel: MessageChannel, on_error: Callable[[Exception], None], name: str
    ) -> None:
        super().__init__(settings, channel, on_error, name)
        self._cleared: list[CompareRound] = []
        # Of its own: a question that follows a vote does not wait for it.
        self._ranking_thread = RenderThread(self._rank, on_error)
        has_vote = any(asked.comparison.vote_cast for asked in self.rounds)
        self._ranking = ranking_html(self.comparison_ids) if has_vote else ""

    @property
    def comparison(self) -> Comparison | None:
        """The last comparison; None before the first."""
        return self.rounds[-1].comparison if self.rounds else None

    @property
    def comparison_ids(self) -> list[str]:
        """Ids of the comparisons of all rounds."""
        return [asked.comparison.id for asked in self.rounds]

    def _rank(self) -> int:
        """Rank by the votes so far, which takes longer than a vote, and show it."""
        ranking = ranking_html(self.comparison_ids)
        with self._channel.lock:
            self._ranking = ranking
            self._publish()
        return len(ranking)

    def _on_vote(self) -> None:
        self._ranking_thread.wake()

    # ---- commands -------------------------------------------------------------------------

    def clear(self) -> None:
        """Remove all rounds; the votes stay in the ledger. Running answers are stopped, with their text so far.

        Raises
        ------
        LLMError
            A running answer does not stop.
        """
        if self.running:
            self.stop()
            self._shown.idle.wait(_STOP_TIMEOUT_S)
        self._wait_until_rendered()
        with self._channel.lock:
            self._require_idle()
            self._cleared, self.rounds = self.rounds or self._cleared, []
            self.save()
            self._publish()
        self.refresh()

    def undo_clear(self) -> None:
        """Show the rounds again that were removed.

        Raises
        ------
        LLMError
            There are none, or something was asked since.
        """
        self._wait_until_rendered()
        with self._channel.lock:
            if self.rounds or not self._cleared:
                raise LLMError("The rounds can no longer be brought back.", category="not_found")
            self._cleared, self.rounds = [], self._cleared
            self.save()
            self._publish()
        self.refresh()

    def vote(self, which: str, question: int | None = None) -> str:
        """Store in the ledger which answer is better; hidden names are shown from then on.

        Parameters
        ----------
        which : str
            As for :meth:`ipyllm.Comparison.vote`; or ``"none"`` withdraws the vote.
        question : int, optional
            Number of the question; by default the last.

        Raises
        ------
        LLMError
            Nothing was asked, an answer is still streaming, or ``which`` is unknown.
        """
        self._wait_until_rendered()
        with self._channel.lock:
            if not self.rounds or (self.running and question in {None, self._count}):
                raise bad_request("Vote when all answers have ended.")
            asked = self._round(question)
            comparison = asked.comparison
            outcome = None if which == "none" else comparison.outcome(which)
            if outcome == comparison.vote_cast:
                return which if outcome is None else outcome  # a second click on the same button
            if outcome is None:
                comparison.withdraw_vote()
            else:
                comparison.vote(which)
                reveal_conversation(self.rounds, asked)
            self.save()
            self._publish()
        self._on_vote()
        self.refresh()
        return which if outcome is None else outcome

    def set(self, **changes: Any) -> None:
        """Change ``arms``, ``params``, ``system``, ``blind`` or ``multi_turn`` of the next question.

        Raises
        ------
        LLMError
            A value is invalid; nothing is changed.
        """
        settings = self.settings.with_changes(changes)
        with self._channel.lock:
            self.settings = settings
            self.save()
            self._publish()

    def text(self, mark: str | None = None, question: int | None = None, file: int | None = None) -> str:
        """Return the last question, empty before the first; or the Markdown of the answer with this mark, or a file."""
        with self._channel.lock:
            if question is None and not self.rounds:
                return ""
            asked = self._round(question)
            return asked.text(mark) if file is None else file_text(asked.question, file)

    def export(self, form: CompareFormat) -> str:
        """Return the rounds with their answers and votes as text."""
        with self._channel.lock:
            rounds = list(self.rounds)
        return export_comparison(rounds, form)

    # ---- output ---------------------------------------------------------------------------------------

    def static_content(self) -> StaticContent:
        """Return all rounds for readers without a kernel."""
        with self._channel.lock:
            rounds = list(self.rounds)
        contents = [asked.static_content(below) for asked, below in _with_notes(rounds)]
        return StaticContent(
            "".join(content.html for content in contents),
            "\n\n".join(content.text for content in contents),
            "\n\n".join(content.markdown for content in contents),
        )

    def _static_interval_s(self) -> float:
        return super()._static_interval_s() * (1 + len(self.rounds) / _LONG_COMPARISON)

    def _turns(self) -> list[dict[str, Any]]:
        return [turn for asked, below in _with_notes(self.rounds) for turn in asked.turns(self._shown.live, below)]

    def _totals(self) -> str:
        return self._ranking

    def _settings(self) -> dict[str, Any]:
        settings = self.settings
        return {
            "arms": [{"model": arm.model, "params": dict(arm.params)} for arm in settings.arms],
            "models": [*settings.services, *(name for name in self._available if name not in settings.services)],
            "efforts": common_efforts(settings.full_names),
            "params": settings.params,
            "system": settings.system,
            "blind": settings.blind,
            "multiTurn": settings.multi_turn,
            "question": self._count,
            "queue": self._queue.as_json(),
            "limits": {"image": MAX_IMAGE_BYTES, "images": MAX_MESSAGE_IMAGE_BYTES},
        }


def _with_notes(rounds: Iterable[CompareRound]) -> Iterator[tuple[CompareRound, str]]:
    """Yield each round with the note under it: a sentence stands under the first round only to which it applies."""
    told: set[str] = set()
    for asked in rounds:
        notes = [note for note in asked.notes_below() if note not in told]
        told.update(notes)
        yield asked, " ".join(notes)
