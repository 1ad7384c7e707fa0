"""Retirement: a call to a model that is gone or soon will be says so, once; defaults and examples name none."""

from __future__ import annotations

import re
import subprocess
import sys
import warnings
from datetime import date, timedelta
from pathlib import Path

import pytest

from ipyllm import OpenAIService, fallback
from ipyllm.runtime.service_thread import service_thread
from ipyllm.services.profiles.profile import profile_of
from ipyllm.services.profiles.retirement import SOON, retirement_note
from tests.fakes import status

ROOT = Path(__file__).parents[4]
PAGES = sorted([ROOT / "README.md", *ROOT.glob("docs/**/*.md"), *ROOT.glob("notebooks/*.ipynb")])
SOURCES = sorted([*ROOT.glob("service/**/*.py"), *ROOT.glob("magics/**/*.py"), *ROOT.glob("widgets/**/*.py"),
                  *ROOT.glob("benchmarks/*.py"), *ROOT.glob("docs/*.py")])  # fmt: skip
_OF_A_VERSION = re.compile(r"[-:][A-Za-z0-9]")  # as every model with a date of retirement has it in its name
_WORD = re.compile(r"[A-Za-z0-9][\w.:/-]*[A-Za-z0-9]")


def names_in(text):
    """Names that may be models: as they stand, and as models of each service with dates in its profiles."""
    for word in {word for word in _WORD.findall(text) if _OF_A_VERSION.search(word)}:
        yield word
        if "/" not in word:
            yield from (f"{service}/{word}" for service in ("openai", "anthropic", "deepseek"))


def test_no_page_docstring_or_help_names_a_model_that_retires_within_sixty_days():
    pages = {}
    for path in [*PAGES, *SOURCES]:
        if path.name not in {"retirement.py", "tokens.py"}:  # they are about old models
            for name in names_in(path.read_text(encoding="utf-8")):
                pages.setdefault(name, path.relative_to(ROOT))
    old = {f"{name} in {page}" for name, page in pages.items() if retirement_note(profile_of(name), name)}
    assert old == set()


def test_the_test_above_would_find_one():
    text = 'service = create_llm_service("openai/gpt-5-mini"); client.create(model="deepseek-chat")'
    found = {name for name in names_in(text) if retirement_note(profile_of(name), name)}
    assert found == {"openai/gpt-5-mini", "deepseek/deepseek-chat"}


@pytest.mark.parametrize("days", [0, 1, 59, 60, 61, -1])
def test_the_note_begins_sixty_days_before(days):
    retires = profile_of("openai/gpt-5-mini").retires
    note = retirement_note(profile_of("openai/gpt-5-mini"), "openai/gpt-5-mini", retires - timedelta(days=days))
    if days >= SOON.days:
        assert note is None
    elif days > 0:
        assert note == "openai/gpt-5-mini stops answering on 2026-12-11; use openai/gpt-6.1-terra."
    else:
        assert note == "openai/gpt-5-mini was retired on 2026-12-11; use openai/gpt-6.1-terra."


def test_a_model_without_a_date_has_no_note():
    assert retirement_note(profile_of("lab/m"), "lab/m", date(2099, 1, 1)) is None


def test_a_date_in_the_servers_list_comes_before_that_of_the_profile(fake):
    entry = {"id": "gpt-6-luna", "object": "model", "shutdown_date": "2020-01-01"}
    fake.serve("/v1/models", status(200, {"object": "list", "data": [entry]}))
    service = OpenAIService("gpt-6-luna", base_url=fake.base_url)
    assert service.retirement_note() is None
    probe_service(service)
    assert service.retirement_note() == "openai/gpt-6-luna was retired on 2020-01-01."
    assert service.retirement_note() is None


def probe_service(service):
    """Ask a service for its models, as ``%llm_models`` does."""
    service_thread().submit(service.models(timeout_s=60)).result(60)


@pytest.fixture
def old(own_settings, fake):
    (own_settings / "config.toml").write_text(
        '[profiles."openai/old*"]\nretires = 2020-01-01\nsuccessor = "openai/new"\n'
    )
    return OpenAIService("old-model", base_url=fake.base_url)


def test_a_call_warns_once_and_is_sent(old, fake):
    with pytest.warns(UserWarning, match=r"openai/old-model was retired on 2020-01-01; use openai/new\."):
        assert old.chat("Hello").status == "ok"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        old.chat("Hello")
    assert len(fake.requests) == 2


def test_a_route_warns_of_its_arms(old):
    with pytest.warns(UserWarning, match="openai/old-model was retired"):
        fallback(old).chat("Hello")


def test_the_warning_points_at_the_line_of_the_user(tmp_path, fake):
    script = tmp_path / "ask.py"
    script.write_text(
        f"import ipyllm\nipyllm.OpenAIService('gpt-3.5-turbo', base_url={fake.base_url!r}).chat('Hello')\n"
    )
    ran = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=True, timeout=60)
    assert f"{script}:2: UserWarning: openai/gpt-3.5-turbo was retired on 2026-10-23" in ran.stderr
