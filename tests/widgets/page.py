"""The other end of a widget's comm: what a page would have, from the messages a real widget sends."""

from __future__ import annotations

import copy
import json
import threading
import time

from comm.base_comm import BaseComm

PNG = bytes.fromhex("89504e470d0a1a0a") + b"pixels"


def texts(messages):
    return [message["content"] for message in messages]


class PageComm(BaseComm):
    """Records what is sent, as JSON makes it."""

    def __init__(self, *args, **kwargs):
        self.sent: list[dict] = []
        self.arrived = threading.Condition()
        super().__init__(*args, **kwargs)

    def publish_msg(self, msg_type, data=None, metadata=None, buffers=None, **keys):
        with self.arrived:
            # As Jupyter's own sessions pack it: no lone surrogate, no number that JSON has not.
            packed = json.dumps(data or {}, ensure_ascii=False, allow_nan=False).encode()
            self.sent.append({"type": msg_type, **json.loads(packed)})
            self.arrived.notify_all()

    @property
    def custom(self) -> list[dict]:
        """The custom messages, oldest first."""
        return [message["content"] for message in self.sent if message.get("method") == "custom"]

    def click(self, command: str, *, buffers=(), **fields) -> dict:
        """Send a command as the page does and return its acknowledgement."""
        nonce = f"test-{len(self.sent)}"
        self.push({"command": command, "nonce": nonce, **fields}, buffers)
        # Not simply the last: the drawing thread sends beside us.
        return next(told for told in reversed(self.custom) if told["kind"] == "ack" and told["nonce"] == nonce)

    def push(self, content, buffers=()) -> dict:
        """Send anything, and return what the widget answered last."""
        self.handle_msg({"content": {"data": {"method": "custom", "content": content}}, "buffers": list(buffers)})
        return self.custom[-1]

    def shown(self) -> Shown:
        """What a view would show that has seen every message."""
        opened = next(message for message in self.sent if message["type"] == "comm_open")
        return Shown.of([{"kind": "snapshot", "state": opened["state"]["snapshot"]}, *self.custom])

    def wait_for(self, condition, seconds: float = 60):
        """Wait until ``condition(shown)`` holds."""
        deadline = time.monotonic() + seconds
        while True:
            with self.arrived:
                shown = self.shown()
                if condition(shown):
                    return shown
                assert time.monotonic() < deadline, shown.turns
                self.arrived.wait(0.2)

    def wait_until_rest(self) -> Shown:
        return self.wait_for(lambda shown: shown.running is None and all(t["status"] != "running" for t in shown.turns))


class Shown:
    """The state of a view: what ``static/reducer.js`` makes of the same messages, here in Python."""

    def __init__(self):
        self.seq = 0
        self.order: list[str] = []
        self.running = None
        self.totals = ""
        self.settings: dict = {}
        self.by_id: dict[str, dict] = {}

    @classmethod
    def of(cls, messages):
        shown = cls()
        for message in copy.deepcopy(messages):
            if message["kind"] == "snapshot":
                shown.__init__()
                shown.seq = message["state"]["seq"]
                shown._rest(message["state"])
            elif "seq" in message:
                assert message["seq"] == shown.seq + 1, "numbered without a gap"
                shown.seq = message["seq"]
                shown._delta(message["deltas"]) if message["kind"] == "delta" else shown._rest(message)
        return shown

    def _rest(self, message):
        for turn in message["turns"]:
            self.by_id.setdefault(turn["id"], {"parts": {}}).update(turn)
        for name in ("order", "running", "totals", "settings"):
            setattr(self, name, message.get(name, getattr(self, name)))
        self.by_id = {name: self.by_id[name] for name in self.order}

    def _delta(self, deltas):
        for delta in deltas:
            parts = self.by_id[delta["id"]]["parts"]
            known = {"blocks": [], "tail": ""} if delta.get("anew") else parts.get(delta["part"])
            part = parts[delta["part"]] = known or {"blocks": [], "tail": ""}
            start, middle, end = delta["tail"]
            before = part["tail"]
            assert start + end <= len(before)
            part["blocks"] = part["blocks"] + delta.get("add", [])
            part["tail"] = before[:start] + middle + before[len(before) - end :]

    @property
    def turns(self) -> list[dict]:
        return [self.by_id[name] for name in self.order]

    def html(self, turn: int = -1, part: str = "text") -> str:
        found = self.turns[turn]["parts"].get(part, {"blocks": [], "tail": ""})
        return "".join(found["blocks"]) + found["tail"]

    def as_snapshot(self) -> dict:
        return {"seq": self.seq, "turns": self.turns, "order": self.order, "running": self.running}
