"""Helpers: ask all models, wait, and read what is shown."""

from __future__ import annotations

import re
import time


def eventually(claim, seconds=60.0):
    end = time.monotonic() + seconds
    while not (found := claim()):
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.02)
    return found


def rounds(widget):
    """Return the question of each round, and its answers by mark."""
    turns = {turn["id"]: turn for turn in widget._controller.snapshot()["turns"]}
    return [
        (turn, {turns[name]["mark"]: turns[name] for name in turn["columns"]})
        for turn in turns.values()
        if "columns" in turn
    ]


def shown(widget):
    """Return the answers of the last round by mark."""
    return rounds(widget)[-1][1]


def text_of(turn):
    part = turn["parts"].get("text", {"blocks": [], "tail": ""})
    return re.sub(r"<[^>]+>", "", "".join(part["blocks"]) + part["tail"]).strip()


def asked(widget, prompt="Which capital?"):
    comparison = widget.ask(prompt)
    comparison.wait()
    eventually(lambda: not widget.running)
    with widget.channel.lock:  # within which it came to rest, and told so
        return comparison


def click(widget, command, **fields):
    widget._on_command(widget, {"command": command, "nonce": "1", **fields}, [])
    return next(message for message in reversed(widget.sent_messages) if message["kind"] == "ack")["error"]
