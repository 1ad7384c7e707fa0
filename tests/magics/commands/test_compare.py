"""``%%llm_compare`` and ``%llm_vote`` in a real kernel: columns, the table, the vote, and how it stops."""

from __future__ import annotations

import json
import re

import pytest

from ipyllm.rendering.style import COPY_SCRIPT
from tests.fakes import answer, drip, server_error

TABLE = "print(df[['arm', 'label', 'status', 'response']].to_json(orient='records'))"


@pytest.fixture
def fake(kernel_fake):
    """Every model is at this server and says its name."""
    kernel_fake.on(lambda request: answer(f"I am **{request.json['model']}**."))
    return kernel_fake


def rows(kernel):
    return json.loads(kernel.run(TABLE).stdout)


def columns(ran):
    """The HTML of both columns; empty before they are drawn."""
    return [*ran.html.split('<td class="ipyllm-column"')[1:], "", ""][:2]


def displays(ran):
    return [m for m in ran.messages if m["msg_type"] in {"display_data", "update_display_data"}]


def test_answers_stand_in_columns_that_need_no_script_and_in_text_below_each_other(kernel, fake):
    ran = kernel.run("%%llm_compare -m openai/a -m openai/b\nWho?")
    assert ran.status == "ok"
    assert ran.html.count('<td class="ipyllm-column"') == 2
    assert "<strong>a</strong>" in ran.html
    assert "<strong>b</strong>" in ran.html
    assert "grid-template-columns:repeat(auto-fit" in ran.html
    assert "<script" not in ran.html.replace(COPY_SCRIPT, "")
    assert ran.text.index("── A · a ──") < ran.text.index("I am **a**.") < ran.text.index("── B · b ──")
    assert ran.text.count("10 → ") == 2
    assert "%llm_vote" in ran.text


def test_the_outcome_is_a_table_a_variable_and_in_the_ledger(kernel, fake):
    assert kernel.run("%%llm_compare -m openai/a -m openai/b -o df --tag case=1\nWho?", cell_id="c7").status == "ok"
    assert [(row["arm"], row["label"], row["status"], row["response"]) for row in rows(kernel)] == [
        ("A", "a", "ok", "I am **a**."), ("B", "b", "ok", "I am **b**."),
    ]  # fmt: skip
    ask = (
        "import ipyllm\n"
        "found = ipyllm.usage(tags={'comparison': _llm_compare.id})\n"
        "print(sorted(found.model), set(found.origin), set(found.cell_id), [t['case'] for t in found.tags])"
    )
    assert kernel.run(ask).stdout == "['openai/a', 'openai/b'] {'magic'} {'c7'} ['1', '1']\n"


def test_values_are_varied_for_every_model_in_every_combination(kernel, fake):
    line = '%%llm_compare -m openai/a -m openai/b --vary temperature=0,1 --vary \'system="Be brief.","Be kind."\' -o df'
    assert kernel.run(f"{line}\nWho?").status == "ok"
    assert len(rows(kernel)) == 8
    sent = {(r.json["model"], r.json["temperature"], r.json["messages"][0]["content"]) for r in fake.requests}
    assert sent == {(m, t, s) for m in "ab" for t in (0, 1) for s in ("Be brief.", "Be kind.")}


def test_options_templates_and_a_conversation_are_the_same_for_all(kernel, fake):
    fake.on(None)
    kernel.run("%%llm -c talk\nBefore.")
    fake.clear()
    kernel.run("word = 'tea'")
    line = "%%llm_compare -m openai/a -m openai/b -c talk -t 0.5 --max-tokens 9 --stop END -p top_k=3"
    assert kernel.run(f"{line}\nA word: {{{{ word }}}}").status == "ok"
    for request in fake.requests:
        assert [m["content"] for m in request.json["messages"]][0::2] == ["Before.", "A word: tea"]
        assert (request.json["temperature"], request.json["max_tokens"]) == (0.5, 9)
        assert (request.json["stop"], request.json["top_k"]) == (["END"], 3)
    assert "A word" not in kernel.run("%llm_history show -c talk").text


def test_the_notebooks_own_defaults_hold_here_too(kernel, fake):
    kernel.run("%config LLMMagics.temperature = 0.25")
    try:
        kernel.run("%%llm_compare -m openai/a -m openai/b\nWho?")
        assert {request.json["temperature"] for request in fake.requests} == {0.25}
    finally:
        kernel.run("%config LLMMagics.temperature = None")


