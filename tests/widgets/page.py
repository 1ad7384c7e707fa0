"""The page's end of a widget's comm: builds the state of a view from the messages that a real widget sends."""

from __future__ import annotations

import copy
import json
import threading
import time

from comm.base_comm import BaseComm

from tests.fakes import answer

PNG = bytes.fromhex("89504e470d0a1a0a") + b"pixels"


def texts(messages):
    return [message["content"] for message in messages]


def begin_answer(widget, models):
    """Ask "one", whose answer has begun and ends with ``models.skip_pauses()``."""
    models.reply(answer("Slow answer.", gap=60))
    widget.comm.click("send", text="one")
    widget.comm.wait_for(lambda shown: "Slow" in shown.html())


def show(widget, name=None):
    """Show another conversation, or a new one, and return what the page shows then."""
    fields = {} if name is None else {"conversation": name}
    assert widget.comm.click("switch", **fields)["error"] is None
    return widget.comm.view_state()


class PageComm(BaseComm):
    """Records the messages sent, after a round trip through JSON."""

    def __init__(self, *args, **kwargs):
        self.sent: list[dict] = []
        self.buffers: list[list[bytes]] = []  # of the messages that had some
        self.arrived = threading.Condition()
        super().__init__(*args, **kwargs)

    def publish_msg(self, msg_type, data=None, metadata=None, buffers=None, **keys):
        with self.arrived:
            # As Jupyter packs messages: lone surrogates and NaN are errors.
            packed = json.dumps(data or {}, ensure_ascii=False, allow_nan=False).encode()
            self.sent.append({"type": msg_type, **json.loads(packed)})
            if buffers:
                self.buffers.append(list(buffers))
            self.arrived.notify_all()

    @property
    def custom(self) -> list[dict]:
        """The custom messages, oldest first."""
        return [message["content"] for message in self.sent if message.get("method") == "custom"]

    def click(self, command: str, *, buffers=(), **fields) -> dict:
        """Send a command as the page does and return its acknowledgement."""
        nonce = f"test-{len(self.sent)}"
        self.push({"command": command, "nonce": nonce, **fields}, buffers)
        # Not simply the last message: the render thread sends some too.
        return next(sent for sent in reversed(self.custom) if sent["kind"] == "ack" and sent["nonce"] == nonce)

    def push(self, content, buffers=()) -> dict:
        """Send any content, and return the last message of the widget."""
        self.handle_msg({"content": {"data": {"method": "custom", "content": content}}, "buffers": list(buffers)})
        return self.custom[-1]

    def view_state(self) -> ViewState:
        """Return the state of a view that has received every message."""
        opened = next(message for message in self.sent if message["type"] == "comm_open")
        return ViewState.of([{"kind": "snapshot", "state": opened["state"]["snapshot"]}, *self.custom])

    def wait_for(self, condition, seconds: float = 60):
        """Wait until ``condition(view_state)`` holds, and return the view state."""
        deadline = time.monotonic() + seconds
        while True:
            with self.arrived:
                shown = self.view_state()
                if condition(shown):
                    return shown
                assert time.monotonic() < deadline, shown.turns
                self.arrived.wait(0.2)

    def wait_until_idle(self) -> ViewState:
        return self.wait_for(lambda shown: shown.running is None and all(t["status"] != "running" for t in shown.turns))


class ViewState:
    """State of a view, computed in Python as ``static/reducer.js`` does."""

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
                shown._apply_fields(message["state"])
            elif "seq" in message:
                assert message["seq"] == shown.seq + 1, "numbered without a gap"
                shown.seq = message["seq"]
                shown._apply_deltas(message["deltas"]) if message["kind"] == "delta" else shown._apply_fields(message)
        return shown

    def _apply_fields(self, message):
        for turn in message["turns"]:
            self.by_id.setdefault(turn["id"], {"parts": {}}).update(turn)
        for name in ("order", "running", "totals", "settings"):
            setattr(self, name, message.get(name, getattr(self, name)))
        self.by_id = {name: self.by_id[name] for name in self.order}

    def _apply_deltas(self, deltas):
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
