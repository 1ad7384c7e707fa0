"""Files as editors and shells write them: byte order marks, UTF-16, Latin-1."""

from __future__ import annotations

import codecs
import json

import pytest

from ipyllm.conversations.history import ConversationHistory
from ipyllm.errors import LLMError
from ipyllm.experiment.prompts import read_prompts
from ipyllm.settings import SettingsError, get_settings
from ipyllm.settings_models import variable_value
from ipyllm.text.text_file import decode_text, read_dotenv

READABLE = {
    "utf-8": lambda text: text.encode(),
    "a byte order mark": lambda text: codecs.BOM_UTF8 + text.encode(),
    "utf-16": lambda text: text.encode("utf-16"),
    "utf-16, big end first": lambda text: codecs.BOM_UTF16_BE + text.encode("utf-16-be"),
    "utf-16 without a mark": lambda text: text.encode("utf-16-le"),
    "utf-32": lambda text: text.encode("utf-32"),
}


@pytest.mark.parametrize("encoding", READABLE)
def test_settings_are_read_in_every_encoding_that_tells_itself(own_settings, encoding):
    encode = READABLE[encoding]
    (own_settings / "config.toml").write_bytes(encode('[aliases]\n"schön" = "openai/naïve"\n'))
    (own_settings / ".env").write_bytes(encode('IPYLLM_MODEL=openai/é\r\nLAB_KEY="ß"\r\n'))
    settings = get_settings()
    assert settings.aliases == {"schön": "openai/naïve"}
    assert settings.model == "openai/é"
    assert variable_value("LAB_KEY") == "ß"


def test_a_latin_1_env_file_works_but_for_settings_that_are_not_text(own_settings):
    file = own_settings / ".env"
    file.write_bytes("# clé\nOTHERS=naïve\nIPYLLM_MODEL=openai/x\nLAB_KEY=k-1\n".encode("latin-1"))
    assert get_settings().model == "openai/x"
    assert (variable_value("LAB_KEY"), variable_value("OTHERS")) == ("k-1", None)
    for name in ("IPYLLM_MODEL", "OPENAI_API_KEY"):
        file.write_bytes(f"A=1\n{name}=naïve-key\n".encode("latin-1"))
        with pytest.raises(SettingsError, match=rf"^{name} in \.env is not UTF-8 text\. Save the file as UTF-8\.$"):
            get_settings()


def test_a_config_file_that_is_not_utf_8_is_one_sentence(own_settings):
    (own_settings / "config.toml").write_bytes('# settings\n# clé\nmodel = "x"\n'.encode("latin-1"))
    sentence = (
        r"config\.toml cannot be read: it is not UTF-8 text, because of the byte 0xE9 in line 2; save it as UTF-8\.$"
    )
    with pytest.raises(SettingsError, match=sentence):
        get_settings()
    (own_settings / "config.toml").write_bytes(codecs.BOM_UTF16_LE + b"x")
    with pytest.raises(SettingsError, match=r"cannot be read: it is not text; save it as UTF-8\.$"):
        get_settings()


def test_a_folder_or_nothing_named_env_is_no_file(own_settings):
    assert read_dotenv() == {}
    (own_settings / ".env").mkdir()
    assert read_dotenv() == {}
    assert get_settings().model


@pytest.mark.parametrize("encoding", READABLE)
def test_prompts_and_conversations_are_read_in_them_too(tmp_path, encoding):
    encode = READABLE[encoding]
    (tmp_path / "rows.csv").write_bytes(encode("text\nGrüße\n"))
    (tmp_path / "rows.jsonl").write_bytes(encode(json.dumps({"text": "Grüße"}, ensure_ascii=False) + "\n"))
    for name in ("rows.csv", "rows.jsonl"):
        assert [prompt.text for prompt in read_prompts(str(tmp_path / name), "{{ text }}!")[0]] == ["Grüße!"]
    history = ConversationHistory()
    history.add_message("user", "Grüße")
    history.save(tmp_path / "saved.json")
    (tmp_path / "saved.json").write_bytes(encode((tmp_path / "saved.json").read_text(encoding="utf-8")))
    assert ConversationHistory.load(tmp_path / "saved.json").get_messages() == history.get_messages()


def test_a_latin_1_table_is_one_sentence(tmp_path):
    (tmp_path / "rows.csv").write_bytes("text\nGrüße\n".encode("latin-1"))
    with pytest.raises(
        LLMError, match=r"^rows\.csv cannot be read: it is not UTF-8 text, because of the byte 0xFC in line 2"
    ):
        read_prompts(str(tmp_path / "rows.csv"), "{{ text }}")


def test_an_empty_file_is_empty():
    assert decode_text(b"") == ""
    assert decode_text(b"x") == "x"
