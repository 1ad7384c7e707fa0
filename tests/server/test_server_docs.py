"""docs/server.md: its commands are answered, its tables are those of the code."""

import http.cookiejar
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import HTTPCookieProcessor, build_opener

import pytest

from ipyllm_server.app import ChatServer
from tests.fakes import FakeLLM, answer
from tests.server.chat_server import ChatServerProcess
from tests.server.classroom import TOKENS

pytestmark = pytest.mark.timeout(400)  # the first test starts a server

PAGE = (Path(__file__).parents[2] / "docs" / "server.md").read_text(encoding="utf-8")
COMMANDS = [code for code in re.findall(r"```console\n(.*?)```", PAGE, re.DOTALL) if "$URL" in code]


@pytest.mark.parametrize("command", COMMANDS, ids=["curl", "openai"])
def test_commands_are_answered(command, server, model):
    model.reply(answer("Four."))
    command = command.replace("local/smollm2-135m", "lab/tiny").replace("python -c", f"{sys.executable} -c")
    variables = {**os.environ, "URL": server.url, "TOKEN": TOKENS["ana"]}
    ended = subprocess.run(["sh", "-c", command], env=variables, capture_output=True, text=True, check=False)
    assert "Four." in ended.stdout, ended.stderr


def blocks(language):
    """Programs of the page that ask the server; local/smollm2-135m stands for the test's model."""
    found = re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)
    return [code.replace("local/smollm2-135m", "lab/tiny") for code in found if "/ipyllm/" in code]


def run(command, server):
    variables = {**os.environ, "URL": server.url, "TOKEN": TOKENS["ana"]}
    ended = subprocess.run(command, env=variables, capture_output=True, text=True, check=False, timeout=100)
    assert ended.stdout.strip() == "Two and two are four.", ended.stderr


@pytest.mark.thorough
@pytest.mark.parametrize(
    "program",
    [code for code in blocks("python") if "c.Spawner" not in code],
    ids=["http", "websocket"],
)
def test_programs_in_python_print_the_answer(program, server, model):
    model.reply(answer("Two and two are four.", gap=0.01))
    run([sys.executable, "-c", program], server)


@pytest.mark.thorough
@pytest.mark.skipif(shutil.which("node") is None, reason="NO NODE FOUND: the example in JavaScript was not run")
def test_the_program_in_javascript_prints_the_answer(server, model):
    model.reply(answer("Two and two are four.", gap=0.01))
    run(["node", "--input-type=module", "-e", blocks("javascript")[0]], server)


@pytest.fixture(scope="module")
def classroom(tmp_path_factory):
    """A server with the identity provider of the page, and its log of requests."""
    home = tmp_path_factory.mktemp("classroom")
    (home / "tokens").write_text("".join(f"{name} {token}\n" for name, token in TOKENS.items()))
    code = "\n".join(
        code for code in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL) if "log_to" in code or "Classroom" in code
    )
    config = home / "config.py"
    config.write_text(code.replace("/etc/chat", str(home)).replace("/var/log", str(home)))
    with FakeLLM() as fake:
        fake.default = answer("Four.")
        with ChatServerProcess(fake, f"--config={config}", has_classroom=False) as server:
            server.json_log, server.fake = home / "chat.jsonl", fake
            yield server


def test_the_identity_provider_of_a_class_tells_its_users_apart(classroom):
    assert classroom.chat(user="ana", conversation="lesson").status == 200
    listed = {
        user: [each["name"] for each in classroom.get("/ipyllm/api/conversations", user=user).json["conversations"]]
        for user in ("ana", "ben")
    }
    assert listed == {"ana": ["lesson"], "ben": []}
    assert classroom.get("/ipyllm/api/health", user=None, token="wrong").status == 403
    assert classroom.get("/ipyllm/api/health", user=None).status == 403


def status_of(browser, *request):
    try:
        return browser.open(*request).status
    except HTTPError as error:
        return error.code


@pytest.mark.parametrize(("typed", "status"), [(TOKENS["ben"], 200), ("wrong", 403)])
def test_a_pupil_logs_in_with_their_token(classroom, typed, status):
    cookies = http.cookiejar.CookieJar()
    browser = build_opener(HTTPCookieProcessor(cookies))
    form = browser.open(f"{classroom.url}/ipyllm/").read().decode()
    (xsrf,) = set(re.findall(r'name="_xsrf" value="([^"]+)"', form))
    status_of(browser, f"{classroom.url}/login", urlencode({"password": typed, "_xsrf": xsrf}).encode())
    assert status_of(browser, f"{classroom.url}/ipyllm/api/conversations") == status


def test_the_log_of_requests_has_those_that_went_well(classroom):
    classroom.get("/ipyllm/api/models", user="ben")
    text = classroom.fake.wait_for(lambda: (t := classroom.json_log.read_text()) and "ModelsHandler" in t and t)
    (line,) = [json.loads(line) for line in text.splitlines() if "ModelsHandler" in line]
    assert (line["user"], line["method"], line["status"]) == ("ben", "GET", 200)


def test_every_route_is_described():
    routes = [
        pattern.partition("(")[0].rstrip("/").replace("\\", "")
        for pattern, _ in ChatServer.routes()
        if "*" not in pattern
    ]
    assert len(routes) > 8
    for route in routes:
        assert any(f"{route}{end}`" in PAGE for end in ("", "/", "/NAME", "/FILE")), route


def test_every_option_is_described_with_its_default():
    rows = dict(re.findall(r"^\| `(\w+)` \| ([^|]+) \|", PAGE.partition("## Limits")[2], re.MULTILINE))
    own = ChatServer.class_own_traits(config=True)
    assert rows.keys() == own.keys()
    for name, trait in own.items():
        if isinstance(trait.default_value, int | float) and not isinstance(trait.default_value, bool):
            assert float(rows[name].replace(",", "")) == trait.default_value, name
