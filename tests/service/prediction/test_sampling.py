"""The samplers: the cases that the browser's are tested with, and llama.cpp's own server."""

import json
import math
from collections import Counter
from dataclasses import asdict
from pathlib import Path

import pytest

from ipyllm import ChatResponse, LLMError, embedded
from ipyllm.embedded.native_api import ask_server
from ipyllm.logprobs import read_logprobs
from ipyllm.prediction.distribution import distribution_in, record_distribution
from ipyllm.prediction.sampling import SamplingSettings, draw, sample_distribution, uniform

CASES = json.loads((Path(__file__).parents[3] / "widgets/tests/teaching/sampling_cases.json").read_text())
PROMPT = "The best thing about winter is"


def test_the_cases_of_the_browser_are_those_of_python():
    for case in CASES["cases"]:
        settings = SamplingSettings(**case["settings"])
        found = sample_distribution(CASES["logprobs"], settings)
        assert found == pytest.approx(case["probabilities"], abs=2e-9)
        assert draw(found, settings.draws, settings.seed) == case["drawn"]
    assert [uniform(seed, index) for seed, index, _ in CASES["uniform"]] == [value for _, _, value in CASES["uniform"]]


def test_what_remains_adds_up_and_keeps_its_order():
    for case in CASES["cases"]:
        found = case["probabilities"]
        assert math.fsum(found) == pytest.approx(1, abs=1e-7)
        assert found == sorted(found, reverse=True)


def test_draws_are_as_frequent_as_their_probabilities():
    probabilities = [0.6, 0.3, 0.1]
    counts = Counter()
    for seed in range(50):
        counts.update(dict(enumerate(draw(probabilities, 200, seed))))
    assert [counts[index] / 10_000 for index in range(3)] == pytest.approx(probabilities, abs=0.02)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"temperature": 3}, "temperature must be a number between 0 and 2, not 3."),
        ({"temperature": True}, "temperature must be"),
        ({"top_p": float("nan")}, "top_p must be a number between 0 and 1, not nan."),
        ({"min_p": "0.1"}, "min_p must be"),
        ({"top_k": 101}, "top_k must be at most 100, not 101."),
        ({"top_k": -1}, "top_k must be a whole number, 0 or more, not -1."),
        ({"draws": 1e9}, "draws must be a whole number"),
        ({"seed": 2**32}, "seed must be at most"),
        ({"temperature_first": 1}, "temperature_first must be True or False, not 1."),
    ],
)
def test_a_value_out_of_its_range_is_refused(wrong, said):
    with pytest.raises(LLMError) as caught:
        SamplingSettings(**wrong)
    assert str(caught.value).startswith(said)


@pytest.mark.parametrize("first", [False, True], ids=["llama.cpp's order", "temperature first"])
def test_probabilities_are_llama_cpps_to_a_ten_thousandth(first):
    found = record_distribution(PROMPT)
    server = embedded.get(embedded.resolve("smollm2-135m"))
    filters = ["top_k", "top_p", "min_p"]
    order = ["temperature", *filters] if first else [*filters, "temperature"]
    for given in (
        {"top_k": 7},
        {"top_p": 0.5},
        {"min_p": 0.1, "temperature": 1.5},
        {"top_k": 50, "top_p": 0.95, "min_p": 0.05, "temperature": 0.8},
    ):
        settings = SamplingSettings(**given, temperature_first=first)
        wanted = {key: value for key, value in asdict(settings).items() if key in {*filters, "temperature"}}
        body = {"prompt": PROMPT, "n_predict": 1, "n_probs": 100, "post_sampling_probs": True, "samplers": order}
        told = ask_server(server, "/completion", body | wanted)["completion_probabilities"][0]["top_probs"]
        theirs = [row["prob"] for row in told if row["prob"] > 0]
        assert sample_distribution(found.logprobs, settings)[:100] == pytest.approx(theirs, abs=1e-4), given


def test_the_order_that_is_called_llama_cpps_is_its_default():
    server = embedded.get(embedded.resolve("smollm2-135m"))
    default = {"temperature": 0.6, "top_k": 30, "top_p": 0.8, "min_p": 0.0}
    body = {"prompt": PROMPT, "n_predict": 1, "n_probs": 30, "post_sampling_probs": True, **default}
    told = ask_server(server, "/completion", body)["completion_probabilities"][0]["top_probs"]
    ours = sample_distribution(record_distribution(PROMPT).logprobs, SamplingSettings(**default))
    assert ours == pytest.approx([row["prob"] for row in told if row["prob"] > 0], abs=1e-4)


def test_the_distribution_in_an_answer_has_what_the_server_told():
    items = [
        {"token": "Hi", "logprob": -0.1, "top_logprobs": []},
        {"token": " you", "logprob": -2.0, "top_logprobs": [{"token": " all", "logprob": -0.2}]},
        {"token": "!", "logprob": None, "top_logprobs": []},
    ]
    response = ChatResponse(content="Hi you!", model="lab/m", logprobs=read_logprobs(items))
    found = distribution_in(response, 1)
    assert (found.before, found.texts, found.logprobs, found.is_whole) == ("Hi", (" all", " you"), (-0.2, -2.0), False)
    for position, said in ((2, "The server told no probabilities for token 2"), (3, "position must be below 3")):
        with pytest.raises(LLMError, match=said):
            distribution_in(response, position)
    with pytest.raises(LLMError, match="logprobs=20"):
        distribution_in(ChatResponse(content="Hi", model="lab/m"))
