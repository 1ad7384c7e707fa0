"""A page with the rules of VS Code's notebook webview, in which real widgets run without Jupyter.

    with Webview("vscode-dark") as webview:
        output = webview.show(ChatWidget())
        webview.wait_until(lambda: output.get_by_text("Send").is_visible())

VS Code does not run here; its rules are emulated: the frame's sandbox (no dialogs, no pop-ups; downloads and the
clipboard are allowed), intercepted clicks on links, modules imported from ``blob:`` addresses as anywidget does, the
elements around an output, and the colours of its themes as its Jupyter extension passes them to widgets. The content
security policy is stricter than VS Code's, which has none by default. With ``notebook.experimental.enableCsp`` it has
one that allows inline scripts, ``eval`` and web addresses; here they are forbidden. (That setting forbids ``blob:``
modules, so with it no anywidget starts at all.)

The widget gets a minimal anywidget model: ``get``, ``on``, ``off``, ``send``. Messages go to and from the real Python
object.
"""

from __future__ import annotations

import base64
import hashlib
import time
from contextlib import ExitStack
from urllib.parse import urlsplit

from tests.widgets.page import PageComm

HOME = "http://localhost"  # a secure context, as in VS Code; no server: requests are answered below
POLICY = (
    "default-src 'none'; script-src 'sha256-{script}' blob:; style-src 'unsafe-inline'; img-src data: blob:; "
    "base-uri 'none'; form-action 'none'"
)
SANDBOX = "allow-same-origin allow-pointer-lock allow-scripts allow-downloads allow-forms"

