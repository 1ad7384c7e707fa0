"""In Colab, a page shows widgets of others once the kernel has enabled its manager of custom widgets."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.older_stack import older_stack

SHOWN = """
import json, sys, types

calls = []
output = types.ModuleType("google.colab.output")
output.enable_custom_widget_manager = lambda: calls.append(1)
output._widgets = types.SimpleNamespace(_installed_url="https://ssl.example/widgets.js")
sys.modules["google.colab.output"] = output

import pandas
from ipyllm import ChatWidget, CompareWidget, ContextExplorer, LatencyExplorer, SamplingExplorer, UsageDashboard
from ipyllm.prediction.distribution import Distribution
import ipyllm_widgets.static_output, IPython.display

shown = []
IPython.display.display = lambda data, metadata, raw: shown.append(metadata)
for widget in (
    ChatWidget(),
    CompareWidget(["openai/a", "openai/b"]),
    UsageDashboard(),
    SamplingExplorer(Distribution("The", "local/m", (" a", " b"), (-0.1, -2.4), is_whole=True)),
    ContextExplorer([{"role": "user", "content": "Hi"}], "local/m"),
    LatencyExplorer(pandas.DataFrame([{"model": "local/m", "ttft_s": 0.2, "e2e_s": 2.0, "output_tokens": 6}])),
):
    widget._ipython_display_()
print(json.dumps([len(calls), shown]))
"""


@pytest.mark.parametrize(
    "stack", ["newest", pytest.param("older", marks=[pytest.mark.thorough, pytest.mark.timeout(1200)])]
)
def test_every_widget_names_the_manager_that_shows_it(stack):
    python = sys.executable if stack == "newest" else older_stack()
    done = subprocess.run([python, "-c", SHOWN], check=True, capture_output=True, text=True, timeout=120)
    calls, shown = json.loads(done.stdout)
    assert calls == 1
    manager = {"custom_widget_manager": {"url": "https://ssl.example/widgets.js"}}
    assert shown == [{"application/vnd.jupyter.widget-view+json": {"colab": manager}}] * 6
