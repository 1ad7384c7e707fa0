"""Executed cells and the last error of the notebook, for templates: ``{{ cells[-3:] }}`` and ``{{ error }}``.

Both are looked up, and sent, only if the template names them.
"""

from __future__ import annotations

import linecache
import re
import sys
from typing import TYPE_CHECKING, Any

from IPython.core.error import UsageError

from ipyllm.errors import bad_request
from ipyllm.templates.readable import TemplateObject
from ipyllm.text.redact import redact
from ipyllm.text.terminal import strip_control_sequences
from ipyllm_magics.prompt.summarize_value import BUDGET_TOKENS, summarize_value

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

    from IPython.core.interactiveshell import InteractiveShell

__all__ = ["ExecutedCell", "ExecutedCells", "LastError", "install", "uninstall"]

_LINES_AROUND = 3
_MAX_FRAMES = 8
_CELL_FILE = re.compile(r"ipykernel_\d+|^<ipython-input-|^<ipython-")
_MAX_OUTPUT = 20_000  # characters that are read; the budget cuts further


class ExecutedCell(TemplateObject):
    """An executed cell: its ``number``, its ``source``, and its ``output`` as text."""

    members = frozenset({"number", "source", "output"})

    def __init__(self, number: int, source: str, output: str) -> None:
        self.number = number
        self.source = source
        self.output = output

    def __str__(self) -> str:
        shown = f"In [{self.number}]:\n{self.source.rstrip()}"
        return f"{shown}\nOut [{self.number}]:\n{cut_middle(self.output)}" if self.output.strip() else shown


class ExecutedCells(TemplateObject):
    """The executed cells, the newest last, without the running one."""

    def __init__(self, shell: InteractiveShell) -> None:
        self._shell = shell

    def _numbers(self) -> list[int]:
        sources = self._shell.history_manager.input_hist_raw  # type: ignore[union-attr] # None only at shutdown
        # The last is the running cell. Its number does not help: some versions of IPython count up before it runs.
        return [number for number in range(1, len(sources) - 1) if sources[number].strip()]

    def _cell(self, number: int) -> ExecutedCell:
        manager = self._shell.history_manager
        assert manager is not None
        return ExecutedCell(number, manager.input_hist_raw[number], _outputs(self._shell, number))

    def __len__(self) -> int:
        return len(self._numbers())

    def __iter__(self) -> Iterator[ExecutedCell]:
        return map(self._cell, self._numbers())

    def __getitem__(self, index: int | slice) -> Any:
        numbers = self._numbers()
        if isinstance(index, slice):
            return _CellSlice([self._cell(number) for number in numbers[index]])
        if not -len(numbers) <= index < len(numbers):
            raise bad_request(f"The prompt uses {{{{ cells[{index}] }}}}, but {len(numbers)} cells have been executed.")
        return self._cell(numbers[index])

    def __str__(self) -> str:
        return str(self[:])


class _CellSlice(list[ExecutedCell], TemplateObject):
    """Several cells, one below the other."""

    def __str__(self) -> str:
        return "\n\n".join(map(str, self))


def cut_middle(text: str, budget: int = BUDGET_TOKENS) -> str:
    """Return ``text``, without its middle if it is long: errors are at the end."""
    limit = 3 * budget
    if len(text) <= limit:
        return text.rstrip()
    text = redact(text)
    return f"{text[: limit // 2]}\n[… {len(text) - limit:,} characters left out …]\n{text[-limit // 2 :].rstrip()}"


def _outputs(shell: InteractiveShell, number: int) -> str:
    """Return a cell's outputs as text: what was printed, displayed and returned, and the last line of an error."""
    manager: Any = shell.history_manager
    texts: list[str] = []
    for output in getattr(manager, "outputs", {}).get(number, ()):
        bundle = output.bundle
        text = bundle.get("stream", bundle.get("text/plain", ""))
        texts.append("".join(text) if isinstance(text, list) else str(text))
    if not texts and number in manager.output_hist_reprs:
        texts.append(manager.output_hist_reprs[number])
    failed = getattr(manager, "exceptions", {}).get(number)
    if failed:
        texts.append(f"{failed.get('ename')}: {failed.get('evalue')}")
    text = strip_control_sequences("\n".join(part.rstrip("\n") for part in texts))
    return text if len(text) <= _MAX_OUTPUT else redact(text)[:_MAX_OUTPUT]