def test_a_failing_arm_says_so_in_its_column_and_the_others_go_on(kernel, fake):
    fake.on(lambda request: server_error() if request.json["model"] == "bad" else answer("Fine."))
    ran = kernel.run("%%llm_compare -m openai/bad -m openai/good -o df --timeout 60\nGo", timeout=90)
    assert ran.status == "ok"
    assert [row["status"] for row in rows(kernel)] == ["error", "ok"]
    assert 'class="ipyllm-column-error"' in ran.html
    assert "Fine." in ran.text
    assert "Traceback" not in ran.text + ran.stderr


def test_a_failed_arm_is_not_offered_for_the_vote(kernel, fake):
    from tests.fakes import model_not_found

    fake.on(lambda request: model_not_found() if request.json["model"] == "bad" else answer("Fine."))
    ran = kernel.run("%%llm_compare -m openai/a -m openai/bad -m openai/b\nGo")
    assert "Run %llm_vote with one of: A, C, tie, both_bad" in ran.text
    assert "needs one of: A, C, tie, both_bad" in kernel.run("%llm_vote").error
    assert "B has no complete answer, so it is not part of the vote" in kernel.run("%llm_vote B").error
    assert kernel.run("%llm_vote tie").stdout == (
        "Recorded: a tie. B has no complete answer, and so no part in the vote.\n"
    )
    alone = kernel.run("%%llm_compare -m openai/bad -m openai/a\nGo")
    assert "Fine." in alone.text
    assert "%llm_vote" not in alone.text, "one answer is no choice"


def test_when_every_arm_fails_the_cell_fails_so_that_run_all_stops(kernel, fake):
    from tests.fakes import model_not_found

    fake.on(lambda request: model_not_found())
    ran = kernel.run("%%llm_compare -m openai/a -m openai/b\nGo")
    assert ran.status == "error"
    assert ran.error == "Every arm failed; their columns say why."
    assert len(ran.traceback) == 1
    assert ran.html.count("ipyllm-column-error") >= 2


def test_an_interrupt_in_mid_answer_stops_all_and_keeps_all_partials(kernel, fake):
    fake.on(lambda request: drip("word ", every=0.02))
    started = kernel.start("%%llm_compare -m openai/a -m openai/b -o df\nGo")
    six = "word " * 6
    ran = kernel.collect(started, until=lambda ran: all(six in column for column in columns(ran)))
    kernel.interrupt()
    kernel.collect(started, ran=ran)
    assert ran.status == "error"
    assert ran.error == "stopped all 2 arms; the text received so far is saved."
    partials = [row["response"] for row in rows(kernel)]
    assert [row["status"] for row in rows(kernel)] == ["cancelled", "cancelled"]
    assert all(text.count("word") > 5 for text in partials)
    assert ran.text.count("cancelled") == 2
    for text in partials:
        assert text.strip() in ran.text
    ask = "import ipyllm\nprint(list(ipyllm.usage(tags={'comparison': _llm_compare.id}).status))"
    assert kernel.run(ask).stdout == "['cancelled', 'cancelled']\n"
    fake.wait_for(lambda: fake.in_flight == 0)


def test_an_interrupt_before_the_first_token_stops_all(kernel, fake):
    fake.on(lambda request: answer("Late.", ttft=60))
    started = kernel.start("%%llm_compare -m openai/a -m openai/b\nGo")
    fake.wait_for(lambda: len(fake.requests) == 2)
    kernel.interrupt()
    ran = kernel.collect(started)
    assert ran.error == "stopped all 2 arms before any text came."
    fake.wait_for(lambda: fake.in_flight == 0)
    fake.on(None)
    assert kernel.run("%llm And now?").status == "ok"


def test_an_interrupt_while_a_tool_runs_stops_all_arms(kernel, fake):
    fake.on(lambda request: answer("", tool_calls=[("wait", {})]))
    kernel.run("import time\ndef wait() -> str:\n    'Wait.'\n    print('waiting', flush=True)\n    time.sleep(1000)")
    started = kernel.start("%%llm_compare -m openai/a -m openai/b --tools wait\nGo")
    kernel.collect(started, until=lambda ran: "waiting" in ran.stdout)
    kernel.interrupt()
    ran = kernel.collect(started)
    assert ran.error == "stopped all 2 arms before any text came."


