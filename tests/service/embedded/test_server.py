"""The server of an embedded model: loaded once, reachable only with its key, exits with its parent."""

from __future__ import annotations

import http.client
import json
import os
import signal
import sqlite3
import sys
import threading
import time
from contextlib import closing

import psutil
import pytest

from ipyllm.embedded import get, is_running, start, stop_all
from ipyllm.errors import LLMError
from ipyllm.text.redact import redact
from ipyllm.text.secrets import value_of
from tests.stalls import again_if_stalled

from .conftest import eventually, python

pytestmark = pytest.mark.local_model


@pytest.fixture(scope="module")
def server(gguf):
    """One model for all questions of this file that do not end it."""
    running = start(gguf)
    yield running
    running.stop()


def ask(server, path, body=None, *, key=None, **headers):
    """Return status, headers and body as a dict."""
    connection = http.client.HTTPConnection(server.base_url.split("/")[2], timeout=60)
    try:
        given = {"Authorization": f"Bearer {key or value_of(server.api_key)}", "Content-Type": "application/json"}
        method, data = ("GET", None) if body is None else ("POST", json.dumps(body))
        connection.request(method, path, data, {**given, **headers})
        response = connection.getresponse()
        return response.status, response.headers, json.loads(response.read())
    finally:
        connection.close()


def chat(server, prompt, **params):
    body = {"messages": [{"role": "user", "content": prompt}], "max_tokens": 8, "temperature": 0, **params}
    return ask(server, "/v1/chat/completions", body)


def refused(path):
    with pytest.raises(LLMError) as caught:
        start(path)
    assert "\n" not in str(caught.value)
    return caught.value.category, str(caught.value)


def test_it_answers_under_its_public_name_and_counts_tokens(server):
    status, _, answer = chat(server, "Say hello.")
    assert status == 200
    assert answer["choices"][0]["message"]["content"]
    assert answer["model"] == server.model_name == "smollm2-135m"
    assert answer["usage"]["completion_tokens"] == 8
    assert str(server.model_path.parent) not in json.dumps(answer)


def test_one_call_may_use_the_whole_window(server, gguf):
    assert server.context_window == server.n_ctx == 8192
    assert server.model_path == gguf
    assert server.load_s > 0


def test_only_the_key_opens_it_and_the_key_is_never_shown(server):
    for path in ("/v1/models", "/props", "/slots", "/completion"):
        assert ask(server, path, key="another")[0] in {401, 404, 501}
    status, _, answer = ask(server, "/v1/chat/completions", {"messages": []}, key="another")
    assert (status, answer["error"]["type"]) == (401, "authentication_error")
    assert len(value_of(server.api_key)) >= 43  # 256 bits
    key = value_of(server.api_key)
    assert key not in repr(server)
    assert key not in redact(f"Bearer {key} and {key}")


def test_it_listens_on_loopback_only(server):
    assert server.base_url.startswith("http://127.0.0.1:")
    process = psutil.Process(server._process.pid)
    assert {c.laddr.ip for c in process.net_connections() if c.status == "LISTEN"} == {"127.0.0.1"}


def test_the_key_is_on_no_command_line_and_in_no_environment(server):
    process = psutil.Process(server._process.pid)
    assert value_of(server.api_key) not in " ".join([*process.cmdline(), *process.environ().values()])


def test_no_web_page_is_allowed_to_call_it(server):
    _, headers, _ = ask(server, "/v1/models", Origin="http://evil.example")
    assert headers["Access-Control-Allow-Origin"] == "http://ipyllm.invalid"


def test_a_prompt_over_the_window_is_refused_with_a_reason(server):
    status, _, answer = chat(server, "word " * 9000)
    assert status == 400
    assert answer["error"]["type"] == "exceed_context_size_error"
    assert answer["error"]["n_ctx"] == 8192


def test_a_wrong_parameter_is_refused_with_a_reason(server):
    status, _, answer = chat(server, "Hello", temperature="hot")
    assert (status, answer["error"]["type"]) == (400, "invalid_request_error")
    assert "temperature" in answer["error"]["message"]


