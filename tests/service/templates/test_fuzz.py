"""No template that can be written has an effect: a fuzz in a process of its own, watched by an audit hook."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.service.templates.fuzz import Fuzz

REPOSITORY = Path(__file__).parents[3]


def fuzzed(folder, seed, count, *options):
    """Return the report of the fuzz."""
    command = [sys.executable, "-m", "tests.service.templates.fuzz", folder, seed, count, *options]
    ran = subprocess.run([str(part) for part in command], capture_output=True, text=True, cwd=REPOSITORY, check=False)
    assert ran.returncode == 0, ran.stderr[-3000:]
    return json.loads(ran.stdout.splitlines()[-1])


def harmless(report):
    assert report["effects"] == []
    assert report["changed"] == []
    assert report["written"] == []
    assert report["peak memory"] < 1_000, report["slowest"]
    assert report["filled"] > 0
    assert report["refused"] > report["filled"]


def test_a_sample_of_all_templates_has_no_effect(tmp_path):
    report = fuzzed(tmp_path, 1, 1500)
    harmless(report)
    assert report["tried"] == 1500


@pytest.mark.thorough
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("seed", [1, 2])
def test_every_attribute_of_everything_reachable_has_no_effect(seed, tmp_path):
    report = fuzzed(tmp_path, seed, 60_000)
    harmless(report)
    assert report["tried"] > 30_000
    assert len(report["types"]) > 20


def test_the_fuzz_finds_files_processes_changes_and_prints(tmp_path):
    report = fuzzed(tmp_path, 1, 300, "poison")
    found = json.dumps(report["effects"])
    assert "open '" in found
    assert "os.system" in found
    assert "printed 'shown" in found
    assert "lists" in report["changed"]
    assert report["written"] == ["poison"]


def test_the_fuzz_uses_a_value_in_every_way(tmp_path):
    forms = set(Fuzz(tmp_path, 1)._forms("df", {"to_csv"}))
    for form in [
        "{{ df.to_csv }}",
        "{{ df['to_csv'] }}",
        "{{ df | attr('to_csv') }}",
        "{{ df | tojson() }}",
        "{{ df() }}",
    ]:
        assert form in forms
