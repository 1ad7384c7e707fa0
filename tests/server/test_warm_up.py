"""What the server prepares when it starts."""

import os
import socket
import subprocess
import sys
from contextlib import ExitStack
from types import SimpleNamespace

import pytest

from tests.server.chat_server import ChatServerProcess

_FIRST_CALL = """
import sys
from ipyllm_server.warm_up import warm_up
warm_up(None)
before = set(sys.modules)
from ipyllm import create_llm_service
assert create_llm_service().chat("Hello").status == "ok"
print(sorted(set(sys.modules) - before))
"""


@pytest.mark.thorough
def test_after_the_warm_up_the_first_call_imports_nothing(model, tmp_path):
    config = tmp_path / "config.toml"
    config.write_text(f'model = "lab/tiny"\n[endpoints.lab]\nbase_url = "{model.base_url}"\nmodel = "tiny"\n')
    env = os.environ | {"IPYLLM_CONFIG": str(config), "IPYLLM_LEDGER": str(tmp_path / "ledger.sqlite")}
    done = subprocess.run([sys.executable, "-c", _FIRST_CALL], env=env, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]", done.stderr


_WARM_UP = """
import logging, sys
from ipyllm_server.warm_up import warm_up
logging.basicConfig()
for model in sys.argv[1:]:
    warm_up(model)
"""


@pytest.mark.thorough
def test_of_models_without_an_address_only_those_that_nobody_can_ask_are_told(model, tmp_path):
    config = tmp_path / "config.toml"
    endpoint = f'[endpoints.lab]\nbase_url = "{model.base_url}"\nmodel = "tiny"\n'
    config.write_text(f'{endpoint}[routes.either]\nfallback = ["openai/gpt-6-luna", "lab/tiny"]\n')
    env = os.environ | {"IPYLLM_CONFIG": str(config), "IPYLLM_LEDGER": str(tmp_path / "ledger.sqlite")}
    command = [sys.executable, "-c", _WARM_UP, "either", "local/none-such"]
    said = subprocess.run(command, env=env, capture_output=True, text=True, check=True).stderr
    assert said.count("could not be warmed up") == 1, said
    assert "none-such" in said
    assert "Traceback" not in said


@pytest.mark.timeout(400)  # it starts a server
def test_a_server_that_is_stopped_while_it_warms_up_ends():
    with socket.socket() as hole, ExitStack() as waiting:
        hole.bind(("127.0.0.1", 0))
        hole.listen(0)
        for _ in range(4):  # those behind them wait until they are accepted
            client = waiting.enter_context(socket.socket())
            client.setblocking(False)
            client.connect_ex(hole.getsockname())
        fake = SimpleNamespace(base_url=f"http://127.0.0.1:{hole.getsockname()[1]}/v1")
        with ChatServerProcess(fake) as server:
            server.process.terminate()
            assert server.process.wait(60) == 0
