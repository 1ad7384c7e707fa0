"""What a server is told: a wrong option is an error, and never a limit that does not hold."""

import asyncio
import logging
import os
import re
import subprocess
import sys
from types import SimpleNamespace

import pytest
from traitlets import TraitError
from traitlets.config import Config

from ipyllm.registry.models import set_default_model
from ipyllm_server.app import ChatServer
from ipyllm_server.running_calls import RunningCalls
from ipyllm_server.user_limits import Limits, UserLimits
from tests.server.chat_server import ROOT


@pytest.mark.parametrize(
    ("option", "sentence"),
    [
        ({"calls_per_user": "many"}, "calls_per_user"),
        ({"calls_per_user": 0}, "calls_per_user"),
        ({"usd_per_user_per_day": 1.0}, "no option 'usd_per_user_per_day'. Did you mean 'usd_per_user_and_day'?"),
    ],
)
def test_a_wrong_or_unknown_option_lets_no_chat_begin_and_the_server_can_be_stopped(option, sentence):
    extension = ChatServer()
    extension.serverapp = SimpleNamespace(config=Config({"ChatServer": option}))
    with pytest.raises(TraitError, match=re.escape(sentence)):
        extension.initialize_settings()
    asyncio.run(extension.stop_extension())  # Jupyter calls it even so, and would not stop if it raised


def test_a_server_that_runs_alone_ends_with_a_wrong_option():
    command = [sys.executable, "-m", "ipyllm_server", "--port=0", "--allow-root", "--ChatServer.calls_per_user=0"]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert ended.returncode == 1
    assert "calls_per_user" in ended.stderr.splitlines()[-1]
    assert "is running at" not in ended.stderr


def test_a_server_that_stopped_leaves_no_handler_in_the_log():
    logger, kept = logging.getLogger("ipyllm"), logging.NullHandler()
    logger.addHandler(kept)
    before = list(logger.handlers)
    own = logging.NullHandler()
    extension = ChatServer()
    extension.serverapp = SimpleNamespace(config=Config(), log=SimpleNamespace(handlers=[own, kept]))
    extension.initialize_settings()
    try:
        assert logger.handlers == [*before, own]
        asyncio.run(extension.stop_extension())
        assert logger.handlers == before
    finally:
        logger.removeHandler(own)
        logger.removeHandler(kept)


def test_another_default_model_of_the_process_holds_for_the_next_call(model, monkeypatch, tmp_path):
    config = tmp_path / "config.toml"
    config.write_text(f'model = "lab/tiny"\n[endpoints.lab]\nbase_url = "{model.base_url}"\n')
    monkeypatch.setenv("IPYLLM_CONFIG", str(config))

    async def models():
        calls, found = RunningCalls(UserLimits(Limits(100, 16, 32, None))), []
        for default in (None, "lab/other", None):
            set_default_model(default)
            call = await calls.start("ana", None, "Hi")
            found.append(call.model)
            await call.response()
            calls.remove(call)
        return found

    try:
        assert asyncio.run(models()) == ["lab/tiny", "lab/other", "lab/tiny"]
    finally:
        set_default_model(None)


def test_a_server_that_runs_alone_has_its_routes_once_for_users_who_enabled_them_in_jupyter(server):
    assert (server.home / "CONFIG" / "jupyter_server_config.json").exists()
    assert server.log.read_text().count("extension was successfully loaded") == 1


def test_help_tells_the_port_and_where_limits_are():
    command = [sys.executable, "-m", "ipyllm_server", "--help"]
    said = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300).stdout
    assert "--port=" in said
    assert "--ChatServer.calls_per_user" in said


def test_the_log_of_a_server_that_runs_alone_speaks_of_no_files(server):
    said = server.log.read_text()
    assert "Serving a chat, and no files." in said
    assert "local directory" not in said


@pytest.mark.thorough
def test_wrong_settings_are_told_to_the_log_and_not_to_users(server, model):
    with server.wrong_settings():
        replies = [server.chat(), server.get("/ipyllm/api/usage"), server.get("/ipyllm/api/conversations/none")]
        replies.append(server.chat(conversation="new one"))
    assert [(reply.status, reply.json["error"]["code"]) for reply in replies] == [(500, "settings")] * 4
    assert not any(b"no_setting" in reply.body for reply in replies)
    assert "no_setting" in server.log.read_text()
    assert server.chat().status == 200


@pytest.mark.parametrize("target", ["serve", "lab"])
def test_make_lets_root_in_on_loopback_only(target):
    command = ["make", "-n", *("-o", ".venv/.all"), *("-o", "model"), target]
    said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert (" --allow-root --ip=127.0.0.1" in said) == (os.getuid() == 0)
