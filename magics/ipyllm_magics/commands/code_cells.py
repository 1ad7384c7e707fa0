"""The cells that ``-f code`` makes: one for each call of a cell, exchanged when the call is run again.

A kernel can add a cell below the running one, or change the running one, and reaches no other. So a second run of
``%%llm -f code`` keeps its code until the cell that the first run made is run. That cell then gets the new code, which
is not run before its user has seen it. A comment in the first line marks the cell, with a checksum of its code: a cell
that its user has changed is left alone.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from time import monotonic, time
from typing import TYPE_CHECKING, Any

from ipyllm_magics.display.standard_output import print_text
from ipyllm_magics.prompt import kernel_context

if TYPE_CHECKING:
    from datetime import datetime

    from IPython.core.interactiveshell import InteractiveShell

    from ipyllm_magics.display.output_formats import Code

__all__ = ["CodeCells", "cell_source", "install", "uninstall"]

_MAGICS = {
    "bash": "bash", "sh": "sh", "shell": "bash", "html": "html", "javascript": "javascript", "js": "javascript",
    "latex": "latex", "markdown": "markdown", "perl": "perl", "ruby": "ruby",
}  # fmt: skip
_COMMENTS = {"html": "<!-- {} -->", "markdown": "<!-- {} -->", "javascript": "// {}", "latex": "% {}"}
_MARK = re.compile(r"code from %%llm, ([0-9a-f]{8})-([0-9a-f]{8})\b")
_KEPT = "The cell made before keeps its code until you run it; it then gets this code, and does not run it yet."
_EXCHANGED = "This cell now has the newer code. Look at it, then run it."
_CHANGED = "You had changed this cell, so it keeps its code. The newer code is in the cell below."


@dataclass(frozen=True, slots=True)
class _Made:
    """A cell that a call made, and the newest code of that call."""

    checksum: str
    source: str  # the newest
    newest_checksum: str
    saved_after: float  # seconds since the epoch: a notebook saved later has the cell, unless it was deleted
    answered: datetime | None = None  # on the front end's clock; cells that were started before have not seen the code

    @property
    def is_outdated(self) -> bool:
        return self.checksum != self.newest_checksum


class CodeCells:
    """The cells made in this kernel, by the mark of their call."""

    def __init__(self, shell: InteractiveShell) -> None:
        self._shell = shell
        self._made: dict[str, _Made] = {}
        self._started: tuple[datetime | None, float] = (None, 0.0)

    def put_below(self, code: Code, key: str | None) -> str | None:
        """Put the code into a new cell, or keep it for the cell made before; return a note about that.

        Without a key, outside of notebooks, it is always a new cell.
        """
        if key is None:
            self._shell.set_next_input(cell_source(code))
            return None
        call, checksum = _checksum(key), _checksum(code.source)
        source = cell_source(code, f"code from %%llm, {call}-{checksum}")
        before = self._cell_made_before(call)
        if before is None:
            self._shell.set_next_input(source)
            self._made[call] = _Made(checksum, source, checksum, time())
            return None
        self._made[call] = _Made(before.checksum, source, checksum, before.saved_after, self._answered())
        return _KEPT if self._made[call].is_outdated else None

    def exchange(self, call: str) -> None:
        """Give the running cell the newest code of the call that made it."""
        made = self._made[call]
        self._shell.set_next_input(made.source, replace=True)
        self._made[call] = _Made(made.newest_checksum, made.source, made.newest_checksum, made.saved_after)
        print_text(_EXCHANGED)

    def call_to_exchange(self, cell: str) -> str | None:
        """Return the call whose newest code a cell that is about to run must get instead of running; else None."""
        call, made, is_changed = self._recognise(cell)
        if made is None or is_changed or not made.is_outdated:
            return None
        started = kernel_context.request_date(self._shell)
        if started is not None and made.answered is not None and started <= made.answered:
            return None  # as in Run All: what runs is what the cell showed when it was started
        return call

    def before_cell(self, info: Any) -> None:
        """Note when a cell begins, and put newer code below a cell that its user has changed."""
        self._started = kernel_context.request_date(self._shell), monotonic()
        call, made, is_changed = self._recognise(info.raw_cell or "")
        if made is None or not is_changed:
            return
        del self._made[call]
        if made.is_outdated:
            self._shell.set_next_input(made.source)
            self._made[call] = _Made(made.newest_checksum, made.source, made.newest_checksum, time())
            print_text(_CHANGED)

    def _recognise(self, cell: str) -> tuple[str, _Made | None, bool]:
        """Return the call that made a cell, what is known of it, and whether its user has changed it since."""
        found = _MARK.search(cell.split("\n\n", 1)[0])
        if found is None:
            return "", None, False
        lines = cell.strip("\n").split("\n")
        code = "\n".join(line for line in lines if found[0] not in line).removeprefix(_magic_line(lines))
        return found[1], self._made.get(found[1]), _checksum(code) != found[2]

    def _cell_made_before(self, call: str) -> _Made | None:
        """Return the cell that a call made before if it is still there, as far as the saved notebook tells."""
        made, saved = self._made.get(call), kernel_context.saved_notebook()
        if saved is None:
            return made
        marks = [found[2] for found in _MARK.finditer(saved.text) if found[1] == call]
        if made is not None:
            return made if marks or saved.modified < made.saved_after else None
        return _Made(marks[-1], "", marks[-1], 0.0) if marks else None  # of a kernel before this one

    def _answered(self) -> datetime | None:
        from datetime import timedelta

        date, began = self._started
        return None if date is None else date + timedelta(seconds=monotonic() - began)


def install(shell: InteractiveShell, cells: CodeCells) -> None:
    """Let the shell tell ``cells`` of each cell that runs, and exchange those that are outdated."""
    uninstall(shell)

    def exchange_outdated_cell(lines: list[str]) -> list[str]:
        call = cells.call_to_exchange("".join(lines))
        if call is None:
            return lines
        return [f"get_ipython().magics_manager.registry['LLMMagics'].code_cells.exchange({call!r})\n"]

    def before_code_cell(info: Any) -> None:
        cells.before_cell(info)

    shell.input_transformers_cleanup.append(exchange_outdated_cell)
    shell.events.register("pre_run_cell", before_code_cell)


def uninstall(shell: InteractiveShell) -> None:
    """Leave the shell alone."""
    # By name, because a reload of the module makes other objects.
    cleanup = shell.input_transformers_cleanup
    cleanup[:] = [step for step in cleanup if getattr(step, "__name__", "") != "exchange_outdated_cell"]
    for callback in list(shell.events.callbacks["pre_run_cell"]):
        if getattr(callback, "__name__", "") == "before_code_cell":
            shell.events.unregister("pre_run_cell", callback)


def cell_source(code: Code, mark: str | None = None) -> str:
    r"""Return the source of a cell that runs ``code``, marked in a comment.

    Examples
    --------
    >>> from ipyllm_magics.display.output_formats import Code
    >>> cell_source(Code("ls", "sh")), cell_source(Code("x = 1", "python"), "mine")
    ('%%sh\nls', '# mine\nx = 1')
    """
    magic = _MAGICS.get(code.language)
    comment = "" if mark is None else _COMMENTS.get(magic or "", "# {}").format(mark) + "\n"
    return f"%%{magic}\n{comment}{code.source}" if magic else f"{comment}{code.source}"


def _magic_line(lines: list[str]) -> str:
    return f"{lines[0]}\n" if lines[0].startswith("%%") else ""


def _checksum(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:8]
