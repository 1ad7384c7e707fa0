"""Profiles: which model has which, what is refused before sending, and how each parameter is sent."""

from __future__ import annotations

import tomllib
from dataclasses import replace
from datetime import date
from importlib import resources
from time import perf_counter_ns

import pytest

from ipyllm import LLMError, OpenAIService, create_llm_service
from ipyllm.services.profiles.fit import fit
from ipyllm.services.profiles.pattern import Pattern
from ipyllm.services.profiles.profile import Profile, profile_of
from ipyllm.services.profiles.wire import wire_fields
from ipyllm.settings import SettingsError, get_settings
from ipyllm.settings_models import ProfileSettings

ROWS = tomllib.loads(resources.files("ipyllm.services.profiles").joinpath("profiles.toml").read_text(encoding="utf-8"))[
    "profile"
]
UP_TO_MAX = ("none", "low", "medium", "high", "xhigh", "max")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        # model, efforts, default, sampling, tools on chat completions
        ("openai/gpt-4o-mini", ((), None, "free", "always")),
        ("openai/gpt-4.1-2025-04-14", ((), None, "free", "always")),
        ("openai/o3", (("low", "medium", "high"), "medium", "never", "always")),
        ("openai/gpt-5-mini", (("minimal", "low", "medium", "high"), "medium", "never", "always")),
        ("openai/gpt-5-2025-08-07", (("minimal", "low", "medium", "high"), "medium", "never", "always")),
        ("openai/gpt-5-pro", (("high",), "high", "never", "never")),
        ("openai/gpt-5.1", (("none", "low", "medium", "high"), "none", "at none", "always")),
        ("openai/gpt-5.2", (UP_TO_MAX[:5], "none", "at none", "without effort")),
        ("openai/gpt-5.2-pro", (("medium", "high", "xhigh"), "medium", "at none", "never")),
        ("openai/gpt-5.4-mini", (UP_TO_MAX[:5], "none", "at none", "without effort")),
        ("openai/gpt-5.5", (UP_TO_MAX[:5], "medium", "at none", "without effort")),
        ("openai/gpt-5.6", (UP_TO_MAX, "medium", "at none", "at effort none")),
        ("openai/gpt-5.6-sol", (UP_TO_MAX, "medium", "at none", "at effort none")),
        ("openai/gpt-6-luna", (UP_TO_MAX, "medium", "at none", "at effort none")),
        ("openai/gpt-6.1-terra", (UP_TO_MAX, "medium", "at none", "at effort none")),
        ("openai/gpt-6-sol", (UP_TO_MAX, "medium", "at none", "at effort none")),
        ("openai/gpt-6-astra", (UP_TO_MAX[1:], "medium", "never", "never")),
        ("openai/gpt-6.1-sol", (UP_TO_MAX[1:], "medium", "never", "never")),
        ("openai/gpt-6.2-sol", (UP_TO_MAX[1:], "medium", "never", "never")),
        ("openai/gpt-7.1-luna", (UP_TO_MAX, "medium", "at none", "at effort none")),  # not yet published
        ("openai/gpt-oss-20b", (None, None, "free", "always")),  # on a server of one's own
        ("azure/gpt-6-luna", (UP_TO_MAX, "medium", "at none", "at effort none")),
        ("openrouter/openai/gpt-6-luna", (UP_TO_MAX, "medium", "at none", "always")),
        ("anthropic/claude-haiku-5-5", (("none", "medium"), "medium", "never", "always")),
        ("anthropic/claude-opus-5-5", ((), None, "never", "always")),
        ("anthropic/claude-sonnet-4-5-20250929", (("none", "low", "medium", "high"), "none", "at none", "always")),
        ("openrouter/anthropic/claude-opus-5.5", (None, None, "never", "always")),
        ("gemini/gemini-3.5-flash-lite", (("minimal", "low", "medium", "high"), "high", "free", "always")),
        ("gemini/gemini-3.1-pro-preview", (("low", "medium", "high"), "high", "free", "always")),
        ("deepseek/deepseek-flash", (("none", "low", "high", "max"), "high", "at none", "always")),
        ("mistral/mistral-small-latest", (("none", "high"), "none", "free", "always")),
        ("groq/openai/gpt-oss-20b", (("low", "medium", "high"), "medium", "free", "always")),
        ("xai/grok-4.3", (("none", "low", "medium", "high"), "low", "free", "always")),
        ("xai/grok-4.7", (("low", "medium", "high"), "high", "free", "always")),
        ("xai/grok-4.20-0309", ((), None, "free", "always")),
        ("zai/glm-5.3", (("low", "high", "max"), "high", "free", "always")),
        ("moonshot/kimi-k2.6", (("none", "high"), "high", "free", "always")),
        ("ollama/llama3.2", (("none", "low", "medium", "high", "max"), None, "free", "always")),
        ("lab/anything", (None, None, "free", "always")),
    ],
)
def test_a_model_has_the_profile_of_its_family(name, expected):
    profile = profile_of(name)
    never = profile.refused | profile.ignored
    at_none = profile.refused_while_reasoning | profile.ignored_while_reasoning
    sampling = "never" if "temperature" in never else "at none" if "temperature" in at_none else "free"
    assert (profile.efforts, profile.default_effort, sampling, profile.tools) == expected


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row['services'][0]}/{row['models'][0]}")
def test_every_row_is_valid_and_its_patterns_apply(row):
    row = dict(row)
    services, models = row.pop("services"), row.pop("models")
    checked = ProfileSettings.model_validate(row)
    assert checked.model_fields_set, "a row that sets nothing"
    for service in services:
        for model in models:
            Pattern(f"{service}/{model}")
            if "{" not in model and checked.retires is not None:
                assert profile_of(f"{service}/{model.replace('*', '')}").retires is not None
    if checked.successor is not None:
        successor = profile_of(checked.successor)
        assert successor.retires is None, "a successor that retires itself"


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row['services'][0]}/{row['models'][0]}")
def test_every_effort_of_a_row_is_sent_and_no_two_are_the_same(row):
    """Two efforts that send the same would be one arm under two names."""
    for service in row["services"]:
        for model in row["models"]:
            name = f"{service}/{model}".replace("*", "")
            profile = profile_of(name)
            sent = [wire_fields(profile, {"effort": effort}) for effort in profile.efforts or ()]
            assert len(sent) == len({str(fields) for fields in sent})


