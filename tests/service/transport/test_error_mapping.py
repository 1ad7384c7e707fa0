"""Categories of server errors, and how long to wait."""

from __future__ import annotations

import time
from email.utils import formatdate

import pytest

from ipyllm.transport.error_mapping import ServerFault, retry_after_s, to_llm_error


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


@pytest.mark.parametrize(
    ("message", "status_code", "category"),
    [
        ("You exceeded your current quota.", 429, "quota"),
        ("This model's maximum context is 4096 tokens.", 400, "context_length"),
        ("Refused by the content management policy.", 400, "content_filter"),
        ("Wait.", 429, "rate_limit"),
        ("I am a teapot.", 418, "api_error"),
        ("Nothing is known.", None, "api_error"),
    ],
)
def test_words_say_more_than_a_status(message, status_code, category):
    assert to_llm_error(ServerFault(status_code, message=message), model="openai/m").category == category
