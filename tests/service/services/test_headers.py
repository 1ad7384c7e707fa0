"""Tests that users' headers go over the wire, on both APIs and by both transports, and their values nowhere else."""

from __future__ import annotations

import logging
import pickle
import traceback
from dataclasses import asdict

import pytest

from ipyllm import (
    DeepSeekService,
    Experiment,
    LLMError,
    LocalService,
    OllamaService,
    OpenAIService,
    compare,
    create_llm_service,
    fallback,
    pool,
    split,
    usage,
)
from ipyllm.comparison.arms import make_arms
from ipyllm.headers import Headers, is_credential
from ipyllm.ledger import current_ledger
from ipyllm.pipeline.cache import cache_key
from ipyllm.registry.discovery import probe
from ipyllm.settings import SettingsError, get_settings
from ipyllm.text.redact import redact
from tests import fakes
from tests.fakes import answer, error

KEY = "sk-test-0123456789abcdefghijklmnop"
VALUE = "blue-team-0123456789"
RESPONSES = '[profiles."openai/m"]\napi = "responses"\n'


@pytest.fixture(params=["chat", "responses"])
def api(request, own_settings):
    if request.param == "responses":
        (own_settings / "config.toml").write_text(RESPONSES)
    return request.param


@pytest.fixture(params=["fast path", "client"])
def sent(request, fake):
    """Ask a service once, by one of the transports, and return the request that arrived."""

    def ask(service, **options):
        if request.param == "client":  # after a redirect all requests are sent by the client
            path = "/responses" if service.api == "responses" else "/chat/completions"
            fake.reply(fakes.redirect(fake.base_url + path))
            service.chat("Hello")
            fake.clear()
        service.chat("Hello", **options)
        (arrived,) = fake.requests
        return arrived

    return ask


def test_headers_of_service_and_call_are_sent_and_never_in_the_body(fake, api, sent):
    service = OpenAIService(
        "m", base_url=fake.base_url, api_key=KEY, default_headers={"X-Team": VALUE, "X-A": "service"}
    )
    request = sent(service, extra_headers={"x-a": "call", "X-Number": 7})
    assert request.path.endswith("responses" if api == "responses" else "completions")
    assert [request.headers[name] for name in ("x-team", "x-a", "x-number")] == [VALUE, "call", "7"]
    assert request.headers["authorization"] == f"Bearer {KEY}"
    assert b"headers" not in request.raw
    assert b"team" not in request.raw


@pytest.mark.parametrize("name", ["authorization", "AUTHORIZATION", "User-Agent", "content-TYPE"])
@pytest.mark.parametrize("level", ["default_headers", "extra_headers"])
def test_a_users_header_replaces_ours_in_any_case_of_letters(fake, sent, name, level):
    headers = {name: "mine-0123456789"}
    of_service, of_call = (headers, None) if level == "default_headers" else (None, headers)
    service = OpenAIService("m", base_url=fake.base_url, api_key=KEY, default_headers=of_service)
    assert sent(service, extra_headers=of_call).headers[name.lower()] == "mine-0123456789"


def test_a_key_in_a_header_of_its_own_takes_the_place_of_ours(fake, sent):
    service = OpenAIService("m", base_url=fake.base_url, default_headers={"api-key": VALUE})
    request = sent(service)
    assert request.headers["api-key"] == VALUE
    assert "authorization" not in request.headers


def test_a_service_whose_headers_hold_a_key_needs_no_other():
    with pytest.raises(LLMError, match="needs a key"):
        OpenAIService("m", default_headers={"x-team": "blue"}).check()
    OpenAIService("m", default_headers={"Authorization": "Bearer abcdef"}).check()


@pytest.mark.parametrize(
    "make",
    [
        lambda url, **options: OllamaService("m", base_url=url, **options),
        lambda url, **options: DeepSeekService("m", base_url=url, **options),
        lambda url, **options: create_llm_service("groq/m", base_url=url, **options),
        lambda url, **options: fallback(OpenAIService("m", base_url=url), **options),
        lambda url, **options: split({OpenAIService("m", base_url=url): 1}, **options),
        lambda url, **options: pool(url, model="m", **options),
        lambda url, **options: fallback(OpenAIService("m", base_url=url)).with_defaults(**options),
    ],
    ids=["ollama", "deepseek", "named", "fallback", "split", "pool", "with_defaults"],
)
def test_every_kind_of_service_takes_them(fake, make):
    make(fake.base_url, default_headers={"x-team": VALUE}).chat("Hello", extra_headers={"x-call": "1"})
    (request,) = fake.requests
    assert (request.headers["x-team"], request.headers["x-call"]) == (VALUE, "1")


