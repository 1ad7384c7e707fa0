"""No part of a comparison is lost: killed kernels, a shared ledger, restarts in an answer, interrupted drawing."""

from __future__ import annotations

import time

import pytest

from ipyllm import usage
from ipyllm.ledger import Ledger
from tests.fakes import answer, drip
from tests.kernels import LiveKernel
from tests.magics.commands.test_compare import columns


@pytest.fixture
def start(fake, own_settings):
    """Start kernels that share the fake server and one ledger."""
    kernels = []

    def begin():
        live = LiveKernel(
            IPYLLM_MODEL="openai/fake-model",
            OPENAI_BASE_URL=fake.base_url,
            IPYLLM_LEDGER=str(own_settings / "shared.sqlite"),
            IPYLLM_CONFIG=str(own_settings / "config.toml"),
        )
        kernels.append(live)
        assert live.run("%load_ext ipyllm").status == "ok"
        return live

    yield begin
    for live in kernels:
        live.close()


def until_saved(fake, path, n_arms):
    """Wait until the ledger has words of so many running calls."""

    def is_saved():
        time.sleep(0.05)
        with Ledger(path) as ledger:
            answers = usage(kernel=None, ledger=ledger)["response"]
        return sum("word" in str(text) for text in answers) == n_arms

    fake.wait_for(is_saved)


@pytest.mark.thorough
def test_a_kernel_killed_in_mid_comparison_keeps_every_arms_partial(start, fake, own_settings):
    fake.default = drip("word ", every=0.05)
    kernel = start()
    kernel.start("%%llm_compare -m openai/a -m openai/b -m openai/c\nGo")
    until_saved(fake, own_settings / "shared.sqlite", 3)
    kernel.kill()
    with Ledger(own_settings / "shared.sqlite") as ledger:
        rows = usage(kernel=None, ledger=ledger)
    assert sorted(rows["model"]) == ["openai/a", "openai/b", "openai/c"]
    assert set(rows["status"]) == {"interrupted"}
    assert all("word" in text for text in rows["response"])


@pytest.mark.thorough
def test_after_a_restart_in_mid_answer_the_next_kernel_compares_and_sees_what_was_cut_off(start, fake, own_settings):
    fake.default = drip("word ", every=0.05)
    first = start()
    first.start("%%llm_compare -m openai/a -m openai/b\nGo")
    until_saved(fake, own_settings / "shared.sqlite", 2)
    first.kill()
    fake.default = answer("Fine.")
    second = start()
    assert second.run("%%llm_compare -m openai/a -m openai/b\nAgain").status == "ok"
    ran = second.run("df = %llm_usage --all\nprint(sorted(df.status))")
    assert "['interrupted', 'interrupted', 'ok', 'ok']" in ran.stdout
    assert second.run("%llm_vote A").status == "ok"


@pytest.mark.thorough
def test_two_kernels_compare_at_once_over_one_ledger_and_each_votes_on_its_own(start, fake):
    fake.default = answer("word " * 20, gap=0.02)
    first, second = start(), start()
    cells = [kernel.start("%%llm_compare -m openai/a -m openai/b\nGo") for kernel in (first, second)]
    assert [k.collect(c).status for k, c in zip((first, second), cells, strict=True)] == ["ok", "ok"]
    assert first.run("%llm_vote A").status == "ok"
    assert second.run("%llm_vote tie").status == "ok"
    code = (
        "from ipyllm import usage, votes\n"
        "print(list(votes().outcome), len(votes(kernel=None)), len(usage(kernel=None)))"
    )
    assert first.run(code).stdout == "['openai/a'] 2 4\n"
    assert second.run(code).stdout == "['tie'] 2 4\n"


def test_a_drawing_that_fails_stops_the_requests_and_keeps_what_came(start, fake):
    fake.default = drip("word ", every=0.02)
    kernel = start()
    hook = (
        "drawn = []\n"
        "def torn(message):\n"
        "    drawn.append(1)\n"
        "    if len(drawn) > 5: raise RuntimeError('the disk is on fire')\n"
        "    return message\n"
        "get_ipython().display_pub.register_hook(torn)"
    )
    assert kernel.run(hook).status == "ok"
    ran = kernel.run("%%llm_compare -m openai/a -m openai/b -o df\nGo")
    assert ran.status == "error"
    assert "the disk is on fire" in ran.error
    fake.wait_for(lambda: fake.in_flight == 0)
    assert kernel.run("print(list(df.status))").stdout == "['cancelled', 'cancelled']\n"


@pytest.mark.thorough
def test_interrupts_in_a_row_while_it_stops_lose_nothing(start, fake):
    fake.default = drip("word ", every=0.02)
    kernel = start()
    cell = kernel.start("%%llm_compare -m openai/a -m openai/b -o df\nGo")
    ran = kernel.collect(cell, until=lambda ran: all("word" in column for column in columns(ran)))
    for _ in range(3):
        kernel.interrupt()
        time.sleep(0.01)
    kernel.collect(cell, ran=ran)
    assert ran.status == "error"
    assert ran.text.count("cancelled") == 2
    assert kernel.run("print(list(df.status), all('word' in t for t in df.response))").stdout == (
        "['cancelled', 'cancelled'] True\n"
    )