def test_a_version_in_a_pattern_is_a_whole_version():
    assert Pattern("a/gpt-{5..5}*").matches("a/gpt-5-mini")
    assert not Pattern("a/gpt-{5..5}*").matches("a/gpt-5.6-sol")
    assert not Pattern("a/gpt-{5..5}*").matches("a/gpt-55")
    assert Pattern("a/claude-*-{4.5..4.6}*").matches("a/claude-sonnet-4-5-20250929")
    assert not Pattern("a/claude-*-{4.7..}*").matches("a/claude-sonnet-4-5-20250929")
    assert Pattern("a/grok-{4.5..4.7}").matches("a/Grok-4.6")
    assert not Pattern("a/grok-{4.5..4.7}").matches("a/grok-4.20")
    with pytest.raises(ValueError, match="a range of versions is written"):
        Pattern("a/gpt-{5}")


LUNA = "openai/gpt-6-luna"
EFFORTS = ", ".join(UP_TO_MAX)


@pytest.mark.parametrize(
    ("model", "params", "sentence"),
    [
        (
            LUNA,
            {"temperature": 0},
            f"takes no temperature while it reasons; effort='none' allows it, or vary effort: {EFFORTS}.",
        ),
        (LUNA, {"presence_penalty": 1}, f"takes no presence_penalty on the Responses API; vary effort: {EFFORTS}."),
        (LUNA, {"stop": ["."]}, "takes no stop on the Responses API; leave it out."),
        (LUNA, {"logprobs": True}, "takes no logprobs while it reasons; effort='none' allows it, or leave it out."),
        (LUNA, {"effort": "minimal"}, "takes no effort 'minimal'; give one of: none, low, medium, high, xhigh, max."),
        (LUNA, {"verbosity": "long"}, "takes no verbosity 'long'; give one of: low, medium, high."),
        ("openai/gpt-6.2-sol", {"top_p": 1}, "takes no top_p; vary effort: low, medium, high, xhigh, max."),
        ("openai/gpt-4.1", {"effort": "low"}, "takes no effort; vary temperature."),
        (
            "deepseek/deepseek-flash",
            {"temperature": 1},
            "ignores temperature while it reasons; effort='none' allows it, or vary effort: none, low, high, max.",
        ),
        ("anthropic/claude-opus-5-5", {"seed": 1}, "ignores seed; vary the prompt."),
        ("anthropic/claude-haiku-4-5", {"temperature": 1.5}, "takes a temperature up to 1, not 1.5."),
        ("anthropic/claude-haiku-5-5", {"temperature": 1.5}, "takes no temperature; vary effort: none, medium."),
        ("gemini/gemini-3.5-flash-lite", {"seed": 1}, "takes no seed; vary effort: minimal, low, medium, high."),
        ("ollama/llama3.2", {"logit_bias": {"1": 1}}, "ignores logit_bias; leave it out."),
        ("local/smollm2-135m", {"effort": "low"}, "takes no effort; vary temperature."),
        ("moonshot/kimi-k3.1-pro", {"effort": "none"}, "takes no effort 'none'; give one of: low, high, max."),
        ("nvidia/deepseek-ai/deepseek-v4-pro", {"effort": "low"}, "takes no effort; vary temperature."),
        ("xai/grok-4.7", {"stop": ["."]}, "takes no stop; leave it out."),
    ],
)
def test_what_cannot_apply_is_refused_in_one_sentence(model, params, sentence):
    with pytest.raises(LLMError) as caught:
        fit(profile_of(model), params, (), model=model)
    assert (str(caught.value), caught.value.category, caught.value.model) == (
        f"{model} {sentence}",
        "bad_request",
        model,
    )


