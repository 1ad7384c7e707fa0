"""A model that compares two answers to the same prompt, in both orders, and votes."""

from __future__ import annotations

import itertools
import warnings
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

from ipyllm.errors import bad_request
from ipyllm.scorers.judging import JudgeModel, total_cost
from ipyllm.scorers.reading import response_text
from ipyllm.scorers.scored_answer import Answer, answers
from ipyllm.scorers.scorer import Score, ScoreFailure, Scorer
from ipyllm.scorers.scoring import CONCURRENCY, Scoring, match_rows
from ipyllm.statistics.observations import arms_in_order

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import pandas as pd

    from ipyllm.services.base import BaseLLMService

__all__ = ["PairwiseJudge", "pairwise_judge"]

_RUBRIC = "The better answer is correct, answers what was asked, and leaves nothing important out."
Verdict = Literal["first", "second", "tie"]


def pairwise_judge(
    model: str | BaseLLMService,
    *,
    rubric: str = _RUBRIC,
    reference: str | None = None,
    name: str = "pairwise",
    cache: bool | None = True,
    **options: Any,
) -> PairwiseJudge:
    """Make a judge that compares the answers of two arms to the same prompts.

    Parameters
    ----------
    model, reference, cache, **options
        As in :func:`ipyllm.scorers.judge`.
    rubric : str
        Description of a better answer.
    name : str
        For the tags of its calls and votes.

    Raises
    ------
    LLMError
        There is no such model, or an invalid rubric or option.

    Notes
    -----
    Judges prefer the first answer, some in most cases (Wang et al. 2023, arXiv:2305.17926). So each pair is judged
    twice, with the answers swapped, and an arm wins only if it wins both times; everything else is a tie (the
    conservative method of Zheng et al. 2023, arXiv:2306.05685). The columns ``forward`` and ``backward`` have both
    verdicts: if they often disagree, the judge is guessing. Each pair costs two calls. For other problems of judges
    see :func:`ipyllm.scorers.judge`.

    Examples
    --------
    >>> from ipyllm import scorers
    >>> scorers.pairwise_judge("openai/gpt-6-luna", reference="capital")
    PairwiseJudge(name='pairwise', model='openai/gpt-6-luna')
    """
    return PairwiseJudge(JudgeModel.of(model, name, rubric, reference, cache=cache, **options))


class PairwiseJudge:
    """A model that compares two answers. Made by :func:`pairwise_judge`."""

    def __init__(self, judge: JudgeModel) -> None:
        self._judge = judge

    def __repr__(self) -> str:
        return f"PairwiseJudge(name={self._judge.name!r}, model={self._judge.service.full_name!r})"

    def votes(
        self,
        calls: pd.DataFrame,
        arms: Sequence[str] | None = None,
        rows: pd.DataFrame | Sequence[Mapping[str, Any]] | None = None,
        *,
        on: str = "prompt_id",
        concurrency: int = CONCURRENCY,
    ) -> pd.DataFrame:
        """Compare the answers to each prompt, two at a time.

        Parameters
        ----------
        calls : DataFrame
            As ``results.calls`` or ``usage()`` returns it: with ``arm`` (or else ``model``), and ``prompt_id``.
        arms : sequence of str, optional
            Arms to compare, each with each; by default all.
        rows : DataFrame or sequence of mapping, optional
            The rows with the right answers, as for :func:`ipyllm.scorers.apply`.
        on : str
            Column of ``calls`` that names the prompt.
        concurrency : int
            Pairs judged at the same time.

        Returns
        -------
        DataFrame
            A row for each pair, with the columns of :func:`ipyllm.votes`, for ``results.ranking(votes)``: ``arms``
            (label to ``call_id``), ``outcome`` (a label or ``"tie"``), …; and ``prompt_id``, by which votes belong
            together, ``forward`` and ``backward``, the verdicts in both orders, ``reason`` and ``cost_usd``. Equal
            answers are a tie without a call. These votes are not written to the ledger, unlike the judge's calls and
            people's votes.

        Warns
        -----
        UserWarning
            Some pairs could not be judged, and are left out.

        Raises
        ------
        LLMError
            ``bad_request``: there are not two such arms, or no prompt that two of them answered.
        """
        pairs = list(_pairs(calls, arms, rows, on))
        if not pairs:
            raise bad_request("No prompt was answered by two of these arms, so there is nothing to compare.")
        scoring = self._scoring(pairs, concurrency)
        scoring.run()
        return self._table(pairs, scoring.frame())

    def _scoring(self, pairs: list[_Pair], concurrency: int) -> Scoring:
        import pandas as pd

        scorer = Scorer(
            "pair", self._compare, is_async=True, timeout=None, gives=("reason", "cost_usd"), higher_is_better=None
        )
        # Each pair is scored as one call whose row has the two answers.
        table = pd.DataFrame(
            {
                "status": ["ok"] * len(pairs),
                "response": [""] * len(pairs),
                "call_id": [pair.call_ids for pair in pairs],
                "experiment": [pair.first.experiment for pair in pairs],
            }
        )
        return Scoring([scorer], table, [{"pair": pair} for pair in pairs], concurrency=concurrency)

    async def _compare(self, _: Any, row: Mapping[str, Any]) -> Score:
        pair: _Pair = row["pair"]
        one, other = response_text(pair.first).strip(), response_text(pair.second).strip()
        if one == other:
            pair.forward = pair.backward = "tie"
            return Score(0, reason="The answers are the same.", cost_usd=0.0)
        pair.forward, reason, cost = await self._verdict(pair, one, other)
        try:
            swapped, reason_back, cost_back = await self._verdict(pair, other, one, swapped=True)
        except ScoreFailure as exc:
            exc.cost_usd = total_cost(exc.cost_usd, cost)
            raise
        pair.backward = _SWAPPED[swapped]
        reasons = f"{reason}\n— in the other order: {reason_back}"
        return Score(_VALUE[pair.forward] + _VALUE[pair.backward], reason=reasons, cost_usd=total_cost(cost, cost_back))

    async def _verdict(
        self, pair: _Pair, first: str, second: str, *, swapped: bool = False
    ) -> tuple[Verdict, str, float | None]:
        asked = [pair.second.prompt, pair.first.prompt] if swapped else [pair.first.prompt, pair.second.prompt]
        questions = [("Question", asked[0])]
        if asked[0] != asked[1]:  # the arms have templates of their own
            questions = [("Question of the first answer", asked[0]), ("Question of the second answer", asked[1])]
        return await self._judge.ask(
            "Say which of two answers is better, or that they are equally good.",
            "the reason in one or two sentences, then which is better: first, second or tie. The order of the answers "
            "means nothing.",
            ("better", {"enum": ["first", "second", "tie"]}),
            [*questions, ("First answer", first), ("Second answer", second)],
            pair.row,
            judge_of=pair.call_ids,
            experiment=pair.first.experiment,
        )

    def _table(self, pairs: list[_Pair], scored: pd.DataFrame) -> pd.DataFrame:
        import pandas as pd
        from ulid import ULID

        from ipyllm.ledger.columns import VOTES
        from ipyllm.ledger.ids import kernel_id

        now, name = datetime.now(UTC), self._judge.name
        votes = [
            {
                "vote_id": str(ULID()),
                "cast_at": now,
                "kernel_id": kernel_id(),
                "origin": "experiment",
                "comparison": f"{name}:{pair.first.call_id or number}:{pair.second.call_id or number}",
                "prompt": pair.first.prompt,
                "prompt_id": pair.prompt_id,
                "arms": {pair.arms[0]: pair.first.call_id or None, pair.arms[1]: pair.second.call_id or None},
                "outcome": pair.outcome,
                "blind": True,
                "tags": {"judge": name},
                "forward": pair.label(pair.forward),
                "backward": pair.label(pair.backward),
                "reason": result["score_pair_reason"],
                "cost_usd": result["cost_usd_pair"],
            }
            for number, (pair, result) in enumerate(zip(pairs, scored.to_dict("records"), strict=True))
            if pair.backward is not None
        ]
        failed = [error for error in scored["score_pair_error"] if error is not None]
        if failed:
            warnings.warn(
                f"{len(failed)} of {len(pairs)} pairs could not be judged and are left out; the first: {failed[0]}",
                stacklevel=3,
            )
        columns = [*VOTES.columns, "prompt_id", "forward", "backward", "reason", "cost_usd"]
        return pd.DataFrame(votes, columns=columns).astype({"cost_usd": "float64"})


