"""``%llm_usage``, ``%llm_models``, ``%llm_config`` and ``%llm_explain`` in a real kernel."""

from __future__ import annotations

import json

import pytest

from tests.fakes import FakeLLM, answer, model_not_found
from tests.fakes.script import status
from tests.kernels import LiveKernel

KEY = "sk-kernel-0123456789abcdef"


@pytest.fixture
def fake(kernel_fake):
    return kernel_fake


# ---- usage -------------------------------------------------------------------------------------------


def test_usage_says_what_the_calls_came_to_and_filters_them(kernel, fake):
    kernel.run("%llm --no-history --tag case=one -m openai/first Hello")
    kernel.run("%llm --no-history --tag case=one -m openai/second Hello")
    fake.reply(model_not_found())
    kernel.run("%llm --no-history --tag case=one -m openai/first Hello")
    ran = kernel.run("df = %llm_usage --tag case=one\nprint(list(df.model), list(df.status))")
    assert "3 calls · 1 failed · 20 → 8 tokens · cost unknown for 2 of 3" in ran.stdout
    assert "['openai/first', 'openai/second', 'openai/first'] ['ok', 'ok', 'error']" in ran.stdout
    why = kernel.run("df = %llm_usage --tag case=one --status error\nprint(df.error_category[0], df.error_message[0])")
    assert "not_found openai/first was not found" in why.stdout
    narrow = kernel.run("df = %llm_usage --tag case=one -m openai/first --status ok\nprint(len(df))")
    assert narrow.stdout.startswith("1 call · ")
    assert kernel.run("print('error_message' in df)").stdout == "False\n"
    by = kernel.run("df = %llm_usage --tag case=one --by model\nprint(list(df.index), list(df.n))")
    assert "['openai/first', 'openai/second'] [2, 1]" in by.stdout
    day = kernel.run("df = %llm_usage --tag case=one --by day\nprint(list(df.n))")
    assert "[3]" in day.stdout
    assert "0" in kernel.run("df = %llm_usage --until 2001-01-01\nprint(len(df))").stdout


def test_usage_is_exported_as_csv_and_parquet(kernel, fake, tmp_path):
    pytest.importorskip("pyarrow")
    import pandas as pd

    kernel.run("%llm --no-history --tag case=export Hello")
    for kind in ("csv", "parquet"):
        ran = kernel.run(f"%llm_usage --tag case=export --{kind} '{tmp_path}/calls of mine.{kind}'")
        assert "Wrote 1 row to" in ran.stdout, ran.error
        frame = getattr(pd, f"read_{kind}")(tmp_path / f"calls of mine.{kind}")
        assert frame["model"].tolist() == ["openai/fake-model"]
        assert json.loads(frame["tags"][0]) == {"case": "export"}
        assert "prompt" in frame.columns


@pytest.mark.thorough
def test_a_notebooks_calls_are_found_again_when_its_kernel_is_another(fake, own_settings, tmp_path):
    import nbformat

    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("%llm Hello", id="cell-one")])
    nbformat.write(notebook, tmp_path / "mine.ipynb")
    environment = {
        "IPYLLM_MODEL": "openai/fake-model",
        "OPENAI_BASE_URL": fake.base_url,
        "IPYLLM_LEDGER": str(own_settings / "shared.sqlite"),
        "IPYLLM_CONFIG": str(own_settings / "config.toml"),
    }
    with LiveKernel(**environment) as other:
        other.run("%load_ext ipyllm")
        other.run("%llm somebody else's", cell_id="cell-other")
    with LiveKernel(**environment, JPY_SESSION_NAME=str(tmp_path / "mine.ipynb")) as first:
        first.run("%load_ext ipyllm")
        first.run("%llm before the restart", cell_id="cell-one")
    with LiveKernel(**environment, JPY_SESSION_NAME=str(tmp_path / "mine.ipynb")) as second:
        second.run("%load_ext ipyllm")
        second.run("%llm after the restart", cell_id="cell-two")
        code = "df = %llm_usage {}\nprint(list(df.prompt))"
        assert "['before the restart', 'after the restart']" in second.run(code.format("--notebook")).stdout
        assert second.run("print(list(df.index))").stdout == "[0, 1]\n", "not numbers of a longer table"
        assert "['after the restart']" in second.run(code.format("")).stdout
        assert second.run("df = %llm_usage --all\nprint(len(df))").stdout.endswith("\n3\n")


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("--all --notebook", "--all and --notebook contradict each other"),
        ("--by model --full", "--full would have no effect"),
        ("--since yesterdy", "since='yesterdy' is not a date. Use 2026-11-23"),
        ("--status eror", "There is no status 'eror'. Did you mean 'error'?"),
        ("--tag x", "--tag needs KEY=VALUE"),
        ("--csv /no/such/folder/x.csv", "cannot be written"),
        ("everything", "cannot use 'everything'"),
        ("--by modle", "Did you mean 'model'?"),
    ],
)
def test_a_mistake_in_usage_is_one_sentence(kernel, fake, line, sentence):
    ran = kernel.run(f"%llm_usage {line}")
    assert ran.status == "error"
    assert sentence in ran.error
    assert len(ran.traceback) == 1


