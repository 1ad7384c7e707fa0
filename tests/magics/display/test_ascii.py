"""Standard output that takes ASCII only (``PYTHONIOENCODING=ascii``): every magic works, and mistakes are sentences."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.fakes import answer

CELLS = {
    "%llm Grüße": "Gr??e -> ?.\nopenai/fake-model | first token ",
    "%llm --help": "how much the model reasons: none, low, high, ...",
    "%llm --dry-run Grüße": "user: Gr??e",
    "%llm --timeout ö Hi": "%llm: --timeout needs a number of seconds above 0, not '?'.",
    "%%llm_compare -m openai/a -m openai/b\nHi": "- A | a -",
    "%llm_vote A": "Recorded: A (a) is better.",
    "%llm_usage --by model": "3 calls | 30 -> ",
    "%llm_history": "assistant: Gr\\xfc\\xdfe",
}


@pytest.mark.thorough
def test_magics_work_where_standard_output_is_ascii(fake, own_settings):
    fake.default = answer("Grüße → π.")
    code = (
        "from IPython.terminal.interactiveshell import TerminalInteractiveShell\n"
        "shell = TerminalInteractiveShell.instance(colors='nocolor')\n"
        f"for cell in ('%load_ext ipyllm', *{list(CELLS)!r}):\n    shell.run_cell(cell)\n    print('=====')\n"
    )
    environment = {"PYTHONIOENCODING": "ascii", "IPYLLM_MODEL": "openai/fake-model", "OPENAI_API_KEY": "no-key-needed",
                   "OPENAI_BASE_URL": fake.base_url, "IPYTHONDIR": str(own_settings)}  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, env={**os.environ, **environment}
    )
    shown = done.stdout.split("=====\n")[1:]
    for cell, output in zip(CELLS, shown, strict=False):
        assert CELLS[cell] in output, (cell, output)
    assert "UnicodeEncodeError" not in done.stdout + done.stderr
