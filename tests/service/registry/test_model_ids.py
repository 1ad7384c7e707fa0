"""Tests that a model's id goes to its server unchanged, also where it begins with the name of its service."""

from __future__ import annotations

import pytest

from ipyllm import Experiment, OllamaService, OpenAIService, create_llm_service, fallback, pool, split, summarise, usage
from ipyllm.comparison.arms import make_arms
from ipyllm.registry.models import resolve
from ipyllm.services.profiles.profile import profile_of
from ipyllm.settings import get_settings

ENDPOINTS = """
[endpoints.openai]
base_url = "{url}"
[endpoints.openrouter]
base_url = "{url}"
model = "openrouter/auto"
[endpoints.lab]
base_url = "{url}"
[aliases]
mine = "lab/lab/tiny"
[prices."openai/openai/gpt-oss-20b"]
input_usd_per_mtok = 1000
output_usd_per_mtok = 2000
[profiles."openai/openai/*"]
efforts = ["low"]
"""


@pytest.fixture
def config(own_settings, fake):
    path = own_settings / "config.toml"
    path.write_text(ENDPOINTS.format(url=fake.base_url))
    return path


@pytest.mark.parametrize(
    ("name", "model"),
    [
        ("openai/openai/gpt-oss-20b", "openai/gpt-oss-20b"),
        ("openai/gpt-oss-20b", "gpt-oss-20b"),
        ("openrouter", "openrouter/auto"),
        ("openrouter/auto", "openrouter/auto"),
        ("openrouter/openrouter/auto", "openrouter/auto"),
        ("openrouter/other", "other"),
        ("lab/lab/tiny", "lab/tiny"),
        ("mine", "lab/tiny"),
    ],
)
def test_the_server_of_an_endpoint_gets_the_id(config, fake, name, model):
    service = create_llm_service(name)
    response = service.chat("Hello")
    assert fake.requests[-1].json["model"] == model
    assert response.model == service.full_name == f"{resolve(name)[0]}/{model}"
    assert usage()[["service", "model"]].values.tolist() == [[resolve(name)[0], service.full_name]]


@pytest.mark.parametrize(
    "make",
    [
        lambda url: create_llm_service("nvidia/nvidia/nemotron-3", base_url=url),
        lambda url: OpenAIService("nvidia/nemotron-3", base_url=url),
        lambda url: fallback(create_llm_service("nvidia/nvidia/nemotron-3", base_url=url)),
        lambda url: split({create_llm_service("nvidia/nvidia/nemotron-3", base_url=url): 1}),
        lambda url: pool(url, model="nvidia/nemotron-3", name="nvidia"),
        lambda url: pool(create_llm_service("nvidia/nvidia/nemotron-3", base_url=url)),
    ],
    ids=["named", "class", "fallback", "split", "pool of its name", "pool of services"],
)
def test_every_kind_of_service_sends_it(fake, make):
    make(fake.base_url).chat("Hello")
    assert fake.requests[-1].json["model"] == "nvidia/nemotron-3"


def test_a_service_at_an_address_of_ones_own_keeps_what_its_own_address_does_not_know(fake):
    own = OpenAIService("openai/gpt-oss-20b", base_url=fake.base_url)
    assert (own.model, own.full_name) == ("openai/gpt-oss-20b", "openai/openai/gpt-oss-20b")
    assert create_llm_service(own.full_name, base_url=fake.base_url).full_name == own.full_name
    assert OpenAIService("openai/gpt-6-luna").model == "gpt-6-luna"
    assert OllamaService("ollama/llama3.2").model == "llama3.2"


def test_price_and_profile_are_those_of_the_full_name(config, fake):
    service = create_llm_service("openai/openai/gpt-oss-20b")
    assert (service.price().input_usd_per_mtok, service.profile.efforts) == (1000, ("low",))
    other = create_llm_service("openai/gpt-oss-20b")
    assert (other.price(), other.profile.efforts) == (None, profile_of("openai/gpt-oss-20b").efforts)
    assert service.chat("Hello").cost_usd > 0
    assert profile_of("openai/openai/gpt-oss-20b", get_settings().profiles).efforts == ("low",)


def test_tables_labels_and_trials_tell_it_from_the_id_without(config, fake):
    models = ["lab/lab/tiny", "lab/tiny"]
    assert [arm.label for arm in make_arms(models)] == ["lab/tiny", "tiny"]
    Experiment(["Hello"], models=models, name="ids", warmup=0).run(progress=False)
    assert sorted(request.json["model"] for request in fake.requests) == ["lab/tiny", "tiny"]
    assert set(summarise(usage(), by="model").index) == set(models)
    assert len(usage(model="lab/lab/tiny")) == 1


def test_a_route_may_have_any_name():
    assert fallback(OllamaService("m"), name="route/ab").full_name == "route/ab"