# Light Modern and Dark Modern, VS Code's defaults, by VS Code's names of colours.
_LIGHT = {
    "foreground": "#3b3b3b",
    "descriptionForeground": "#3b3b3b",
    "errorForeground": "#f85149",
    "focusBorder": "#005fb8",
    "editor-background": "#ffffff",
    "editor-foreground": "#3b3b3b",
    "editorWidget-background": "#f8f8f8",
    "editorWarning-foreground": "#bf8803",
    "notebook-cellEditorBackground": "#f8f8f8",
    "input-background": "#ffffff",
    "input-foreground": "#3b3b3b",
    "input-border": "#cecece",
    "input-placeholderForeground": "#767676",
    "button-background": "#005fb8",
    "button-foreground": "#ffffff",
    "panel-border": "#e5e5e5",
    "widget-border": "#e5e5e5",
    "textLink-foreground": "#005fb8",
    "textCodeBlock-background": "#f8f8f8",
    "textBlockQuote-background": "#f8f8f8",
    "textBlockQuote-border": "#e5e5e5",
    "textPreformat-foreground": "#3b3b3b",
    "textPreformat-background": "#0000001f",
    "charts-green": "#388a34",
    "charts-red": "#e51400",
    "debugTokenExpression-name": "#9b46b0",
    "debugTokenExpression-string": "#a31515",
    "debugTokenExpression-number": "#098658",
    "debugTokenExpression-boolean": "#0000ff",
}
_DARK = {
    "foreground": "#cccccc",
    "descriptionForeground": "#9d9d9d",
    "errorForeground": "#f85149",
    "focusBorder": "#0078d4",
    "editor-background": "#1f1f1f",
    "editor-foreground": "#cccccc",
    "editorWidget-background": "#202020",
    "editorWarning-foreground": "#cca700",
    "notebook-cellEditorBackground": "#1f1f1f",
    "input-background": "#313131",
    "input-foreground": "#cccccc",
    "input-border": "#3c3c3c",
    "input-placeholderForeground": "#989898",
    "button-background": "#0078d4",
    "button-foreground": "#ffffff",
    "panel-border": "#2b2b2b",
    "widget-border": "#313131",
    "textLink-foreground": "#4daafc",
    "textCodeBlock-background": "#2b2b2b",
    "textBlockQuote-background": "#2b2b2b",
    "textBlockQuote-border": "#616161",
    "textPreformat-foreground": "#d0d0d0",
    "textPreformat-background": "#3c3c3c",
    "charts-green": "#89d185",
    "charts-red": "#f14c4c",
    "debugTokenExpression-name": "#c586c0",
    "debugTokenExpression-string": "#ce9178",
    "debugTokenExpression-number": "#b5cea8",
    "debugTokenExpression-boolean": "#4e94ce",
}
# The high-contrast themes have no colour for buttons, and their colour for code needs another background.
_CONTRAST_DARK = {
    "foreground": "#ffffff",
    "descriptionForeground": "#ffffffb3",
    "errorForeground": "#f48771",
    "focusBorder": "#f38518",
    "contrastBorder": "#6fc3df",
    "editor-background": "#000000",
    "editor-foreground": "#ffffff",
    "editorWidget-background": "#0c141f",
    "input-background": "#000000",
    "input-foreground": "#ffffff",
    "input-border": "#6fc3df",
    "button-foreground": "#ffffff",
    "panel-border": "#6fc3df",
    "widget-border": "#6fc3df",
    "textLink-foreground": "#21a6ff",
    "textCodeBlock-background": "#000000",
    "textPreformat-foreground": "#000000",
    "textPreformat-background": "#ffffff",
    "charts-green": "#89d185",
    "charts-red": "#f14c4c",
    "debugTokenExpression-name": "#ffffff",
    "debugTokenExpression-string": "#f48771",
    "debugTokenExpression-number": "#89d185",
    "debugTokenExpression-boolean": "#75bdfe",
}
_CONTRAST_LIGHT = {
    "foreground": "#292929",
    "descriptionForeground": "#292929b3",
    "errorForeground": "#b5200d",
    "focusBorder": "#006bbd",
    "contrastBorder": "#0f4a85",
    "editor-background": "#ffffff",
    "editor-foreground": "#292929",
    "editorWidget-background": "#ffffff",
    "input-background": "#ffffff",
    "input-foreground": "#292929",
    "input-border": "#0f4a85",
    "button-background": "#0f4a85",
    "button-foreground": "#ffffff",
    "panel-border": "#0f4a85",
    "widget-border": "#0f4a85",
    "textLink-foreground": "#0f4a85",
    "textCodeBlock-background": "#f2f2f2",
    "textPreformat-foreground": "#ffffff",
    "textPreformat-background": "#292929",
    "charts-green": "#374e06",
    "charts-red": "#b5200d",
    "debugTokenExpression-name": "#292929",
    "debugTokenExpression-string": "#a31515",
    "debugTokenExpression-number": "#098658",
    "debugTokenExpression-boolean": "#0000ff",
}
# The style sheet of ipywidgets' controls, which VS Code loads too, sets the colours of a light page.
_IPYWIDGETS = """:root{
--jp-border-color0:#616161;--jp-border-color1:#9e9e9e;--jp-border-color2:#e0e0e0;--jp-border-color3:#f5f5f5;
--jp-ui-font-size1:13px;--jp-ui-font-family:Helvetica,Arial,sans-serif;--jp-code-font-family:monospace;
--jp-ui-font-color0:#000;--jp-ui-font-color1:#000c;--jp-ui-font-color2:#0008;--jp-ui-font-color3:#0005;
--jp-ui-inverse-font-color0:#fff;--jp-ui-inverse-font-color1:#fff;
--jp-content-font-color0:#000;--jp-content-font-color1:#000;--jp-content-font-color2:#616161;
--jp-content-font-color3:#9e9e9e;
--jp-layout-color0:#fff;--jp-layout-color1:#fff;--jp-layout-color2:#eee;--jp-layout-color3:#bdbdbd;
--jp-brand-color0:#1976d2;--jp-brand-color1:#2196f3;--jp-brand-color2:#64b5f6;--jp-brand-color3:#bbdefb;
--jp-warn-color1:#ff9800;--jp-error-color1:#f44336;--jp-success-color1:#4caf50;--jp-info-color1:#00bcd4;
--jp-cell-editor-background:#f7f7f7;--jp-cell-editor-border-color:#cfcfcf}"""
# Since 2025 the Jupyter extension sets some of JupyterLab's variables to the theme's colours, around a widget only …
_BRIDGE = f""".cell-output-ipywidget-background{{
color:var(--vscode-editor-foreground);
{"".join(f"--jp-{kind}-font-color{n}:var(--vscode-editor-foreground);" for kind in ("content", "ui") for n in range(4))}
--jp-ui-inverse-font-color0:var(--vscode-button-foreground);--jp-ui-inverse-font-color1:var(--vscode-button-foreground);
--jp-brand-color0:var(--vscode-button-background);
--jp-brand-color1:var(--vscode-textLink-foreground);--jp-brand-color2:var(--vscode-focusBorder);
--jp-content-link-color:var(--vscode-textLink-foreground);
--jp-border-color1:var(--vscode-panel-border);--jp-border-color2:var(--vscode-panel-border)}}
{
    "".join(
        f".{body} .cell-output-ipywidget-background{{--jp-layout-color{n}:var(--vscode-{colour})}}"
        for body, colour in (("vscode-light", "notebook-cellEditorBackground"), ("vscode-dark", "input-background"))
        for n in range(4)
    )
}"""
# … and before that it gave every widget a white background.
_WHITE = ".cell-output-ipywidget-background{background:white!important}"
_VSCODE = """@layer vscode-default{
body{color:var(--vscode-editor-foreground);font:var(--vscode-font-size) var(--vscode-font-family);background:none}
a,a code{color:var(--vscode-textLink-foreground)}
:is(a,input,select,textarea):focus{outline:1px solid -webkit-focus-ring-color;outline-offset:-1px}
code{color:var(--vscode-textPreformat-foreground);background-color:var(--vscode-textPreformat-background);
padding:1px 3px;border-radius:4px}
blockquote{background:var(--vscode-textBlockQuote-background);border-color:var(--vscode-textBlockQuote-border)}
}"""
THEMES = {
    "vscode-light": ("vscode-light", "light", _LIGHT, _VSCODE + _IPYWIDGETS + _BRIDGE),
    "vscode-dark": ("vscode-dark", "dark", _DARK, _VSCODE + _IPYWIDGETS + _BRIDGE),
    "vscode-dark-on-white": ("vscode-dark", "dark", _DARK, _VSCODE + _IPYWIDGETS + _WHITE),
    "vscode-contrast": ("vscode-high-contrast", "dark", _CONTRAST_DARK, _VSCODE + _IPYWIDGETS + _BRIDGE),
    "vscode-contrast-light": (
        "vscode-high-contrast vscode-high-contrast-light",
        "light",
        _CONTRAST_LIGHT,
        _VSCODE + _IPYWIDGETS + _BRIDGE,
    ),
    "bare-light": ("", "light", {}, ":root{color-scheme:light dark}"),
    "bare-dark": ("", "dark", {}, ":root{color-scheme:light dark}"),
}
"""Of each theme: class of the body, the system's preferred colour scheme, VS Code's colours, style sheet."""