@pytest.mark.parametrize("name", ["temperature", "top_p", "logprobs", "top_logprobs"])
def test_sampling_applies_to_a_model_that_does_not_reason(name):
    params = {name: 0, "effort": "none"}
    assert fit(profile_of(LUNA), params, (), model=LUNA) == (params, ())


@pytest.mark.parametrize("name", ["stop", "seed", "n", "presence_penalty", "frequency_penalty", "logit_bias"])
def test_what_the_responses_api_does_not_have_is_refused_and_named(name):
    with pytest.raises(LLMError, match=f"takes no {name} on the Responses API; (vary effort: none, low|leave it out)"):
        fit(profile_of(LUNA), {name: 1, "effort": "none"}, (), model=LUNA)
    chat = replace(profile_of(LUNA), api="chat")
    assert fit(chat, {name: 1, "effort": "none"}, (), model=LUNA) == ({name: 1, "effort": "none"}, ())


@pytest.mark.parametrize(
    ("model", "params", "sent"),
    [
        (LUNA, {"effort": "low", "max_tokens": 5}, {"reasoning": {"effort": "low"}, "max_output_tokens": 5}),
        (LUNA, {"verbosity": "low", "service_tier": "flex"}, {"text": {"verbosity": "low"}, "service_tier": "flex"}),
        ("openai/gpt-4.1", {"max_tokens": 5, "seed": 1}, {"max_completion_tokens": 5, "seed": 1}),
        ("ollama/m", {"max_completion_tokens": 5}, {"max_tokens": 5}),
        (
            "lab/m",
            {"max_completion_tokens": 5, "effort": "low"},
            {"max_completion_tokens": 5, "reasoning_effort": "low"},
        ),
        ("deepseek/deepseek-flash", {"effort": "max"}, {"thinking": {"type": "enabled"}, "reasoning_effort": "max"}),
        ("anthropic/claude-haiku-5-5", {"effort": "none"}, {"thinking": {"type": "disabled"}}),
        ("anthropic/claude-haiku-4-5", {"effort": "low"}, {"thinking": {"type": "enabled", "budget_tokens": 1024}}),
        ("openrouter/m", {"effort": "high"}, {"reasoning": {"effort": "high"}}),
        ("openrouter/m", {"effort": "none"}, {"reasoning": {"enabled": False}}),
        ("vllm/m", {"effort": "none"}, {"chat_template_kwargs": {"enable_thinking": False}}),
        ("mistral/m", {"seed": 7}, {"random_seed": 7}),
        ("deepseek/deepseek-flash", {"effort": "none"}, {"thinking": {"type": "disabled"}}),
        ("moonshot/kimi-k2.6", {"effort": "none"}, {"thinking": {"type": "disabled"}}),
        ("moonshot/kimi-k3.1-pro", {"max_tokens": 5}, {"max_completion_tokens": 5}),
        ("nvidia/m", {"effort": "none"}, {"chat_template_kwargs": {"enable_thinking": False}}),
        ("together/m", {"effort": "none"}, {"reasoning": {"enabled": False}}),
    ],
)
def test_a_parameter_is_sent_in_the_field_of_its_provider(model, params, sent):
    assert wire_fields(profile_of(model), params) == sent


def test_extra_body_joins_an_effort_that_uses_the_same_object(fake, own_settings):
    (own_settings / "config.toml").write_text(
        '[profiles."openai/m"]\neffort_body.none.chat_template_kwargs.enable_thinking = false'
    )
    service = OpenAIService("m", base_url=fake.base_url)
    service.chat("Hello", effort="none", extra_body={"chat_template_kwargs": {"language": "de"}})
    assert fake.requests[-1].json["chat_template_kwargs"] == {"enable_thinking": False, "language": "de"}


