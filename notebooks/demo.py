"""Runs the quickstart on the embedded model, prints its progress and the comparison at its end.

``make demo`` calls this. It writes the executed notebook, signed, and an HTML page to ``build/``.
"""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from nbconvert import HTMLExporter
from nbformat.sign import NotebookNotary

from ipyllm.text.format import shorten

HERE = Path(__file__).resolve().parent
BUILD = HERE.parent / "build"


def first_line(source: str) -> str:
    """Return the first line of a cell, shortened for a progress line."""
    line = next((line for line in source.splitlines() if line.strip()), "")
    return shorten(line, 72)


class ProgressClient(NotebookClient):
    """Executes a notebook and prints each cell with its duration."""

    async def async_execute_cell(self, cell, cell_index, *args, **kwargs):
        """Execute one cell."""
        if cell.cell_type != "code":
            return await super().async_execute_cell(cell, cell_index, *args, **kwargs)
        self.done = getattr(self, "done", 0) + 1
        total = sum(cell.cell_type == "code" for cell in self.nb.cells)
        print(f"  [{self.done:>2}/{total}] {first_line(cell.source):<72}", end=" ", flush=True)
        start = time.perf_counter()
        try:
            return await super().async_execute_cell(cell, cell_index, *args, **kwargs)
        finally:
            print(f"{time.perf_counter() - start:6.1f} s", flush=True)


def shown_text(notebook: nbformat.NotebookNode, tag: str) -> str:
    """Return the plain-text output of the cell with this tag."""
    for cell in notebook.cells:
        if tag in cell.metadata.get("tags", []):
            return "\n".join(out["data"]["text/plain"] for out in cell.outputs if "text/plain" in out.get("data", {}))
    raise LookupError(f"no cell is tagged {tag!r}")


def write_signed(notebook: nbformat.NotebookNode, path: Path) -> None:
    """Write a notebook and sign it: JupyterLab shows one that might come from elsewhere without its styles."""
    nbformat.write(notebook, path)
    notary = NotebookNotary()
    notary.sign(notebook)
    notary.store.close()


def main() -> int:
    """Execute the notebook, print the comparison, export a page; return the exit code."""
    BUILD.mkdir(exist_ok=True)
    notebook = nbformat.read(HERE / "01_quickstart.ipynb", as_version=4)
    print(f"Executing notebooks/01_quickstart.ipynb on the embedded model, Python {sys.version.split()[0]}:")
    client = ProgressClient(notebook, timeout=300, resources={"metadata": {"path": str(BUILD)}})
    # ipykernel warns that its sockets are not encrypted; they are local and short-lived.
    client.extra_arguments = ["--IPKernelApp.log_level=ERROR"]
    failed = None
    try:
        asyncio.run(client.async_execute())
    except CellExecutionError as exc:
        failed = exc
    write_signed(notebook, BUILD / "01_quickstart.ipynb")
    # The page must open without a network: no MathJax, RequireJS or jQuery from a CDN.
    exporter = HTMLExporter(mathjax_url="", require_js_url="", jquery_url="")
    page, _ = exporter.from_notebook_node(notebook)
    (BUILD / "01_quickstart.html").write_text(page, encoding="utf-8")
    if failed is not None:
        print(f"\nA cell failed: {failed.ename}: {failed.evalue}\nSee build/01_quickstart.ipynb.")
        return 1
    print(f"\nThe comparison: two system prompts, two temperatures each:\n\n{shown_text(notebook, 'comparison')}\n")
    print(
        "Executed notebook: build/01_quickstart.ipynb   Page: build/01_quickstart.html   `make lab` opens JupyterLab."
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
