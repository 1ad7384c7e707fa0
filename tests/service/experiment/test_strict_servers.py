"""What an experiment takes reaches servers that refuse what those of the providers refuse."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from PIL import Image

from ipyllm import Experiment
from tests.fakes import answer
from tests.fakes.services import StrictServices, plausible_answer

MODELS = ["openai/gpt-6-luna", "deepseek/deepseek-flash", "anthropic/claude-sonnet-5", "mistral/mistral-small-latest"]
QUESTION = {"role": "user", "content": "Where is Bern?"}
EXAMPLES = [("Where is Oslo?", "In Norway.")]


@dataclass
class Place:
    country: str


def country(city: str) -> str:
    """The country of a city."""
    return "Switzerland"


ROWS = {
    "a text": ["Where is Bern?"],
    "messages": [[{"role": "system", "content": "Be brief."}, QUESTION]],
    "a chat": [
        [QUESTION, {"role": "assistant", "content": "In Switzerland."}, {"role": "user", "content": "And Oslo?"}]
    ],
}


def decide(request):
    """Call the tool first; then answer as the schema wants it, also where only the prompt has it."""
    called = request.messages[-1]
    has_results = called.get("role") == "tool" or called.get("type") == "function_call_output"
    return answer('{"country": "Switzerland"}') if has_results else plausible_answer(request)


@pytest.fixture
def services(monkeypatch, own_settings):
    with StrictServices(decide) as strict:
        strict.replace_all(monkeypatch)
        yield strict


@pytest.mark.parametrize("name", ROWS)
def test_messages_with_examples_tools_and_a_schema_are_accepted(name, services):
    results = Experiment(
        ROWS[name], models=MODELS, examples=EXAMPLES, schema=Place, tools=[country], warmup=0, max_retries=0
    ).run(progress=False)
    assert services.refused() == []
    assert results.state == "4 of 4 calls have an answer."
    assert (results.calls["exchanges"] == 2).all()
    assert results.calls["parsed_country"].notna().all()


def test_images_are_accepted_by_models_that_read_them(services):
    models = [name for name in MODELS if not name.startswith("deepseek")]
    rows = [{"photo": Image.new("RGB", (8, 8), "teal")}]
    results = Experiment(rows, "What is it?", images="photo", models=models, warmup=0, max_retries=0).run(
        progress=False
    )
    assert services.refused() == []
    assert results.state == "3 of 3 calls have an answer."