_VALUE = {"first": 0.5, "second": -0.5, "tie": 0.0}
_SWAPPED: dict[Verdict, Verdict] = {"first": "second", "second": "first", "tie": "tie"}


@dataclass(slots=True)
class _Pair:
    """Two answers to one prompt, and the verdicts in both orders."""

    arms: tuple[str, str]
    first: Answer
    second: Answer
    row: Mapping[str, Any]
    prompt_id: str
    forward: Verdict | None = None
    backward: Verdict | None = None

    @property
    def call_ids(self) -> str:
        return f"{self.first.call_id},{self.second.call_id}"

    def label(self, verdict: Verdict | None) -> str | None:
        return {"first": self.arms[0], "second": self.arms[1]}.get(verdict or "", verdict)

    @property
    def outcome(self) -> str | None:
        """The arm that won both times, or a tie."""
        return self.label(self.forward if self.forward == self.backward else "tie")


def _pairs(calls: pd.DataFrame, arms: Sequence[str] | None, rows: Any, on: str) -> Iterator[_Pair]:
    arm_column = "arm" if "arm" in calls.columns and calls["arm"].notna().any() else "model"
    lacking = [column for column in (arm_column, on, "status", "response") if column not in calls.columns]
    if lacking:
        raise bad_request(f"These calls cannot be compared: the table has no column {' and '.join(lacking)}.")
    answer_rows = match_rows(calls, rows, on)
    present = arms_in_order(calls, arm_column)
    chosen = present if arms is None else list(dict.fromkeys([arms] if isinstance(arms, str) else arms))
    unknown = [arm for arm in chosen if arm not in present]
    if unknown or len(chosen) < 2:  # noqa: PLR2004
        problem = f"there is no arm {unknown[0]!r}" if unknown else f"there is only {len(chosen)}"
        raise bad_request(
            f"A comparison needs at least two arms, but {problem}; the arms are {', '.join(map(repr, present))}."
        )
    repeats = calls["repeat"] if "repeat" in calls.columns else [None] * len(calls)
    warmups = calls["warmup"].fillna(value=False) if "warmup" in calls.columns else [False] * len(calls)
    found: dict[Any, dict[str, list[tuple[Answer, Mapping[str, Any]]]]] = {}
    columns = (calls[arm_column], calls[on], repeats, warmups, calls["response"].notna(), answers(calls), answer_rows)
    for arm, key, repeat, is_warmup, stored, answer, row in zip(*columns, strict=True):
        if arm in chosen and answer.status == "ok" and stored and not is_warmup:
            found.setdefault((key, str(repeat)), {}).setdefault(arm, []).append((answer, row))
    for (key, _), by_arm in found.items():
        for one, other in itertools.combinations(chosen, 2):
            # Without a column of repeats, calls are paired in their order.
            for (first, row), (second, _) in zip(by_arm.get(one, ()), by_arm.get(other, ()), strict=False):
                yield _Pair((one, other), first, second, row, str(key))