# ---- models ------------------------------------------------------------------------------------------


def test_models_shows_what_each_server_has_with_window_and_price(own_settings, fake):
    with FakeLLM(models=["big", "small"]) as lab, FakeLLM(api_key="right") as strict:
        (own_settings / "config.toml").write_text(
            f'[endpoints.strict]\nbase_url = "{strict.base_url}"\napi_key_env = "STRICT_KEY"\n'
            f'[endpoints.lab]\nbase_url = "{lab.base_url}"\ninput_usd_per_mtok = 1.5\noutput_usd_per_mtok = 6\n'
            '[endpoints.gone]\nbase_url = "http://127.0.0.1:9/v1"\n[aliases]\nfast = "lab/small"\n'
        )
        environment = {
            "IPYLLM_MODEL": "lab/big",
            "OPENAI_BASE_URL": fake.base_url,
            "IPYLLM_LEDGER": str(own_settings / "l.sqlite"),
            "IPYLLM_CONFIG": str(own_settings / "config.toml"),
            "STRICT_KEY": "mistyped",
        }
        with LiveKernel(**environment) as kernel:
            kernel.run("%load_ext ipyllm")
            kernel.run("df = %llm_models")
            rows = json.loads(kernel.run("print(df.set_index('model').to_json(orient='index'))").stdout)
            html = kernel.run("df").html
    assert rows["lab/big (default)"]["state"] == "reachable"
    assert rows["lab/small"]["input_usd_per_mtok"] == 1.5
    assert rows["gone/…"]["state"] == "unreachable"
    assert "cannot be reached" in rows["gone/…"]["note"]
    assert rows["strict/…"]["state"] == "refused", "there is a key"
    assert rows["deepseek/…"]["state"] == "no key"
    assert "DEEPSEEK_API_KEY" in rows["deepseek/…"]["note"]
    assert "api_key=" not in rows["deepseek/…"]["note"], "magics do not take it"
    assert "<th>input_<wbr>usd_<wbr>per_<wbr>mtok</th>" in html
    assert rows["local/smollm2-135m"]["input_usd_per_mtok"] == 0.0
    assert rows["local/smollm2-135m"]["window"] == 8192
    assert rows["fast"]["note"] == "for lab/small"


def test_a_server_that_hangs_does_not_hold_up_the_others(kernel, fake):
    fake.serve("/v1/models", status(200, {"data": []}, delay=1000))
    try:
        shown = kernel.run("%llm_models --timeout 0.5").text
        assert "OpenAI did not answer within 0.5 s" in shown
        assert "local/smollm2-135m" in shown
    finally:
        fake.serve("/v1/models", status(200, {"data": [{"id": "fake-model"}]}))


