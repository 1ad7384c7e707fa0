"""``{{ cells[-3:] }}`` and ``{{ error }}``: what the notebook has just done, for a prompt that asks for it.

Nothing is looked up before a template writes one of the names, and nothing of it is sent unless written.
"""

from __future__ import annotations

import linecache
import re
import sys
from typing import TYPE_CHECKING, Any

from IPython.core.error import UsageError

from ipyllm.errors import LLMError
from ipyllm.text.terminal import plain
from ipyllm_magics.prompt.summarize_value import BUDGET_TOKENS, compact

if TYPE_CHECKING:
    from types import TracebackType

    from IPython.core.interactiveshell import InteractiveShell

__all__ = ["Cell", "Cells", "LastError", "unwatch", "watch"]

_LINES_AROUND = 3
_MAX_FRAMES = 8
_CELL_FILE = re.compile(r"ipykernel_\d+|^<ipython-input-|^<ipython-")
_MAX_OUTPUT = 20_000  # characters looked at; the budget cuts further


class Cell:
    """An executed cell: its ``number``, ``source``, and its ``output`` as text."""

    def __init__(self, number: int, source: str, output: str) -> None:
        self.number = number
        self.source = source
        self.output = output

    def __str__(self) -> str:
        shown = f"In [{self.number}]:\n{self.source.rstrip()}"
        return f"{shown}\nOut [{self.number}]:\n{compact_text(self.output)}" if self.output.strip() else shown


class Cells:
    """The executed cells, the newest last, without the one that asks."""

    def __init__(self, shell: InteractiveShell) -> None:
        self._shell = shell

    def _numbers(self) -> list[int]:
        sources = self._shell.history_manager.input_hist_raw  # type: ignore[union-attr] # None only when it is being closed
        # The last is the cell that asks. Its number is no help: IPython counts up before or after, by version.
        return [number for number in range(1, len(sources) - 1) if sources[number].strip()]

    def _cell(self, number: int) -> Cell:
        manager = self._shell.history_manager
        assert manager is not None
        return Cell(number, manager.input_hist_raw[number], _outputs(self._shell, number))

    def __len__(self) -> int:
        return len(self._numbers())

    def __getitem__(self, place: int | slice) -> Any:
        numbers = self._numbers()
        if isinstance(place, slice):
            return _Some([self._cell(number) for number in numbers[place]])
        if not -len(numbers) <= place < len(numbers):
            raise LLMError(
                f"The prompt uses {{{{ cells[{place}] }}}}, but {len(numbers)} cells have been executed.",
                category="bad_request",
            )
        return self._cell(numbers[place])

    def __str__(self) -> str:
        return str(self[:])


class _Some(list[Cell]):
    """Several cells, one below the other."""

    def __str__(self) -> str:
        return "\n\n".join(map(str, self))


def compact_text(text: str, budget: int = BUDGET_TOKENS) -> str:
    """Return ``text``, or its beginning and its end where it is long: errors stand at the end."""
    room = 3 * budget
    if len(text) <= room:
        return text.rstrip()
    return f"{text[: room // 2]}\n[… {len(text) - room:,} characters left out …]\n{text[-room // 2 :].rstrip()}"


def _outputs(shell: InteractiveShell, number: int) -> str:
    """Text of a cell's outputs: what was printed, displayed and returned, and the last line of an error."""
    manager: Any = shell.history_manager
    told: list[str] = []
    for output in getattr(manager, "outputs", {}).get(number, ()):
        bundle = output.bundle
        text = bundle.get("stream", bundle.get("text/plain", ""))
        told.append("".join(text) if isinstance(text, list) else str(text))
    if not told and number in manager.output_hist_reprs:
        told.append(manager.output_hist_reprs[number])
    failed = getattr(manager, "exceptions", {}).get(number)
    if failed:
        told.append(f"{failed.get('ename')}: {failed.get('evalue')}")
    return plain("\n".join(part.rstrip("\n") for part in told))[:_MAX_OUTPUT]


_seen: BaseException | None = None


def watch(shell: InteractiveShell) -> None:
    """Note what each cell raises: ``sys.last_value`` alone would hold a mistake in ``%%llm``'s own options."""
    shell.events.register("post_run_cell", _note)


def unwatch(shell: InteractiveShell) -> None:
    """Note nothing more."""
    for callback in list(shell.events.callbacks["post_run_cell"]):
        if getattr(callback, "__name__", "") == _note.__name__:  # by name: after a reload it is another object
            shell.events.unregister("post_run_cell", callback)


def _note(result: Any) -> None:
    global _seen
    raised = result.error_before_exec or result.error_in_exec
    if raised is not None and not isinstance(raised, UsageError | KeyboardInterrupt):
        _seen = raised


class LastError:
    """The last exception: what it said, and the code around each line of the user's that led to it."""

    def __init__(self) -> None:
        last = getattr(sys, "last_value", None)  # from before the extension was loaded
        self._value = _seen or (last if not isinstance(last, UsageError | KeyboardInterrupt) else None)

    def __bool__(self) -> bool:
        return self._value is not None

    @property
    def value(self) -> BaseException | None:
        """The exception itself."""
        return self._value

    def __str__(self) -> str:
        value = self._value
        if value is None:
            raise LLMError("The prompt uses {{ error }}, but no cell has failed yet.", category="bad_request")
        frames = [_frame(name, line, function) for name, line, function in _places(value.__traceback__)]
        told = str(compact(str(value)))
        return "\n\n".join([*frames, f"{type(value).__name__}: {told}"])


def _places(trace: TracebackType | None) -> list[tuple[str, int, str]]:
    """File, line and function of the frames: the user's cells, and where it was raised."""
    found = []
    while trace is not None:
        code = trace.tb_frame.f_code
        if "IPython/core" not in code.co_filename.replace("\\", "/"):
            found.append((code.co_filename, trace.tb_lineno, code.co_name))
        trace = trace.tb_next
    own = [place for place in found if _is_own(place[0])]
    kept = own or found
    if found and found[-1] not in kept:
        kept = [*kept, found[-1]]
    return kept[-_MAX_FRAMES:]


def _is_own(filename: str) -> bool:
    return "site-packages" not in filename and "/lib/python" not in filename.replace("\\", "/")


def _frame(filename: str, line: int, function: str) -> str:
    where = "in a cell" if _CELL_FILE.search(filename) else f"in {filename.replace(chr(92), '/').rpartition('/')[2]}"
    inside = f", {function}()" if function != "<module>" else ""
    lines = linecache.getlines(filename)
    first = max(1, line - _LINES_AROUND)
    shown = [
        f"{'-->' if number == line else '   '} {number:>4} {lines[number - 1].rstrip()}"
        for number in range(first, min(len(lines), line + _LINES_AROUND) + 1)
    ]
    return "\n".join([f"Line {line} {where}{inside}:", *shown])
