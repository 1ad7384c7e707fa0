"""Prompts of one's own, from files and from the settings."""

from __future__ import annotations

import pytest

from ipyllm.conversations.prompt_library import saved_prompts


@pytest.fixture
def folders(tmp_path, monkeypatch):
    """The folder of the notebook and that of the settings."""
    for name in ("notebook", "user"):
        (tmp_path / name / "prompts").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "notebook")
    monkeypatch.setenv("IPYLLM_CONFIG", str(tmp_path / "user" / "config.toml"))
    return tmp_path / "notebook", tmp_path / "user"


def test_they_come_from_both_folders_and_the_settings_the_notebook_first(folders):
    notebook, user = folders
    (notebook / "prompts" / "review.md").write_text("Review this.\n")
    (user / "prompts" / "review.md").write_text("Another.")
    (user / "prompts" / "Äpfel.md").write_bytes("Zähle Äpfel.".encode("utf-16"))
    (user / "prompts" / "notes.txt").write_text("not a prompt")
    (user / "config.toml").write_text('[prompts]\nexplain = "Explain this to a child:"\nempty = ""\n')
    found, problems = saved_prompts()
    assert [(prompt.name, prompt.text) for prompt in found] == [
        ("explain", "Explain this to a child:"),
        ("review", "Review this."),
        ("Äpfel", "Zähle Äpfel."),
    ]
    assert [prompt.source for prompt in found][:2] == ["config.toml", "prompts/review.md"]
    assert problems == []


def test_what_cannot_be_one_is_named(folders):
    notebook, user = folders
    (user / "secret.md").write_text("a secret")
    (notebook / "prompts" / "link.md").symlink_to(user / "secret.md")
    (notebook / "prompts" / "large.md").write_text("x" * 100_001)
    (notebook / "prompts" / "binary.md").write_bytes(b"\xff\x00\x81")
    (notebook / "prompts" / "folder.md").mkdir()
    found, problems = saved_prompts()
    assert found == []
    reasons = "\n".join(problems)
    for reason in ("link to another folder", "larger than 100 kB", "save it as UTF-8", "not a file"):
        assert reason in reasons
    assert len(problems) == 4


def test_without_any(folders):
    assert saved_prompts() == ([], [])
