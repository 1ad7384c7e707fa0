"""Draws the README's pictures from the outputs that the notebooks have saved: ``make pictures``.

A picture is some cells as a notebook shows them without a kernel, on white, so that it reads on a dark page too.
"""

from __future__ import annotations

import sys
from io import BytesIO
from pathlib import Path

import nbformat
from nbconvert import HTMLExporter
from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
from tests.browser.lab import chromium  # noqa: E402 - the tests are no package that is installed

# How the cells begin that a picture shows.
CELLS = {
    "01_quickstart": ("%%llm -t 0 --max-tokens 60", "%llm -t 0 --max-tokens 60"),
    "02_compare": ("%%llm_compare",),
    "03_experiments": ("plots.intervals",),
    "04_chat": ("chat = ChatWidget(",),
    "05_how_a_model_writes": ("from ipyllm import SamplingExplorer", "%%llm --no-history"),
    "06_prompts_and_context": ("from ipyllm import ContextExplorer",),
    "07_latency_and_cost": ("from ipyllm import LatencyExplorer",),
    "08_can_we_trust_the_difference": ("def intervals(right)",),
}
WIDTH = 664  # CSS pixels, at two for each
LAYOUT = """.jp-InputPrompt,.jp-OutputPrompt,.jp-Collapser,.ipyllm-tstill>table,
.ipyllm-tokens~.ipyllm-footer{display:none!important}
body{padding:0!important;margin:0}main{padding:8px!important;margin:0!important}
.highlight pre{white-space:pre-wrap!important}.jp-Cell{padding:2px 0!important}.jp-Cell-outputWrapper{margin-top:2px}"""
NOT_FROM_THE_NET = ("mathjax_url", "require_js_url", "jquery_url", "mermaid_js_url")


def page_of(name: str) -> str:
    """Return the cells of a notebook's picture as a page."""
    notebook = nbformat.read(ROOT / "notebooks" / f"{name}.ipynb", as_version=4)
    notebook.cells = [
        next(cell for cell in notebook.cells if cell.cell_type == "code" and cell.source.startswith(start))
        for start in CELLS[name]
    ]
    html, _ = HTMLExporter(theme="light", **dict.fromkeys(NOT_FROM_THE_NET, "")).from_notebook_node(notebook)
    return html


def main() -> None:
    """Draw all pictures, and print how large each is."""
    with chromium() as browser:
        context = browser.new_context(
            viewport={"width": WIDTH, "height": 400}, device_scale_factor=2, color_scheme="light"
        )
        page = context.new_page()
        for name in CELLS:
            page.set_content(page_of(name), wait_until="load")
            page.add_style_tag(content=LAYOUT)
            drawn = Image.open(BytesIO(page.locator("main").screenshot()))
            path = ROOT / "docs" / "pictures" / f"{name}.png"
            drawn.convert("RGB").quantize(96, dither=Image.Dither.NONE).save(path, optimize=True)
            print(f"{path.name:40} {drawn.size} {path.stat().st_size / 1000:4.0f} kB", flush=True)


if __name__ == "__main__":
    main()