@pytest.mark.parametrize(
    "reply",
    [status(200, "<html>"), status(200, {"error": "none"}), status(401, {"error": {"message": f"bad key {KEY}"}})],
)
def test_a_server_that_answers_with_something_else_is_a_row_with_a_sentence(kernel, fake, reply):
    fake.serve("/v1/models", reply)
    try:
        ran = kernel.run("df = %llm_models\nprint([n for n in df[df.model.str.startswith('openai')].note])")
        assert ran.status == "ok"
        assert KEY not in ran.stdout
        assert "list of models" in ran.stdout or "key" in ran.stdout
    finally:
        fake.serve("/v1/models", status(200, {"data": [{"id": "fake-model"}]}))


def test_a_hostile_models_name_is_shown_as_text(kernel, fake):
    fake.serve("/v1/models", status(200, {"data": [{"id": "<img src=x onerror=alert(1)>\x1b]0;x\x07"}]}))
    try:
        ran = kernel.run("%llm_models")
        assert "<img" not in ran.html
        assert "\x1b" not in ran.text
    finally:
        fake.serve("/v1/models", status(200, {"data": [{"id": "fake-model"}]}))


# ---- config ------------------------------------------------------------------------------------------


def test_config_shows_every_setting_where_it_comes_from_and_no_key(kernel, fake):
    ran = kernel.run("df = %llm_config\nprint(df.set_index('setting').to_json(orient='index'))")
    rows = json.loads(ran.stdout)
    assert rows["timeout"] == {"value": "None", "from": "default"}
    assert rows["openai_base_url"]["from"] == "environment (OPENAI_BASE_URL)"
    assert rows["openai_api_key"]["value"] == "(a key, not shown)"
    assert KEY not in ran.stdout
    assert KEY not in kernel.run("%llm_config openai_api_key").text


def test_config_says_where_its_file_is(kernel, fake):
    (row,) = kernel.run("%llm_config config.toml").text.splitlines()[1:]
    assert "config.toml" in row.split()[1]
    assert row.endswith(("IPYLLM_CONFIG; there is no such file yet", "IPYLLM_CONFIG"))


def test_a_setting_for_this_kernel_holds_at_once_and_can_be_given_back(kernel, fake):
    assert kernel.run("%llm_config timeout 7").stdout == "timeout is now 7.0 in this kernel.\n"
    assert kernel.run("from ipyllm.settings import get_settings\nprint(get_settings().timeout)").stdout == "7.0\n"
    assert "%llm_config, for this kernel" in kernel.run("%llm_config timeout").text
    assert kernel.run("%llm_config --unset timeout").stdout == "timeout is None again; its source is: default.\n"
    kernel.run("%llm_config aliases.quick openai/quick-model")
    kernel.run("%llm --no-history -m quick Hello")
    assert fake.requests[-1].json["model"] == "quick-model"
    kernel.run("%llm_config --unset aliases")


def test_a_setting_is_saved_and_the_rest_of_the_file_is_left_alone(own_settings):
    config = own_settings / "config.toml"
    config.write_text('# mine\nmax_retries = 1  # few\n\n[aliases]\nfast = "openai/a"\n')
    config.chmod(0o600)
    environment = {"IPYLLM_CONFIG": str(config), "IPYLLM_LEDGER": str(own_settings / "l.sqlite")}
    with LiveKernel(**environment) as kernel:
        kernel.run("%load_ext ipyllm")
        assert kernel.run("%llm_config timeout 30 --save").stdout.startswith(
            "timeout is now 30.0, in this kernel and in"
        )
        assert kernel.run("%llm_config --save aliases.slow openai/b").status == "ok"
    text = config.read_text()
    assert text.startswith("# mine\nmax_retries = 1  # few\n")
    assert "timeout = 30.0" in text
    assert 'fast = "openai/a"\nslow = "openai/b"' in text
    assert config.stat().st_mode & 0o777 == 0o600
    with LiveKernel(**environment) as kernel:
        kernel.run("%load_ext ipyllm")
        assert "config.toml" in kernel.run("%llm_config timeout").text


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("timeot 30", "There is no setting 'timeot'. Did you mean 'timeout'?"),
        ("timeot", "There is no setting 'timeot'. Did you mean 'timeout'?"),
        ("timeout soon", "for the setting timeout"),
        ("timeout -5", "for the setting timeout"),
        ("model olama/x", "did you mean 'ollama/x'?"),
        (f"openai_api_key {KEY}", "Don't put keys in a notebook"),
        ("aliases fast", "Use %llm_config aliases.NAME VALUE."),
        ("timeout.x 3", "timeout is a single setting"),
        ("endpoints.lab {base_url: 3}", "looks like JSON but is not"),
        ('endpoints.lab {"base_ur": "x"}', "endpoints.lab.base_ur. Did you mean 'base_url'?"),
        ("--unset max_retries", "was not changed by %llm_config in this kernel"),
        ("--unset", "takes the name of one setting"),
        ("--save", "--save would have no effect"),
    ],
)  # fmt: skip
def test_a_mistake_in_config_is_one_sentence_and_changes_nothing(kernel, fake, line, sentence):
    before = kernel.run("%llm_config").text
    ran = kernel.run(f"%llm_config {line}")
    assert ran.status == "error"
    assert sentence in ran.error
    assert KEY not in ran.error
    assert len(ran.traceback) == 1
    assert kernel.run("%llm_config").text == before


