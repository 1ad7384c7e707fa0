"""Tries every attribute, method, filter and operator on everything that a template can reach, under an audit hook.

``python -m tests.service.templates.fuzz FOLDER SEED COUNT [poison]`` prints a report as JSON. It runs in a process of
its own, because an audit hook cannot be removed. COUNT is how many templates are tried, 0 for all; ``poison`` registers
functions with effects, which must all be found. FOLDER is what templates try to write into.
"""

from __future__ import annotations

import contextlib
import gc
import io
import json
import os
import random
import sys
import sysconfig
import threading
import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ipyllm import template_function
from ipyllm.errors import LLMError
from ipyllm.templates.readable import name_list
from ipyllm.templates.sandbox import SandboxedTemplate, UndefinedNameError
from ipyllm.templates.tables import CHOICES
from tests.service.templates.test_ordinary import ORDINARY
from tests.service.templates.variables import effects, variables

if TYPE_CHECKING:
    from collections.abc import Iterator

DEPTH = 3
OF_REFUSED = 60  # how many templates use a value that is refused by itself
_EFFECTS = (
    "builtins.breakpoint", "builtins.input", "cpython.run_", "ctypes.", "fcntl.", "ftplib.", "glob.", "http.", "mmap.",
    "msvcrt.", "os.", "pathlib.", "pickle.", "pty.", "resource.", "setopencodehook", "shelve.", "shutil.", "signal.",
    "smtplib.", "socket.", "sqlite3.", "subprocess.", "sys.add", "sys.set", "syslog.", "tempfile.", "time.sleep",
    "urllib.", "webbrowser.", "winreg.",
)  # fmt: skip
_READS = {"os.listdir", "os.scandir"}  # of the folders of libraries: a library imports a module when it needs it
_LIBRARIES = tuple(
    {os.path.realpath(folder) for folder in sys.path if "site-packages" in folder} | {sysconfig.get_path("stdlib")}
)
_SEARCHED = {os.path.realpath(each) for each in sys.path}  # folders and an archive, when a library imports a module
_ARGUMENTS = [
    "", "1", "'x'", "FOLDER", "[FOLDER]", "FOLDER, 'w'", "path_or_buf=FOLDER", "buf=FOLDER", "file=FOLDER",
    "path=FOLDER", "fname=FOLDER", "*[FOLDER, 1]", "**{'path': FOLDER}", "out=array", "inplace=true", "double",
    "key=double", "func='to_pickle'", "'to_pickle'", "'to_csv', path_or_buf=FOLDER", "reader", "df", "df.head", "array",
    "'sum'", "none", "{}", "sizes", "'__class__'", "hostile", "n=2", "by='city'", "'city'", "regex=true, pat='(a+)+$'",
    "1000000000", "-1000000000", "os", "0, 1", "['city']", "lambda", "freq='D'", "encoding='zlib'",
]  # fmt: skip
_OPERATORS = ["+", "-", "*", "/", "//", "%", "**", "~", "==", "<", "in", "and"]
_SAMPLES = ["1", "'x'", "df", "cups", "array", "sizes", "hostile", "df.head", "1000000000", "'%s'", "scores"]


def _hook(noted: list[str]) -> None:
    def watch(event: str, args: tuple[object, ...]) -> None:
        if not armed:
            return
        path = os.path.realpath(args[0]) if args and isinstance(args[0], str) else ""
        if event == "open":
            writing = any(mark in str(args[1]) for mark in "wax+") or bool(
                int(args[2] or 0) & (os.O_WRONLY | os.O_RDWR)
            )
            if writing or not (path.startswith(_LIBRARIES) or path in _SEARCHED):
                noted.append(f"open {args[0]!r} {args[1]!r}")
        elif event in _READS and (path.startswith(_LIBRARIES) or path in _SEARCHED):
            return
        elif event.startswith(_EFFECTS):
            noted.append(f"{event} {args!r:.80}")

    sys.addaudithook(watch)


armed = False


