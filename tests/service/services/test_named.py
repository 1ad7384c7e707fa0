"""One contract for every service of ``named.toml``: address, key, default, price, window, budget, and a call."""

from __future__ import annotations

import json
import pickle
from datetime import UTC, datetime

import pytest

from ipyllm import LLMError, create_llm_service, usage
from ipyllm.ledger import current_ledger
from ipyllm.registry import models
from ipyllm.registry.discovery import probe
from ipyllm.response import Usage
from ipyllm.services.prices import price_in_tables
from ipyllm.services.profiles.profile import profile_of
from ipyllm.services.profiles.retirement import retirement_note
from ipyllm.services.service_rows import service_rows
from ipyllm.text.secrets import value_of
from ipyllm.transport.address import is_url
from ipyllm.transport.model_list import parse_model_list
from tests import fakes
from tests.fakes.script import status

ROWS = service_rows()
PROVIDERS = [name for name, row in ROWS.items() if row.domain is not None]
OWN_SERVERS = [name for name, row in ROWS.items() if row.domain is None]
UNPRICED = {"nvidia", "huggingface", "azure"}  # no tables; by the provider; by the deployment's model
KEY = "sk-named-0123456789abcdef"


@pytest.fixture
def keys(monkeypatch):
    for row in ROWS.values():
        for name in row.keys[:1]:
            monkeypatch.setenv(name, KEY)
    monkeypatch.setenv("AZURE_OPENAI_ENDPOINT", "https://mine.openai.azure.com/")


def service_of(name, **options):
    return create_llm_service(f"{name}/{ROWS[name].model or 'my-model'}", **options)


@pytest.mark.parametrize("name", ROWS)
def test_each_service_has_an_address_and_a_full_name(keys, name):
    service = service_of(name)
    address = service.address()
    assert is_url(address.base_url)
    assert value_of(address.api_key) == (KEY if ROWS[name].keys else "")
    assert (service.name, service.full_name) == (name, f"{name}/{ROWS[name].model or 'my-model'}")
    assert KEY not in repr(service) + repr(address)
    assert address.is_loopback is (name in OWN_SERVERS)


def test_the_services_are_those_that_the_documentation_promises():
    assert set(ROWS) == {
        "anthropic", "gemini", "mistral", "groq", "together", "openrouter", "xai", "fireworks", "cerebras", "moonshot",
        "zai", "azure", "huggingface", "nvidia", "lmstudio", "vllm", "llamacpp",
    }  # fmt: skip
    assert set(ROWS) < set(models.service_names())


@pytest.mark.parametrize("name", PROVIDERS)
def test_without_a_key_a_provider_says_which_variable_to_set(monkeypatch, name):
    monkeypatch.setenv("AZURE_OPENAI_ENDPOINT", "https://mine.openai.azure.com")
    with pytest.raises(LLMError, match=f"needs a key: set {ROWS[name].keys[0]}") as caught:
        service_of(name).check()
    assert caught.value.category == "authentication"
    assert not models.is_configured(name)


@pytest.mark.parametrize("name", [name for name in PROVIDERS if len(ROWS[name].keys) > 1])
def test_the_other_variables_of_a_key_are_read_too(monkeypatch, name):
    monkeypatch.setenv(ROWS[name].keys[1], KEY)
    assert value_of(service_of(name).address().api_key) == KEY
    assert models.is_configured(name)


def test_a_key_in_the_env_file_counts(own_settings):
    (own_settings / ".env").write_text(f"GROQ_API_KEY={KEY}\n")
    assert value_of(service_of("groq").address().api_key) == KEY


def test_azure_needs_the_address_of_the_resource(monkeypatch):
    monkeypatch.setenv("AZURE_OPENAI_API_KEY", KEY)
    with pytest.raises(LLMError, match="needs the address of your resource: set AZURE_OPENAI_ENDPOINT"):
        create_llm_service("azure/my-deployment").address()
    for given in ("https://mine.openai.azure.com", "https://mine.openai.azure.com/openai/v1/"):
        monkeypatch.setenv("AZURE_OPENAI_ENDPOINT", given)
        assert create_llm_service("azure/d").address().base_url == "https://mine.openai.azure.com/openai/v1"