# ---- explain -----------------------------------------------------------------------------------------


def asked(fake):
    return fake.requests[-1].json["messages"][-1]["content"]


def test_explain_sends_the_error_its_code_and_types_but_no_values(kernel, fake):
    kernel.run("import pandas as pd\nsecret_table = pd.DataFrame({'a': [1234567]})\nword = 'confidential'")
    assert kernel.run("secret_table['b'] + word").status == "error"
    fake.default = answer("There is no column b.")
    ran = kernel.run("%llm_explain")
    assert ran.status == "ok"
    assert "There is no column b." in ran.text
    assert "KeyError" in asked(fake)
    assert "secret_table['b'] + word" in asked(fake)
    assert "- secret_table: pandas.DataFrame of shape (1, 1)" in asked(fake) or "DataFrame of shape (1, 1)" in asked(
        fake
    )
    assert "- word: str of length 12" in asked(fake)
    assert "1234567" not in asked(fake)
    assert "confidential" not in asked(fake)
    assert len(fake.requests[-1].json["messages"]) == 1, "an error is no turn of a conversation"


def test_explain_sends_values_when_asked_and_takes_a_question_and_options(kernel, fake):
    kernel.run("word = 'confidential'")
    kernel.run("int(word)")
    ran = kernel.run("%llm_explain --values -m openai/other -t 0 Which line is it?")
    assert ran.status == "ok"
    assert fake.requests[-1].json["model"] == "other"
    assert asked(fake).startswith("Which line is it?")
    assert "- word: str = 'confidential'" in asked(fake)


def test_explain_masks_keys(kernel, fake):
    kernel.run(f"token = '{KEY}'\n1 / 0 if token else 0")
    kernel.run("%llm_explain --values")
    assert "ZeroDivisionError" in asked(fake)
    assert KEY not in asked(fake)


def test_explain_without_an_error_is_one_sentence(own_settings, fake):
    with LiveKernel(IPYLLM_CONFIG=str(own_settings / "c.toml"), OPENAI_BASE_URL=fake.base_url) as kernel:
        kernel.run("%load_ext ipyllm")
        kernel.run("%llm_usage --nonsense")
        ran = kernel.run("%llm_explain")
        assert ran.error == "There is no error to explain: no cell has failed yet."


def test_explain_can_show_what_it_would_send(kernel, fake):
    kernel.run("1 / 0")
    fake.clear()
    ran = kernel.run("%llm_explain --dry-run")
    assert ran.status == "ok"
    assert "ZeroDivisionError" in ran.stdout
    assert fake.requests == []


def test_a_value_whose_repr_fails_does_not_stop_the_explanation(kernel, fake):
    kernel.run("class Bad:\n    def __repr__(self): raise RuntimeError('no')\n    __str__ = __repr__\nbad = Bad()")
    kernel.run("bad + 1")
    assert kernel.run("%llm_explain --values").status == "ok"
    assert "bad" in asked(fake)
