"""Records the messages of real widgets for the front end's tests: ``python -m tests.widgets.record [scene …]``.

Each file in ``widgets/tests/recordings`` has the first snapshot, the messages after it, and the final snapshot, which a
page must reach from these messages.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from pathlib import Path

import comm

from tests import fakes
from tests.fakes import FakeLLM, answer, status
from tests.widgets.page import PageComm

HOME = Path(__file__).parents[2] / "widgets" / "tests" / "recordings"
MARKDOWN = "# Title\n\nSome *words* and 😀.\n\n```python\nx = 1\n```\n\n- a\n- b\n\n| a | b |\n| - | - |\n| 1 | 2 |\n"


def streaming(widget, fake):
    fake.default = answer(MARKDOWN, reasoning="First, the title. Then words.", chunks=60, ttft=0.05, gap=0.02)
    widget.send("Show me").wait()


def branches(widget, fake):
    for text in ("one", "two", "three"):
        fake.default = answer(text.upper())
        widget.send(text).wait()
        shown = widget.comm.wait_until_idle()
    widget.comm.click("regenerate", turn=shown.order[-1])
    shown = widget.comm.wait_until_idle()
    widget.comm.click("edit", turn=shown.order[0], text="uno")
    shown = widget.comm.wait_until_idle()
    widget.comm.click("select", turn=shown.order[0], branch=1)
    widget.comm.click("delete", turn=widget.comm.view_state().order[1])


def failures(widget, fake):
    fake.default = status(401, {"error": {"message": "bad key", "code": "invalid_api_key"}})
    widget.comm.click("send", text="Hello")
    shown = widget.comm.wait_until_idle()
    fake.default = fakes.drip("word ", every=0.01)
    widget.comm.click("regenerate", turn=shown.order[0])
    widget.comm.wait_for(lambda shown: "word word" in shown.html())
    widget.comm.click("stop")
    widget.comm.wait_until_idle()
    widget.comm.click("set", model="opnai/x")
    widget.comm.click("set", params={"temperature": 1})


def by_model(request):
    return {
        "good": answer(MARKDOWN, reasoning="First, the title.", chunks=60, ttft=0.05, gap=0.02),
        "broken": fakes.server_error(),
        "slow": fakes.drip("word ", every=0.01),
    }.get(request.json["model"])


def comparison(widget, fake):
    fake.default = answer("Something else.")
    fake.on(by_model)
    widget.comm.click("ask", prompt="Show me")
    widget.comm.wait_for(lambda shown: "word word" in shown.html() and shown.by_id["1-A"]["status"] == "ok")
    widget.comm.click("stop", mark="C", question=1)
    widget.comm.wait_until_idle()
    widget.comm.click("vote", which="A", question=1)
    widget.comm.click("set", arms=[{"model": f"openai/{name}"} for name in ("good", "other")], blind=True)
    widget.comm.click("ask", prompt="Once more")
    widget.comm.wait_until_idle()
    widget.comm.click("vote", which="tie", question=2)
    widget.comm.click("regenerate", mark="B", question=2)


def main():
    comm.create_comm = PageComm
    HOME.mkdir(parents=True, exist_ok=True)
    with FakeLLM() as fake, tempfile.TemporaryDirectory() as home:
        os.environ |= {
            "IPYLLM_MODEL": "openai/fake-model",
            "OPENAI_BASE_URL": fake.base_url,
            "OPENAI_API_KEY": "sk-recording-0123456789",
            "IPYLLM_LEDGER": f"{home}/ledger.sqlite",
            "IPYLLM_CONFIG": f"{home}/config.toml",
        }
        from ipyllm import ChatWidget, CompareWidget

        os.environ["IPYLLM_MAX_RETRIES"] = "0"
        for scene in (streaming, branches, failures, comparison):
            if sys.argv[1:] and scene.__name__ not in sys.argv:
                continue
            if scene is comparison:
                widget = CompareWidget(["openai/good", "openai/broken", "openai/slow"])
            else:
                widget = ChatWidget(conversation=scene.__name__, models=["openai/fake-model"])
            begin, before = widget.get_state("snapshot")["snapshot"], len(widget.comm.custom)
            scene(widget, fake)
            widget.comm.wait_until_idle()
            end = widget.get_state("snapshot")["snapshot"]
            record = {"begin": begin, "messages": widget.comm.custom[before:], "end": end}
            widget.close()
            text = json.dumps(record, ensure_ascii=False, indent=1)
            (HOME / f"{scene.__name__}.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
