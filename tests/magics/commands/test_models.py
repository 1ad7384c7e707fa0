"""``%llm_models`` in the words of its table."""

from __future__ import annotations

from pathlib import Path

from ipyllm import embedded
from ipyllm_magics.commands import models


def test_the_note_of_an_embedded_model_does_not_say_whose_home_folder_it_is_in(monkeypatch, tmp_path):
    monkeypatch.setattr(Path, "home", lambda: tmp_path / "ada")
    monkeypatch.setattr(embedded, "is_installed", lambda: True)
    notes = {}
    for folder in (tmp_path / "ada" / "models", tmp_path / "srv"):
        monkeypatch.setattr(embedded, "find", lambda _, folder=folder: folder / "small.gguf")
        notes[folder.name] = {row["note"] for row in models._embedded_models("")}
    assert notes == {"models": {"~/models/small.gguf"}, "srv": {str(tmp_path / "srv" / "small.gguf")}}
