"""JupyterLab with one headless page, as a page object for the browser tests.

    with Lab(tmp_path, theme="dark") as lab:
        notebook = lab.open(["print('hello')"])
        notebook.run(0)
        assert "hello" in notebook.output(0).inner_text()

Chromium is ``$CHROMIUM``, Debian's or Playwright's own, driven by Playwright. The page reaches loopback and nothing
else: what it asks for elsewhere is refused and kept in :attr:`Lab.external_requests`.
"""

from __future__ import annotations

import os
import shutil
import signal
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import nbformat
import pytest
from playwright.sync_api import sync_playwright

from tests.browser.jupyter_server import JupyterServer


def _chromium():
    """Where Chromium is: named, Debian's, or the one that Playwright has installed; None for nowhere."""
    names = ("chromium-headless-shell", "chromium", "chromium-browser")
    found = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, names)), None)
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
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost",  # nothing but loopback is reached
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
FAVICON = "/favicon.ico"  # Chromium itself asks a server for it
_LOCAL_SCHEMES = {"data", "blob", "about"}

needs_chromium = pytest.mark.skipif(
    CHROMIUM is None,
    reason="NO CHROMIUM FOUND: the browser tests did not run (apt install chromium, or set CHROMIUM)",
)


class Lab:
    """JupyterLab with a folder of notebooks, kernels of its own, and a browser page.

    Parameters
    ----------
    root : Path
        Where notebooks are, and the kernels' working directory.
    theme : {"light", "dark"}
    width, height : int
        Of the page, in CSS pixels.
    env : dict
        Further environment of the kernels.
    """

    module = "jupyterlab"  # what serves it
    page_address = "doc/tree"  # of a notebook, in single-document mode
    application = "LabApp"
    opens_in_page = True  # a second notebook, in place of the first
    # Errors of the page itself: JupyterLab asks a new kernel for a subshell, perhaps while it is shut down.
    own_faults = ("Canceled future for create_subshell_request message",)

    def __init__(self, root, *, theme="light", width=1100, height=900, env=None):
        self.root = Path(root)
        self.theme = theme
        self.size = {"width": width, "height": height}
        self.env = env or {}
        self.opened = 0
        self.shared_notebook: Notebook | None = None
        self.external_requests: list[str] = []
        self.dialogs: list[str] = []
        self.errors: list[str] = []

    def __enter__(self):
        self.server = JupyterServer.shared(self.module, self.application)
        self.kernel_name = self.server.add_kernel(self.env)
        with ExitStack() as stack:
            stack.callback(self.server.close_notebooks, self.root)
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
            "name": self.kernel_name,
            "display_name": "Python 3",
            "language": "python",
        }
        self.opened += 1  # a name of its own gives each a kernel of its own
        self.shared_notebook = None
        nbformat.write(notebook, self.path)
        if not (self.opens_in_page and self.page.evaluate(_OPEN_IN_PAGE, self.server.relative(self.path))):
            self.load(self.path)
        self.page.wait_for_selector(".jp-Notebook .jp-Cell", timeout=60_000)
        opened = Notebook(self.page)
        opened.wait_idle()
        return opened

    def show(self, sources, *, new_kernel=False):
        """Show these cells in the notebook that earlier tests have left, which is quicker, or in a new one.

        A notebook with a new kernel is not left to later tests.
        """
        notebook = self.shared_notebook
        if notebook is None or new_kernel:
            notebook = self.open(sources)
        else:
            notebook.rewrite(sources)
        self.shared_notebook = None if new_kernel else notebook
        return notebook

    @property
    def path(self):
        """The file of the notebook that was opened last."""
        return self.root / f"notebook-{self.opened}.ipynb"

    def save(self):
        """Save the notebook, and wait until it is; return its path."""
        self.page.evaluate("window.jupyterapp.commands.execute('docmanager:save')")
        self.page.wait_for_function("() => !window.jupyterapp.shell.currentWidget.context.model.dirty")
        return self.path

    @contextmanager
    def another_tab(self, selector):
        """Show the notebook in another tab too, until there is what is selected; yield its first cell."""
        self.save()
        tab = self.context.new_page()
        try:
            tab.goto(self.page.url)
            tab.wait_for_selector(selector, timeout=60_000)
            yield tab.locator(".jp-Notebook .jp-CodeCell").first
        finally:
            tab.close()

    def reload(self, notebook):
        """Reload the page, and wait until the notebook is there and its kernel idle."""
        self.page.reload()
        self.page.wait_for_selector(".jp-Notebook .jp-Cell", timeout=60_000)
        notebook.wait_idle()

    def load(self, path):
        """Load the page with a notebook."""
        self.server.set_option("themes", {"theme": THEMES[self.theme]})
        self.page.goto(self.server.address(self.page_address, path))
        self.page.wait_for_selector(".jp-Notebook .jp-Cell", timeout=60_000)

    def _start_browser(self, stack):
        browser = stack.enter_context(chromium())
        self.context = browser.new_context(viewport=self.size)
        # Not `route`, which would turn the browser's cache off: JupyterLab would be fetched and compiled on each load.
        self.context.on("request", self._on_request)
        self.context.on("dialog", self._on_dialog)
        self.page = self.context.new_page()
        self.page.set_default_timeout(60_000)
        self.page.on("pageerror", self._on_error)

    def _on_request(self, request):
        url = urlsplit(request.url)
        if url.scheme not in _LOCAL_SCHEMES and url.hostname not in _LOOPBACK:
            self.external_requests.append(request.url)

    def _on_error(self, error):
        if not any(fault in str(error) for fault in self.own_faults):
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
    page_address = "notebooks"
    application = "JupyterNotebookApp"
    opens_in_page = False

    # Notebook 7.6 makes the second on each load, whatever is in it: its list of shortcuts reads the schema of a
    # settings plugin that its page does not have.
    own_faults = (*Lab.own_faults, "Cannot read properties of undefined (reading 'schema')")


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


def set_theme(page, theme):
    """Set the theme of the page, ``"light"`` or ``"dark"``."""
    page.evaluate("theme => window.jupyterapp.commands.execute('apputils:change-theme', {theme})", THEMES[theme])
    page.wait_for_function("theme => document.body.dataset.jpThemeName === theme", arg=THEMES[theme])


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
