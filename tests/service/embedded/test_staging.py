"""Folders of unfinished downloads: those of a live process stay, and those of a dead one go."""

from __future__ import annotations

import os
import re
import time

import pytest

from ipyllm.embedded.staging import staging_folder
from ipyllm.process_identity import this_process

DAY_S = 24 * 3600


@pytest.fixture
def left_behind(models):
    """Put a folder there that another pull left behind; return whether it is there after the next pull."""

    def next_pull_keeps(name, age_s=0.0):
        folder = models / name
        folder.mkdir(parents=True)
        (folder / "half.whl").write_bytes(b"half")
        os.utime(folder, (time.time() - age_s,) * 2)
        with staging_folder(models):
            return folder.exists()

    return next_pull_keeps


def of_this_process(**changes):
    """Return the name that a folder of this process has, but for ``changes``."""
    owner = this_process()
    part = {"host": re.sub(r"[^\w.-]", "_", owner.host), "pid": owner.pid, "start": f"{owner.start:.2f}"} | changes
    return f".pull@{part['host']}@{part['pid']}@{part['start']}@x"


def test_a_folder_is_there_for_as_long_as_its_pull_and_empty_at_first(models):
    with staging_folder(models) as folder:
        assert folder.parent == models
        assert list(folder.iterdir()) == []
        (folder / "half.whl").write_bytes(b"half")
    assert list(models.iterdir()) == []


def test_a_folder_goes_when_its_pull_fails(models):
    with pytest.raises(OSError, match="disk full"), staging_folder(models):
        raise OSError("disk full")
    assert list(models.iterdir()) == []


def test_the_folder_of_a_live_process_stays_however_old(left_behind, models):
    assert left_behind(of_this_process(), age_s=30 * DAY_S)
    with staging_folder(models) as live, staging_folder(models):
        assert live.is_dir()


def test_the_folder_of_a_process_whose_id_was_given_again_goes(left_behind):
    assert not left_behind(of_this_process(start="1000000.00"))


def test_the_folder_of_another_machine_goes_after_a_day(left_behind):
    assert left_behind(of_this_process(host="elsewhere"), age_s=DAY_S - 60)
    assert not left_behind(of_this_process(host="elsewhere2"), age_s=DAY_S + 60)


@pytest.mark.parametrize("name", [".pull@", ".pull@host@1@2", ".pull@host@one@2.0@x", ".pull@a@b@c@d@e"])
def test_a_folder_that_names_no_process_goes(left_behind, name):
    assert not left_behind(name)


def test_what_is_no_folder_of_a_pull_is_left_alone(left_behind):
    assert left_behind(".pulled")
    assert left_behind("mine")
