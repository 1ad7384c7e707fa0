"""Models that can be chosen: those that an endpoint lists, too, once it was asked."""

from __future__ import annotations

import pytest

from ipyllm.registry import available
from ipyllm.registry.available import ask_endpoints, available_models
from tests.fakes import FakeLLM


@pytest.fixture
def endpoint(own_settings, monkeypatch):
    """The server of an endpoint with two models, one of them in the settings."""
    monkeypatch.setattr(available, "_asked", ("", 0.0))
    with FakeLLM(models=["writer", "thinker"]) as server:
        (own_settings / "config.toml").write_text(
            f'[endpoints.acme]\nbase_url = "{server.base_url}"\nmodel = "writer"\n'
            '[endpoints.gone]\nbase_url = "http://127.0.0.1:9/v1"\nmodel = "x"\n'
        )
        yield server


def of(name):
    return [model for model in available_models() if model.startswith(f"{name}/")]


def test_what_an_endpoint_lists_is_offered_once_it_was_asked_and_it_is_not_asked_each_time(endpoint):
    assert of("acme") == ["acme/writer"]
    ask_endpoints()
    asked = len(endpoint.requests)
    ask_endpoints()
    assert of("acme") == ["acme/writer", "acme/thinker"]
    assert of("gone") == ["gone/x"]
    assert asked == len(endpoint.requests) > 0


def test_a_chat_offers_what_an_endpoint_lists(endpoint, monkeypatch):
    import comm

    from ipyllm_widgets import ChatWidget
    from tests.widgets.page import PageComm

    monkeypatch.setattr(comm, "create_comm", PageComm)
    widget = ChatWidget(conversation="acme", model="acme/writer")
    widget.comm.wait_for(lambda page: "acme/thinker" in widget._controller.snapshot()["settings"]["models"])
    widget.close()
