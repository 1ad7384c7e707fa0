"""Helpers: ask all models, wait, and read what is shown."""

from __future__ import annotations

import re
import time


def eventually(claim, seconds=30.0):
    end = time.monotonic() + seconds
    while not (found := claim()):
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.02)
    return found


def shown(widget):
    return {turn["mark"]: turn for turn in widget._controller.snapshot()["turns"]}


def text_of(turn):
    part = turn["parts"].get("text", {"blocks": [], "tail": ""})
    return re.sub(r"<[^>]+>", "", "".join(part["blocks"]) + part["tail"]).strip()


def asked(widget, prompt="Which capital?"):
    comparison = widget.ask(prompt)
    comparison.wait()
    eventually(lambda: not widget.running)
    with widget.channel.lock:  # within which it came to rest, and told so
        return comparison
