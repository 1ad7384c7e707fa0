"""Which answers of earlier runs an arm may take: those of the same model at the same address, asked in the same way."""

from __future__ import annotations

import hashlib
import json
import os
import re
from dataclasses import dataclass

import pandas as pd
import pytest

from ipyllm import Experiment, OpenAIService, create_llm_service, fallback, llm_map, pool, split, usage
from ipyllm.comparison.arms import canonical_json, make_arms
from ipyllm.ledger import current_ledger
from tests.fakes import FakeLLM, answer

KEY = "sk-test-Vq3nXw8Lr2Tz6Kd9"


def service(base_url="http://host/v1", model="m", **options):
    return OpenAIService(model, base_url=base_url, api_key=KEY, **options)


def identity(model, params=None, **options):
    (arm,) = make_arms(model, params, **options)
    return arm.identity()


@dataclass
class _Answer:
    word: str


@dataclass
class _Other:
    number: int


def _capital(country: str) -> str:
    """Return the capital of a country."""


def _river(country: str) -> str:
    """Return the longest river of a country."""


def _asked_before(text):
    return [{"role": "user", "content": text}]


DIFFERENT = {
    "host": lambda: (identity(service("http://host/v1")), identity(service("http://other/v1"))),
    "port": lambda: (identity(service("http://host/v1")), identity(service("http://host:81/v1"))),
    "scheme": lambda: (identity(service("http://host/v1")), identity(service("https://host/v1"))),
    "path": lambda: (identity(service("http://host/a/v1")), identity(service("http://host/b/v1"))),
    "API version": lambda: [identity(service(f"http://host/v1?api-version={n}")) for n in (1, 2)],
    "model": lambda: [identity(service(model=name)) for name in "mn"],
    "system prompt": lambda: [identity(service(), system=text) for text in (None, "Be brief.")],
    "seed": lambda: [identity(service(), {"seed": seed}) for seed in (1, 2)],
    "seed of the service": lambda: [identity(service(seed=seed)) for seed in (1, 2)],
    "effort": lambda: [identity(service(), {"effort": effort}) for effort in ("low", "high")],
    "verbosity": lambda: [identity(service(), {"verbosity": verbosity}) for verbosity in ("low", "high")],
    "service tier": lambda: [identity(service(), {"service_tier": tier}) for tier in ("flex", "priority")],
    "extra_body": lambda: [identity(service(), {"extra_body": {"k": n}}) for n in (1, 2)],
    "headers of the call": lambda: [identity(service(), {"extra_headers": {"x-lane": n}}) for n in "ab"],
    "headers of the service": lambda: [identity(service(default_headers={"x-lane": n})) for n in "ab"],
    "schema": lambda: [identity(service(), {"schema": schema}) for schema in (_Answer, _Other)],
    "repairs": lambda: [identity(service(), {"schema": _Answer, "repairs": n}) for n in (0, 3)],
    "tools": lambda: [identity(service(), {"tools": [tool]}) for tool in (_capital, _river)],
    "history": lambda: [identity(service(), conversation_history=_asked_before(text)) for text in ("4?", "5?")],
    "servers of a pool": lambda: [identity(pool("http://one/v1", f"http://{n}/v1", model="m")) for n in ("two", "six")],
    "order of a fallback": lambda: [
        identity(fallback(*(service(f"http://{name}/v1") for name in names))) for names in ("ab", "ba")
    ],
    "weights of a split": lambda: [identity(split({service(): 1, service(model="n"): n})) for n in (1, 3)],
    "parameters in a route": lambda: [identity(fallback(service(seed=seed))) for seed in (1, 2)],
}


@pytest.mark.parametrize("what", DIFFERENT)
def test_whatever_changes_an_answer_makes_another_arm(what):
    one, other = DIFFERENT[what]()
    assert one != other
    json.dumps(one)