def _peak_mb() -> int:
    """Return the most memory that this process used; `getrusage` would count the process that started it, too."""
    return next(int(line.split()[1]) // 1024 for line in Path("/proc/self/status").open() if line.startswith("VmHWM:"))


def _state(values: dict[str, object]) -> dict[str, object]:
    """Return what no template may change."""
    return {
        "environment": dict(os.environ),
        "folder": str(Path.cwd()),
        "random": random.getstate(),
        "numpy": str(np.random.get_state()),  # noqa: NPY002 - the global one is meant
        "threads": threading.active_count(),
        "filters of warnings": len(warnings.filters),
        "collector": gc.isenabled(),
        "names": sorted(values),
        "table": values["df"].to_json(),
        "array": values["array"].tolist(),
        "lists": repr([values[name] for name in ("sizes", "pair", "scores", "nested", "records", "counts")]),
        "defaults": dict(values["by_default"]),
        "hostile": [list.copy(values["hostile_list"]), list(dict.items(values["hostile_dict"]))],
        "stream": values["stream"].tell(),
    }


class Fuzz:
    """The templates, what came of them, and what the hook noted."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.values = variables()
        self.values["FOLDER"] = str(folder / "written")
        self._random = random.Random(seed)
        self._noted: list[str] = []
        self._seen: set[object] = set()
        self.first: list[str] = []  # templates that are tried in any case
        self.report: dict[str, object] = {
            "tried": 0,
            "filled": 0,
            "refused": 0,
            "types": [],
            "effects": [],
            "slowest": [0, ""],
        }

    def run(self, count: int) -> dict[str, object]:
        """Try ``count`` templates, or all; return the report."""
        global armed
        for text in ORDINARY:  # so that libraries have imported what they need
            SandboxedTemplate(text).render(self.values)
        warnings.simplefilter("ignore")
        effects.clear()  # of making the values
        before = _state(self.values)
        _hook(self._noted)
        level = sorted(self.values)
        armed = True
        for depth in range(DEPTH):
            reached: dict[object, str] = {}
            texts = [text for expression in level for text in self._forms_of(expression)]
            self._random.shuffle(texts)
            for text in self.first + texts[: count // DEPTH - len(self.first)] if count else self.first + texts:
                self._try(text, reached)
            level = sorted(reached.values())
            self.report[f"templates of depth {depth + 1}"] = len(texts)
        armed = False
        after = _state(self.values)
        self.report["peak memory"] = _peak_mb()
        self.report["changed"] = [name for name in before if before[name] != after[name]]
        self.report["types"] = sorted(str(kind) for kind in self._seen)
        return self.report

    def _forms_of(self, expression: str) -> list[str]:
        """Return templates that use ``expression`` in every way; some of them if it is refused by itself."""
        values: list[object] = []
        with contextlib.suppress(LLMError, UndefinedNameError):
            SandboxedTemplate(f"{{{{ {expression} }}}}", to_text=values.append).render(self.values)
        original = self.values.get(expression, values[0] if values else None)
        names = set(dir(type(original))) | (set(dir(type(values[0]))) if values else set())
        forms = list(self._forms(expression, names | set(vars(original) if type(original) is type(os) else ())))
        return forms if values else self._random.sample(forms, OF_REFUSED)

    def _forms(self, expression: str, names: set[str]) -> Iterator[str]:
        for name in sorted(names):
            yield f"{{{{ {expression}.{name} }}}}"
            yield f"{{{{ {expression}['{name}'] }}}}"
            yield f"{{{{ {expression} | attr('{name}') }}}}"
            yield f"{{{{ [{expression}] | map(attribute='{name}') | list }}}}"
            yield f"{{{{ '{{0.{name}}}'.format({expression}) }}}}"
            for argument in ["", *self._random.sample(_ARGUMENTS, 4)]:
                yield f"{{{{ {expression}.{name}({argument}) }}}}"
        for name in sorted({*name_list("filters"), *CHOICES, "describe"}):
            for argument in ["", *self._random.sample(_ARGUMENTS, 2)]:
                yield f"{{{{ {expression} | {name}({argument}) }}}}"
        for operator in _OPERATORS:
            other = self._random.choice(_SAMPLES)
            yield f"{{{{ {expression} {operator} {other} }}}}"
            yield f"{{{{ {other} {operator} {expression} }}}}"
        for argument in _ARGUMENTS:
            yield f"{{{{ {expression}({argument}) }}}}"
            yield f"{{{{ {expression}[{argument or 0}] }}}}"
        yield f"{{% for item in {expression} %}}{{{{ item }}}}{{% endfor %}}"
        yield f"{{% if {expression} %}}{{{{ {{{expression}: 1}} }}}}{{% endif %}}"

    def _try(self, text: str, reached: dict[object, str]) -> None:
        effects.clear()  # of this fuzz itself
        values: list[object] = []
        printed = io.StringIO()
        started = time.thread_time()
        self.report["tried"] += 1
        try:
            with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
                SandboxedTemplate(text, to_text=values.append).render(self.values)
            self.report["filled"] += 1
        except (LLMError, UndefinedNameError):
            self.report["refused"] += 1
        seconds = time.thread_time() - started
        if seconds > self.report["slowest"][0]:
            self.report["slowest"] = [round(seconds, 2), text]
        noted = [*self._noted, *effects, *([f"printed {printed.getvalue()!r:.80}"] if printed.getvalue() else [])]
        if noted:
            self.report["effects"].append([text, noted])
        self._noted.clear()
        effects.clear()
        for value in values:
            if type(value) not in self._seen and text.startswith("{{ ") and text.count("{{") == 1:
                reached[type(value)] = f"({text[3:-3]})"
            self._seen.add(type(value))


def _poison(fuzz: Fuzz, folder: Path) -> None:
    """Register functions with effects, for the test of this test."""
    shared = fuzz.values["sizes"]

    @template_function
    def write() -> None:
        (folder / "poison").write_text("x")

    @template_function
    def spawn() -> None:
        os.system("true")

    @template_function
    def change() -> None:
        shared.append(1)

    @template_function
    def show() -> None:
        print("shown")

    for name, function in {"write": write, "spawn": spawn, "change": change, "show": show}.items():
        fuzz.values[name] = function
        fuzz.first.append(f"{{{{ {name}() }}}}")


if __name__ == "__main__":
    folder, seed, count = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    fuzz = Fuzz(folder, seed)
    if "poison" in sys.argv:
        _poison(fuzz, folder)
    report = fuzz.run(count)
    report["written"] = sorted(path.name for path in folder.iterdir())
    print(json.dumps(report))