def test_a_json_schema_constrains_the_answer(server):
    schema = {
        "type": "object",
        "properties": {"name": {"type": "string", "maxLength": 12}, "age": {"type": "integer", "maximum": 99}},
        "required": ["name", "age"],
        "additionalProperties": False,
    }
    shape = {"type": "json_schema", "json_schema": {"name": "person", "schema": schema}}
    _, _, answer = chat(server, "Invent a person.", max_tokens=100, response_format=shape)
    person = json.loads(answer["choices"][0]["message"]["content"])
    assert isinstance(person["name"], str)
    assert isinstance(person["age"], int)


def test_the_start_of_a_known_prompt_comes_from_the_cache(server):
    prompt = "Tell me about the sea. " * 10
    chat(server, prompt)
    _, _, again = chat(server, prompt)
    assert again["usage"]["prompt_tokens_details"]["cached_tokens"] > 50


def test_a_closed_connection_stops_the_answer(server):
    process = psutil.Process(server._process.pid)
    body = {"messages": [{"role": "user", "content": "Count."}], "stream": True, "ignore_eos": True}
    connection = http.client.HTTPConnection(server.base_url.split("/")[2])
    key = {"Authorization": f"Bearer {value_of(server.api_key)}"}
    connection.request("POST", "/v1/chat/completions", json.dumps({**body, "max_tokens": 7000}), key)
    response = connection.getresponse()
    for _ in range(8):
        response.readline()
    response.close()
    connection.close()

    def idle():
        before = sum(process.cpu_times()[:2])
        time.sleep(0.3)
        return sum(process.cpu_times()[:2]) - before < 0.05

    eventually(idle, seconds=60)


