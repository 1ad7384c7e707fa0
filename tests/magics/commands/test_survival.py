"""Nothing is lost: killed kernels, ledgers that cannot be written, two kernels over one ledger."""

from __future__ import annotations

import time
from itertools import pairwise

import pytest

from ipyllm import usage
from ipyllm.ledger import Ledger
from tests.fakes import answer, drip, stall
from tests.kernels import LiveKernel


@pytest.fixture
def start(fake, own_settings):
    """Start kernels that share the fake server and, by default, one ledger."""
    kernels = []

    def begin(ledger=own_settings / "shared.sqlite", *, extension=True):
        live = LiveKernel(
            IPYLLM_MODEL="openai/fake-model",
            OPENAI_BASE_URL=fake.base_url,
            IPYLLM_LEDGER=str(ledger),
            IPYLLM_CONFIG=str(own_settings / "config.toml"),
        )
        kernels.append(live)
        if extension:
            assert live.run("%load_ext ipyllm").status == "ok"
        return live

    yield begin
    for live in kernels:
        live.close()


def saved_words(home, word):
    """How often a word is in the answer that the ledger has now."""
    time.sleep(0.05)
    with Ledger(home / "shared.sqlite") as ledger:
        rows = usage(kernel=None, ledger=ledger)
    return str(rows["response"].iloc[-1]).count(word) if len(rows) else 0


def test_a_killed_kernel_loses_at_most_a_second_and_its_row_reads_interrupted(start, fake, own_settings):
    fake.default = drip("word ", every=0.05)
    kernel = start()
    kernel.start("%%llm\nHello")
    saved, sent = [0], [0]
    for _ in range(4):
        saved.append(fake.wait_for(lambda: (n := saved_words(own_settings, "word")) > saved[-1] and n))
        sent.append(len(fake.requests[-1].sent_ns))
    kernel.kill()
    with Ledger(own_settings / "shared.sqlite") as ledger:
        row = usage(kernel=None, ledger=ledger).iloc[-1]
    assert row.status == "interrupted"
    assert row.prompt == "Hello"
    assert row.response.count("word") >= saved[-1]
    between = [after - before for before, after in pairwise(sent)]
    assert min(between) < 45, "words in 2.25 s: the shortest of four, since a busy machine makes some longer"
    assert row.kernel_id == kernel.kernel_id


def test_a_kernel_killed_while_the_stream_is_silent_keeps_what_came(start, fake, own_settings):
    fake.default = stall("one two three four", after=3)
    kernel = start()
    kernel.start("%%llm\nHello")
    fake.wait_for(lambda: saved_words(own_settings, "three"))
    kernel.kill()
    with Ledger(own_settings / "shared.sqlite") as ledger:
        row = usage(kernel=None, ledger=ledger).iloc[-1]
    assert (row.status, row.response) == ("interrupted", "one two three")


def test_calls_before_load_ext_are_this_kernels_too(start):
    kernel = start(extension=False)
    assert kernel.run("import ipyllm\nipyllm.create_llm_service().chat('Hello')").status == "ok"
    kernel.run("%load_ext ipyllm")
    assert kernel.run("print(len(ipyllm.usage()))").stdout == "1\n"


def test_a_ledger_that_cannot_be_written_warns_once_and_stops_no_answer(start, own_settings):
    (own_settings / "a file").write_text("")
    kernel = start(ledger=own_settings / "a file" / "ledger.sqlite")
    stderrs = []

    def ask():
        ran = kernel.run("%%llm\nHello")
        assert ran.status == "ok"
        assert "Hello from the fake." in ran.text
        stderrs.append(ran.stderr)

    while not any(stderrs):  # the ledger's thread finds it out while cells run
        ask()
    ask()
    ask()
    (warning,) = filter(None, stderrs)
    assert "ledger" in warning
    assert warning.count("\n") == 1
    assert kernel.run("print(len(__import__('ipyllm').usage()))").stdout == f"{len(stderrs)}\n"


@pytest.mark.thorough
def test_two_kernels_share_a_ledger_and_each_sees_its_own(start, fake):
    fake.default = answer("Hi.")
    first, second = start(), start()
    first.run("%llm from the first")
    second.run("%llm from the second\n%llm from the second again")
    ask = "import ipyllm\nprint(list(ipyllm.usage().prompt), len(ipyllm.usage(kernel=None)))"
    assert first.run(ask).stdout == "['from the first'] 3\n"
    assert second.run(ask).stdout == "['from the second', 'from the second again'] 3\n"
