"""``%%llm_compare``, ``%llm_history`` and the rest of the family on a kernel of ipykernel 6."""

from __future__ import annotations

import pytest

from tests.fakes import answer, drip
from tests.magics.commands import test_llm_ipykernel6

pytestmark = [pytest.mark.thorough, pytest.mark.timeout(400)]  # the first one builds an environment

kernel = test_llm_ipykernel6.kernel  # the fixture


def test_models_stand_side_by_side_and_one_is_voted_for(kernel, kernel_fake):
    kernel_fake.default = answer("It is **Bern**.")
    ran = kernel.run("%%llm_compare -m openai/one -m openai/two -o table\nWhich capital?")
    assert ran.status == "ok"
    assert kernel.run("print(list(table.label), set(table.status))").stdout == "['one', 'two'] {'ok'}\n"
    assert kernel.run("%llm_vote A").status == "ok"
    assert kernel.run("from ipyllm import votes\nprint(list(votes().outcome))").stdout == "['openai/one']\n"


def test_a_comparison_is_interrupted_and_keeps_what_came(kernel, kernel_fake):
    kernel_fake.default = drip("word ", every=0.02)
    request = kernel.start("%%llm_compare -m openai/one -m openai/two\nWhich capital?")
    kernel_fake.wait_for(lambda: sum(bool(r.sent_ns) for r in kernel_fake.requests) == 2)
    kernel.interrupt()
    ran = kernel.collect(request)
    assert ran.status == "error"
    assert len(ran.traceback) == 1
    counted = "df = %llm_usage --status cancelled\nprint(len(df))"
    assert kernel.run(counted).stdout.endswith("2\n")


def test_a_conversation_is_shown_undone_and_saved(kernel, kernel_fake, tmp_path):
    kernel_fake.default = answer("Bern.")
    kernel.run("%llm -c six Which capital?")
    assert "Bern." in kernel.run("%llm_history -c six").text
    assert kernel.run(f"%llm_history save {tmp_path / 'six.json'} -c six").status == "ok"
    assert kernel.run("%llm_history undo -c six").status == "ok"
    assert "Bern." not in kernel.run("%llm_history -c six").text
    assert kernel.run(f"%llm_history load {tmp_path / 'six.json'} -c six").status == "ok"
    assert "Bern." in kernel.run("%llm_history -c six").text


def test_settings_models_and_an_exception_are_explained(kernel, kernel_fake):
    assert "timeout" in kernel.run("%llm_config").text
    assert kernel.run("%llm_config timeout 33").status == "ok"
    assert "33" in kernel.run("%llm_config timeout").text
    assert "openai" in kernel.run("%llm_models").text
    kernel.run("1 / 0")
    kernel_fake.default = answer("You divided by zero.")
    assert kernel.run("%llm_explain").status == "ok"
    assert "ZeroDivisionError" in kernel_fake.requests[-1].prompt