def test_an_interrupt_when_one_arm_has_ended_keeps_its_whole_answer(kernel, fake):
    fake.on(lambda request: answer("Done.") if request.json["model"] == "quick" else drip("word ", every=0.05))
    started = kernel.start("%%llm_compare -m openai/quick -m openai/slow -o df\nGo")
    kernel.collect(started, until=lambda ran: "Done." in ran.html and "word" in ran.html)
    kernel.interrupt()
    kernel.collect(started)
    quick, slow = rows(kernel)
    assert (quick["status"], quick["response"]) == ("ok", "Done.")
    assert slow["status"] == "cancelled"


def test_it_is_one_display_that_is_updated_at_most_twenty_times_a_second(kernel, fake):
    text = "\n\n".join(f"Paragraph {i} " + "with words " * 20 for i in range(20))
    fake.on(lambda request: answer(text, chunks=300, gap=0.01))
    ran = kernel.run("%%llm_compare -m openai/a -m openai/b -m openai/c\nGo")
    shown = displays(ran)
    ids = {m["content"]["transient"]["display_id"] for m in shown}
    assert len(ids) == 2, "a head with the style sheet, and the columns"
    times = [m["header"]["date"].timestamp() for m in shown[1:]]
    assert len(times) <= 20 * (times[-1] - times[0]) + 2
    assert ["<style" in m["content"]["data"]["text/html"] for m in shown] == [
        "grid-template" in m["content"]["data"]["text/html"] for m in shown
    ]
    assert sum("<style" in m["content"]["data"]["text/html"] for m in shown) == 2, "at the beginning and at the end"
    for i in range(20):
        assert ran.text.count(f"Paragraph {i} ") == 3


def test_of_long_answers_only_the_newest_part_is_sent_before_the_end(kernel, fake):
    text = "\n\n".join(f"Paragraph {i} " + "with words " * 40 for i in range(60))
    fake.on(lambda request: answer(text, chunks=300, gap=0.01, tail=1000))
    request = kernel.start("%%llm_compare -m openai/a -m openai/b -m openai/c -m openai/d\nGo")
    ran = kernel.collect(request, until=lambda ran: ran.html.count("the start is shown again") == 4)
    fake.skip_pauses()
    kernel.collect(request, ran=ran)
    updates = [m["content"]["data"]["text/html"] for m in displays(ran)[1:]]
    all_cut = [i for i, html in enumerate(updates) if html.count("the start is shown again") == 4]
    assert all_cut, "all four were cut before the end"
    assert max(len(html) for html in updates[: all_cut[-1] + 1]) < 0.5 * len(updates[-1])
    assert "the start is shown again" not in ran.html
    assert ran.html.count("Paragraph 0 ") == 4


def test_a_vote_lands_in_the_ledger_and_shows_in_the_column(kernel, fake):
    compared = kernel.run("%%llm_compare -m openai/a -m openai/b\nWho?")
    display_id = displays(compared)[-1]["content"]["transient"]["display_id"]
    voted = kernel.run("%llm_vote B")
    assert voted.stdout == "Recorded: B (b) is better.\n"
    *_, update = displays(voted)
    assert update["content"]["transient"]["display_id"] == display_id
    assert "✓ preferred" in update["content"]["data"]["text/html"]
    assert kernel.run("%llm_vote tie").stdout == "Recorded: a tie.\n"
    ask = (
        "import ipyllm\nv = ipyllm.votes(comparison=_llm_compare.id)\nprint(list(v.outcome), list(v.origin), *v.blind)"
    )
    assert kernel.run(ask).stdout == "['tie'] ['magic'] False\n"


def test_a_blind_comparison_hides_names_until_the_vote(kernel, fake):
    fake.on(lambda request: answer("The same."))
    ran = kernel.run("%%llm_compare -m openai/alpha -m openai/beta --blind\nWho?")
    sent = json.dumps([m["content"] for m in displays(ran)])
    assert "alpha" not in sent
    assert "beta" not in sent
    voted = kernel.run("%llm_vote A")
    assert re.search(r"\((alpha|beta)\) is better\. The arms were: A = (alpha|beta), B = (alpha|beta)\.", voted.stdout)
    assert "alpha" in displays(voted)[-1]["content"]["data"]["text/html"]
    assert kernel.run("import ipyllm\nprint(*ipyllm.votes(comparison=_llm_compare.id).blind)").stdout == "True\n"


