"""Error bodies in the shapes that servers send: the words, the status, the wait."""

from __future__ import annotations

import time
from email.utils import formatdate

import pytest

from ipyllm.transport.error_body import parse_error, retry_after_s


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after-ms": "250", "retry-after": "9"}, 0.25),
        ({"retry-after-ms": "soon", "retry-after": "9"}, 9),
        ({"retry-after": "-1"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "tomorrow"}, None),
        ({"retry-after": formatdate(0, usegmt=True)}, 0),
    ],
    ids=str,
)
def test_a_wait_is_read_from_any_header_and_never_from_nonsense(headers, seconds):
    assert retry_after_s(headers) == seconds


def test_a_wait_until_a_date_is_counted_from_now():
    waited = retry_after_s({"retry-after": formatdate(time.time() + 60, usegmt=True)})
    assert 50 < waited <= 60


WORDS = "No such luck."


@pytest.mark.parametrize(
    "body",
    [
        {"error": {"message": WORDS, "type": "invalid_request_error", "param": None, "code": None}},  # OpenAI
        [{"error": {"code": 400, "message": WORDS, "status": "INVALID_ARGUMENT"}}],  # Google
        {"error": {"code": 400, "message": WORDS, "status": "INVALID_ARGUMENT"}},
        {"type": "error", "error": {"type": "invalid_request_error", "message": WORDS}},  # Anthropic
        {"object": "error", "message": WORDS, "type": "invalid_model", "code": "1500"},  # Mistral
        {"object": "error", "message": {"detail": [{"msg": WORDS}]}},
        {"detail": WORDS},  # FastAPI
        {"detail": [{"msg": WORDS, "type": "extra_forbidden"}]},
        {"errors": [{"message": WORDS}]},
        {"errors": {"message": WORDS}},
        {"errors": [WORDS]},
        {"msg": WORDS, "code": 1},
        {"error": {"msg": WORDS}},
        {"Message": WORDS},
        {"error": WORDS},  # Ollama
        {"error": {"error": {"message": WORDS}}},
        {"title": WORDS, "status": 400},  # RFC 9457
        {"title": "Bad Request", "detail": WORDS, "status": 400},
        {"error": True, "reason": WORDS},
        {"error_description": WORDS, "error": "invalid_token"},
        {"error": None, "message": WORDS},
        {"description": WORDS},
        WORDS,
        f"  {WORDS}\n",
    ],
    ids=str,
)
def test_the_words_of_the_server_are_found(body):
    assert parse_error(body, 400).message == WORDS


def test_a_validation_error_names_the_field():
    body = {"detail": [{"loc": ["body", "seed"], "msg": "Extra inputs are not permitted", "type": "extra_forbidden"}]}
    assert parse_error(body, 422).message == "seed: Extra inputs are not permitted"


def test_several_errors_are_joined():
    assert parse_error({"errors": [{"message": "One."}, {"message": "Two."}]}, 400).message == "One.; Two."


@pytest.mark.parametrize(
    "body", [None, 7, {}, [], {"error": {}}, {"error": {"message": None}}, {"message": 3}], ids=str
)
def test_a_body_without_words_has_no_message(body):
    assert parse_error(body, 500).message == ""


def test_a_body_nested_without_end_is_read_to_a_bound():
    body = {"error": "too deep"}
    for _ in range(100):
        body = {"error": body}
    assert parse_error(body, 500).message == ""


def test_a_web_page_is_said_to_be_one():
    assert parse_error("<html><title>502</title></html>", 502).message.startswith("it returned a web page")


@pytest.mark.parametrize(
    ("body", "http", "status"),
    [
        ({"error": {"code": "429", "message": "slow"}}, None, 429),
        ({"error": {"code": 503, "message": "busy"}}, 200, 503),
        ({"error": {"code": "429", "message": "slow"}}, 400, 400),
        ({"error": {"code": "1113", "message": "no balance"}}, None, None),
        ({"error": {"code": True, "message": "?"}}, None, None),
    ],
)
def test_a_code_is_the_status_where_http_has_none(body, http, status):
    assert parse_error(body, http).status_code == status


@pytest.mark.parametrize(
    ("message", "seconds"),
    [
        ("Rate limit reached. Please try again in 1.898s. Visit …", 1.898),
        ("Please try again in 20ms.", 0.02),
        ("Please try again in 6m0s.", 360),
        ("Please try again in 2m59.56s.", 179.56),
        ("Please try again in 1h2m3s.", 3723),
        ("Please retry in 36.5s.", 36.5),
        ("Please retry after 7 seconds.", 7),
        ("Please try again later.", None),
        ("Retry with fewer tokens.", None),
    ],
)
def test_a_wait_in_words_is_read(message, seconds):
    assert parse_error({"error": {"message": message}}, 429).retry_after == (
        None if seconds is None else pytest.approx(seconds)
    )


def test_googles_wait_is_read_from_the_details():
    details = [
        {"@type": "type.googleapis.com/google.rpc.QuotaFailure", "violations": []},
        {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "38s"},
    ]
    fault = parse_error([{"error": {"code": 429, "status": "RESOURCE_EXHAUSTED", "message": "", "details": details}}])
    assert (fault.status_code, fault.retry_after) == (429, 38)


def test_a_header_comes_before_words():
    assert parse_error("Please try again in 9s.", 429, {"retry-after": "2"}).retry_after == 2


def test_the_parameter_in_question_is_kept():
    body = {"error": {"message": "Unsupported", "param": "temperature", "code": "unsupported_value"}}
    assert (parse_error(body, 400).param, parse_error({"error": {"param": 3}}, 400).param) == ("temperature", "")
