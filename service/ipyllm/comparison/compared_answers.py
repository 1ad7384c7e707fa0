"""Answers of several arms side by side: as text, HTML and a table, with a vote on which is better."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, NamedTuple

from ipyllm.comparison.answers_table import answers_table, notes_on_times
from ipyllm.comparison.vote_outcome import cast_on, outcome_of
from ipyllm.errors import bad_request

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pandas as pd

    from ipyllm.comparison.arms import Arm
    from ipyllm.rendering import Column
    from ipyllm.response import ChatResponse
    from ipyllm.runtime.interruptible import InterruptibleEvent

__all__ = ["ComparedAnswers", "VoteCast"]


class VoteCast(NamedTuple):
    """A vote: a label, ``tie`` or ``both_bad``, whether labels were hidden from the voter, and its tags."""

    outcome: str
    was_blind: bool
    tags: Mapping[str, object]


class ComparedAnswers(ABC):
    """What a :class:`~ipyllm.comparison.comparison.Comparison` shows, and the vote on it."""

    id: str
    arms: tuple[Arm, ...]
    blind: bool
    done: InterruptibleEvent
    latest_vote: VoteCast | None
    withdrawn_vote: VoteCast | None
    _revealed: bool

    @property
    @abstractmethod
    def has_started(self) -> bool:
        """Whether the arms were asked."""

    @property
    @abstractmethod
    def responses(self) -> list[ChatResponse | None]:
        """Responses in the order of the arms; None for arms that have not ended."""

    def __repr__(self) -> str:
        from ipyllm.rendering import columns_text

        return columns_text(self.columns(), self.note)

    def _repr_html_(self) -> str:
        from ipyllm.rendering import columns_html, styled

        return styled(columns_html(self.columns(), self.note))

    def _repr_markdown_(self) -> str:
        from ipyllm.rendering import columns_markdown

        return columns_markdown(self.columns(), self.note)

    @property
    def names_hidden(self) -> bool:
        """Whether labels are hidden: the comparison is blind, and no vote was cast."""
        return self.blind and not self._revealed

    def reveal(self) -> None:
        """Show the labels of a blind comparison; a vote from now on is not a blind one."""
        self._revealed = True

    @property
    def note(self) -> str:
        """What to know before comparing the times of the arms; empty if there is nothing, or no times are shown."""
        return " ".join(self.notes)

    @property
    def notes(self) -> list[str]:
        """The sentences of the note."""
        return [] if self.names_hidden else notes_on_times(self.arms, self.responses)

    def columns(self) -> list[Column]:
        """Return all arms for the renderer."""
        return [self.column(index) for index in range(len(self.arms))]

    def column(self, index: int, *, render: bool = True) -> Column:
        """Return one arm for the renderer; without HTML if ``render`` is False."""
        from ipyllm.comparison.ended_column import ended_column
        from ipyllm.rendering import Column

        arm, response = self.arms[index], self.responses[index]
        if response is not None:
            preferred = self.vote_cast == arm.label
            return ended_column(
                arm,
                response,
                names_hidden=self.names_hidden,
                same_limit=self._have_same_limit,
                preferred=preferred,
                render=render,
            )
        label = "" if self.names_hidden else arm.label
        if self.done.is_set():
            return Column(arm.mark, label, "", "", "", error="Stopped before the request was sent.")
        return Column(arm.mark, label, "", "", "running" if self.has_started else "not started", running=True)

    @property
    def _have_same_limit(self) -> bool:
        """Whether the same number of tokens was set for the answers of all arms."""
        from ipyllm.conversations.tokens import max_output_tokens

        limits = {max_output_tokens(arm.params) for arm in self.arms}
        return len(limits) == 1 and None not in limits

    def to_dataframe(self) -> pd.DataFrame:
        """Return one row for every arm.

        Returns
        -------
        DataFrame
            ``arm`` (its mark), ``label``, ``model``, ``variant`` (of several prompts), ``params``, ``status``
            (``running`` before its end), ``response`` (the text), ``preferred``; others as in ``usage()``, all that
            :func:`~ipyllm.statistics.summarise_arms` needs among them. Tokens that no server counted are null.
        """
        return answers_table(self.arms, self.responses, self.vote_cast)

    def vote(
        self, which: str | None, *, blind: bool | None = None, tags: Mapping[str, object] | None = None
    ) -> str | None:
        """Store which answer is better in the ledger. A later vote replaces an earlier one, and None withdraws it.

        The vote is on the complete answers only: arms that failed or were cancelled are not part of it.

        Parameters
        ----------
        which : str or None
            A mark (``"A"``), a label, or ``"tie"`` or ``"both_bad"``. None: no vote, as :meth:`withdraw_vote`.
        blind : bool, optional
            Whether labels were hidden from the voter; by default whether they are hidden here.
        tags : mapping, optional
            Tags of the vote, to filter by.

        Returns
        -------
        str or None
            The preferred label, or ``"tie"`` or ``"both_bad"``.

        Raises
        ------
        LLMError
            There is no such arm, it has no complete answer, fewer than two have one, or an arm has not ended.
        """
        if which is None:
            self.withdraw_vote()
            return None
        outcome = self.outcome(which)
        if not self.done.is_set():
            raise bad_request("Some answers are not complete yet: vote when all have ended.")
        is_blind = self.names_hidden if blind is None else blind
        self.cast_again(VoteCast(outcome, is_blind, dict(tags or {})))
        self._revealed = True
        return outcome

    def cast_again(self, vote: VoteCast) -> None:
        """Store a vote, which was cast on these answers or is known to be possible.

        Raises
        ------
        LLMError
            As :meth:`vote`.
        """
        cast_on(self.arms, self.complete, vote.outcome, comparison=self.id, blind=vote.was_blind, tags=vote.tags)
        self.latest_vote, self.withdrawn_vote = vote, None

    @property
    def vote_cast(self) -> str | None:
        """The label preferred in the latest vote, or ``tie`` or ``both_bad``; None without a vote."""
        return None if self.latest_vote is None else self.latest_vote.outcome

    def withdraw_vote(self) -> None:
        """Withdraw the vote, if there is one: it is in no table and no ranking any more."""
        if self.vote_cast is not None:
            cast_on(self.arms, self.complete, None, comparison=self.id, blind=self.names_hidden)
            self.latest_vote = self.withdrawn_vote = None

    @property
    def complete(self) -> dict[int, ChatResponse]:
        """The complete answers, by the arms' indices: a vote is on these."""
        return {
            index: response
            for index, response in enumerate(self.responses)
            if response is not None and response.status == "ok"
        }

    def outcome(self, which: str) -> str:
        """Return the outcome of a vote for ``which``: a label, ``"tie"`` or ``"both_bad"``.

        Raises
        ------
        LLMError
            There is no such arm.
        """
        return outcome_of(which, self.arms, names_hidden=self.names_hidden)
