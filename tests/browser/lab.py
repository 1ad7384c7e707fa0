"""A throw-away JupyterLab with one headless page, as a page object for the browser tests.

    with Lab(tmp_path, theme="dark") as lab:
        notebook = lab.open(["print('hello')"])
        notebook.run(0)
        assert "hello" in notebook.output(0).inner_text()

Chromium is ``$CHROMIUM``, Debian's or Playwright's own, driven by Playwright. The page reaches loopback and nothing
else: what it asks for elsewhere is refused and kept in :attr:`Lab.strangers`.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

import nbformat
import pytest
from playwright.sync_api import sync_playwright


def _chromium():
    """Where Chromium is: named, Debian's, or the one that Playwright has installed; None for nowhere."""
    found = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    if found:
        return found
    with sync_playwright() as playwright:
        own = playwright.chromium.executable_path
    return own if Path(own).exists() else None


CHROMIUM = _chromium()
CHROMIUM_ARGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
]
THEMES = {"light": "JupyterLab Light", "dark": "JupyterLab Dark"}
# False if no notebook is open, if its kernel died or is busy, or if a dialog covers it.
_OPEN_IN_PAGE = """async path => {
    const app = window.jupyterapp, before = app?.shell?.currentWidget;
    const kernel = before?.sessionContext?.session?.kernel;
    if (kernel?.connectionStatus !== 'connected' || kernel.status !== 'idle') return false;
    if (document.querySelector('.jp-Dialog')) return false;
    before.context.model.dirty = false;
    await app.commands.execute('docmanager:open', {path});
    before.dispose();
    return true;
}"""
_LOOPBACK = {"127.0.0.1", "localhost", "::1"}

needs_chromium = pytest.mark.skipif(
    CHROMIUM is None,
    reason="NO CHROMIUM FOUND: the browser tests did not run (apt install chromium, or set CHROMIUM)",
)


