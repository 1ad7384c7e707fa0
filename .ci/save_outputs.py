"""Runs tutorial notebooks on the embedded model and saves their outputs in them: ``make outputs [NOTEBOOKS=…]``.

What is saved reads without a kernel and without scripts, and is the same on every machine but for times: widgets are
kept as their HTML or text; what is of one run only, such as the time of day, is not kept.
"""

from __future__ import annotations

import asyncio
import os
import re
import sys
import tempfile
import time
from copy import deepcopy
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient

NOTEBOOKS = Path(__file__).resolve().parent.parent / "notebooks"
WIDGET = "application/vnd.jupyter.widget-view+json"
SOLUTION = re.compile(r"^```python\n(.*?)\n```$", re.DOTALL | re.MULTILINE)
KEPT_METADATA = {"kernelspec": {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}}


def without_script(text: str) -> str:
    r"""Return HTML without the scripts that only add something, such as a button that copies code.

    Examples
    --------
    >>> without_script("<pre>1</pre><script>\nbutton()</script>")
    '<pre>1</pre>'
    """
    return re.sub(r"<script>.*?</script>\n?", "", text, flags=re.DOTALL)


def without_widget(data: dict[str, Any]) -> dict[str, Any]:
    """Return an output without the view that only a running kernel fills, where something else shows the same."""
    kept = {kind: value for kind, value in data.items() if kind != WIDGET or len(data) == 1}
    texts = {kind: value for kind, value in kept.items() if isinstance(value, str)}
    return {**kept, **{kind: without_script(without_clock(text)) for kind, text in texts.items()}}


def tidy_text(text: str) -> str:
    r"""Return printed text as a terminal shows it in the end: without colours, and without lines overwritten later.

    Examples
    --------
    >>> tidy_text("\r1 of 2\r2 of 2\ndone\n")
    '2 of 2\ndone\n'
    """
    plain = re.sub(r"\x1b\[[0-9;]*m", "", text)
    return "\n".join(line.rstrip("\r").rpartition("\r")[2] for line in plain.split("\n"))


def without_clock(text: str) -> str:
    """Return the text of a dashboard without the moment at which it was saved.

    Examples
    --------
    >>> without_clock("Usage · this kernel · last day · 2026-11-27 15:26:43 UTC")
    'Usage · this kernel · last day'
    """
    return re.sub(r" · \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC", "", text)


def tidy(notebook: nbformat.NotebookNode) -> None:
    """Reduce an executed notebook to what is worth keeping."""
    notebook.metadata = nbformat.from_dict({**KEPT_METADATA, "language_info": {"name": "python"}})
    for number, cell in enumerate((c for c in notebook.cells if c.cell_type == "code"), start=1):
        cell.execution_count = number
        cell.metadata.pop("execution", None)
        for output in cell.outputs:
            if "execution_count" in output:
                output.execution_count = number
            if "data" in output:
                output.data = nbformat.from_dict(without_widget(output.data))
            if "text" in output:
                output.text = tidy_text(output.text)
            output.pop("transient", None)


async def execute(client: NotebookClient, solutions: list[nbformat.NotebookNode]) -> float:
    """Run all cells of a notebook, then these, which leave no trace in it; return the seconds without these."""
    cells = kept = client.nb.cells
    client.nb.cells = [*cells, *solutions]
    start = took = time.perf_counter()
    async with client.async_setup_kernel():
        for number, cell in enumerate(client.nb.cells):
            await client.async_execute_cell(cell, number)
            if number == len(cells) - 1:
                took = time.perf_counter() - start
                kept = deepcopy(cells)  # a solution may move the sliders of a widget, which redraws its output
    client.nb.cells = kept
    return took


def run(path: Path) -> float:
    """Run a notebook with settings, ledger and cache of its own, save its outputs; return the seconds it took.

    The solutions of its exercises run after it, so that none is saved that fails. Their outputs are not kept.
    """
    notebook = nbformat.read(path, as_version=4)
    sources = [cell.source for cell in notebook.cells if cell.cell_type == "markdown"]
    solutions = [nbformat.v4.new_code_cell(code) for source in sources for code in SOLUTION.findall(source)]
    with tempfile.TemporaryDirectory() as home:
        for name in ("CONFIG", "LEDGER", "CACHE_PATH"):
            os.environ[f"IPYLLM_{name}"] = str(Path(home) / name.lower())
        client = NotebookClient(notebook, timeout=600, coalesce_streams=True)
        client.resources = {"metadata": {"path": str(path.parent)}}
        client.extra_arguments = ["--IPKernelApp.log_level=ERROR"]
        took = asyncio.run(execute(client, solutions))
    tidy(notebook)
    nbformat.write(notebook, path)
    return took


def main(names: list[str]) -> None:
    """Run the notebooks named, or all, and print how long each took and how large it is."""
    for path in [Path(name) for name in names] or sorted(NOTEBOOKS.glob("*.ipynb")):
        took = run(path)
        print(f"{path.name:36} {took:6.1f} s {path.stat().st_size / 1000:8.0f} kB", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
