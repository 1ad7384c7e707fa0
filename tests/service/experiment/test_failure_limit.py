"""A server that fails everything is left, the reason is told, and the other arms go on."""

from __future__ import annotations

import warnings
from concurrent.futures import ThreadPoolExecutor

import pytest

from ipyllm import Experiment, OpenAIService, usage
from ipyllm.comparison.arms import make_arms
from ipyllm.errors import LLMError
from ipyllm.experiment.failure_limit import FailureLimit, Outcome
from ipyllm.experiment.progress_bar import _figures
from ipyllm.experiment.run_progress import RunProgress
from tests.fakes import FakeLLM, answer, content_filter, context_length_exceeded, server_error

NUMBERS = [f"{n}" for n in range(200)]
OK = Outcome("ok", "stop", None, None, None)
FAILED = Outcome("error", None, "api_error", None, "Down.")
TOO_LONG = Outcome("error", None, "context_length", None, "Too long.")
FILTERED = Outcome("error", "content_filter", "content_filter", None, "No.")
MISFIT = Outcome("error", "stop", "api_error", None, "It does not fit the schema.")


@pytest.fixture
def arms(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "no-key-needed")
    return make_arms("openai/m", [{"temperature": 0}, {"temperature": 1}])


def left_after(arm, outcomes, most=20):
    limit = FailureLimit(most)
    for number, outcome in enumerate(outcomes, 1):
        if (found := limit.record(arm, outcome)) is not None:
            return number, found[0]
    return None


def test_an_arm_is_left_after_so_many_failures_in_a_row_or_half_of_two_and_a_half_times_as_many(arms):
    arm = arms[0]
    assert left_after(arm, [FAILED] * 30) == (20, "openai/m")
    assert left_after(arm, [FAILED] * 19 + [OK] + [FAILED] * 19, most=20) is None
    assert left_after(arm, [OK, FAILED] * 30) == (50, arm.label)
    assert left_after(arm, [OK, OK, FAILED] * 30) is None
    assert left_after(arm, [OK] * 40 + [OK, FAILED] * 60) == (40 + 50, arm.label)
    assert left_after(arm, [FAILED] * 3, most=3) == (3, "openai/m")
    assert left_after(arm, [FAILED] * 500, most=None) is None


def test_what_the_answer_or_the_prompt_is_to_blame_for_does_not_count_like_a_failing_server(arms):
    arm = arms[0]
    assert left_after(arm, [FILTERED, MISFIT] * 100) is None
    assert left_after(arm, [OK, TOO_LONG] * 100) is None
    assert left_after(arm, [TOO_LONG] * 30) == (20, "openai/m")
    cancelled = Outcome("cancelled", None, "cancelled", None, "")
    assert left_after(arm, [FAILED, cancelled] * 19) is None


def test_one_arm_of_a_server_can_be_left_while_another_answers(arms):
    limit = FailureLimit(20)
    found = [limit.record(arms[n % 2], FAILED if n % 2 else OK) for n in range(200)]
    assert {each[0] for each in found if each} == {arms[1].label}


def test_a_server_that_fails_everything_is_not_asked_for_every_cell(model, server):
    with FakeLLM() as broken:
        broken.default = server_error()
        down = OpenAIService("down", base_url=broken.base_url, max_retries=0)
        experiment = Experiment(NUMBERS, models=[down, model("a")], warmup=0, concurrency=4)
        with pytest.warns(UserWarning, match="openai/down was left, because 20 calls in a row failed") as said:
            results = experiment.run(progress=False)
        assert 20 <= len(broken.requests) <= 20 + 3
        assert len(server.requests) == 200
        assert "Other calls were not made there: run() again asks them." in str(said[0].message)
        assert "openai/down was left, because 20 calls in a row failed (api_error)" in results.state
        assert any("openai/down was left" in note for note in results.summary().notes)
        assert _figures(experiment.progress)["left"] == "openai/down (api_error)"
        broken.default = answer("up")
        assert experiment.run(progress=False).undone == 0
        assert len(server.requests) == 200
    assert "left" not in experiment.results().state


def test_calls_in_flight_end_with_their_attempt_and_keep_the_cause(model, server):
    server.default = server_error()
    server.on(lambda _: server_error())
    experiment = Experiment(NUMBERS, models=model(max_retries=20), warmup=0, concurrency=30, max_failures=1)
    quick = iter(range(10**6))
    server.on(lambda _: context_length_exceeded() if next(quick) == 20 else server_error())
    with warnings.catch_warnings(action="ignore"):
        experiment.run(progress=False)
    rows = usage(kernel=None, experiment=experiment.name)
    assert len(rows) <= 31
    assert set(rows["status"]) == {"error"}
    assert set(rows["error_category"]) == {"api_error", "context_length"}
    assert rows["attempts"].max() < 20


