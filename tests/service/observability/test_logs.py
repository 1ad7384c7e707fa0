"""Log records: structured, and free of keys and prompts."""

from __future__ import annotations

import io
import json
import logging

from ipyllm import OllamaService, OpenAIService
from ipyllm.observability.logs import log_to


def test_logs_are_structured_and_hold_neither_key_nor_prompt(fake, caplog):
    caplog.set_level(logging.DEBUG, "ipyllm")
    OpenAIService("m", base_url=fake.base_url, api_key="sk-secret-0123456789").chat("a very private question")
    [record] = [record for record in caplog.records if record.event == "call finished"]
    assert record.ipyllm["status"] == "ok"
    assert record.ipyllm["ttft_s"] > 0
    assert "private" not in caplog.text
    assert "sk-secret" not in caplog.text


def test_json_lines_can_be_had_for_the_asking(fake):
    stream = io.StringIO()
    handler = log_to(stream)
    try:
        OllamaService("m", base_url=fake.base_url).chat("Hello")
    finally:
        logging.getLogger("ipyllm").removeHandler(handler)
        logging.getLogger("ipyllm").setLevel(logging.NOTSET)
    line = json.loads(stream.getvalue().splitlines()[-1])
    assert (line["event"], line["logger"], line["status"]) == ("call finished", "ipyllm.call", "ok")


def test_a_key_in_a_traceback_is_masked_in_json_lines():
    stream = io.StringIO()
    handler = log_to(stream)
    try:
        try:
            raise ValueError("sk-abcdefghijklmnop was refused")
        except ValueError:
            logging.getLogger("ipyllm.call").exception("a call failed")
    finally:
        logging.getLogger("ipyllm").removeHandler(handler)
        logging.getLogger("ipyllm").setLevel(logging.NOTSET)
    line = json.loads(stream.getvalue())
    assert line["event"] == "a call failed"
    assert line["exception"].endswith("ValueError: [key hidden] was refused")
