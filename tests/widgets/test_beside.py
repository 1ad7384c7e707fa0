"""Widgets beside the notebook."""

from __future__ import annotations

import sys

import pytest

from ipyllm import LLMError
from tests.fakes import answer


def test_without_sidecar_a_sentence_says_what_to_install_and_what_to_do_instead(chat, models, monkeypatch):
    monkeypatch.setitem(sys.modules, "sidecar", None)
    with pytest.raises(LLMError, match=r"pip install 'ipyllm\[sidecar\]'.*Create New View"):
        chat().sidecar()


def test_a_panel_shows_the_widget(chat, models):
    pytest.importorskip("sidecar")
    models.default = answer("Hello.")
    panel = chat().sidecar("Plans", place="below")
    assert (panel.title, panel.anchor) == ("Plans", "split-bottom")
    panel.close()
