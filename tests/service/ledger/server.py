"""Runs a PostgreSQL server for tests: Debian's, on a free loopback port, as an unprivileged user."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import psycopg

PASSWORD = "hunter2hunter2"


def programs():
    """Return the folder of ``initdb`` and ``postgres``, or None. Debian does not put them on the PATH."""
    found = [*sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: float(path.parent.name), reverse=True)]
    on_path = shutil.which("initdb")
    if on_path:
        found.append(Path(on_path).resolve().parent)
    return next((path for path in found if (path / "initdb").exists() and (path / "postgres").exists()), None)


class Server:
    """A server with its data. It can be stopped abruptly and started again at the same address."""

    def __init__(self):
        self._folder = Path(tempfile.mkdtemp(prefix="ipyllm-postgres-"))
        self._user = {}
        if os.getuid() == 0:  # PostgreSQL refuses to run as root
            nobody = pwd.getpwnam("nobody")
            os.chown(self._folder, nobody.pw_uid, nobody.pw_gid)
            self._user = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self._port = free.getsockname()[1]
        secret = self._folder / "password"
        secret.write_text(PASSWORD)
        secret.chmod(0o644)
        arguments = ["-D", self._data, "-A", "scram-sha-256", "-U", "ipyllm", f"--pwfile={secret}", "-E", "UTF8"]
        self._run("initdb", *arguments, "--locale=C", "--no-sync")
        self._process = None

    @property
    def _data(self):
        return str(self._folder / "data")

    def _run(self, program, *arguments):
        done = subprocess.run(
            [programs() / program, *arguments], cwd=self._folder, capture_output=True, text=True, **self._user
        )
        assert done.returncode == 0, done.stderr

    def url(self, database="postgres"):
        return f"postgresql://ipyllm:{PASSWORD}@127.0.0.1:{self._port}/{database}"

    def connect(self, database="postgres"):
        return psycopg.connect(self.url(database), autocommit=True, connect_timeout=5)

    def start(self):
        options = [
            "-c",
            "listen_addresses=127.0.0.1",
            "-c",
            f"unix_socket_directories={self._folder}",
            "-c",
            "fsync=off",
        ]
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [programs() / "postgres", "-D", self._data, "-p", str(self._port), *options],
                cwd=self._folder,
                stdout=log,
                stderr=log,
                **self._user,
            )
        give_up = time.monotonic() + 60
        while True:
            try:
                self.connect().close()
            except psycopg.OperationalError:
                assert self._process.poll() is None, (self._folder / "log").read_text()
                assert time.monotonic() < give_up
                time.sleep(0.05)
            else:
                return

    def stop(self):
        if self._process is not None:
            self._process.send_signal(signal.SIGQUIT)  # at once: connections are cut
            self._process.wait(60)
            self._process = None

    def remove(self):
        self.stop()
        shutil.rmtree(self._folder)
