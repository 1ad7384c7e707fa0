"""Categories and sentences of server errors, as the services send them."""

from __future__ import annotations

import pytest

from ipyllm.pipeline.retry import is_retryable
from ipyllm.transport.error_body import parse_error
from ipyllm.transport.error_mapping import to_llm_error

GOOGLE_RATE = [
    {
        "error": {
            "code": 429,
            "message": "You exceeded your current quota, please check your plan and billing details.",
            "status": "RESOURCE_EXHAUSTED",
            "details": [{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "3s"}],
        }
    }
]
GOOGLE_KEY = [
    {
        "error": {
            "code": 400,
            "message": "API key not valid. Please pass a valid API key.",
            "status": "INVALID_ARGUMENT",
            "details": [{"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "API_KEY_INVALID"}],
        }
    }
]
TPM = (
    "Request too large for model `m` on tokens per minute (TPM): Limit 6000, Requested 7100, "
    "please reduce your message size and try again."
)


def _openai(message, code=None, kind="invalid_request_error"):
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}


@pytest.mark.parametrize(
    ("status", "body", "category"),
    [
        # quota and rate
        (429, "You exceeded your current quota.", "quota"),
        (429, _openai("You exceeded your current quota.", "insufficient_quota", "insufficient_quota"), "quota"),
        (429, GOOGLE_RATE, "rate_limit"),
        (429, "Wait.", "rate_limit"),
        (413, _openai(TPM, "rate_limit_exceeded", "tokens"), "rate_limit"),
        (None, _openai("slow down", "429"), "rate_limit"),
        (402, {"error": {"message": "Insufficient Balance", "type": "unknown_error"}}, "quota"),
        (429, {"error": {"code": "1113", "message": "Insufficient balance or no resource package."}}, "quota"),
        (429, {"error": {"type": "engine_overloaded_error", "message": "overloaded"}}, "rate_limit"),
        # the key, and what it may do
        (401, _openai("Incorrect API key provided.", "invalid_api_key"), "authentication"),
        (400, GOOGLE_KEY, "authentication"),
        (
            400,
            {"code": "Client specified an invalid argument", "error": "Incorrect API key provided: xa***"},
            "authentication",
        ),
        (403, _openai("Country, region, or territory not supported", "unsupported_country"), "authentication"),
        # the model
        (404, _openai("The model `m` does not exist.", "model_not_found"), "not_found"),
        (400, {"detail": "Invalid model name passed in model=m. Call `/v1/models`."}, "not_found"),
        (400, _openai("Only tiny allowed now"), "not_found"),
        (400, {"error": {"message": "Model Not Exist", "type": "invalid_request_error"}}, "not_found"),
        (400, {"error": {"message": "vendor/m is not a valid model ID", "code": 400}}, "not_found"),
        (400, {"object": "error", "message": "Invalid model: m", "type": "invalid_model"}, "not_found"),
        (500, {"error": "model 'm' not found, try pulling it first"}, "not_found"),
        # the window
        (400, "This model's maximum context is 4096 tokens.", "context_length"),
        (400, _openai("prompt is too long: 210000 tokens > 200000 maximum"), "context_length"),
        (
            400,
            {"error": {"type": "exceed_context_size_error", "message": "request (900 tokens) exceeds"}},
            "context_length",
        ),
        (
            400,
            "The input token count (2000000) exceeds the maximum number of tokens allowed (1048576).",
            "context_length",
        ),
        # images
        (500, {"error": {"message": "image input is not supported - hint: provide the mmproj"}}, "bad_request"),
        (400, _openai("Invalid content type. image_url is only supported by certain models."), "bad_request"),
        (404, {"error": {"message": "No endpoints found that support image input", "code": 404}}, "bad_request"),
        # content
        (400, "Refused by the content management policy.", "content_filter"),
        (
            400,
            _openai("Invalid prompt: flagged as potentially violating our usage policy.", "invalid_prompt"),
            "content_filter",
        ),
        # size and state of the server
        (413, "<html><head><title>413 Request Entity Too Large</title></head></html>", "bad_request"),
        (529, {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}, "api_error"),
        (200, {"error": {"message": "upstream", "code": 502}}, "api_error"),
        (418, "I am a teapot.", "api_error"),
        (None, "Nothing is known.", "api_error"),
        # what must not be mistaken for one of the above
        (400, _openai("Only one tool is allowed."), "bad_request"),
        (400, _openai("Unsupported parameter: 'max_tokens' is not supported with this model."), "bad_request"),
        (400, _openai("Unsupported value: 'temperature' does not support 0 with this model."), "bad_request"),
        (422, {"detail": [{"loc": ["body", "seed"], "msg": "Extra inputs are not permitted"}]}, "bad_request"),
        (400, _openai("This model does not support tools."), "bad_request"),
        (400, _openai("Could not download the image: the URL cannot be reached."), "bad_request"),
    ],
    ids=str,
)
def test_category(status, body, category):
    assert to_llm_error(parse_error(body, status), model="openai/m").category == category


@pytest.mark.parametrize(
    ("status", "body", "sentence"),
    [
        (
            403,
            _openai("Country, region, or territory not supported", "unsupported_country"),
            (
                'openai/m denied access (HTTP 403, "Country, region, or territory not supported"); '
                "check what the account and its key may use, and from where."
            ),
        ),
        (
            500,
            {"error": {"message": "image input is not supported"}},
            (
                'openai/m takes no images (HTTP 500, "image input is not supported"); '
                "leave them out, or choose a model that takes images."
            ),
        ),
        (
            413,
            "<html></html>",
            (
                'openai/m refused the request: it has too many bytes (HTTP 413, "it returned a web page, as a proxy or '
                'a wrong address does"); send less text, or fewer and smaller images.'
            ),
        ),
        (
            400,
            {
                "error": {
                    "message": "Failed to call a function. See 'failed_generation' for more details.",
                    "type": "invalid_request_error",
                    "code": "tool_use_failed",
                    "failed_generation": '<function=add>{"a": 1}</function>',
                }
            },
            (
                'openai/m wrote something that its server could not read (HTTP 400, "Failed to call a function. See '
                '\'failed_generation\' for more details: <function=add>{"a": 1}</function>"); '
                "try again, or choose another model."
            ),
        ),
    ],
    ids=["country", "images", "nginx", "groq"],
)
def test_sentence(status, body, sentence):
    assert str(to_llm_error(parse_error(body, status), model="openai/m")) == sentence


def test_the_wait_that_a_server_asks_for_is_told():
    error = to_llm_error(parse_error("", 429, {"retry-after": "300"}), model="openai/m")
    assert str(error) == (
        "openai/m refused the request: too many requests (HTTP 429); wait a little, or send fewer calls at once. "
        "The server asks to wait 5 min 00 s."
    )
    assert "asks to wait" not in str(to_llm_error(parse_error("", 429), model="openai/m"))


def test_a_request_that_alone_exceeds_the_rate_limit_is_sent_once():
    error = to_llm_error(parse_error(_openai(TPM, "rate_limit_exceeded", "tokens"), 413), model="groq/m")
    assert not is_retryable(error)
    waits = to_llm_error(parse_error(_openai(TPM, "rate_limit_exceeded"), 413, {"retry-after": "2"}), model="groq/m")
    assert is_retryable(waits)


def test_an_overloaded_server_is_asked_again():
    assert is_retryable(to_llm_error(parse_error({"error": {"type": "overloaded_error"}}, 529), model="anthropic/m"))


def test_images_refused_with_status_500_are_sent_once():
    assert not is_retryable(to_llm_error(parse_error({"error": "image input is not supported"}, 500), model="local/m"))