SAME = {
    "spelling": lambda: [service(address) for address in ("http://host/v1", "HTTP://Host:80/v1/")],
    "keys": lambda: [service(address) for address in ("http://host/v1?key=secret-1", "http://me:secret@host/v1")],
    "who asks": lambda: [service(default_headers={"x-request-id": n}) for n in "ab"],
    "time limits and retries": lambda: [service(timeout=n, max_retries=n) for n in (1, 2)],
    "order of a pool": lambda: [pool(*(f"http://{name}/v1" for name in names), model="m") for names in ("ab", "ba")],
}


@pytest.mark.parametrize("what", SAME)
def test_what_changes_no_answer_makes_no_other_arm(what):
    one, other = map(identity, SAME[what]())
    assert one == other
    assert "secret" not in str(one)


def test_another_file_in_the_place_of_an_embedded_model_is_another_arm(tmp_path):
    file = tmp_path / "tiny.gguf"
    file.write_bytes(b"GGUF one")
    before = identity(f"local/{file}")
    assert before == identity(f"local/{file}")
    file.write_bytes(b"GGUF two")
    os.utime(file, ns=(1, 1))
    assert before != identity(f"local/{file}")


def test_the_api_that_the_settings_choose_is_part_of_an_arm(own_settings):
    entry = '[endpoints.lab]\nbase_url = "http://host/v1"\nmodel = "m"\n'
    (own_settings / "config.toml").write_text(entry)
    before = identity(create_llm_service("lab"))
    (own_settings / "config.toml").write_text(f'{entry}api = "responses"\n')
    assert before != identity(create_llm_service("lab"))


@pytest.mark.parametrize(
    ("addresses", "shown"),
    [
        (["http://one:8000/v1", "http://two:8000/v1"], ["m @ one:8000", "m @ two:8000"]),
        (["http://host/a/v1", "http://host/b/v1"], ["m @ host/a/v1", "m @ host/b/v1"]),
        (["http://host/v1", "https://host/v1"], ["m @ http://host/v1", "m @ https://host/v1"]),
        (["http://host/v1", "http://other/v1", "http://host/b/v1"], ["m @ host/v1", "m @ other", "m @ host/b/v1"]),
        (["http://host/v1"], ["m"]),
    ],
    ids=["hosts", "paths", "schemes", "mixed", "one"],
)
def test_labels_show_as_much_of_an_address_as_tells_arms_apart(addresses, shown):
    assert [arm.label for arm in make_arms([service(address) for address in addresses])] == shown


@pytest.fixture
def two_paths(server, monkeypatch):
    """Return models of one name at two paths of one server."""
    monkeypatch.setenv("OPENAI_API_KEY", "no-key-needed")
    base = server.base_url.removesuffix("/v1")
    for name in "ab":
        server.serve(f"/{name}/v1/chat/completions", answer(f"from {name}"))
    return [OpenAIService("m", base_url=f"{base}/{name}/v1", max_retries=0) for name in "ab"]


def test_two_paths_of_one_server_are_two_arms(server, two_paths):
    results = Experiment(["so", "la"], models=two_paths, warmup=0).run(progress=False)
    assert len(server.requests) == 4
    assert results.calls.groupby("response")["address"].agg(set).to_dict() == {
        f"from {name}": {two_paths[index].base_url()} for index, name in enumerate("ab")
    }
    assert results.calls.groupby("arm")["response"].nunique().tolist() == [1, 1]


def test_after_a_change_of_the_address_the_other_server_is_asked_and_it_is_said(server, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "no-key-needed")
    make = lambda: Experiment(["so", "la"], models="openai/m", warmup=0)  # noqa: E731
    with FakeLLM() as other:
        other.on(lambda _: answer("from the other"))
        monkeypatch.setenv("OPENAI_BASE_URL", server.base_url)
        make().run(progress=False)
        monkeypatch.setenv("OPENAI_BASE_URL", other.base_url)
        with pytest.warns(UserWarning, match="has changed") as said:
            results = make().run(progress=False)
        assert set(results.calls["response"]) == {"from the other"}
        assert f"calls of arm 'm' at another address, {server.base_url} (2 calls)" in str(said[0].message)
        monkeypatch.setenv("OPENAI_BASE_URL", server.base_url)
        with pytest.warns(UserWarning, match=re.escape(f"at another address, {other.base_url}")):
            assert set(make().run(progress=False).calls["response"]) == {"SO", "LA"}
        assert (len(server.requests), len(other.requests)) == (2, 2)


