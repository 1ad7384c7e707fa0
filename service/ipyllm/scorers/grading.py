"""The scorer that asks a model to grade an answer by a rubric, with a reason and a number on a scale."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from ipyllm.errors import bad_request
from ipyllm.scorers.judging import JudgeModel, prompt_of
from ipyllm.scorers.reading import response_text
from ipyllm.scorers.scorer import Score, Scorer

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ipyllm.services.base import BaseLLMService

__all__ = ["judge"]

_RUBRIC = "A good answer is correct, answers what was asked, and leaves nothing important out."
_SCALE_LENGTH = 2


def judge(
    model: str | BaseLLMService,
    *,
    rubric: str = _RUBRIC,
    scale: tuple[int, int] = (1, 5),
    reference: str | None = None,
    name: str = "judge",
    cache: bool | None = True,
    **options: Any,
) -> Scorer:
    """Score an answer by the grade that a model gives it.

    Parameters
    ----------
    model : str or BaseLLMService
        The judge.
    rubric : str
        Description of a good answer, and of both ends of the scale.
    scale : (int, int)
        Worst and best grade. The score is the grade itself; ``(0, 1)`` asks for pass or fail.
    reference : str, optional
        Column with the right answer, for the judge to compare with.
    name : str
        Name of the scorer, with the columns ``score_<name>``, ``score_<name>_reason``, and ``cost_usd_<name>``, null
        where the price is unknown.
    cache : bool or None
        Whether earlier grades of the same answer are reused. None follows the settings.
    **options
        As for ``chat``: ``temperature``, ``max_tokens``, ``timeout``, ``repairs``, …

    Raises
    ------
    LLMError
        There is no such model, or an invalid rubric, scale or option.

    Notes
    -----
    Each grade is a call, with a row in the ledger with ``origin="experiment"`` and the tags ``judge`` (the name) and
    ``judge_of`` (the graded ``call_id``): ``usage(tags={"judge": "judge"})``. Those for an experiment have its name in
    the column ``experiment``, and are paid from its budget. The judge sees the last user message
    and the answer, not the name of the model.

    Known problems: judges favour answers of their own family, and recognise them (Panickssery et al. 2024,
    arXiv:2404.13076); longer answers; and, beyond what they could solve themselves, wrong answers that sound right
    (Zheng et al. 2023, arXiv:2306.05685). Small models cannot judge. So use a judge of another family than the
    arms, give it the ``reference`` where there is one, and compare some fifty of its scores with your own first. An
    answer may address the judge; the delimiters around it cannot be guessed, which lowers the risk but does not remove
    it.

    Examples
    --------
    >>> from ipyllm import scorers
    >>> scorer = scorers.judge("openai/gpt-6-luna", rubric="5: correct and brief. 1: wrong.", reference="capital")
    >>> scorer.name, scorer.is_async
    ('judge', True)
    """
    is_pair = isinstance(scale, tuple | list) and all(isinstance(n, int) and not isinstance(n, bool) for n in scale)
    if not is_pair or len(scale) != _SCALE_LENGTH or not scale[0] < scale[1]:
        raise bad_request(f"scale must be two whole numbers, worst and best, such as (1, 5), not {scale!r}.")
    function = partial(
        _judge, judge=JudgeModel.of(model, name, rubric, reference, cache=cache, **options), scale=(*scale,)
    )
    # The call has its own time limits, which do not count time in the queue.
    return Scorer(
        name,
        function,
        is_async=True,
        timeout=None,
        gives=("reason", "cost_usd"),
        higher_is_better=True,
        scale=(scale[0], scale[1]),
    )


async def _judge(response: Any, row: Mapping[str, Any], *, judge: JudgeModel, scale: tuple[int, int]) -> Score:
    worst, best = scale
    grade, reason, cost = await judge.ask(
        f"Grade an answer from {worst} (worst) to {best} (best).",
        "the reason for your grade in one or two sentences, then the grade.",
        ("grade", {"type": "integer", "minimum": worst, "maximum": best}),
        [("Question", prompt_of(response, row)), ("Answer to grade", response_text(response))],
        row,
        judge_of=str(response.call_id),
        experiment=getattr(response, "experiment", None),
    )
    return Score(grade, reason=reason, cost_usd=cost)