_SCRIPT = """
const violations = [], links = [], listeners = new Map();
let state = {}, view;
addEventListener("securitypolicyviolation", ({ violatedDirective: rule, blockedURI }) => {
  violations.push(`${rule}: ${blockedURI}`);
});
document.addEventListener("click", (event) => {
  const link = event.composedPath().find((element) => element.tagName === "A" && element.href);
  if (!link) return;
  links.push(link.href);
  event.preventDefault();
});
const toBase64 = (buffer) => btoa(Array.from(new Uint8Array(buffer), (byte) => String.fromCharCode(byte)).join(""));
const fromBase64 = (text) => new DataView(Uint8Array.from(atob(text), (sign) => sign.charCodeAt(0)).buffer);
const fire = (event, ...values) => [...(listeners.get(event) ?? [])].forEach((callback) => callback(...values));
const model = {
  get: (name) => state[name],
  on: (event, callback) => listeners.set(event, [...(listeners.get(event) ?? []), callback]),
  off: (event, callback) => listeners.set(event, (listeners.get(event) ?? []).filter((other) => other !== callback)),
  send: (content, _callbacks, buffers = []) => void toKernel(content, buffers.map(toBase64)),
};
window.webview = {
  violations, links,
  async show({ esm, css, state: given, bytes }) {
    state = given;
    for (const [name, text] of Object.entries(bytes)) state[name] = fromBase64(text);
    const style = document.createElement("style");
    style.textContent = css;
    document.head.append(style);
    const address = URL.createObjectURL(new Blob([esm], { type: "text/javascript" }));
    const { default: widget } = await import(address);
    URL.revokeObjectURL(address);
    const el = document.createElement("div");
    document.querySelector(".cell-output-ipywidget-background").append(el);
    view = await widget.render({ model, el });
  },
  beside: (html) => void (document.querySelector("#beside").innerHTML = html),
  close: () => view(),
  take({ method, state: update, content, buffers }) {
    if (method === "custom") return fire("msg:custom", content, buffers.map(fromBase64));
    Object.assign(state, update);
    Object.keys(update).forEach((name) => fire(`change:${name}`, model, update[name]));
  },
};
"""


def _digest(script):
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


class WebviewComm(PageComm):
    """A comm that records what its widget sends, for delivery to the page, and what the page sends."""

    def __init__(self, *args, **kwargs):
        self.received: list[dict] = []
        super().__init__(*args, **kwargs)

    def publish_msg(self, msg_type, data=None, metadata=None, buffers=None, **keys):
        super().publish_msg(msg_type, data, metadata, buffers, **keys)
        self.sent[-1]["buffers"] = [base64.b64encode(bytes(buffer)).decode() for buffer in buffers or []]

    def receive(self, content, buffers):
        """Pass a message of the page to the widget."""
        self.received.append(content)
        decoded = [memoryview(base64.b64decode(buffer)) for buffer in buffers]
        self.handle_msg({"content": {"data": {"method": "custom", "content": content}}, "buffers": decoded})

    def commands(self, name, key="command"):
        """Return the commands of this name that the page sent, oldest first, without their nonces."""
        return [
            {field: value for field, value in content.items() if field not in {"nonce", key}}
            for content in self.received
            if content.get(key) == name
        ]


