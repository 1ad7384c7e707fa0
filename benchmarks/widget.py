"""The chat widget in JupyterLab, in Chromium with a real kernel: bytes, delays, and the cost of 500 messages.

Times are taken in the page when a frame with the text was painted, and bytes from the socket frames that the browser
receives.
"""

from __future__ import annotations

import re
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

from benchmarks.fixtures import fake_server, requests_of
from benchmarks.report import Claim, median
from tests.browser.chat import Chat
from tests.browser.lab import CHROMIUM, Lab

_RUNS = 9
_MAKE = "from ipyllm import ChatWidget\nchat = ChatWidget(conversation={name!r})\nchat"
_LONG = (
    "from ipyllm.conversations.history import Turn\n"
    "chat.conversation.replace_turns(Turn([{'role': 'user', 'content': f'question {n}'}, "
    "{'role': 'assistant', 'content': f'answer **{n}**'}]) for n in range(250))"
)
_BUSY = "import time\nfor _ in range(60_000): time.sleep(0.01)"
# From key press to the end of the frame that shows the question; a message posted in a frame arrives after the paint
_KEY_TO_PAINT = """chat => new Promise(done => {
    const box = chat.querySelector('.ipyllm-composer textarea'), log = chat.querySelector('.ipyllm-log');
    box.value = 'How long?';
    box.dispatchEvent(new Event('input'));
    const began = performance.now();
    new MutationObserver((_, watch) => {
        watch.disconnect();
        const {port1, port2} = new MessageChannel();
        port1.onmessage = () => done(performance.now() - began);
        requestAnimationFrame(() => port2.postMessage(0));
    }).observe(log, {childList: true});
    box.dispatchEvent(new KeyboardEvent('keydown', {key: 'Enter', bubbles: true, cancelable: true}));
})"""
# Each word of the answer has a number; records when each was painted, by the wall clock, which the kernel shares.
_WATCH = """chat => {
    window.painted = [];
    let seen = -1;
    const look = () => {
        const shown = chat.querySelector('.ipyllm-exchange:nth-child(2) .ipyllm-text')?.textContent ?? '';
        const words = shown.match(/\\bw\\d+\\b/g);
        const last = words ? Number(words[words.length - 1].slice(1)) : -1;
        if (last > seen) painted.push([last, Date.now()]);
        seen = Math.max(seen, last);
        if (!window.enough) requestAnimationFrame(look);
    };
    window.enough = false;
    look();
}"""


_WIDGET_MESSAGE = re.compile(rb'"method": ?"(?:custom|update)"|"msg_type": ?"update_display_data"')


class _Frames:
    """Records the sizes of what a widget sends to the browser: messages, state and static output."""

    def __init__(self, page):
        self.sizes: list[int] = []
        page.on("websocket", lambda socket: socket.on("framereceived", self._record))

    def _record(self, payload):
        data = payload if isinstance(payload, bytes) else payload.encode()
        if _WIDGET_MESSAGE.search(data):
            self.sizes.append(len(data))


@contextmanager
def _lab(base_url):
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as home:
        env = {
            "IPYLLM_MODEL": "openai/fake-model",
            "IPYLLM_LEDGER": f"{home}/ledger.sqlite",
            "IPYLLM_CONFIG": f"{home}/config.toml",
            "OPENAI_BASE_URL": base_url,
            "OPENAI_API_KEY": "sk-benchmark-0123456789",
        }
        with Lab(Path(home), env=env) as lab:
            yield lab


def _words(count: int, size: int) -> str:
    """Return ``count`` numbered words in paragraphs, ``size`` characters in total."""
    words = [f"w{n}" for n in range(count)]
    filler = max(0, size - sum(len(word) + 1 for word in words)) // count
    return "".join(f"{word} {'x' * filler}" + ("\n\n" if n % 40 == 39 else " ") for n, word in enumerate(words))