@pytest.mark.parametrize("name", ROWS)
def test_defaults_and_known_models_do_not_retire_soon(name):
    for model in (ROWS[name].model, *ROWS[name].models):
        full = f"{name}/{model}"
        assert retirement_note(profile_of(full), full) is None


@pytest.mark.parametrize("name", [name for name in PROVIDERS if name not in UNPRICED])
def test_the_default_has_a_price_and_a_bound_for_budgets(keys, name):
    service = service_of(name)
    price = service.price()
    assert price is not None
    assert price.output_usd_per_mtok > 0
    request = service.request("Hello", max_tokens=1000)
    assert service.max_cost(request, service.address(), datetime.now(UTC)) > 0
    counted, at = Usage(1000, 1000, source="server"), datetime.now(UTC)
    cost, source = service.cost_and_source(counted, None, service.address(), at)
    assert cost > 0
    assert source.startswith("genai-prices")


@pytest.mark.parametrize("name", [name for name in PROVIDERS if name != "azure"])  # which has no address of its own
def test_a_price_is_told_without_a_key(monkeypatch, name):
    for variable in ROWS[name].keys:
        monkeypatch.delenv(variable, raising=False)
    assert (service_of(name).price() is None) == (name in UNPRICED)


@pytest.mark.parametrize("name", [name for name in PROVIDERS if name not in UNPRICED | {"mistral"}])
def test_the_default_has_a_context_window(keys, name):
    assert service_of(name).context_window() > 50_000


@pytest.mark.parametrize("name", PROVIDERS)
def test_at_another_address_nothing_is_priced_and_no_key_is_required(monkeypatch, name):
    service = service_of(name, base_url="http://127.0.0.1:9/v1")
    assert service.address().base_url == "http://127.0.0.1:9/v1"
    assert service.price() is None


@pytest.mark.parametrize("name", OWN_SERVERS)
def test_a_server_of_ones_own_is_free_on_this_machine_only(name):
    service, at = service_of(name), datetime.now(UTC)
    counted = Usage(5, 5, source="server")
    assert service.price().output_usd_per_mtok == 0
    assert service.cost_and_source(counted, None, service.address(), at) == (0.0, "local")
    assert service.cost_and_source(Usage(), None, service.address(), at) == (None, None)
    elsewhere = service_of(name, base_url="http://gpu-box:8000/v1")
    assert elsewhere.price() is None
    assert elsewhere.cost_and_source(counted, None, elsewhere.address(), at) == (None, None)


@pytest.mark.parametrize("name", ROWS)
def test_a_call_ends_in_a_response_and_a_row(fake, name):
    service = service_of(name, base_url=fake.base_url, max_retries=0)
    assert service.chat("Hello").status == "ok"
    assert fake.requests[-1].json["model"] == (ROWS[name].model or "my-model")
    assert current_ledger().flush(10)
    row = usage(kernel=None).iloc[-1]
    assert (row.service, row.model) == (name, service.full_name)


@pytest.mark.parametrize("name", ROWS)
def test_every_effort_of_the_default_reaches_the_server(fake, name):
    service = service_of(name, base_url=fake.base_url, max_retries=0)
    seen = set()
    for effort in service.profile.efforts or ():
        service.chat("Hello", effort=effort)
        seen.add(json.dumps(fake.requests[-1].json, sort_keys=True))
    assert len(seen) == len(service.profile.efforts or ())


@pytest.mark.parametrize("name", ROWS)
def test_a_service_can_be_sent_to_another_process(keys, name):
    service = service_of(name, api_key="sk-mine-0123456789")
    copied = pickle.loads(pickle.dumps(service))
    assert (copied.full_name, copied.base_url()) == (service.full_name, service.base_url())
    assert b"sk-mine" not in pickle.dumps(service)


