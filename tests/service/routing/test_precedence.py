"""Precedence of every option: call > route default > service default > notebook > settings."""

from __future__ import annotations

from itertools import combinations

import pytest

from ipyllm import OllamaService, OpenAIService, Timeout, fallback, pool, split
from ipyllm.pipeline.candidates import candidates
from ipyllm.request import CallOptions
from ipyllm.settings import get_settings
from ipyllm.timeout import DEFAULT_FIRST_TOKEN_S
from tests import fakes

ADDRESS = "http://127.0.0.1:9/v1"
TIMEOUTS = (Timeout(), Timeout.of(5), Timeout.of(7))
OPTIONS = {
    "temperature": (lambda request: request.params.get("temperature"), [0, 0.5, 1, 0.5], None),
    "seed": (lambda request: request.params.get("seed"), [0, 1, 2, 1], None),
    "max_retries": (lambda request: request.max_retries, [2, 1, 0, 3], lambda: get_settings().max_retries),
    "timeout": (
        lambda request: next(each for each in TIMEOUTS if each.limits(DEFAULT_FIRST_TOKEN_S) == request.timeout),
        [TIMEOUTS[0], TIMEOUTS[1], TIMEOUTS[2], TIMEOUTS[1]],
        Timeout,
    ),
    "cache": (lambda request: request.cache, [False, True, False, True], None),
}
KINDS = {
    "fallback": fallback,
    "pool": pool,
    "split": lambda service, **options: split({service: 1}, **options),
}
LEVELS = ("call", "route", "service", "notebook")


def call_options(*, timeout=None, max_retries=None, cache=None, **params):
    return CallOptions(params, timeout, max_retries, cache)


def chosen(route, **given):
    (choice,) = candidates(route, route.request("Hello", **given))
    return choice.request


@pytest.mark.parametrize(
    ("kind", "name"),
    # A split's seed is its own option: it draws the arm.
    [(kind, name) for kind in KINDS for name in OPTIONS if (kind, name) != ("split", "seed")],
)
@pytest.mark.parametrize("levels", [subset for n in range(5) for subset in combinations(LEVELS, n)], ids="+".join)
def test_the_highest_level_that_sets_an_option_wins(kind, name, levels):
    """The values equal the settings' own and one another on purpose: what was given must not be guessed by value."""
    value_of, values, default = OPTIONS[name]
    given = {level: {name: value} for level, value in zip(LEVELS, values, strict=True) if level in levels}
    service = OpenAIService("a", base_url=ADDRESS, **given.get("service", {}))
    route = KINDS[kind](service, **given.get("route", {}))
    options = given.get("call", {}) | {"notebook_options": call_options(**given.get("notebook", {}))}
    expected = given[levels[0]][name] if levels else default and default()
    assert value_of(chosen(route, **options)) == expected
    if "route" not in levels:  # without a route the same rule holds
        assert value_of(service.request("Hello", **options)) == expected


@pytest.mark.parametrize("name", OPTIONS)
def test_the_outer_route_comes_before_the_inner(name):
    value_of, (outer, inner, own, _), _ = OPTIONS[name]
    service = OpenAIService("a", base_url=ADDRESS, **{name: own})
    route = fallback(fallback(service, name="inner", **{name: inner}), name="outer")
    assert value_of(chosen(route)) == inner
    assert value_of(chosen(route.with_defaults(**{name: outer}))) == outer


def test_an_explicit_argument_that_equals_a_default_is_still_explicit(fake):
    """The case of the issue, to the server: each arm had its own value where the call said the route's."""
    arms = (
        OllamaService("a", temperature=1, max_retries=0, base_url=fake.base_url),
        OllamaService("b", base_url=fake.base_url),
    )
    route = fallback(*arms).with_defaults(temperature=0)
    assert route.chat("Hello", temperature=0).status == "ok"
    assert fake.requests[-1].json["temperature"] == 0
    assert chosen_first(route, max_retries=2).max_retries == 2
    assert chosen_first(route.with_defaults(timeout=5), timeout=Timeout()).timeout == Timeout().limits(600)


def chosen_first(route, **given):
    return next(iter(candidates(route, route.request("Hello", **given)))).request


def test_a_retry_that_the_call_asked_for_is_made_inside_a_route(fake):
    fake.reply(fakes.server_error(), fakes.answer("late"))
    route = fallback(OllamaService("a", max_retries=0, base_url=fake.base_url))
    response = route.chat("Hello", max_retries=2)
    assert (response.content, response.timing.attempts) == ("late", 2)


def test_tools_and_schema_reach_the_service_behind_a_route(fake):
    fake.default = fakes.answer('{"n": 1}')
    route = fallback(OllamaService("a", base_url=fake.base_url), temperature=0)
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    assert route.chat("Give n.", schema=schema).parsed == {"n": 1}
    assert fake.requests[-1].json["response_format"]["type"] == "json_schema"
    assert fake.requests[-1].json["temperature"] == 0