def test_a_column_of_answers_does_not_take_those_of_another_server(server, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "no-key-needed")
    with FakeLLM() as other:
        other.on(lambda _: answer("other"))
        for address, found in ((server.base_url, "SO"), (other.base_url, "other"), (server.base_url, "SO")):
            monkeypatch.setenv("OPENAI_BASE_URL", address)
            assert list(llm_map(pd.Series(["so"]), model="openai/m", progress=False)) == [found]
        assert (len(server.requests), len(other.requests)) == (1, 1)


# ---- rows of earlier versions, which have only the host of an address


def as_earlier_version(experiment, endpoint=None):
    """Rewrite the rows of an experiment as the version before wrote them."""
    key_of = {trial.key: key for key, trials in experiment.grid.earlier_keys.items() for trial in trials}
    ledger = current_ledger()
    for row in usage(kernel=None, experiment=experiment.name).to_dict("records"):
        tags = {**row["tags"], "cell": key_of[row["tags"]["cell"]], "grid": experiment.grid.earlier_signature}
        changed = {"address": None, "machine": None, "concurrency": None, "tags": tags}
        ledger.put({"call_id": row["call_id"], **changed, **({"endpoint": endpoint} if endpoint else {})})
    assert ledger.flush(30)


def test_answers_of_an_earlier_version_are_taken_from_the_same_host_and_it_is_said(model, server):
    experiment = Experiment(["so", "la"], models=model(), warmup=0)
    experiment.run(progress=False)
    as_earlier_version(experiment)
    with pytest.warns(UserWarning, match="earlier version") as said:
        results = Experiment(["so", "la"], models=model(), warmup=0).run(progress=False)
    assert str(said[0].message) == (
        "2 answers of an earlier version of ipyllm, which noted only the host of an address, are taken as from "
        f"{server.base_url}."
    )
    assert len(server.requests) == 2
    assert results.undone == 0


def test_answers_of_an_earlier_version_from_another_host_are_not_taken(model, server):
    experiment = Experiment(["so", "la"], models=model(), warmup=0)
    experiment.run(progress=False)
    as_earlier_version(experiment, endpoint="elsewhere:8000")
    with pytest.warns(UserWarning, match=r"calls of arm 'a' at another address, elsewhere:8000 \(2 calls\)"):
        Experiment(["so", "la"], models=model(), warmup=0).run(progress=False)
    assert len(server.requests) == 4


def test_answers_of_an_earlier_version_that_two_arms_could_have_given_are_not_taken(server, two_paths):
    experiment = Experiment(["so"], models=two_paths, warmup=0)
    experiment.run(progress=False)
    as_earlier_version(experiment)
    with pytest.warns(UserWarning, match="2 calls of an earlier version of ipyllm are left out: only the host"):
        Experiment(["so"], models=two_paths, warmup=0).run(progress=False)
    assert len(server.requests) == 4


def test_a_column_of_answers_of_an_earlier_version_is_taken_from_the_same_host(model, server):
    service = model()
    (arm,) = make_arms(service, None, "Sing.")
    earlier = [arm.earlier_identity(), list(arm.request.messages), None]
    name, key = (
        hashlib.sha256(canonical_json(each).encode()).hexdigest() for each in ([earlier, None], [earlier, "so"])
    )
    row = {"call_id": "01", "experiment": f"map-{name[:12]}", "tags": {"cell": key[:24]}, "status": "ok"}
    host = server.base_url.removeprefix("http://").removesuffix("/v1")
    for endpoint, found in (("elsewhere:8000", "SO"), (host, "of before")):
        current_ledger().put({**row, "endpoint": endpoint, "response": "of before"})
        assert current_ledger().flush(30)
        assert list(llm_map(pd.Series(["so"]), model=service, system="Sing.", progress=False)) == [found]
        current_ledger().put({"call_id": usage(None)["call_id"].iloc[-1], "status": "error"})
    assert len(server.requests) == 1
