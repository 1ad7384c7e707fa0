"""The tutorials as they are saved: badges, and what a lesson promises."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
LESSONS = [path for path in NOTEBOOKS if path.stem >= "05"]
PROJECT = "github.com/ipyllm/ipyllm"
EXERCISE = re.compile(r"^\*\*Exercise (\d)\.\*\*", re.MULTILINE)
MINUTES = re.compile(r"^\| \[`(\w+)`\]\(.+?\) \| (\d+) \|", re.MULTILINE)


def cells(path):
    """The kind and source of each cell."""
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        yield cell["cell_type"], "".join(cell["source"])


def names(path):
    return path.stem


@pytest.mark.parametrize("path", NOTEBOOKS, ids=names)
def test_its_badge_opens_it_in_colab_where_the_first_cell_installs_it(path):
    introduction, first_code = (
        next(source for kind, source in cells(path) if kind == of) for of in ("markdown", "code")
    )
    address = f"https://colab.research.google.com/{PROJECT.replace('.com', '')}/blob/main/notebooks/{path.name}"
    assert f"]({address})" in introduction
    assert "%pip install" in first_code
    assert "ipyllm.embedded pull smollm2-135m" in first_code
    code = "\n".join(source for kind, source in cells(path) if kind == "code")
    if ".plots" in code or "matplotlib" in code:
        assert "plots" in first_code
    for name in re.findall(r"[\"']data/([\w.]+)", code):
        assert (path.parent / "data" / name).exists()
        assert f"raw.githubusercontent.com/ipyllm/ipyllm/main/notebooks/data/{name}" in first_code


@pytest.mark.parametrize("path", LESSONS, ids=names)
def test_a_lesson_says_what_it_teaches_and_has_hidden_solutions(path):
    sources = [source for _, source in cells(path)]
    for promise in ("**You learn** ", "**Time**: ", "**Before**: ", "**Teachers**: "):
        assert promise in sources[0]
    exercises = {int(found[1]): n for n, source in enumerate(sources) if (found := EXERCISE.search(source))}
    assert list(exercises) == list(range(1, len(exercises) + 1)) != []
    for number, n in exercises.items():
        assert sources[n + 1].startswith(f"# Exercise {number}: ")
        assert sources[n + 2].startswith("<details><summary>Solution</summary>\n\n")
    said = "\n".join(sources)
    assert all(f"exercise {number}" in sources[0] for number in exercises), "the plan for teachers names each"
    assert "135 million parameters" in said


def test_the_readme_says_how_long_each_takes():
    said = dict(MINUTES.findall((ROOT / "README.md").read_text(encoding="utf-8")))
    assert set(said) == {path.stem for path in NOTEBOOKS}
    for path in LESSONS:
        assert f"**Time**: {said[path.stem]} minutes" in next(cells(path))[1]