def test_an_outage_that_lasts_shorter_than_so_many_calls_leaves_nobody(model, server):
    seen = iter(range(10**6))
    server.on(lambda _: server_error() if next(seen) < 19 else answer("so"))
    experiment = Experiment(NUMBERS, models=model(), warmup=0, concurrency=1)
    assert experiment.run(progress=False).undone == 19
    assert not experiment.progress.left


def test_with_none_everything_is_asked(model, server):
    server.on(lambda _: server_error())
    Experiment(NUMBERS, models=model(), warmup=0, max_failures=None).run(progress=False)
    assert len(server.requests) == 200


def test_a_content_filter_that_refuses_everything_is_a_result(model, server):
    server.on(lambda _: content_filter("I was"))
    assert Experiment(NUMBERS, models=model(), warmup=0).run(progress=False).undone == 0
    assert len(server.requests) == 200


@pytest.mark.thorough
@pytest.mark.parametrize("chunk_size", [4, 40])
def test_workers_leave_a_failing_server_too(model, server, chunk_size):
    with FakeLLM() as broken:
        broken.default = server_error()
        down = OpenAIService("down", base_url=broken.base_url, max_retries=0)
        experiment = Experiment(NUMBERS, models=[down, model("a")], warmup=0, concurrency=2)
        with ThreadPoolExecutor(2) as threads, pytest.warns(UserWarning, match="openai/down was left"):
            results = experiment.run(threads, progress=False, chunk_size=chunk_size)
        # Each of the two workers notices by itself, or they do together; a chunk that has begun is finished.
        assert len(broken.requests) <= 2 * (20 + 2) + 2 * chunk_size
        assert len(server.requests) == 200
        broken.default = answer("up")
        assert experiment.run(progress=False).undone == 0
    assert results.undone == 0


def _failing(*names, reason="HTTP 500"):
    """Return why these were left; the reason names the model."""
    return {
        name: LLMError(
            f"{name} was left, because {3 + n} calls in a row failed (api_error). The last: {name} failed ({reason}).",
            category="api_error",
        )
        for n, name in enumerate(names)
    }


def test_one_reason_why_several_arms_were_left_is_told_once_and_names_them():
    assert RunProgress(9, left=_failing("lab/a")).problems() == [str(_failing("lab/a")["lab/a"])]
    assert RunProgress(9, left=_failing("lab/a", "lab/b", "lab/c")).problems() == [
        (
            "lab/a, lab/b and lab/c were left, each because 3 calls in a row failed (api_error). "
            "The last: lab/a failed (HTTP 500)."
        )
    ]
    other = _failing("lab/c", reason="HTTP 404")
    assert len(RunProgress(9, left=_failing("lab/a", "lab/b") | other).problems()) == 2
    with pytest.warns(UserWarning, match="lab/a and lab/b were left, each because") as said:
        RunProgress(9, ended=1, left=_failing("lab/a", "lab/b")).report_problems()
    assert len(said) == 1
    (templates,) = RunProgress(9, left=_failing("m · v1", "m · v2")).problems()
    assert templates.startswith("m · v1 and m · v2 were left, each because 3 calls in a row")


def test_servers_that_cannot_be_reached_for_one_reason_are_told_once():
    refused = {name: f"The key of {name} was refused." for name in ("lab/a", "lab/b")}
    errors = {name: LLMError(sentence, category="authentication") for name, sentence in refused.items()}
    assert RunProgress(9, unreachable=errors).problems() == [
        "lab/a and lab/b could not be reached: The key of lab/a was refused."
    ]
    with pytest.raises(LLMError, match=r"^No model could be asked: lab/a and lab/b: The key of lab/a was refused\.$"):
        RunProgress(9, unreachable=errors).report_problems()


def test_a_reason_that_is_a_question_ends_as_one():
    unknown = {"local": LLMError("There is no embedded model 'a'. Did you mean 'b'?", category="not_found")}
    with pytest.raises(
        LLMError, match=r"^No model could be asked: There is no embedded model 'a'\. Did you mean 'b'\?$"
    ):
        RunProgress(9, unreachable=unknown).report_problems()
