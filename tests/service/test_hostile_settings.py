"""A ``.env`` or ``config.toml`` of somebody else: nothing hangs, nothing fills the memory, no key goes anywhere."""

from __future__ import annotations

import os
import time

import pytest

from ipyllm.settings import SettingsError, config_file, get_settings
from ipyllm.settings_models import variable_value
from ipyllm.text.text_file import read_dotenv

_POSIX = pytest.mark.skipif(os.name == "nt", reason="pipes and devices of POSIX")


@pytest.fixture
def dotenv(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path / ".env"


@pytest.fixture
def toml(tmp_path, monkeypatch):
    path = tmp_path / "config.toml"
    monkeypatch.setenv("IPYLLM_CONFIG", str(path))
    assert config_file() == path
    return path


def test_a_file_of_nobody_is_named_and_no_frame_shows_a_key(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-proj-Zk3J9fQ2mX7vB1nL5tR8")
    get_settings()
    monkeypatch.setenv("IPYLLM_CONFIG", "~nosuchuser/x.toml")
    with pytest.raises(SettingsError, match="and the home folder in it is not known") as caught:
        get_settings()
    frames = [entry.frame for entry in caught.traceback if str(entry.path).endswith("settings.py")][1:]
    assert len(frames) >= 3
    for frame in frames:  # what `%xmode Verbose` shows: the variables, and the globals of the code
        shown = {**frame.f_locals, **{name: frame.f_globals.get(name) for name in frame.code.raw.co_names}}
        assert "Zk3J9" not in repr(shown), (frame.code.name, shown)


@pytest.mark.parametrize("reference", ["${OPENAI_API_KEY}", "${USER_KEY}"])
def test_a_dotenv_file_cannot_put_the_users_key_into_an_address(dotenv, monkeypatch, reference):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-proj-Zk3J9fQ2mX7vB1nL5tR8")
    monkeypatch.setenv("USER_KEY", "Zk3J9fQ2mX7vB1nL5tR8")
    dotenv.write_text(f"OLLAMA_HOST=http://elsewhere.example/{reference}\n")
    with pytest.raises(SettingsError) as caught:
        get_settings()
    assert f"OLLAMA_HOST in .env takes {reference}, which .env does not set" in str(caught.value)
    assert "Zk3J9" not in str(caught.value)


def test_nor_into_a_key_that_goes_to_its_own_server(dotenv, monkeypatch):
    monkeypatch.setenv("USER_KEY", "Zk3J9fQ2mX7vB1nL5tR8")
    dotenv.write_text("LAB_KEY=${USER_KEY}\nOWN=lab-${NAME:-none}\n")
    assert variable_value("LAB_KEY") is None
    assert variable_value("OWN") == "lab-none"


def test_a_variable_may_take_an_earlier_one_of_its_file(dotenv):
    dotenv.write_text("HOST=localhost\nPORT=8080\nEMPTY=\nOLLAMA_HOST='http://${HOST}:${PORT}/${EMPTY}${NO:-v1}'\n")
    assert get_settings().ollama_host == "http://localhost:8080/v1"


def test_variables_that_double_each_other_do_not_fill_the_memory(dotenv):
    lines = [f"A{n}=" + f"${{A{n - 1}}}" * 10 for n in range(1, 12)]
    dotenv.write_text("\n".join(["A0=0123456789", *lines, "IPYLLM_MODEL=${A11}"]))
    with pytest.raises(SettingsError, match="its variables are larger than 1 MB"):
        get_settings()


@pytest.mark.parametrize("name", ["dotenv", "toml"])
def test_a_huge_file_is_refused_before_it_is_read(name, request):
    path = request.getfixturevalue(name)
    with path.open("wb") as file:
        file.truncate(1 << 36)  # without the bytes on the disk
    with pytest.raises(SettingsError, match="larger than 1 MB, which no settings need"):
        get_settings()


@_POSIX
@pytest.mark.parametrize("what", ["pipe", "device", "folder", "loop"])
def test_what_is_no_file_is_not_read(dotenv, toml, what):
    for path in (dotenv, toml):
        match what:
            case "pipe":
                os.mkfifo(path)
            case "device":
                path.symlink_to("/dev/zero")
            case "folder":
                path.mkdir()
            case "loop":
                path.symlink_to(path)
    assert read_dotenv() == {}
    with pytest.raises(SettingsError, match=r"config.toml cannot be read: (it is not a file|Too many levels)"):
        get_settings()


@pytest.mark.parametrize("nested", ['{"a":' * 20_000, "[" * 100_000], ids=["tables", "lists"])
def test_a_value_that_is_nested_deeply_is_refused(dotenv, nested):
    dotenv.write_text(f"IPYLLM_ENDPOINTS={nested}")
    with pytest.raises(SettingsError, match="nested too deeply"):
        get_settings()


def test_so_is_one_of_the_file(toml):
    toml.write_text("model = " + "[" * 50_000)
    with pytest.raises(SettingsError, match="nested too deeply"):
        get_settings()


def test_a_character_that_ends_texts_of_c_is_refused(dotenv, toml):
    dotenv.write_text("IPYLLM_LEDGER=a\0b\n")
    with pytest.raises(SettingsError, match=r"The setting ledger of \.env has a NUL character"):
        get_settings()
    dotenv.unlink()
    toml.write_text('[aliases]\nfast = "a\\u0000b"\n')
    with pytest.raises(SettingsError, match=r"The setting aliases\.fast of config\.toml has a NUL character"):
        get_settings()


def test_a_long_wrong_value_is_cut(dotenv):
    dotenv.write_text("IPYLLM_MAX_RETRIES=" + "9" * 5000)
    with pytest.raises(SettingsError) as caught:
        get_settings()
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize("dot", [".", " . "])
@pytest.mark.parametrize("part", ["a", '"a b"', "'a.b'"])
@pytest.mark.parametrize("line", ["{} = 1", "[{}]", "[[{}]]", "aliases = {{ {} = 1 }}"])
def test_a_name_of_many_parts_is_refused_before_it_is_read(toml, line, part, dot):
    toml.write_text("model = 'a/b'\n" + line.format(dot.join([part] * 50_000)))
    before = time.process_time()
    with pytest.raises(SettingsError, match="line 2 has a key of more than 200 parts, which no setting needs"):
        get_settings()
    assert time.process_time() - before < 5, "tomllib takes 45 s"


@pytest.mark.parametrize(
    "text", ["Be brief. " * 500, "..." * 500, "a" * 500_000, "a-" * 100_000, "'" * 300 + ". " * 300]
)
def test_a_long_text_is_no_name_of_many_parts(toml, text):
    toml.write_text(f'[aliases]\nfast = """{text}"""')
    before = time.process_time()
    assert get_settings().aliases["fast"] == text
    assert time.process_time() - before < 5


def test_names_of_parts_of_a_type_are_no_settings(toml):
    toml.write_text("[prices]\na = {b = 1}")
    with pytest.raises(SettingsError, match="Choose one of: cached_usd_per_mtok"):
        get_settings()
