"""Experiments whose calls are in the ledger without having been made, with any answers, scores and reasons."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from ulid import ULID

from ipyllm import Experiment, OpenAIService
from ipyllm.experiment.grid import GRID_TAG, TRIAL_TAG
from ipyllm.scorers import Score, Scorer

STARTED = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
MODELS = ("gpt-6-luna", "gpt-6-sol", "gpt-6.1-terra", "ministral-9b")
REVIEWS = (
    ("A joy from start to end, with a cast that could read the phone book and hold the room.", "positive"),
    ("Two hours of my life, gone, and not one joke that landed in all of them.", "negative"),
    ("It has its moments, and between them one waits for the next, patiently at first.", "positive"),
    ("The score swells, the hero weeps, the audience looks at its watch.", "negative"),
    ("Somebody had fun making this, and for once it shows in every single frame.", "positive"),
)


def answered(prompts, row_of, *, models=MODELS[:2], scorers=(), **options):
    """Return the results of an experiment whose calls have the columns that ``row_of(arm, prompt, repeat)`` gives.

    ``arm`` is the number of the arm, ``prompt`` the row of the input. None leaves the call out.
    """
    services = [OpenAIService(name, base_url="http://127.0.0.1:9/v1", api_key="no-key-needed") for name in models]
    experiment = Experiment(prompts, models=services, scorers=scorers, **options)
    signature = experiment.grid.signature
    arms = {arm.label: index for index, arm in enumerate(experiment.grid.arms)}
    for number, trial in enumerate(experiment.grid.trials.values()):
        given = row_of(arms[trial.arm.label], trial.prompt.row, trial.repeat)
        if given is None:
            continue
        started = STARTED + timedelta(seconds=number)
        experiment.ledger.put(
            {
                "call_id": str(ULID()),
                "started_at": started,
                "status": "ok",
                "finish_reason": "stop",
                "experiment": experiment.name,
                "origin": "experiment",
                "arm": trial.arm.label,
                "model": trial.arm.model,
                "prompt_id": trial.prompt.prompt_id,
                "repeat": trial.repeat,
                "warmup": False,
                "prompt": trial.prompt.text,
                "total_s": 0.8 + number % 7 / 10,
                "output_tokens": 12 + number % 30,
                "cost_usd": 0.00004,
                "tags": {TRIAL_TAG: trial.key, GRID_TAG: signature},
                **given,
            }
        )
    assert experiment.ledger.flush(60)
    return experiment.results()


def grades(grade_of, *, name="judge", scale=(1, 5)):
    """Return a judge without a model: ``grade_of(response)`` returns grade and reason, or raises."""

    def judge(response):
        grade, reason = grade_of(response)
        return Score(grade, reason=reason, cost_usd=0.0)

    return Scorer(
        name, judge, takes_row=False, inline=True, gives=("reason", "cost_usd"), higher_is_better=True, scale=scale
    )


def reviews(n=5, models=MODELS[:2], *, numbered=False, **options):
    """Return results of a classification with everything that the explorer shows: see ``_review``.

    If ``numbered``, no two answers are the same.
    """
    rows = [{"text": f"{REVIEWS[i % 5][0]} ({i})", "label": REVIEWS[i % 5][1], "stars": i % 5 + 1} for i in range(n)]

    def right(response, row):
        return row["label"] in response.content.lower().split(".")[0]

    def grade(response):
        if "unclear" in response.content:
            raise ValueError("The judge gave no verdict: it timed out.")
        return (3, "It hedges.") if "perhaps" in response.content else (5, "It is brief and says why.")

    def review(arm, row, repeat):
        given = _review(arm, row, repeat)
        return given | {"response": f"{given['response']} ({row})"} if numbered and "response" in given else given

    return answered(
        rows,
        review,
        template="Positive or negative? Say why in one sentence. {{ text }}",
        models=models,
        scorers=[Scorer.of(right, timeout=None), grades(grade)],
        **options,
    )


def _review(arm, row, repeat):
    label = REVIEWS[row % 5][1].capitalize()
    wrong = "Negative" if label == "Positive" else "Positive"
    because = "the words that carry the verdict are warm, and nothing in the sentence takes them back"
    if arm == 0:
        return {"response": f"{label}. Because {because}."}
    if row % 5 == 1:
        return {"response": f"{wrong}. It sounds like a joke, perhaps, since {because.replace('warm', 'odd')}."}
    if row % 5 == 2 and arm == 1:
        return {"response": "Positive. The review says that it has mom", "finish_reason": "length"}
    if row % 5 == 3 and arm % 2:
        message = "The server took longer than 60 s. Try again, or raise timeout=."
        return {"status": "error", "error_category": "timeout", "error_message": message, "finish_reason": None}
    if row % 5 == 4:
        return {"response": f"{label}. It is unclear how much, but {because}."}
    return {"response": f"{label}. Because {because}, on the whole (arm {arm}, repeat {repeat})."}
