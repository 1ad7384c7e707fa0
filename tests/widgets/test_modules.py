"""Joining the ES modules into one: its assumptions, and the rules of a strict page."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from ipyllm_widgets import modules

STATIC = Path(modules.__file__).parent / "static"
TOP = re.compile(r"^(?:export )?(?:async )?(?:const|let|var|function|class) (\w+)", re.MULTILINE)
SOURCES = {str(path.relative_to(STATIC)): path.read_text(encoding="utf-8") for path in STATIC.rglob("*.js")}


PAGE = "explorer/page.js"  # which runs without a kernel
ENTRIES = sorted(name for name, source in SOURCES.items() if "export default" in source)


def test_every_widget_has_its_module():
    assert [
        *("chat/chat.js", "compare/compare.js", "dashboard/dashboard.js", "explorer/explorer.js"),
        *(f"teaching/{name}_explorer.js" for name in ("context", "latency", "sampling")),
    ] == ENTRIES


def imported_by(path):
    """Return a module and all that it imports."""
    found = re.findall(r'^import \{[^}]*\} from "([^"]+)";', path.read_text(encoding="utf-8"), re.MULTILINE)
    return {path}.union(*(imported_by((path.parent / name).resolve()) for name in found))


@pytest.mark.parametrize("name", sorted(SOURCES))
def test_no_text_spans_lines_because_indentation_is_removed(name):
    assert all(
        line.count("`") % 2 == 0 for line in SOURCES[name].splitlines() if not line.lstrip().startswith(("*", "//"))
    )


@pytest.mark.parametrize("entry", [*ENTRIES, PAGE])
def test_names_at_the_top_of_joined_modules_are_unique(entry):
    names = [name for path in imported_by(STATIC / entry) for name in TOP.findall(path.read_text(encoding="utf-8"))]
    assert len(names) == len(set(names)), sorted(names)


@pytest.mark.parametrize("entry", [*ENTRIES, PAGE])
def test_what_a_widget_sends_of_code_is_small(entry):
    assert len(modules.script(entry).encode()) <= 76_000


def test_the_joined_module_has_each_module_once_before_those_that_need_it_and_one_export():
    script = modules.script("chat/chat.js")
    assert not re.search(r"^import ", script, re.MULTILINE)
    assert script.count("export ") == 1
    assert script.count("function reduce(") == 1
    assert script.index("function reduce(") < script.index("class ChatView")


@pytest.mark.parametrize("name", sorted(SOURCES))
def test_nothing_is_evaluated_loaded_or_set_as_html_but_in_one_place(name):
    source = re.sub(r"/\*.*?\*/|//[^\n\"]*$", "", SOURCES[name], flags=re.DOTALL | re.MULTILINE)
    for forbidden in (
        r"\beval\(",
        r"new Function",
        r"import\(",
        r"fetch\(",
        r"outerHTML",
        r"insertAdjacentHTML",
        r"document\.write",
    ):
        assert not re.search(forbidden, source), forbidden
    assert source.count("innerHTML") == (1 if name == "dom.js" else 0)
    assert not re.search(r"https?://", source.replace("http://www.w3.org/2000/svg", ""))


@pytest.mark.parametrize("sheet", sorted(str(path.relative_to(STATIC)) for path in STATIC.rglob("*.css")))
def test_style_sheets_load_nothing(sheet):
    text = (STATIC / sheet).read_text(encoding="utf-8")
    assert "@import" not in text
    assert "url(" not in text


@pytest.mark.skipif(shutil.which("node") is None, reason="NO NODE FOUND: the joined module was not parsed")
@pytest.mark.parametrize("entry", [*ENTRIES, PAGE])
def test_the_joined_module_is_one_a_browser_takes(tmp_path, entry):
    (tmp_path / "chat.mjs").write_text(modules.script(entry), encoding="utf-8")
    checked = subprocess.run(["node", "--check", "chat.mjs"], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert checked.returncode == 0, checked.stderr
