"""No key reaches an output, in whatever way a call or a setting fails."""

from __future__ import annotations

import io
import logging
import pickle
import traceback
from contextlib import redirect_stdout
from pathlib import Path

import pytest
from IPython.core.ultratb import VerboseTB

import ipyllm
from ipyllm import LLMError, OpenAIService, create_llm_service, fallback, pool, split, usage
from ipyllm.observability.logs import log_to
from ipyllm.settings import get_settings
from tests import fakes
from tests.fakes import answer, error

KEY = "sk-own-a9Xq2LmT7vB4zP0wK8"
OURS = str(Path(ipyllm.__file__).parent)


def our_part(exc):
    """Remove the frames before ours: a test's own variables hold the key."""
    trace = exc.__traceback__
    while trace is not None and not trace.tb_frame.f_code.co_filename.startswith(OURS):
        trace = trace.tb_next
    assert trace is not None, "no frame of ours"
    return exc.with_traceback(trace)


def shown(exc):
    """Return an exception as IPython and the standard library show it with variables."""
    exc = our_part(exc)
    kind, trace = type(exc), exc.__traceback__
    yield "\n".join(traceback.TracebackException(kind, exc, trace, capture_locals=True).format())
    yield VerboseTB(theme_name="nocolor", include_vars=True).text(kind, exc, trace)


def echo(fake):
    fake.default = fakes.unauthorized(KEY)
    OpenAIService("m", base_url=fake.base_url, api_key=KEY, max_retries=0).chat("Hello")


def broken(fake):
    fake.default = fakes.status(200, f"data: {{{KEY}\n\n", {"content-type": "text/event-stream"})
    OpenAIService("m", base_url=fake.base_url, api_key=KEY, max_retries=0).chat("Hello")


def moved(fake):
    fake.default = fakes.redirect("http://elsewhere.example/v1")
    OpenAIService("m", base_url=fake.base_url, api_key=KEY, max_retries=0).chat("Hello")


def gone(fake):
    OpenAIService("m", base_url="http://127.0.0.1:9/v1", api_key=KEY, max_retries=0).chat("Hello")


def wrong_setting(_fake):
    Path("config.toml").write_text(f'[endpoints.lab]\nbase_url = "http://h/v1"\napi_key = "{KEY}"\n[wrong]\n')
    get_settings()


def wrong_value(_fake):
    Path("config.toml").write_text(f'[endpoints.lab]\napi_key = "{KEY}"\n')
    get_settings()


def wrong_json(_fake):
    Path(".env").write_text(f"IPYLLM_ENDPOINTS={{{KEY}\nOPENAI_API_KEY={KEY}\n")
    get_settings()


def led_elsewhere(_fake):
    Path(".env").write_text(f"OPENAI_API_KEY={KEY}\n")
    OpenAIService("m").address()


FAILURES = {
    "refused": echo,
    "not JSON": broken,
    "moved": moved,
    "gone": gone,
    "no such service": lambda _: create_llm_service("nonsense/m", api_key=KEY),
    "wrong parameter": lambda _: create_llm_service("openai/m", api_key=KEY, temprature=1),
    "wrong timeout": lambda _: OpenAIService("m", api_key=KEY, timeout=-1),
    "no model": lambda _: create_llm_service("azure", api_key=KEY),
    "no address": lambda _: create_llm_service("azure/m", api_key=KEY).address(),
    "no URL": lambda _: OpenAIService("m", base_url="gpu-box", api_key=KEY).chat("Hello"),
    "wrong characters": lambda _: OpenAIService("m", api_key=f"{KEY}\0").address(),
    "pool": lambda _: pool("http://h1:8000/v1", api_key=KEY),
    "fallback": lambda _: fallback("nonsense/m", api_key=KEY),
    "split": lambda _: split({"openai/m": -1}, api_key=KEY),
    "wrong setting": wrong_setting,
    "wrong value": wrong_value,
    "wrong JSON": wrong_json,
    "led elsewhere": led_elsewhere,
}


@pytest.mark.parametrize("failure", FAILURES)
def test_tracebacks_with_variables_show_no_key(fake, monkeypatch, failure):
    if failure != "led elsewhere":
        monkeypatch.setenv("DEEPSEEK_API_KEY", KEY)
    else:
        monkeypatch.setenv("OPENAI_BASE_URL", "https://elsewhere.example/v1")
    with pytest.raises((LLMError, ValueError)) as caught:
        FAILURES[failure](fake)
    for text in shown(caught.value):
        assert KEY not in text
        assert KEY[:12] not in text


@pytest.fixture
def key_at_the_cut(fake):
    """Make a server's message with the key around each place where a message may be cut."""

    def ask(before):
        fake.default = error(400, "x" * before + f" {KEY} " + "y" * 400)
        with pytest.raises(LLMError) as caught:
            OpenAIService("m", base_url=fake.base_url, api_key=KEY, max_retries=0).chat("Hello")
        return caught.value

    return ask


def test_a_key_across_a_cut_shows_in_no_output(key_at_the_cut, tmp_path):
    stream = io.StringIO()
    handler = log_to(stream, logging.DEBUG)
    try:
        failed = [key_at_the_cut(before) for before in (*range(176, 202, 3), *range(276, 302, 5))]
    finally:
        logging.getLogger("ipyllm").removeHandler(handler)
        logging.getLogger("ipyllm").setLevel(logging.NOTSET)
    rows = usage()
    assert len(rows) == len(failed)
    rows.to_csv(tmp_path / "rows.csv")
    outputs = [
        *(str(exc) for exc in failed),
        *(repr(exc.partial) for exc in failed),
        *(pickle.dumps(exc).decode("latin-1") for exc in failed),
        rows.to_csv(),
        rows._repr_html_(),
        (tmp_path / "rows.csv").read_text(),
        stream.getvalue(),
    ]
    assert [text for text in outputs if KEY[:6] in text] == []


def test_a_key_in_an_answer_is_masked_where_the_answer_is_kept(fake, tmp_path):
    from ipyllm.conversations.history import ConversationHistory

    fake.default = answer(f"It is {KEY}.")
    service = OpenAIService("m", base_url=fake.base_url, api_key=KEY)
    history = ConversationHistory()
    history.add_message("user", f"Is {KEY.upper()} my key?")
    history.add_message("assistant", service.chat("Which key?").content)
    history.save(tmp_path / "chat.json")
    with redirect_stdout(io.StringIO()) as printed:
        print(usage().to_csv())
    for text in ((tmp_path / "chat.json").read_text(), printed.getvalue()):
        assert "[key hidden]" in text
        assert KEY.lower() not in text.lower()