def test_many_callers_get_one_server(gguf, nothing_left_running):
    assert not is_running(gguf)
    servers = []
    threads = [threading.Thread(target=lambda: servers.append(get(gguf))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(servers) == 8
    assert len({id(running) for running in servers}) == 1
    assert is_running(gguf)
    assert get(os.path.relpath(gguf)) is servers[0]


@again_if_stalled(0.05)
def test_loading_leaves_the_interpreter_free(gguf):
    worst, done = 0.0, threading.Event()

    def watch():
        nonlocal worst
        last = time.perf_counter()
        while not done.wait(0.001):
            now = time.perf_counter()
            worst, last = max(worst, now - last), now

    watcher = threading.Thread(target=watch)
    watcher.start()
    running = start(gguf)
    done.set()
    watcher.join()
    running.stop()
    assert worst < running.load_s / 2  # inside this process the whole load was one pause


@pytest.mark.thorough
def test_stopped_and_dead_servers_are_started_anew(gguf, nothing_left_running):
    first = get(gguf)
    stop_all()
    assert not first.alive
    assert "stopped" in repr(first)
    second = get(gguf)
    os.kill(second._process.pid, signal.SIGKILL)
    eventually(lambda: not is_running(gguf))
    assert chat(get(gguf), "Hello")[0] == 200


def test_a_forgotten_server_is_ended(gguf):
    running = start(gguf)
    pid = running._process.pid
    del running
    eventually(lambda: not psutil.pid_exists(pid))


def test_a_server_ends_with_its_owner_even_a_killed_one(gguf):
    script = """
        import sys, time
        from ipyllm.embedded import get
        print(get(sys.argv[1])._process.pid, flush=True)
        time.sleep(1000 if sys.argv[2] == "wait" else 0)
    """
    for end in ("leave", "wait"):
        with python(script, gguf, end) as owner:
            pid = int(owner.stdout.readline())
            if end == "wait":
                owner.kill()
            _, errors = owner.communicate(timeout=60)
        assert errors == ""
        eventually(lambda pid=pid: not psutil.pid_exists(pid), seconds=60)


def test_a_call_that_runs_at_the_exit_is_interrupted_and_its_connection_not_lost(gguf, tmp_path):
    script = """
        import sys, threading
        from ipyllm import create_llm_service
        has_begun = threading.Event()
        def read():
            for _ in create_llm_service("local/smollm2-135m").stream("A long story, please.", max_tokens=4000):
                has_begun.set()
        threading.Thread(target=read, daemon=True).start()
        assert has_begun.wait(60)
    """
    path = tmp_path / "ledger.sqlite"
    with python(script, env=os.environ | {"IPYLLM_LEDGER": str(path)}) as process:
        _, errors = process.communicate(timeout=90)
    assert errors == ""
    with closing(sqlite3.connect(path)) as ledger:
        assert ledger.execute("SELECT status, error_category FROM calls").fetchall() == [("interrupted", None)]


@pytest.mark.thorough
@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_forked_child_starts_its_own_and_leaves_its_parents_alone(gguf):
    script = """
        import gc, os, sys, warnings
        warnings.filterwarnings("ignore", "This process .* is multi-threaded")
        from ipyllm.embedded import get, is_running, stop_all
        mine = get(sys.argv[1])
        child = os.fork()
        if not child:
            assert not is_running(sys.argv[1]) and not mine.alive
            other = get(sys.argv[1])
            assert other.alive and other.base_url != mine.base_url
            mine.stop()
            del mine, other
            sys.exit(0)  # with all that runs at exit
        assert os.waitpid(child, 0)[1] == 0
        assert mine.alive and get(sys.argv[1]) is mine
        print("fine")
    """
    with python(script, gguf) as process:
        assert process.communicate(timeout=60) == ("fine\n", "")


@pytest.mark.thorough
@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_forked_child_that_lives_on_does_not_keep_the_server(gguf):
    script = """
        import os, sys, time, warnings
        warnings.filterwarnings("ignore", "This process .* is multi-threaded")
        from ipyllm.embedded import get
        pid = get(sys.argv[1])._process.pid
        child = os.fork()
        if not child:
            os.close(1), os.close(2)
            time.sleep(1000)
            os._exit(0)
        print(pid, child, flush=True)
        os.kill(os.getpid(), 9)
    """
    with python(script, gguf) as process:
        pid, child = map(int, process.stdout.readline().split())
        process.communicate(timeout=60)
    eventually(lambda: not psutil.pid_exists(pid), seconds=60)
    os.kill(child, signal.SIGKILL)


def test_an_interrupt_while_loading_leaves_no_process(gguf):
    script = """
        import sys
        from ipyllm.embedded import get
        print("loading", flush=True)
        try:
            get(sys.argv[1])
        except KeyboardInterrupt:
            print("interrupted")
    """
    with python(script, gguf) as process:
        process.stdout.readline()
        owner = psutil.Process(process.pid)
        eventually(owner.children)
        loading = owner.children()
        process.send_signal(signal.SIGINT)
        assert process.communicate(timeout=60) == ("interrupted\n", "")
    assert not any(child.is_running() and child.status() != "zombie" for child in loading)


def test_neither_a_load_nor_a_failing_one_prints_anything(gguf, tmp_path):
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(gguf.read_bytes()[:5_000_000])
    script = """
        import sys
        from ipyllm.embedded import get
        from ipyllm.errors import LLMError
        get(sys.argv[1])
        try:
            get(sys.argv[2])
        except LLMError as exc:
            assert exc.category == "bad_request"
    """
    with python(script, gguf, broken) as process:
        assert process.communicate(timeout=60) == ("", "")


def test_a_file_that_is_no_model_is_named_with_the_reason(gguf, tmp_path):
    path = tmp_path / "model.gguf"
    assert refused(path) == ("not_found", f"There is no model file {str(path)!r}.")
    path.write_bytes(b"<html>Sign in</html>")
    sentence = f"{str(path)!r} is not a GGUF file, the only format that llama.cpp can load."
    assert refused(path) == ("bad_request", sentence)
    whole = gguf.read_bytes()
    path.write_bytes(whole[:40_000_000])
    category, sentence = refused(path)
    assert category == "bad_request"
    assert sentence.endswith("data is not within the file bounds, model is corrupted or incomplete.")
    path.write_bytes(whole[:1000])
    assert refused(path)[1].startswith(f"llama.cpp cannot load {str(path)!r}: ")
    path.write_bytes(whole[:4000].replace(b"llama", b"lamma", 1) + whole[4000:])
    assert "unknown model architecture: 'lamma'" in refused(path)[1]


def test_without_xllamacpp_the_sentence_says_what_to_install(gguf, monkeypatch):
    monkeypatch.setitem(sys.modules, "xllamacpp", None)
    category, sentence = refused(gguf)
    assert category == "not_found"
    assert sentence.startswith('Embedded models need xllamacpp: `pip install "ipyllm[local]"`.')