# ---- before sending ----------------------------------------------------------------------------------------------


@pytest.fixture
def luna(fake):
    return OpenAIService("gpt-6-luna", base_url=fake.base_url, max_retries=0)


@pytest.mark.parametrize("ask", ["chat", "stream", "chat_stream", "events", "request"])
def test_no_method_sends_what_cannot_apply(luna, fake, ask):
    with pytest.raises(LLMError, match="takes no temperature while it reasons; effort='none' allows it"):
        getattr(luna, ask)("Hello", temperature=0)
    assert not fake.requests


def test_a_default_of_the_service_is_refused_like_an_option_of_the_call(fake):
    service = OpenAIService("gpt-6-luna", base_url=fake.base_url, temperature=0)
    with pytest.raises(LLMError, match="takes no temperature"):
        service.chat("Hello")
    assert service.chat("Hello", effort="none").status == "ok"


def test_where_the_default_effort_is_not_known_the_server_decides():
    profile = Profile(refused_while_reasoning=frozenset({"temperature"}))
    assert fit(profile, {"temperature": 0}, (), model="lab/m") == ({"temperature": 0}, ())
    with pytest.raises(LLMError, match="takes no temperature while it reasons"):
        fit(profile, {"temperature": 0, "effort": "low"}, (), model="lab/m")


def test_effort_in_the_protocols_own_name_is_the_same_parameter(luna, fake):
    assert luna.request("Hello", reasoning_effort="low").params == {"effort": "low"}
    with pytest.raises(LLMError, match="effort and reasoning_effort are the same parameter"):
        luna.chat("Hello", reasoning_effort="low", effort="low")
    with pytest.raises(LLMError, match="max_tokens and max_completion_tokens are the same parameter"):
        luna.chat("Hello", max_tokens=1, max_completion_tokens=1)


def add(a: int, b: int) -> int:
    """Add."""
    return a + b


def test_tools_are_refused_where_the_api_cannot_call_them(fake, own_settings):
    (own_settings / "config.toml").write_text('[profiles."openai/gpt-*"]\napi = "chat"\n')
    luna = OpenAIService("gpt-6-luna", base_url=fake.base_url, max_retries=0)
    with pytest.raises(LLMError, match="takes tools only while it does not reason; give effort='none'"):
        luna.chat("Add.", tools=[add])
    assert luna.chat("Add.", tools=[add], effort="none").status == "ok"
    with pytest.raises(LLMError, match="takes no tools on the chat-completions API"):
        OpenAIService("gpt-6.2-sol", base_url=fake.base_url).chat("Add.", tools=[add])
    with pytest.raises(LLMError, match="takes either tools or effort"):
        OpenAIService("gpt-5.4", base_url=fake.base_url).chat("Add.", tools=[add], effort="low")
    assert [request.path for request in fake.requests] == ["/v1/chat/completions"]


@pytest.mark.parametrize(
    ("api", "models"),
    [
        ("responses", ["openai/gpt-6-luna", "azure/gpt-5.4", "openai/o3-pro", "openai/gpt-5.1-codex-max"]),
        ("responses", ["openai/o3-deep-research", "openai/gpt-6.2-astra-law", "openai/gpt-6-cyber"]),
        ("chat", ["openai/gpt-4.1", "openai/gpt-oss-20b", "openrouter/openai/gpt-6-luna", "xai/grok-4.7", "lab/m"]),
        ("chat", ["deepseek/deepseek-flash", "ollama/m", "vllm/m", "llamacpp/m", "lmstudio/m", "groq/m"]),
    ],
)
def test_each_model_is_asked_through_the_api_that_has_it(api, models):
    assert {profile_of(model).api for model in models} == {api}


def test_the_settings_choose_the_api_of_a_service(fake, own_settings):
    (own_settings / "config.toml").write_text('[profiles."xai/*"]\napi = "responses"\n')
    fake.speak_as("xai")
    assert create_llm_service("xai/grok-4.7", base_url=fake.base_url).chat("Hello", effort="low").status == "ok"
    assert [request.path for request in fake.requests] == ["/v1/responses"]