# ---- names ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "model", "full_name"),
    [
        ("openai/openai/gpt-oss-20b", "openai/gpt-oss-20b", "openai/openai/gpt-oss-20b"),
        ("openai/gpt-6-luna", "gpt-6-luna", "openai/gpt-6-luna"),
        ("nvidia/nvidia/nemotron-3", "nvidia/nemotron-3", "nvidia/nvidia/nemotron-3"),
        ("openrouter/openrouter/auto", "openrouter/auto", "openrouter/openrouter/auto"),
        ("openrouter/auto", "openrouter/auto", "openrouter/openrouter/auto"),
        ("ollama/ollama/tiny", "ollama/tiny", "ollama/ollama/tiny"),
        ("deepseek/deepseek/v4", "deepseek/v4", "deepseek/deepseek/v4"),
        ("openrouter/openai/gpt-6-luna", "openai/gpt-6-luna", "openrouter/openai/gpt-6-luna"),
        ("gemini/models/gemini-3.5-flash-lite", "gemini-3.5-flash-lite", "gemini/gemini-3.5-flash-lite"),
        ("groq", "openai/gpt-oss-20b", "groq/openai/gpt-oss-20b"),
    ],
)
def test_a_model_id_that_begins_with_its_services_name_keeps_it(name, model, full_name):
    service = create_llm_service(name, base_url="http://127.0.0.1:9/v1")
    assert (service.model, service.full_name) == (model, full_name)


def test_an_endpoint_keeps_it_too_and_comes_before_the_service_of_its_name(own_settings, fake):
    (own_settings / "config.toml").write_text(
        f'[endpoints.openrouter]\nbase_url = "{fake.base_url}"\nmodel = "openrouter/auto"\n'
    )
    service = create_llm_service("openrouter")
    assert (service.model, service.base_url()) == ("openrouter/auto", fake.base_url)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("claude-haiku-5-5", "did you mean 'anthropic/claude-haiku-5-5'"),
        ("antropic/claude-haiku-5-5", "did you mean 'anthropic/claude-haiku-5-5'"),
        ("gemni/gemini-3.5-flash-lite", "did you mean 'gemini/gemini-3.5-flash-lite'"),
        ("vllm", "'vllm' serves several models: write vllm/<model>"),
    ],
)
def test_a_wrong_name_suggests_a_service(name, said):
    with pytest.raises(LLMError, match=said):
        create_llm_service(name)


# ---- prices --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "reference"),
    [
        ("deepseek/deepseek-v4-pro", ("deepseek", "deepseek-flash")),  # billed so
        ("mistral/mistral-large-latest", None),  # the tables have another model under this name
        ("gemini/models/gemini-3.5-flash-lite", ("google", "gemini-3.5-flash-lite")),
        ("fireworks/gpt-oss-20b", ("fireworks", "accounts/fireworks/models/gpt-oss-20b")),
        ("huggingface/openai/gpt-oss-20b:groq", ("huggingface_groq", "openai/gpt-oss-20b")),
        ("huggingface/openai/gpt-oss-20b:cheapest", None),
        ("huggingface/openai/gpt-oss-20b", None),
        ("together/openai/gpt-oss-20b", ("together", "openai/gpt-oss-20b")),  # which they do not know
    ],
)
def test_a_price_is_looked_up_under_its_right_name_or_not_at_all(name, reference):
    service = create_llm_service(name)
    assert service.price_reference(service.model) == reference
    known = reference is not None and reference[0] != "together"
    assert (reference is not None and price_in_tables(*reference) is not None) is known


def test_a_response_of_deepseeks_pro_model_is_billed_as_flash():
    service, at = create_llm_service("deepseek/deepseek-v4-pro", api_key=KEY), datetime(2026, 11, 2, 12, tzinfo=UTC)
    counted = Usage(1_000_000, 1_000_000, source="server")
    cost, _ = service.cost_and_source(counted, "deepseek-v4-pro", service.address(), at)
    assert cost == pytest.approx(0.15 + 0.60)


def test_what_openrouter_says_a_call_cost_is_its_cost(fake):
    service = create_llm_service("openrouter", base_url=fake.base_url)
    said = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15, "cost": 0.00123}
    fake.default = fakes.answer("Hello", usage=said)
    response = service.chat("Hello")
    assert (response.cost_usd, response.price_source) == (0.00123, "provider")
    for unusable in (None, "free", True, -1):
        fake.default = fakes.answer("Hello", usage={**said, "cost": unusable})
        assert service.chat("Hello").cost_usd is None
    other = create_llm_service("groq", base_url=fake.base_url)
    fake.default = fakes.answer("Hello", usage=said)
    assert other.chat("Hello").price_source is None