_last_error: BaseException | None = None
_failed_cell = ""


def install(shell: InteractiveShell) -> None:
    """Record what each cell raises, because ``sys.last_value`` may be a usage error of ``%%llm``."""
    shell.events.register("post_run_cell", _record_error)


def uninstall(shell: InteractiveShell) -> None:
    """Stop recording."""
    for callback in list(shell.events.callbacks["post_run_cell"]):
        if getattr(callback, "__name__", "") == _record_error.__name__:  # by name: after a reload it is another object
            shell.events.unregister("post_run_cell", callback)


def _record_error(result: Any) -> None:
    global _last_error, _failed_cell
    raised = result.error_before_exec or result.error_in_exec
    if raised is not None and not isinstance(raised, UsageError | KeyboardInterrupt):
        _last_error, _failed_cell = raised, result.info.raw_cell or ""


class LastError(TemplateObject):
    """The last exception, with its message and the lines of the user's code that led to it."""

    def __init__(self) -> None:
        last = getattr(sys, "last_value", None)  # from before the extension was loaded
        self._value = _last_error or (last if not isinstance(last, UsageError | KeyboardInterrupt) else None)

    def __bool__(self) -> bool:
        return self._value is not None

    @property
    def value(self) -> BaseException | None:
        """The exception itself."""
        return self._value

    @property
    def cell(self) -> str:
        """The source of the cell in which it arose; empty if it is not known."""
        value = self._value
        if value is None:
            return ""
        files = [name for name, _, _ in _locations(value.__traceback__) if _CELL_FILE.search(name)]
        if files and files[-1] != files[0]:  # in a function of another cell
            return "".join(linecache.getlines(files[-1]))
        return _failed_cell if value is _last_error else ""

    def __str__(self) -> str:
        value = self._value
        if value is None:
            raise bad_request("The prompt uses {{ error }}, but no cell has failed yet.")
        frames = [_describe_frame(name, line, function) for name, line, function in _locations(value.__traceback__)]
        message = str(summarize_value(str(value)))
        return "\n\n".join([*frames, f"{type(value).__name__}: {message}"])


def _locations(trace: TracebackType | None) -> list[tuple[str, int, str]]:
    """Return file, line and function of the frames in the user's code, and of the one that raised."""
    found = []
    while trace is not None:
        code = trace.tb_frame.f_code
        if "IPython/core" not in code.co_filename.replace("\\", "/"):
            found.append((code.co_filename, trace.tb_lineno, code.co_name))
        trace = trace.tb_next
    in_user_code = [location for location in found if _is_user_code(location[0])]
    chosen = in_user_code or found
    if found and found[-1] not in chosen:
        chosen = [*chosen, found[-1]]
    return chosen[-_MAX_FRAMES:]


def _is_user_code(filename: str) -> bool:
    return "site-packages" not in filename and "/lib/python" not in filename.replace("\\", "/")


def _describe_frame(filename: str, line: int, function: str) -> str:
    where = "in a cell" if _CELL_FILE.search(filename) else f"in {filename.replace(chr(92), '/').rpartition('/')[2]}"
    inside = f", {function}()" if function != "<module>" else ""
    lines = linecache.getlines(filename)
    first = max(1, line - _LINES_AROUND)
    shown = [
        f"{'-->' if number == line else '   '} {number:>4} {lines[number - 1].rstrip()}"
        for number in range(first, min(len(lines), line + _LINES_AROUND) + 1)
    ]
    return "\n".join([f"Line {line} {where}{inside}:", *shown])