def test_the_embedded_model_takes_them():
    assert LocalService(default_headers={"x-team": VALUE}).headers() == Headers.of({"x-team": VALUE})


def test_a_header_of_a_route_comes_before_that_of_its_arm_and_after_that_of_the_call(fake):
    arm = OpenAIService("m", base_url=fake.base_url, default_headers={"x-a": "arm", "x-b": "arm", "x-c": "arm"})
    route = fallback(arm, default_headers={"x-a": "route", "x-b": "route"})
    route.chat("Hello", extra_headers={"x-a": "call"})
    assert [fake.requests[-1].headers[f"x-{name}"] for name in "abc"] == ["call", "route", "arm"]


def test_streams_tools_and_retries_send_them_each_time(fake):
    service = OpenAIService("m", base_url=fake.base_url)
    fake.reply(fakes.unavailable(headers={"retry-after": "0"}), answer("one two"))
    assert "".join(service.stream("Hello", extra_headers={"x-a": "1"})) == "one two"
    fake.reply(answer("", chunks=[], tool_calls=[("now", {})]), answer("noon"))

    def now() -> str:
        """Return the time."""
        return "12:00"

    service.chat("What time is it?", tools=[now], extra_headers={"x-a": "1"})
    assert [request.headers["x-a"] for request in fake.requests] == ["1"] * 4


# ---- settings ---------------------------------------------------------------------------------------------------


def endpoint(own_settings, fake, lines):
    (own_settings / "config.toml").write_text(f'[endpoints.lab]\nbase_url = "{fake.base_url}"\nmodel = "m"\n{lines}\n')
    return create_llm_service("lab")


def test_headers_of_an_endpoint_are_sent_with_calls_and_with_the_question_for_its_models(own_settings, fake):
    service = endpoint(own_settings, fake, f'headers = {{ "x-team" = "{VALUE}", "api-key" = "{KEY}" }}')
    service.chat("Hello", extra_headers={"X-Team": "red"})
    (result,) = probe(["lab"])
    assert result.models == ("fake-model",)
    call, listing = fake.requests
    assert (call.headers["x-team"], call.headers["api-key"]) == ("red", KEY)
    assert (listing.path, listing.headers["x-team"], listing.headers["api-key"]) == ("/v1/models", VALUE, KEY)
    assert VALUE not in repr(get_settings())
    assert redact(KEY) != KEY


def test_a_header_given_with_an_endpoint_comes_before_that_of_the_settings(own_settings, fake):
    endpoint(own_settings, fake, 'headers = { "x-a" = "settings", "x-b" = "settings" }')
    create_llm_service("lab", default_headers={"X-A": "given"}).chat("Hello")
    assert (fake.requests[-1].headers["x-a"], fake.requests[-1].headers["x-b"]) == ("given", "settings")


def test_a_header_in_the_settings_that_cannot_be_sent_is_named_without_its_value(own_settings, fake):
    with pytest.raises(SettingsError, match=r"endpoints\.lab\.headers: .*x-team has a line end") as caught:
        endpoint(own_settings, fake, r'headers = { x-team = "secret\nvalue" }')
    assert "secret" not in str(caught.value)


