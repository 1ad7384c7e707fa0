"""Resolving model names and paths, and the errors for those that do not exist."""

from __future__ import annotations

import pytest

from ipyllm.embedded import catalogue_names, find, models_dir, resolve
from ipyllm.embedded.server import _reason
from ipyllm.errors import LLMError


def refused(name):
    with pytest.raises(LLMError) as caught:
        resolve(name)
    assert caught.value.category == "not_found"
    assert caught.value.model == f"local/{name}"
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_models_lie_where_the_settings_say(models):
    assert models_dir() == models
    assert "smollm2-135m" in catalogue_names()


def test_a_model_that_is_not_pulled_says_how_to_pull_it(models):
    assert find("smollm2-135m") is None
    assert refused("smollm2-135m").endswith(
        "Get it with `%llm_models pull smollm2-135m` or `python -m ipyllm.embedded pull smollm2-135m` "
        "(93 MB to download, 0.4 GB of memory, licence Apache-2.0)."
    )


def test_a_half_written_model_is_not_found(models):
    models.mkdir()
    (models / "SmolLM2-135M-Instruct.Q4_1.gguf").write_bytes(b"GGUF")
    assert find("smollm2-135m") is None


def test_a_mistyped_name_says_what_was_meant(models):
    assert refused("smolm2-135m") == "There is no embedded model 'smolm2-135m'. Did you mean 'smollm2-135m'?"
    assert "Choose one of: smollm2-135m" in refused("gpt-5")
    assert find("gpt-5") is None


def test_a_path_to_a_gguf_file_is_taken_as_it_is(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "own.gguf"
    file.write_bytes(b"GGUF")
    assert resolve(str(file)) == resolve("~/own.gguf") == resolve("own.gguf") == file.resolve()


def test_a_wrong_path_says_which_files_are_near(tmp_path):
    (tmp_path / "llama-3.2-1b.gguf").write_bytes(b"GGUF")
    assert "Did you mean 'llama-3.2-1b.gguf'?" in refused(str(tmp_path / "lama-3.2-1b.gguf"))
    assert "one of its .gguf files: llama-3.2-1b.gguf" in refused(str(tmp_path / "zzz.gguf"))
    assert "is a folder. Name one of its .gguf files" in refused(str(tmp_path))
    assert "There is no folder" in refused(str(tmp_path / "gone" / "x.gguf"))


def test_a_missing_folder_is_named():
    assert refused("~/no-such-folder/llama.gguf") == (
        "There is no folder '~/no-such-folder' to hold the model 'llama.gguf'."
    )


def test_the_reason_for_a_bad_model_is_without_the_log_s_prefix():
    log = "0.00.043 E llama_model_load: error loading model: unknown model architecture: 'blama'"
    assert _reason(log) == "unknown model architecture: 'blama'"


def test_a_folder_without_models_offers_those_of_the_catalogue(tmp_path):
    assert "Name a .gguf file, or one of: smollm2-135m" in refused(str(tmp_path))
