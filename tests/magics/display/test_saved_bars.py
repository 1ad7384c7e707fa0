"""The text of a progress bar, which a saved notebook shows where its widgets are not alive."""

from __future__ import annotations


def test_the_text_of_a_bar_says_how_it_ended(kernel, kernel_fake):
    ran = kernel.run("import pandas as pd\nfrom ipyllm import llm_map\nllm_map(pd.Series(['a', 'b']), '{{ value }}');")
    assert ran.status == "ok", ran.error
    (bar,) = (output for output in ran.outputs if "application/vnd.jupyter.widget-view+json" in output.get("data", {}))
    assert "2/2" in bar["data"]["text/plain"]
    assert "0/2" not in bar["data"]["text/plain"]