# ---- wrong ones -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "said"),
    [
        ({"x-a": "secret\r\nx-b: 1"}, "The header x-a has a line end or a character that is not ASCII"),
        ({"x-a": "secret-é"}, "The header x-a has a line end or a character that is not ASCII"),
        ({"x-a": "secret\0"}, "The header x-a has a line end"),
        ({"x a": "secret"}, "'x a' is not a name of a header"),
        ({"": "secret"}, "'' is not a name of a header"),
        ({"x-ä": "secret"}, r"'x-\\xe4' is not a name of a header"),
        ({7: "secret"}, "7 is not a name of a header"),
        ({"x-a": ["secret"]}, "The header x-a must be text, not list"),
        ({"x-a": True}, "The header x-a must be text, not bool"),
        ({"Content-Length": "7"}, "The header Content-Length follows from the body"),
        ({"Expect": "100-continue"}, "The header Expect follows from the body or the connection"),
        (["secret"], "Headers are a mapping of names to values"),
    ],
    ids=["line", "latin", "nul", "space", "empty", "name", "number", "list", "bool", "length", "expect", "mapping"],
)
def test_a_header_that_cannot_be_sent_is_one_sentence_without_its_value(fake, headers, said):
    service = OpenAIService("m", base_url=fake.base_url)
    for ask in (
        lambda: service.chat("Hello", extra_headers=headers),
        lambda: OpenAIService("m", base_url=fake.base_url, default_headers=headers),
    ):
        with pytest.raises(LLMError, match=said) as caught:
            ask()
        assert caught.value.category == "bad_request"
        assert "secret" not in str(caught.value)
        assert str(caught.value).count(". ") == 0
    assert not fake.requests


def test_each_option_says_where_the_other_belongs(fake):
    with pytest.raises(LLMError, match="a service takes default_headers"):
        OpenAIService("m", extra_headers={"x-a": "1"})
    with pytest.raises(LLMError, match="a call takes extra_headers"):
        OpenAIService("m", base_url=fake.base_url).chat("Hello", default_headers={"x-a": "1"})


def test_names_are_the_same_in_any_case_of_letters():
    call, service = Headers.of({"x-a": "1"}), Headers.of({"X-A": "2", "X-B": "3"})
    assert call.with_defaults(service) == Headers.of({"X-B": "3", "x-a": "1"})
    assert Headers.of({"x-a": "1", "X-A": "2"}) == Headers.of({"X-A": "2"})


def test_none_leaves_a_header_to_the_level_below(fake):
    service = OpenAIService("m", base_url=fake.base_url, default_headers={"x-a": "service"})
    service.chat("Hello", extra_headers={"x-a": None})
    assert fake.requests[-1].headers["x-a"] == "service"


# ---- nothing shows a value ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["x-team", "x-gateway-token"])
@pytest.mark.parametrize("whole", [True, False], ids=["refused", "in the stream"])
def test_no_value_reaches_an_error_a_row_a_log_a_repr_or_the_cache(fake, caplog, own_settings, name, whole):
    caplog.set_level(logging.DEBUG)
    value = f"{name}-{whole}-0123"  # of this test alone
    said = f"I do not know {value}"
    fake.default = error(400, said) if whole else fakes.error_in_stream(message=said, after=0)
    service = OpenAIService("m", base_url=fake.base_url, default_headers={name: value}, max_retries=0)
    with pytest.raises(LLMError) as caught:
        service.chat("Hello", extra_headers={"x-other": value + "1"}, cache=True)
    assert "I do not know" in str(caught.value)
    fake.default = answer("Hi")
    request = service.request("Hello", extra_headers={"x-other": value + "1"}, cache=True)
    assert service.call(request).wait().content == "Hi"
    current_ledger().flush()
    everything = [
        str(caught.value),
        repr(caught.value.partial),
        "".join(traceback.format_exception(caught.value)),
        repr(service) + repr(service.address()) + repr(request) + repr(service.defaults),
        caplog.text,
        usage().to_csv(),
        pickle.dumps(caught.value).decode("latin-1"),
    ]
    assert not [text for text in everything if value in text]
    files = [path for path in own_settings.rglob("*") if path.is_file()]
    assert files
    assert not [path for path in files if value.encode() in path.read_bytes()]


def test_keys_in_headers_are_masked_everywhere_and_are_in_no_pickle():
    headers = Headers.of({"Authorization": "Token r9Xq2LmT7vB4k8Wd", "x-team": "blue"})
    assert redact("it was r9Xq2LmT7vB4k8Wd") == "it was [key hidden]"
    assert pickle.loads(pickle.dumps(headers)) == Headers.of({"x-team": "blue"})
    assert redact("blue") == "blue"  # an ordinary word stays readable


# ---- cache and experiments --------------------------------------------------------------------------------------


