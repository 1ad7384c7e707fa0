"""The widgets for a class in a page without Jupyter: their own module over a model that records what they send."""

from __future__ import annotations

import base64
import json

PAGE = """<!doctype html><html lang=en style="color-scheme:light dark"><title>Widget</title><style>{css}</style>
<body style="margin:0;background:Canvas;color:CanvasText"><main></main>
<script type=module>
{script}
const bytes = Uint8Array.from(atob("{data}"), (char) => char.charCodeAt(0));
const state = {{ data: new DataView(bytes.buffer), settings: {settings} }};
window.sent = [];
const listeners = {{}};
const model = {{
  get: (name) => state[name],
  on: (event, callback) => (listeners[event] = callback),
  off: () => {{}},
  send: (content) => {{
    window.sent.push(content);
    setTimeout(() => listeners["msg:custom"]({{ kind: "ack", nonce: content.nonce, error: null }}));
  }},
}};
window.receive = (message) => listeners["msg:custom"](message);
const el = document.createElement("div");
document.querySelector("main").append(el);
window.closeView = await widget.render({{ model, el }});
window.ready = true;
</script>"""


def show(page, widget):
    """Show a widget in a page, with what its kernel would send first; return its root."""
    state = widget.get_state()
    script = state["_esm"].replace("export default", "const widget =")
    html = PAGE.format(
        css=state["_css"],
        script=script,
        data=base64.b64encode(bytes(state["data"])).decode(),
        settings=json.dumps(state["settings"]),
    )
    page.set_content(html)
    page.wait_for_function("window.ready")
    return page.locator(".ipyllm-teaching")