@pytest.mark.parametrize("model", ["gpt-6-luna", "gpt-6.2-sol", "gpt-5.4"])
def test_tools_go_to_the_api_that_can_call_them(model, fake):
    fake.speak_as("openai")
    assert OpenAIService(model, base_url=fake.base_url).chat("Add.", tools=[add], effort="low").status == "ok"
    assert fake.requests[0].path == "/v1/responses"


def test_an_image_is_refused_by_a_model_that_reads_none(fake):
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    question = [{"role": "user", "content": [{"type": "text", "text": "What is it?"}, picture]}]
    service = create_llm_service("ollama/gpt-oss:20b", base_url=fake.base_url)
    with pytest.raises(LLMError, match="reads no images; use a model that does"):
        service.chat(question)
    assert create_llm_service("ollama/gemma3", base_url=fake.base_url).chat(question).status == "ok"


# ---- settings ----------------------------------------------------------------------------------------------------


def test_the_settings_add_and_override_profiles(own_settings, fake):
    (own_settings / "config.toml").write_text(f"""
        [endpoints.lab]
        base_url = "{fake.base_url}"
        [profiles."lab/qwen*"]
        efforts = ["none", "high"]
        default_effort = "high"
        refused_while_reasoning = ["sampling"]
        effort_body = {{ none = {{ chat_template_kwargs = {{ enable_thinking = false }} }}, high = {{}} }}
        max_tokens_field = "max_completion_tokens"
        [profiles."openai/gpt-6-luna"]
        refused_while_reasoning = []
    """)
    qwen = create_llm_service("lab/Qwen3-8B")
    with pytest.raises(
        LLMError, match="takes no temperature while it reasons; effort='none' allows it, or vary effort: none, high"
    ):
        qwen.chat("Hello", temperature=0)
    qwen.chat("Hello", temperature=0, effort="none", max_tokens=3)
    sent = fake.requests[-1].json
    assert sent["chat_template_kwargs"] == {"enable_thinking": False}
    assert (sent["max_completion_tokens"], "max_tokens" in sent) == (3, False)
    overridden = profile_of("openai/gpt-6-luna")
    assert (overridden.refused_while_reasoning, overridden.efforts) == (frozenset(), UP_TO_MAX)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ('[profiles."lab/*"]\neffort = ["low"]', "There is no setting profiles.lab/*.effort. Did you mean 'efforts'"),
        ('[profiles."lab/*"]\napi = "chats"', "Invalid value for the setting profiles.lab/*.api"),
        ('[profiles."lab/*"]\nefforts = ["low"]\ndefault_effort = "high"', "default_effort must be one of the efforts"),
        ('[profiles."lab/*"]\nretires = "soon"', "Invalid value for the setting profiles.lab/*.retires"),
        (
            '[profiles."lab/*"]\nrefused = ["temprature"]',
            "there is no parameter 'temprature'. Did you mean 'temperature'",
        ),
        ('[profiles."lab/{5}"]\nrefused = ["seed"]', r"a range of versions is written \{5.1..5.4\}"),
    ],
)
def test_a_wrong_profile_in_the_settings_is_one_sentence(own_settings, text, sentence):
    (own_settings / "config.toml").write_text(text)
    with pytest.raises(SettingsError, match=sentence.replace("*", r"\*")) as caught:
        profile_of("lab/m")
    assert "\n" not in str(caught.value)


def test_a_profile_may_have_a_date(own_settings):
    (own_settings / "config.toml").write_text('[profiles."lab/old"]\nretires = 2026-12-01\nsuccessor = "lab/new"\n')
    assert profile_of("lab/old").retires == date(2026, 12, 1)


def test_looking_a_profile_up_takes_microseconds():
    profiles = get_settings().profiles
    profile_of(LUNA, profiles)
    best = min(_nanoseconds_of_a_hundred(profiles) for _ in range(20)) / 100
    assert best < 20_000


def _nanoseconds_of_a_hundred(profiles):
    begin = perf_counter_ns()
    for _ in range(100):
        profile_of(LUNA, profiles)
    return perf_counter_ns() - begin


def test_an_unknown_model_sends_what_it_is_given():
    assert profile_of("lab/m") == Profile()


def test_a_service_of_ones_own_may_have_a_profile_of_its_own(fake):
    class Strict(OpenAIService):
        @property
        def profile(self):
            return Profile(refused=frozenset({"seed"}), max_tokens_field="max_words")

    service = Strict("m", base_url=fake.base_url)
    with pytest.raises(LLMError, match="takes no seed; vary temperature"):
        service.chat("Hello", seed=1)
    service.chat("Hello", max_tokens=3)
    assert fake.requests[-1].json["max_words"] == 3