def test_the_cache_tells_calls_apart_by_their_headers(fake):
    fake.reply(answer("one"), answer("two"), answer("three"))
    service = OpenAIService("m", base_url=fake.base_url, cache=True)
    of_service = OpenAIService("m", base_url=fake.base_url, cache=True, default_headers={"x-beta": "a"})
    answers = [
        service.chat("Hello").content,
        service.chat("Hello", extra_headers={"x-beta": "a"}).content,
        service.chat("Hello", extra_headers={"x-beta": "b"}).content,
        service.chat("Hello", extra_headers={"X-Beta": "a"}).content,
        of_service.chat("Hello").content,
    ]
    assert answers == ["one", "two", "three", "two", "two"]


@pytest.mark.parametrize("name", ["Authorization", "x-api-key", "ocp-apim-subscription-key", "traceparent", "X-Title"])
def test_keys_and_headers_that_only_say_who_asks_are_no_part_of_it(name):
    assert cache_key("u", {}, Headers.of({name: "one-0123"})) == cache_key("u", {})


def test_an_experiment_tells_its_trials_apart_by_their_headers_and_goes_on_where_it_stopped(fake):
    def experiment(**options):
        service = OpenAIService("m", base_url=fake.base_url, **options)
        return Experiment(["Hello"], models=service, name="headers", warmup=0)

    experiment().run(progress=False)
    with pytest.warns(UserWarning, match="other parameters, headers, system prompt or text"):
        experiment(default_headers={"x-beta": VALUE}).run(progress=False)
    assert len(fake.requests) == 2
    experiment(default_headers={"X-Beta": VALUE}).run(progress=False)
    with pytest.warns(UserWarning, match="has changed"):
        experiment(default_headers={"Authorization": "Bearer another-0123"}).run(progress=False)
    assert len(fake.requests) == 2


def test_a_trial_without_headers_keeps_its_identity():
    (arm,) = make_arms("openai/m")
    assert "headers" not in arm.identity()


def test_headers_can_be_what_is_compared_and_labels_show_their_names_only(fake):
    service = OpenAIService("m", base_url=fake.base_url)
    sets = [{"extra_headers": {"x-beta": VALUE}}, {"extra_headers": {"x-beta": VALUE + "b"}}, {}]
    compare("Hello", [service], sets).wait()
    assert sorted(request.headers.get("x-beta", "") for request in fake.requests) == ["", VALUE, VALUE + "b"]
    labels = [arm.label for arm in make_arms(service, sets)]
    assert len(set(labels)) == 3
    assert labels[0] == "m · extra_headers=x-beta"


def test_no_value_is_shown_by_the_pairs_or_what_is_made_of_them():
    headers = Headers.of({"x-api-key": VALUE, "x-team": VALUE})
    for shown in (headers.pairs, asdict(headers), [*headers.pairs], headers.with_defaults(headers).pairs):
        assert VALUE not in f"{shown} {shown!r}"
    assert dict(headers) == {"x-api-key": VALUE, "x-team": VALUE}
    assert hash(headers) == hash(Headers.of({"x-api-key": VALUE, "x-team": VALUE}))


@pytest.mark.parametrize(
    "name",
    [
        *(
            "x-authtoken",
            "X-AuthToken",
            "accesstoken",
            "sessionToken",
            "id_token",
            "x-token-v2",
            "authTokenV2",
            "xsrftoken",
        ),
        *("x-apikey", "APIKEY", "apiKeyValue", "subscription.key", "x-secretkey", "clientSecret", "clientsecret"),
        *(
            "dbpassword",
            "x-passwd",
            "passphrase",
            "OAuth",
            "basicauth",
            "Proxy-Authorization",
            "Set-Cookie",
            "x-bearer",
        ),
        *("X-Amz-Credential", "X-Amz-Signature", "sig", "x-hmac", "x-jwt"),
    ],
)
def test_a_header_that_holds_a_key_is_known_by_its_name(name):
    assert is_credential(name)


@pytest.mark.parametrize(
    "name",
    [
        *(
            "x-team",
            "anthropic-beta",
            "anthropic-version",
            "OpenAI-Organization",
            "x-max-tokens",
            "tokens",
            "x-tokenizer",
        ),
        *(
            "author",
            "x-authority",
            "x-design",
            "x-keyboard",
            "x-secretary",
            "passenger",
            "api-version",
            "x-cookies-per-tin",
        ),
    ],
)
def test_other_headers_hold_none(name):
    assert not is_credential(name)
