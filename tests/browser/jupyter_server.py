"""JupyterLab and Notebook servers for the browser tests: one of each application in a test process.

A server takes seconds to start. So it stays for all test files of a process, and each file gets kernels with an
environment of its own: :meth:`JupyterServer.add_kernel` installs a kernel specification for it.
"""

from __future__ import annotations

import atexit
import json
import os
import secrets
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import ClassVar
from urllib.parse import quote

__all__ = ["JupyterServer"]

_FOLDERS = {
    "JUPYTER_CONFIG_DIR": "config",
    "JUPYTER_DATA_DIR": "data",
    "JUPYTER_RUNTIME_DIR": "runtime",
    "JUPYTERLAB_SETTINGS_DIR": "settings",
    "JUPYTERLAB_WORKSPACES_DIR": "workspaces",
    "IPYTHONDIR": "ipython",
}


class JupyterServer:
    """A server with settings of its own, whose root folder is the root of the file system.

    Parameters
    ----------
    module : str
        The application, as for ``python -m``.
    application : str
        Its class, for its options.
    """

    _running: ClassVar[dict[str, JupyterServer]] = {}

    def __init__(self, module, application):
        self.module, self.application = module, application
        self._n_kernels = 0

    @classmethod
    def shared(cls, module, application):
        """Return the server of this process for an application. The first call starts it; it ends with the process."""
        if not cls._running:
            atexit.register(cls.stop_all)
        if module not in cls._running:
            cls._running[module] = cls(module, application).start()
        return cls._running[module]

    @classmethod
    def stop_all(cls):
        """Stop all servers of this process."""
        while cls._running:
            cls._running.popitem()[1].stop()

    def start(self):
        """Start the server and wait until it responds."""
        with ExitStack() as stack:
            folder = tempfile.TemporaryDirectory(prefix="lab-", ignore_cleanup_errors=True)
            self._home = Path(stack.enter_context(folder))
            self.set_option("notification", {"checkForUpdates": False, "fetchNews": "false"})
            port, self.token = _free_port(), secrets.token_hex(8)
            self.url = f"http://127.0.0.1:{port}"
            log = stack.enter_context((self._home / "lab.log").open("w+"))
            command = [
                *(sys.executable, "-m", self.module),
                *("--no-browser", "--allow-root", "--ip=127.0.0.1", f"--port={port}"),
                *(f"--IdentityProvider.token={self.token}", "--ServerApp.root_dir=/"),
                *("--ServerApp.port_retries=0", "--ServerApp.terminals_enabled=False"),
                f"--{self.application}.expose_app_in_browser=True",  # Notebook.wait_idle asks the page's own sessions
            ]
            env = os.environ | {name: str(self._home / folder) for name, folder in _FOLDERS.items()}
            self._process = subprocess.Popen(command, env=env, stdout=log, stderr=log, start_new_session=True)
            stack.callback(self._stop_process)
            deadline = time.monotonic() + 240
            while self._request("/api/status") is None:
                if time.monotonic() > deadline or self._process.poll() is not None:
                    log.seek(0)
                    raise RuntimeError(f"{self.module} did not start:\n{log.read()[-3000:]}")
                time.sleep(0.1)
            self._stack = stack.pop_all()
        return self

    def stop(self):
        """Stop the server and its kernels, and delete its files."""
        self._stack.close()

    def set_option(self, plugin, values):
        """Set options of a plugin for pages that are loaded from now on."""
        path = self._home / "settings" / "@jupyterlab" / "apputils-extension" / f"{plugin}.jupyterlab-settings"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(values))

    def add_kernel(self, env):
        """Install a kernel with this environment besides the present one; return its name."""
        self._n_kernels += 1
        name = f"tests-{self._n_kernels}"
        folder = self._home / _FOLDERS["JUPYTER_DATA_DIR"] / "kernels" / name
        folder.mkdir(parents=True)
        command = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
        spec = {"argv": command, "display_name": "Python 3", "language": "python", "env": {**os.environ, **env}}
        (folder / "kernel.json").write_text(json.dumps(spec))
        return name

    def address(self, page, path):
        """Return the address of a file in a page of the application, such as ``doc/tree``."""
        return f"{self.url}/{page}/{quote(self.relative(path))}?token={self.token}"

    def relative(self, path):
        """Return the path of a file as the server names it."""
        return str(path).lstrip("/")

    def close_notebooks(self, root):
        """Stop the kernels of all notebooks in a folder."""
        for session in self._request("/api/sessions") or []:
            if session["path"].startswith(self.relative(root)):
                self._request(f"/api/sessions/{session['id']}", method="DELETE")

    def _request(self, path, method="GET"):
        """Return the response, or None if there is none."""
        headers = {"Authorization": f"token {self.token}"}
        request = urllib.request.Request(self.url + path, method=method, headers=headers)
        with suppress(OSError), urllib.request.urlopen(request, timeout=15) as answer:
            return json.loads(answer.read() or "{}")
        return None

    def _stop_process(self):
        self._request("/api/shutdown", method="POST")  # stops the kernels too, which a signal might leave behind
        try:
            self._process.wait(15)
        except subprocess.TimeoutExpired:
            self._process.terminate()
            self._process.wait(15)


def _free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