class Lab:
    """A JupyterLab server of its own, with its own settings, and a browser page on it.

    Parameters
    ----------
    root : Path
        Where notebooks are, and the kernels' working directory.
    theme : {"light", "dark"}
    width, height : int
        Of the page, in CSS pixels.
    env : dict
        Further environment of the server and its kernels.
    """

    module = "jupyterlab"  # what serves it
    address = "doc/tree"  # of a notebook, in single-document mode
    application = "LabApp"
    opens_in_page = True  # a second notebook, in place of the first
    own_fault = ""  # an error of the page itself

    def __init__(self, root, *, theme="light", width=1100, height=900, env=None):
        self.root = Path(root)
        self.theme = theme
        self.size = {"width": width, "height": height}
        self.env = env or {}
        self.opened = 0
        self.strangers: list[str] = []
        self.dialogs: list[str] = []
        self.errors: list[str] = []

    def __enter__(self):
        with ExitStack() as stack:
            self._start_server(stack)
            self._start_browser(stack)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *exc):
        self._stack.close()

    def open(self, sources):
        """Write a notebook with these cells and show only it, with a new kernel that is ready.

        In the loaded page if there is one: loading JupyterLab takes four times as long as opening a notebook in it.
        """
        notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in sources])
        notebook.metadata["kernelspec"] = {
            "name": "python3",
            "display_name": "Python 3",
            "language": "python",
        }
        self.opened += 1  # a name of its own gives each a kernel of its own
        name = f"notebook-{self.opened}.ipynb"
        nbformat.write(notebook, self.root / name)
        if not (self.opens_in_page and self.page.evaluate(_OPEN_IN_PAGE, name)):
            self.page.goto(f"{self.url}/{self.address}/{name}?token={self.token}")
        self.page.wait_for_selector(".jp-Notebook .jp-Cell", timeout=60_000)
        opened = Notebook(self.page)
        opened.wait_idle()
        return opened

    def _start_server(self, stack):
        home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="lab-", ignore_cleanup_errors=True)))
        self._write_setting(home, "notification", {"checkForUpdates": False, "fetchNews": "false"})
        self._write_setting(home, "themes", {"theme": THEMES[self.theme]})
        port, self.token = _free_port(), secrets.token_hex(8)
        self.url = f"http://127.0.0.1:{port}"
        log = stack.enter_context((home / "lab.log").open("w+"))
        command = [
            *(sys.executable, "-m", self.module),
            *("--no-browser", "--allow-root", "--ip=127.0.0.1", f"--port={port}"),
            *(f"--IdentityProvider.token={self.token}", f"--ServerApp.root_dir={self.root}"),
            *("--ServerApp.port_retries=0", "--ServerApp.terminals_enabled=False"),
            f"--{self.application}.expose_app_in_browser=True",  # Notebook.wait_idle asks the page's own sessions
        ]
        folders = {
            "JUPYTER_CONFIG_DIR": "config",
            "JUPYTER_DATA_DIR": "data",
            "JUPYTER_RUNTIME_DIR": "runtime",
            "JUPYTERLAB_SETTINGS_DIR": "settings",
            "JUPYTERLAB_WORKSPACES_DIR": "workspaces",
            "IPYTHONDIR": "ipython",
        }
        env = os.environ | {name: str(home / folder) for name, folder in folders.items()} | self.env
        server = subprocess.Popen(command, env=env, stdout=log, stderr=log, start_new_session=True)
        stack.callback(self._stop_server, server)
        deadline = time.monotonic() + 60
        while not self._answers("/api/status"):
            if time.monotonic() > deadline or server.poll() is not None:
                log.seek(0)
                raise RuntimeError(f"{self.module} did not start:\n{log.read()[-3000:]}")
            time.sleep(0.2)

    def _write_setting(self, home, plugin, values):
        path = home / "settings" / "@jupyterlab" / "apputils-extension" / f"{plugin}.jupyterlab-settings"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(values))

    def _answers(self, path, method="GET"):
        request = urllib.request.Request(
            self.url + path, method=method, headers={"Authorization": f"token {self.token}"}
        )
        with suppress(OSError), urllib.request.urlopen(request, timeout=5) as answer:
            return answer.status < 400
        return False

    def _stop_server(self, server):
        self._answers("/api/shutdown", method="POST")  # stops the kernels too, which a signal might leave behind
        try:
            server.wait(15)
        except subprocess.TimeoutExpired:
            server.terminate()
            server.wait(15)

    def _start_browser(self, stack):
        browser = stack.enter_context(chromium())
        self.context = browser.new_context(viewport=self.size)
        self.context.route("**/*", self._guard)
        self.context.on("dialog", self._on_dialog)
        self.page = self.context.new_page()
        self.page.set_default_timeout(30_000)
        self.page.on("pageerror", self._on_error)

    def _guard(self, route):
        if urlsplit(route.request.url).hostname in _LOOPBACK:
            route.continue_()
        else:
            self.strangers.append(route.request.url)
            route.abort()

    def _on_error(self, error):
        if str(error) != self.own_fault:
            self.errors.append(str(error))

    def _on_dialog(self, dialog):
        if dialog.type == "beforeunload":  # Lab's own, about unsaved changes
            dialog.accept()
            return
        self.dialogs.append(f"{dialog.type}: {dialog.message}")
        dialog.dismiss()


class Notebook7(Lab):
    """The same server and page with Notebook 7's interface."""

    module = "notebook"
    address = "notebooks"
    application = "JupyterNotebookApp"
    opens_in_page = False

    # Notebook 7.6 makes it on each load, whatever is in it: its list of shortcuts reads the schema of a settings plugin
    # that its page does not have.
    own_fault = "Cannot read properties of undefined (reading 'schema')"


