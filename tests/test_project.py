"""Consistency of the project: metadata, README, changelog, architecture; names in the pages exist."""

from __future__ import annotations

import importlib
import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import ipyllm
from tests.older_stack import PINS

ROOT = Path(__file__).parents[1]
REPOSITORY = "https://github.com/ipyllm/ipyllm"
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
# [text](target), ![text](target), <a href="target">, <img src="target">
_LINK = re.compile(r"\]\(([^)\s]+)\)|(?:href|src)=[\"']([^\"']+)[\"']")
_FENCE = re.compile(r"^```.*?^```$", re.DOTALL | re.MULTILINE)
_RELEASE = re.compile(r"^## \[(\d+\.\d+\.\d+)\] - \d{4}-\d{2}-\d{2}$", re.MULTILINE)


def links(page):
    return [first or second for first, second in _LINK.findall(_FENCE.sub("", page))]


def anchors(path):
    """Anchors of a page's headings, as GitHub and MyST make them."""
    headings = re.findall(r"^#+ (.+)$", _FENCE.sub("", path.read_text(encoding="utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.fixture(scope="module")
def metadata():
    """Core metadata, as hatchling writes it into the wheel; it refuses unknown classifiers."""
    command = [sys.executable, "-m", "hatchling", "metadata"]
    return json.loads(subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=60).stdout)


def test_every_link_of_the_readme_works_on_pypi():
    assert len(links(README)) >= 12
    assert [link for link in links(README) if not link.startswith("https://")] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_within_the_repository_lead_somewhere(page):
    for link in links(page.read_text(encoding="utf-8")):
        target, _, anchor = link.partition("#")
        if target.startswith(REPOSITORY):
            path = ROOT / re.sub(r"^/?(?:(?:blob|tree)/main/)?", "", target.removeprefix(REPOSITORY))
        elif "://" in target:
            continue
        else:
            path = page.parent / target if target else page
        assert path.exists(), link
        assert not anchor or anchor in anchors(path), link


def test_the_metadata_builds_and_says_where_the_project_lives(metadata):
    assert metadata["name"] == "ipyllm"
    assert metadata["version"] == ipyllm.__version__
    assert metadata["license"] == "Apache-2.0"
    assert set(metadata["urls"]) == {"Homepage", "Documentation", "Source", "Issues", "Changelog"}
    assert all(url.startswith(REPOSITORY) for url in metadata["urls"].values())
    # PEP 639: a licence expression and a licence classifier exclude one another.
    assert [name for name in metadata["classifiers"] if name.startswith("License ::")] == []


def test_the_classifiers_have_the_oldest_python_that_is_supported(metadata):
    oldest = metadata["requires-python"].removeprefix(">=")
    named = {name.rpartition(" ")[2] for name in metadata["classifiers"] if re.search(r"Python :: \d\.\d+$", name)}
    assert oldest == min(named, key=lambda version: int(version.partition(".")[2]))


def test_the_version_is_the_newest_release_or_on_its_way_to_the_next():
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    releases = [tuple(map(int, version.split("."))) for version in _RELEASE.findall(text)]
    assert releases
    assert releases == sorted(releases, reverse=True)
    version, _, development = ipyllm.__version__.partition(".dev")
    mine = tuple(map(int, version.split(".")))
    if development:
        assert mine > releases[0]
        unreleased = text.partition("## [Unreleased]\n")[2].partition("\n## ")[0]
        assert unreleased.strip(), "a version under development has something to announce"
    else:
        assert mine == releases[0]


def test_every_dependency_stands_in_the_readme_with_its_reason():
    table = README.partition("## Dependencies\n")[2].partition("\n## ")[0].lower()
    named = set(re.findall(r"`([^`]+)`", table))
    extras = PYPROJECT["project"]["optional-dependencies"]
    wanted = {
        re.split(r"[>=<;]", requirement)[0].strip().lower()
        for requirement in [
            *PYPROJECT["project"]["dependencies"],
            *(entry for extra in extras.values() for entry in extra),
        ]
    }
    stubs = {name for name in wanted if name.startswith("types-") or name.endswith("-stubs")}
    own = {name for name in wanted if name.startswith("ipyllm[")}
    assert {re.sub(r"\[binary\]$", "", name) for name in wanted - stubs - own} - named == set()


def test_every_extra_is_documented():
    rows = re.findall(r"^\| `(\w+)` \|", (ROOT / "docs" / "install.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert {*rows} == {*PYPROJECT["project"]["optional-dependencies"]} - {"test", "docs", "dev"}


def test_the_oldest_versions_of_the_page_are_those_allowed_and_tested():
    page = (ROOT / "docs" / "install.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\w+) \| [\d.]+ \| ([\d.]+) \|$", page, re.MULTILINE)
    oldest = {name.lower(): version for name, version in rows}
    assert oldest.pop("python") == PYPROJECT["project"]["requires-python"].removeprefix(">=")
    assert oldest == PINS
    extras = PYPROJECT["project"]["optional-dependencies"]
    requirements = dict(line.split(">=") for line in [*PYPROJECT["project"]["dependencies"], extras["notebook"][0]])
    assert {name: ".".join(requirements[name].split(".")[:2]) for name in PINS} == PINS


def test_all_installs_every_extra_but_those_of_development():
    extras = PYPROJECT["project"]["optional-dependencies"]
    (everything,) = extras["all"]
    assert set(everything.removeprefix("ipyllm[").removesuffix("]").split(",")) == {*extras} - {
        "all",
        "test",
        "docs",
        "dev",
    }


# The changelog also names what there was.
@pytest.mark.parametrize(
    "page", [page for page in PAGES if page.name != "CHANGELOG.md"], ids=lambda page: str(page.relative_to(ROOT))
)
def test_modules_and_names_in_the_pages_exist(page):
    text = page.read_text(encoding="utf-8")
    for dotted in sorted(set(re.findall(r"(?<![\w./-])ipyllm(?:_magics|_widgets|_server)?(?:\.[A-Za-z_]\w*)+", text))):
        assert exists(dotted), dotted


# They look like Python names: an event and an attribute of spans.
_NOT_PYTHON = {"ipyllm.attempt", "ipyllm.call_id"}


def exists(dotted):
    if dotted in _NOT_PYTHON:
        return True
    parts = dotted.split(".")
    for length in range(len(parts), 0, -1):
        try:
            found = importlib.import_module(".".join(parts[:length]))
        except ModuleNotFoundError:
            continue
        for name in parts[length:]:
            if not hasattr(found, name):
                return False
            found = getattr(found, name)
        return True
    return False


def test_architecture_draws_the_layers_of_the_contract():
    text = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    drawing = text.partition("\n## Layers\n")[2].split("```\n")[1]
    drawn = [re.split(r"\s{2,}", line)[0] for line in drawing.splitlines()]
    (contract,) = (each for each in PYPROJECT["tool"]["importlinter"]["contracts"] if each["type"] == "layers")
    assert drawn == contract["layers"]


def test_every_module_that_architecture_names_exists():
    text = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    packages = [
        *(ROOT / "service" / "ipyllm", ROOT / "magics" / "ipyllm_magics"),
        *(ROOT / "widgets" / "ipyllm_widgets", ROOT / "server" / "ipyllm_server"),
    ]
    folders = [ROOT, *(package.parent for package in packages), *packages]
    named = set(re.findall(r"(?<![\w./-])[a-z_]+/(?:[a-z_0-9]+[./]?)*(?=[` )])", text))
    assert len(named) > 40
    missing = {
        name
        for name in named
        if not any((folder / name).exists() or (folder / f"{name}.py").exists() for folder in folders)
    }
    assert missing == set()
    for package, modules in re.findall(r"^\| `(\w+)/` \| (.+) \|$", text, re.MULTILINE):
        present = {path.stem for path in (packages[0] / package).iterdir()}
        assert set(re.findall(r"`(\w+)`", modules)) <= present, package


def test_decisions_are_numbered_without_a_gap_and_each_says_its_number():
    pages = sorted((ROOT / "docs" / "decisions").glob("*.md"))
    assert [page.name[:5] for page in pages] == [f"{number:04}-" for number in range(1, len(pages) + 1)]
    for number, page in enumerate(pages, 1):
        assert page.read_text(encoding="utf-8").startswith(f"# {number} · "), page.name
