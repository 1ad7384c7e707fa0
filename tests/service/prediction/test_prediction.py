"""Next tokens, sampled paths and tokens are those of llama.cpp itself, and quick."""

from time import perf_counter

import numpy as np
import pandas as pd
import pytest

from ipyllm import LLMError, embedded, next_token, sample_paths, tokenize, tokens_of
from ipyllm.embedded.native_api import ask_server
from ipyllm.plots import next_token_bars, token_tree

PROMPT = "The capital of France is"


@pytest.fixture(scope="module")
def llama():
    return embedded.get(embedded.resolve("smollm2-135m"))


@pytest.fixture(scope="module")
def everything(llama):
    """The log probabilities of all tokens of the vocabulary, by id."""
    body = {"prompt": PROMPT, "n_predict": 1, "n_probs": 60_000, "temperature": 0}
    rows = ask_server(llama, "/completion", body)["completion_probabilities"][0]["top_logprobs"]
    return pd.Series({row["id"]: row["logprob"] for row in rows}).astype(float)


@pytest.mark.parametrize("temperature", [0.2, 0.7, 1.0, 1.5, 3.0])
def test_probabilities_are_llama_cpps_to_a_ten_thousandth(everything, temperature):
    table = next_token(PROMPT, top=10, temperature=temperature)
    scaled = np.exp((everything - everything.max()) / temperature)
    # At 1, llama.cpp's own sum is 1.0002: single precision.
    expected = (np.exp(everything) if temperature == 1 else scaled / scaled.sum()).nlargest(10)
    assert list(table["id"]) == list(expected.index)
    assert table[f"t={temperature:g}"].to_numpy() == pytest.approx(expected.to_numpy(), abs=1e-4)


def test_at_temperature_0_the_likeliest_token_has_all():
    table = next_token(PROMPT, top=3, temperature=[0, 1])
    assert table["t=0"].tolist() == [1.0, 0.0, 0.0]
    assert table["token"].iloc[0] == " Paris"
    assert table["t=1"].is_monotonic_decreasing


def test_a_warm_call_takes_hardly_longer_than_llama_cpp(llama):
    def seconds(ask):
        start = perf_counter()
        ask()
        return perf_counter() - start

    body = {"prompt": PROMPT, "n_predict": 1, "n_probs": 10, "temperature": 1.0}
    pairs = [
        (seconds(lambda: ask_server(llama, "/completion", body)), seconds(lambda: next_token(PROMPT, top=10)))
        for _ in range(8)
    ]
    theirs, ours = (min(times) for times in zip(*pairs, strict=True))
    assert ours < 1.5 * theirs + 0.05, (ours, theirs)


def test_paths_are_the_same_for_the_same_seeds_and_add_up():
    paths = sample_paths(PROMPT, n=6, tokens=2, seed=3)
    assert paths["n"].sum() == 6
    assert [len(tokens) for tokens in paths["tokens"]] == [2] * len(paths)
    again = sample_paths(PROMPT, n=6, tokens=2, seed=3)
    assert again[["text", "n"]].equals(paths[["text", "n"]])
    assert paths["probability"].tolist() == pytest.approx([np.prod(p) for p in paths["probabilities"]])


def test_the_first_step_of_a_path_has_the_probability_of_the_next_token(everything):
    paths = sample_paths(PROMPT, n=4, tokens=1, temperature=1.5)
    scaled = np.exp((everything - everything.max()) / 1.5)
    expected = scaled / scaled.sum()
    for token, [probability] in zip(paths["tokens"], paths["probabilities"], strict=True):
        [[_, id_]] = tokenize(token[0]).to_numpy()
        assert probability == pytest.approx(expected[id_], abs=1e-4)


def test_half_a_character_is_shown_by_its_bytes():
    table = tokenize("😀")
    assert list(table["local/smollm2-135m", "token"]) == [r"\xf0\x9f", r"\x98", r"\x80"]


def test_models_stand_side_by_side(llama):
    table = tokenize("Hello wörld", ["local/smollm2-135m", str(f"local/{llama.model_path}")])
    assert len(table.columns) == 4
    assert set(table.attrs["counts"].values()) == {4}


def test_the_tokens_of_a_table_are_counted_by_row():
    frame = pd.DataFrame({"n": [1, 2, 3], "text": ["Hello", None, "Hello wörld"]}, index=list("abc"))
    assert tokens_of(frame).to_dict() == {"a": 1, "b": 0, "c": 4}
    assert tokens_of(frame["text"]).tolist() == [1, 0, 4]
    assert tokens_of(["Hello"]).tolist() == [1]


@pytest.mark.parametrize(
    ("ask", "problem"),
    [
        (lambda: next_token(""), "next_token needs a text to continue."),
        (lambda: next_token("x", temperature=-1), "A temperature must be a number between 0 and 10, not -1."),
        (lambda: next_token("x", temperature=[]), "next_token needs at least one temperature."),
        (lambda: next_token("x", top=0), "top must be"),
        (lambda: next_token("x", "deepseek/deepseek-flash"), "next_token needs an embedded model, such as local/"),
        (lambda: sample_paths("x", tokens=51), "tokens must be at most 50, not 51"),
        (lambda: sample_paths(""), "sample_paths needs a text to continue."),
        (lambda: tokenize(7), "tokenize needs a text, not int."),
        (lambda: tokenize("x", []), "tokenize needs at least one model."),
        (lambda: tokenize("x", "deepseek/deepseek-flash"), "tokenize needs an embedded model"),
        (lambda: tokens_of(pd.DataFrame({"a": ["x"], "b": ["y"]})), "Name the column of texts: tokens_of(table, 'a')."),
        (lambda: tokens_of(pd.DataFrame({"a": ["x"]}), "b"), "There is no column 'b'; there is a."),
        (lambda: next_token_bars(pd.DataFrame({"a": [1]})), "next_token_bars draws the table of next_token"),
        (lambda: token_tree(pd.DataFrame({"a": [1]})), "token_tree draws the table of sample_paths"),
    ],
)
def test_bad_input_is_one_sentence(ask, problem):
    with pytest.raises(LLMError) as error:
        ask()
    assert error.value.category == "bad_request"
    assert problem in str(error.value)


@pytest.mark.parametrize("dark", [False, True])
def test_plots_show_each_token_and_path(dark):
    table = next_token(PROMPT, top=4, temperature=[0, 0.7, 1.5])
    axes = next_token_bars(table, dark=dark)
    assert next(label.get_text() for label in axes.get_yticklabels()) == "␣Paris"
    assert len(axes.patches) == 12
    paths = sample_paths(PROMPT, n=5, tokens=2)
    words = [text.get_text() for text in token_tree(paths, dark=dark).texts]
    assert words[0] == "5×"
    assert len(words) >= 1 + len(paths)