class Notebook:
    """The open notebook: its cells by their number from 0."""

    def __init__(self, page):
        self.page = page

    def wait_idle(self, timeout_ms=60_000):
        """Wait until the kernel is connected and idle.

        The indicator in the toolbar says idle before the session exists, and Shift+Enter is then dropped.
        """
        self.page.wait_for_function(
            """() => {
                const widget = window.jupyterapp?.shell?.currentWidget, session = widget?.sessionContext;
                const kernel = session?.session?.kernel;
                return session?.isReady && kernel?.connectionStatus === 'connected'
                    && kernel.status === 'idle'
                    && widget.content.model && widget.content.widgets.length > 0;
            }""",
            timeout=timeout_ms,
        )

    def rewrite(self, sources):
        """Have these cells instead, not run, on the same kernel: much quicker than another notebook."""
        self.page.evaluate(
            """sources => {
                const model = window.jupyterapp.shell.currentWidget.content.model.sharedModel;
                model.transact(() => {
                    model.deleteCellRange(0, model.cells.length);
                    model.insertCells(0, sources.map(source => ({cell_type: 'code', source})));
                });
            }""",
            list(sources),
        )
        self.page.wait_for_function(
            "count => document.querySelectorAll('.jp-Notebook .jp-CodeCell').length === count", arg=len(sources)
        )

    def cell(self, number):
        return self.page.locator(".jp-Notebook .jp-CodeCell").nth(number)

    def output(self, number):
        return self.cell(number).locator(".jp-Cell-outputWrapper")

    def run(self, number, *, wait=True, timeout_ms=60_000):
        """Run a cell as a person does: click it, press Shift+Enter, wait for its number."""
        cell = self.cell(number)
        cell.scroll_into_view_if_needed()
        cell.locator(".jp-InputArea-editor").click()
        self.page.keyboard.press("Shift+Enter")
        if wait:
            self.wait_for_end(number, timeout_ms)
        return self.output(number)

    def wait_for_end(self, number, timeout_ms=60_000):
        """Wait until a cell has its number."""
        self.page.wait_for_function(
            r"""number => {
                const cell = document.querySelectorAll('.jp-Notebook .jp-CodeCell')[number];
                return /\[\d+\]/.test(cell.querySelector('.jp-InputPrompt').textContent);
            }""",
            arg=number,
            timeout=timeout_ms,
        )

    def start(self, number):
        """Run a cell that takes long, and wait until it is shown as running."""
        self.run(number, wait=False)
        self.cell(number).get_by_text(RUNNING).wait_for()

    def prompt(self, number):
        """What stands beside a cell: ``RUNNING``, its number, or ``"[ ]:"``.

        Also of a cell that was scrolled away, of which Lab has the browser skip the drawing: it has no inner text.
        """
        return self.cell(number).locator(".jp-InputPrompt").first.text_content().strip()

    def interrupt(self, number):
        """Interrupt the kernel, and wait for the end of the cell that it runs.

        Not until the kernel is idle: a subshell that answers a widget says idle too. And what is queued before the
        end is aborted with the cell.
        """
        self.page.evaluate(f"void {KERNEL}.interrupt()")
        self.wait_for_end(number)


RUNNING = "[*]:"
KERNEL = "window.jupyterapp.shell.currentWidget.sessionContext.session.kernel"
PID = "import os\nprint('pid', os.getpid())"


def end_of_kernel(notebook, cell, how):
    """Run ``PID`` in this cell, and return what ends the kernel: "killed", or a word of its own such as "restart"."""
    if how == "killed":
        pid = int(notebook.run(cell).inner_text().split("pid")[1])
        return lambda: os.kill(pid, signal.SIGKILL)
    return lambda: notebook.page.evaluate(f"void {KERNEL}.{how}()")


_drivers = []


@contextmanager
def _driver():
    """Playwright's driver, of which a process can have one, for as long as any lab is open."""
    if _drivers:
        yield _drivers[0]
        return
    with sync_playwright() as playwright:
        _drivers.append(playwright)
        try:
            yield playwright
        finally:
            _drivers.clear()


@contextmanager
def chromium():
    """A headless Chromium, closed at the end."""
    with _driver() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, headless=True, args=CHROMIUM_ARGS)
        try:
            yield browser
        finally:
            browser.close()


def _free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