# ---- what servers tell ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ({"data": [{"id": "m", "max_model_len": 4096}]}, [("m", 4096, None)]),  # vLLM
        ({"data": [{"id": "m", "meta": {"n_ctx": 2048, "n_ctx_train": 8192}}]}, [("m", 2048, None)]),  # llama.cpp
        ({"data": [{"id": "m", "context_length": 131072}]}, [("m", 131072, None)]),  # OpenRouter
        ([{"id": "m", "context_length": 131072}], [("m", 131072, None)]),  # Together
        ({"models": [{"name": "models/m"}]}, [("models/m", None, None)]),
        ({"data": [{"id": "m", "max_context_length": 32768, "deprecation": "2026-12-31T00:00:00Z"}]},
         [("m", 32768, "2026-12-31")]),  # Mistral
        ({"data": [{"id": "m", "shutdown_date": "2027-01-14"}]}, [("m", None, "2027-01-14")]),  # OpenAI
        ({"data": [{"id": "m", "shutdown_date": None, "context_length": True, "meta": None}]}, [("m", None, None)]),
        ({"data": [{"id": "m", "max_context_length": 32768, "loaded_context_length": 4096}]}, [("m", 4096, None)]),
        ({"data": ["m", {"no": "name"}, 7]}, [("m", None, None)]),
        ({"data": None}, None),
        ("text", None),
    ],
)  # fmt: skip
def test_the_list_of_models_is_read_in_every_form(answer, expected):
    listed = parse_model_list(answer)
    if listed is not None:
        listed = [(m.name, m.context_window, str(m.retires) if m.retires else None) for m in listed]
    assert listed == expected


@pytest.mark.parametrize("name", ["vllm", "lab"])
def test_the_window_is_read_from_the_server_once(own_settings, fake, name):
    (own_settings / "config.toml").write_text(f'[endpoints.lab]\nbase_url = "{fake.base_url}"\n')
    fake.serve("/v1/models", status(200, {"data": [{"id": "m", "max_model_len": 512}, {"id": "n"}]}))
    options = {} if name == "lab" else {"base_url": fake.base_url}
    assert create_llm_service(f"{name}/m", **options).context_window() == 512
    assert create_llm_service(f"{name}/n", **options).context_window() is None
    assert [request.path for request in fake.requests] == ["/v1/models"]


def test_a_server_that_does_not_tell_has_no_known_window(fake):
    fake.serve("/v1/models", status(500, "no"))
    service = create_llm_service("vllm/m", base_url=fake.base_url)
    assert (service.context_window(), service.context_window()) == (None, None)
    assert len(fake.requests) == 1


def test_a_conversation_is_trimmed_to_the_window_that_the_server_tells(fake):
    from ipyllm import ConversationHistory

    fake.serve("/v1/models", status(200, {"data": [{"id": "m", "max_model_len": 300}]}))
    history = ConversationHistory()
    for number in range(20):
        history.add_message("user", f"Question {number}? " + "word " * 20)
        history.add_message("assistant", "An answer. " * 5)
    service = create_llm_service("vllm/m", base_url=fake.base_url)
    kept, note = history.preceding([{"role": "user", "content": "And?"}], service.context_window, model="vllm/m")
    assert 0 < len(kept) < 40
    assert "left out" in note


def test_listed_models_of_gemini_have_the_names_that_calls_use(keys, fake):
    fake.serve("/v1/models", status(200, {"data": [{"id": "models/gemini-4-argon"}]}))
    from ipyllm.runtime.service_thread import service_thread

    service = create_llm_service("gemini", base_url=fake.base_url)
    assert service_thread().submit(service.models(timeout_s=20)).result(30) == ["gemini-4-argon"]


def test_a_named_service_without_default_can_be_probed():
    [result] = probe(["vllm"], timeout_s=20)
    assert result.error.category == "connection"
    address = result.service.address()
    assert (address.base_url, address.api_key) == ("http://localhost:8000/v1", None)