@pytest.mark.parametrize(
    ("cell", "sentence"),
    [
        ("%%llm_compare -m openai/a\nx", "There is nothing to compare openai/a with: name a second model"),
        ("%%llm_compare\nx", "There is nothing to compare openai/fake-model with"),
        ("%%llm_compare -m openai/a -m openai/a\nx", "Two arms are the same: openai/a with no parameters"),
        ("%%llm_compare -m openai/a -m olama/b\nx", "There is no service 'olama'; did you mean 'ollama/b'?"),
        ("%%llm_compare -m openai/a -m openai/b", "The prompt is empty: write it under the %%llm_compare line."),
        ("%%llm_compare -m openai/a -m openai/b\n\n", "The prompt is empty"),
        ("%%llm_compare --vary temperature=0\nx", "--vary needs NAME=VALUE,VALUE"),
        ("%%llm_compare --vary temperature=0,0\nx", "--vary needs different values for temperature"),
        ("%%llm_compare --vary temperature=0,9\nx", "temperature must be a number between 0 and 2, not 9."),
        ("%%llm_compare --vary temprature=0,1\nx", "There is no parameter 'temprature'; did you mean 'temperature'?"),
        (
            "%%llm_compare --vary temperature=0,1 -t 1\nx",
            "temperature is both varied and given; remove one of the two.",
        ),
        ("%%llm_compare --vary seed=0,1 --vary seed=2,3\nx", "was given --vary seed twice"),
        ("%%llm_compare --vary tools=0,1\nx", "tools is not a parameter of the model and cannot be varied."),
        ("%%llm_compare -m openai/a -m openai/b -o 1abc\nx", "-o needs the name of a variable, not '1abc'."),
        ("%%llm_compare -m openai/a -m openai/b -t 0 -t 1\nx", "was given -t twice"),
        ("%%llm_compare -m openai/a -m openai/b --schema Nope\nx", "There is no variable 'Nope' for --schema"),
        ("%%llm_compare -m openai/a -m openai/b --tools nope\nx", "There is no function 'nope' for --tools"),
        ("%%llm_compare -m openai/a -m openai/b --image nope.png\nx", "nope.png"),
        ("%%llm_compare -m openai/a -m openai/b --blnd\nx", "has no option --blnd. Did you mean '--blind'?"),
        ("%%llm_compare -m openai/a -m openai/b -c nowhere\nx", "There is no conversation 'nowhere'"),
        ("%%llm_compare -m openai/a -m openai/b words\nx", "cannot use 'words'"),
        ("%%llm_compare -m openai/a -m openai/b\n{{ nothing_here }}", "The prompt uses {{ nothing_here }}"),
    ],
)
def test_a_mistake_is_one_sentence_and_nothing_is_sent(kernel, fake, cell, sentence):
    ran = kernel.run(cell)
    assert ran.status == "error"
    assert sentence in ran.error
    assert len(ran.traceback) == 1
    assert fake.requests == []


def test_a_vote_without_a_comparison_or_for_nobody_is_one_sentence(kernel, fake):
    kernel.run("globals().pop('_llm_compare', None)")
    assert kernel.run("%llm_vote A").error == "There is no comparison to vote on yet: run %%llm_compare first."
    kernel.run("%%llm_compare -m openai/a -m openai/b\nWho?")
    assert kernel.run("%llm_vote").error == "%llm_vote needs one of: A, B, tie, both_bad."
    assert kernel.run("%llm_vote C").error.startswith("There is no arm 'C' to vote for; there are: A (a)")
    assert kernel.run("%llm_vote none").error == "There is no vote on the last comparison."
    kernel.run("%llm_vote A")
    assert kernel.run("%llm_vote").error == "%llm_vote needs one of: A, B, tie, both_bad, none."
    assert "The vote is withdrawn." in kernel.run("%llm_vote none").stdout
    assert kernel.run("print(_llm_compare.vote_cast)").stdout.strip() == "None"


def test_its_options_and_models_complete(kernel, fake):
    def complete(code):
        msg_id = kernel.client.complete(code)
        while True:
            reply = kernel.client.get_shell_msg(timeout=30)
            if reply["parent_header"].get("msg_id") == msg_id:
                return reply["content"]["matches"]

    assert "--blind" in complete("%%llm_compare --bl")
    assert "--vary" in complete("%%llm_compare -m openai/a --va")


def test_quiet_shows_nothing_and_keeps_everything(kernel, fake):
    ran = kernel.run("%%llm_compare -m openai/a -m openai/b --quiet -o df\nWho?")
    assert ran.outputs == []
    assert len(rows(kernel)) == 2