class Webview:
    """One notebook's webview, with one widget.

    Parameters
    ----------
    theme : str
        A key of :data:`THEMES`.
    browser : Browser
        Browser that opens the page, in a new context.
    width : int
        Width of the output, in CSS pixels.
    """

    def __init__(self, theme, browser, *, width=900, height=1000):
        self.theme = theme
        self.browser = browser
        self.size = {"width": width, "height": height}
        self.errors: list[str] = []
        self.external_requests: list[str] = []

    def __enter__(self):
        body, scheme, colours, style = THEMES[self.theme]
        root = "".join(f"--vscode-{name}:{value};" for name, value in colours.items())
        if colours:
            root += "--vscode-font-family:system-ui,sans-serif;--vscode-font-size:13px;--vscode-font-weight:normal;"
            root += "--vscode-editor-font-family:monospace;--vscode-editor-font-size:14px"
        background = "var(--vscode-editor-background,Canvas)"
        self._pages = {
            f"{HOME}/": f"<!doctype html><title>VS Code</title><style>body{{margin:0}}iframe{{border:0;width:100vw;"
            f'height:100vh}}</style><iframe title="outputs" src="/outputs" sandbox="{SANDBOX}" '
            'allow="clipboard-read; clipboard-write"></iframe>',
            f"{HOME}/outputs": f'<!doctype html><html lang="en" style="{root}"><title>outputs</title>'
            f'<meta http-equiv="Content-Security-Policy" content="{POLICY.format(script=_digest(_SCRIPT))}">'
            f"<style>{style}\nhtml{{background:{background}}}body{{margin:8px}}</style>"
            f'<body class="{body}"><main id="container"><div class="cell_container">'
            '<div class="output_container"><div class="output cell-output-ipywidget-background"></div></div>'
            '<div class="output_container"><div class="output" id="beside"></div></div>'
            f"</div></main><script>{_SCRIPT}</script>",
        }
        with ExitStack() as stack:
            context = self.browser.new_context(viewport=self.size, color_scheme=scheme)
            stack.callback(context.close)
            context.route("**/*", self._answer)
            context.grant_permissions(["clipboard-read", "clipboard-write"], origin=HOME)
            context.expose_function("toKernel", self._to_kernel)
            self.page = context.new_page()
            self.page.set_default_timeout(60_000)
            self.page.on("pageerror", lambda error: self.errors.append(str(error)))
            self.page.on("console", self._on_console)
            self.page.goto(f"{HOME}/")
            self.frame = next(frame for frame in self.page.frames if frame.url.endswith("/outputs"))
            self.frame.wait_for_load_state()
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *exc):
        self._stack.close()

    def _answer(self, route):
        body = self._pages.get(route.request.url)
        if body is not None:
            route.fulfill(body=body, content_type="text/html; charset=utf-8")
            return
        if urlsplit(route.request.url).path != "/favicon.ico":
            self.external_requests.append(route.request.url)
        route.abort()

    def _on_console(self, message):
        expected = "both allow-scripts and allow-same-origin"  # a warning about the frame, as in VS Code
        if message.type in {"error", "warning"} and expected not in message.text:
            self.errors.append(message.text)

    def _to_kernel(self, content, buffers):
        self.comm.receive(content, buffers)

    def show(self, widget):
        """Show a widget as anywidget would, and return its element."""
        self.comm = widget.comm
        opened = self.comm.sent[0]
        assert opened["type"] == "comm_open"
        self.n_delivered = len(self.comm.sent)
        state = {**opened["state"], **widget.get_state()}
        esm, css = state.pop("_esm"), state.pop("_css", "")
        given = {name: value for name, value in state.items() if not name.startswith("_")}
        binary = {
            name: base64.b64encode(given.pop(name)).decode() for name in list(given) if isinstance(given[name], bytes)
        }
        self.frame.evaluate(
            "given => webview.show(given)", {"esm": str(esm), "css": str(css), "state": given, "bytes": binary}
        )
        return self.frame.locator(".cell-output-ipywidget-background")

    def deliver(self):
        """Deliver to the page what the widget has sent since the last time."""
        while self.n_delivered < len(self.comm.sent):
            message = self.comm.sent[self.n_delivered]
            self.n_delivered += 1
            if message.get("method") in {"custom", "update"}:
                self.frame.evaluate("message => webview.take(message)", message)

    def wait_until(self, condition, seconds=60):
        """Deliver messages to the page until a condition holds, and return its value."""
        deadline = time.monotonic() + seconds
        while True:
            self.deliver()
            found = condition()
            if found:
                return found
            assert time.monotonic() < deadline, (self.problems(), self.frame.locator("main").inner_text())
            self.page.wait_for_timeout(20)

    def problems(self):
        """Return everything the page should not have done: errors, broken rules, requests."""
        return [*self.errors, *self.frame.evaluate("webview.violations"), *self.external_requests]

    def links(self):
        """Return the targets of clicked links, which VS Code opens outside."""
        return self.frame.evaluate("webview.links")