def _stream_10_kb(folder: Path) -> tuple[int, float, bool, float]:
    """Stream 10 kB over 10 s; return bytes, messages per second, completeness, and ms from chunk to paint."""
    text = _words(2000, 10_000)
    (folder / "answer.md").write_text(text)
    with (
        fake_server("--file", str(folder / "answer.md"), "--chunks", "2000", "--gap", "0.005") as url,
        _lab(url) as lab,
    ):
        frames = _Frames(lab.page)
        chat = Chat(lab.open([_MAKE.format(name="bytes")]).run(0))
        chat.ask("warm up, in full")
        frames.sizes.clear()
        chat.root.evaluate(_WATCH)
        offset_ns = time.time_ns() - time.perf_counter_ns()
        began = time.monotonic()
        chat.ask("measured")
        seconds = time.monotonic() - began
        painted = lab.page.evaluate("window.enough = true, window.painted")
        shown = chat.turns.last.locator(".ipyllm-text").inner_text().split()
        complete = [word for word in shown if word.startswith("w")] == [f"w{n}" for n in range(2000)]
        sent_ns = requests_of(url)[-1]["sent_ns"]
    chunk_of = _chunk_of_word(text, 2000)
    delays = [at_ms - (sent_ns[chunk_of[word]] + offset_ns) / 1e6 for word, at_ms in painted if word in chunk_of]
    return sum(frames.sizes), len(frames.sizes) / seconds, complete, median(delays)


def _chunk_of_word(text: str, chunks: int) -> dict[int, int]:
    """Return the chunk that has the last character of each word."""
    found, at = {}, 0
    for word in text.split():
        at = text.index(word, at) + len(word)
        if word.startswith("w"):
            found[int(word[1:])] = min(chunks - 1, (at - 1) * chunks // len(text))
    return found


def _burst(folder: Path) -> bool:
    text = _words(4000, 24_000)
    (folder / "burst.md").write_text(text)
    with fake_server("--file", str(folder / "burst.md"), "--chunks", "4000") as url, _lab(url) as lab:
        chat = Chat(lab.open([_MAKE.format(name="burst")]).run(0))
        chat.ask("all at once")
        shown = chat.turns.last.locator(".ipyllm-text").inner_text().split()
    return [word for word in shown if word.startswith("w")] == [f"w{n}" for n in range(4000)]


def _latencies() -> tuple[list[float], list[float], list[float]]:
    """Return ms from key to paint with 500 messages, and from stop to closed connection, idle and busy."""
    with fake_server("--text", "word " * 4000, "--chunks", "4000", "--gap", "0.02") as url, _lab(url) as lab:
        notebook = lab.open([_MAKE.format(name="clicks"), _LONG, _BUSY])
        chat = Chat(notebook.run(0))
        notebook.run(1)
        chat.wait_for("chat => chat.querySelectorAll('.ipyllm-exchange').length === 250")
        keys, idle, busy = [], [], []
        for closed in (idle, busy):
            for _ in range(_RUNS):
                keys.append(chat.root.evaluate(_KEY_TO_PAINT))
                chat.root.locator(".ipyllm-running").get_by_text("word word").wait_for()
                clicked_ns = chat.root.evaluate(
                    "chat => (chat.querySelector('.ipyllm-go').click(), performance.timeOrigin + performance.now())"
                )
                chat.wait_until_idle()
                request = requests_of(url)[-1]
                offset_ns = time.time_ns() - time.perf_counter_ns()
                closed.append((request["closed_at_ns"] + offset_ns) / 1e6 - clicked_ns)
            if closed is idle:
                notebook.run(2, wait=False)
                notebook.cell(2).get_by_text("[*]:").wait_for()
        lab.page.evaluate("window.jupyterapp.shell.currentWidget.sessionContext.session.kernel.interrupt()")
    return keys[1:], idle, busy


def measure() -> list[Claim]:
    if CHROMIUM is None:
        print("no Chromium here: the widget was not measured")
        return []
    from ipyllm_widgets import ChatWidget

    with tempfile.TemporaryDirectory() as folder:
        size, rate, complete, delay = _stream_10_kb(Path(folder))
        burst = _burst(Path(folder))
    keys, idle, busy = _latencies()
    module = len((str(ChatWidget._esm) + str(ChatWidget._css)).encode())
    return [
        Claim("10 kB answer over 10 s into the chat", size / 1e3, 300, "kB", "peers 1,100 to 11,000 kB"),
        Claim("… messages a second", rate, 20, "per s"),
        Claim("… all text present and in order", float(complete), 1, "", at_least=True),
        Claim("chunk sent by the server → painted, median", delay, 80, "ms"),
        Claim("key → painted, 500 messages shown", median(keys), 50, "ms", "300 ms a message in one peer"),
        Claim("stop → connection closed, idle kernel", median(idle), 100, "ms", "peers 4 s, or never"),
        Claim("… busy cell", median(busy), 200, "ms"),
        Claim("front end sent per widget", module / 1e3, 60, "kB", "a 420 kB bundle"),
        Claim("4000 deltas at once: complete and in order", float(burst), 1, "", "75 % in one peer", at_least=True),
    ]
