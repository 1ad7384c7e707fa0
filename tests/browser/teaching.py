"""The widgets for a class with some data, and in a page without Jupyter: over a model that records what they send."""

from __future__ import annotations

import base64
import json
import math

import pandas as pd

from ipyllm import ContextExplorer, ConversationHistory, LatencyExplorer, SamplingExplorer
from ipyllm.prediction.distribution import Distribution

WEIGHTS = [2.0**-rank for rank in range(1, 30)]
FOUND = Distribution(
    "The best thing about winter is",
    "local/smollm2-135m",
    tuple(f" word{rank}" for rank in range(29)),
    tuple(map(math.log, WEIGHTS)),
    is_whole=True,
)


def history():
    found = ConversationHistory()
    found.add_message("system", "You are a patient teacher of history. Answer in two sentences.")
    for question, words in (("Who was Ada Lovelace?", 30), ("What did she write?", 60), ("Was it built?", 90)):
        found.add_message("user", question)
        found.add_message("assistant", "word " * words)
    return found


def calls():
    return pd.DataFrame(
        [
            {"model": "local/a", "queue_s": 1.0, "ttft_s": 0.2, "ttfo_s": 0.2, "e2e_s": 2.0, "output_tokens": 60},
            {"model": "lab/b", "ttft_s": 0.5, "thinking_s": 1.0, "ttfo_s": 1.5, "e2e_s": 2.5, "output_tokens": 99},
            {"model": "lab/broken", "total_s": 2.0, "error_category": "timeout"},
        ]
    )


MAKE = {
    "sampling": lambda: SamplingExplorer(FOUND, top_p=0.9),
    "context": lambda: ContextExplorer(history(), "local/smollm2-135m", window=240, reserve=64),
    "latency": lambda: LatencyExplorer(calls(), time=1.0),
}

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
