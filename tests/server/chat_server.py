"""A chat server in a process of its own, on loopback, whose models are those of a scriptable model server."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

from tests.server.classroom import TOKENS

__all__ = ["ChatServerProcess", "Reply", "free_port"]

_NO_RATE = "--ChatServer.requests_per_minute=100000"
ROOT = Path(__file__).parents[2]


class Reply:
    """A response that has been read."""

    def __init__(self, response):
        self.status = response.status
        self.headers = response.headers
        self.body = response.read()

    @property
    def json(self):
        """The body's value."""
        return json.loads(self.body)

    @property
    def message(self):
        """The sentence of an error."""
        return self.json["error"]["message"]


class ChatServerProcess:
    """``python -m ipyllm_server`` with the users of `Classroom`. A context manager.

    Parameters
    ----------
    fake : FakeLLM
        The model server; its models are ``lab/<any name>``, and ``lab/tiny`` is the default. Nobody serves ``dead``.
    *options
        Of the command line.
    module : str
        What is started.
    has_classroom : bool
        Whether its users are those of `Classroom`; else an option must say who knows the tokens of `TOKENS`.
    """

    def __init__(self, fake, *options, module="ipyllm_server", has_classroom=True):
        self._fake, self._options, self._module = fake, options, module
        self._classroom = ["--ServerApp.identity_provider_class=tests.server.classroom.Classroom"] * has_classroom

    def __enter__(self):
        self._folder = tempfile.TemporaryDirectory(prefix="chat-server-", ignore_cleanup_errors=True)
        self.home = home = Path(self._folder.name)
        self.port = free_port()
        self.ledger = home / "ledger.sqlite"
        config = (
            f'model = "lab/tiny"\n[endpoints.lab]\nbase_url = "{self._fake.base_url}"\nmodel = "tiny"\n'
            f'[endpoints.dead]\nbase_url = "http://127.0.0.1:{free_port()}/v1"\nmodel = "none"\n'
        )
        (home / "config.toml").write_text(config)
        (home / "CONFIG").mkdir()
        enabled = {"ServerApp": {"jpserver_extensions": {"ipyllm_server": True}}}  # as for JupyterLab
        (home / "CONFIG" / "jupyter_server_config.json").write_text(json.dumps(enabled))
        folders = {f"JUPYTER_{name}_DIR": str(home / name) for name in ("CONFIG", "DATA", "RUNTIME")}
        paths = [str(ROOT), *(str(ROOT / name) for name in ("service", "magics", "widgets", "server"))]
        env = os.environ | folders | {
            "IPYLLM_CONFIG": str(home / "config.toml"),
            "IPYLLM_LEDGER": str(self.ledger),
            "PYTHONPATH": os.pathsep.join(paths),
        }  # fmt: skip
        command = [
            *(sys.executable, "-m", self._module, f"--port={self.port}", "--allow-root", "--ServerApp.port_retries=0"),
            *self._classroom,
            *([] if any("requests_per_minute" in each for each in self._options) else [_NO_RATE]),
            *self._options,
        ]
        self.log = home / "log"
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                command, env=env, cwd=home, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        deadline = time.monotonic() + 240
        while not self._answers():
            if time.monotonic() > deadline or self.process.poll() is not None:
                log = self.log.read_text()[-3000:]
                self.process.kill()
                self.process.wait()
                self._folder.cleanup()
                raise RuntimeError(f"The server did not start:\n{log}")
            time.sleep(0.1)
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self._folder.cleanup()

    @property
    def url(self):
        """The address of the server."""
        return f"http://127.0.0.1:{self.port}"

    def _answers(self):
        try:
            return self.get("/ipyllm/api/health").status == 200
        except OSError:
            return False

    @contextmanager
    def request(self, method, path, body=None, *, user="ana", headers=(), token=None):
        """Send a request, and give its response, unread."""
        token = TOKENS.get(user) if token is None else token
        headers = dict(headers)
        if token is not None:
            headers.setdefault("Authorization", f"token {token}")
        if isinstance(body, dict | list):
            body = json.dumps(body)
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request(method, path, body, headers)
            yield connection.getresponse()
        finally:
            connection.close()

    def get(self, path, **options):
        """Return the reply to a GET."""
        with self.request("GET", path, **options) as response:
            return Reply(response)

    def post(self, path, body, **options):
        """Return the reply to a POST."""
        with self.request("POST", path, body, **options) as response:
            return Reply(response)

    @contextmanager
    def wrong_settings(self):
        """Let the settings be wrong, and the server know it."""
        config, right = self.home / "config.toml", (self.home / "config.toml").read_text()
        config.write_text(right + "no_setting = 1\n")
        try:
            self._fake.wait_for(self._finds_settings_wrong, timeout=60)
            yield
        finally:
            config.write_text(right)
            self._fake.wait_for(lambda: not self._finds_settings_wrong(), timeout=60)

    def _finds_settings_wrong(self):
        return self.get("/ipyllm/api/usage").status == 500

    def chat(self, message="Hello", *, user="ana", **fields):
        """Return the reply to a question."""
        return self.post("/ipyllm/api/chat", {"message": message, **fields}, user=user)

    def rows(self, *columns):
        """Return columns of all calls in the ledger, oldest first."""
        import sqlite3

        with sqlite3.connect(self.ledger) as database:
            return database.execute(f"select {', '.join(columns)} from calls order by started_at").fetchall()


def free_port():
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
