"""The conversation that ``%%llm_compare`` follows: what fits the smallest window, said and priced, for all arms."""

from __future__ import annotations

import pytest

from tests.magics.printed import said

LOCAL = "local/smollm2-135m"


@pytest.fixture
def long_talk(prepared, kernel_fake):
    """A conversation of twenty turns, too long for the embedded model, whose window is made small."""
    fill = (
        "from ipyllm.conversations.history import conversation\n"
        "talk = conversation('long')\ntalk.clear()\n"
        "talk.add_message('system', 'Be brief.')\n"
        "for turn in range(20):\n"
        "    talk.add_message('user', f'Question {turn}. ' + 'word ' * 20)\n"
        "    talk.add_message('assistant', f'Answer {turn}. ' + 'word ' * 20)\n"
        "os.environ['IPYLLM_LOCAL_CTX'] = '1024'"
    )
    assert prepared.run(fill).status == "ok"
    yield
    prepared.run("os.environ.pop('IPYLLM_PRICES', None); os.environ.pop('IPYLLM_LOCAL_CTX')")
    prepared.run("import ipyllm.embedded; ipyllm.embedded.stop_all()")


@pytest.mark.thorough
@pytest.mark.local_model
def test_all_arms_go_on_from_what_fits_the_smallest_window_and_it_is_said(compare, long_talk, prepared):
    ran, [sent] = compare("-c long -o outcome --max-tokens 8", models=f"-m openai/a -m {LOCAL}")
    assert said(prepared, "list(outcome.status)") == "['ok', 'ok']", "what was left is no more than the window"
    assert said(prepared, "_llm_compare.arms[0].request.messages == _llm_compare.arms[1].request.messages") == "True"
    contents = [message["content"][:12] for message in sent["messages"]]
    assert contents[0] == "Be brief."
    assert contents[-2:] == ["Answer 19. w", "Hello"]
    assert contents[1].startswith("Question"), "whole turns are left out"
    assert 6 < len(contents) < 40
    assert ran.stderr.startswith("The oldest ")


def test_nothing_is_left_out_where_no_window_is_too_small(compare, long_talk):
    ran, (first, second) = compare("-c long")
    assert len(first["messages"]) == len(second["messages"]) == 42
    assert ran.stderr == ""


@pytest.mark.local_model
def test_the_longest_answer_and_the_longest_system_message_that_are_varied_count_too(compare, long_talk):
    def turns(varied):
        page = compare(f"-c long --dry-run --vary {varied}", models=f"-m {LOCAL}")[0].stdout
        return max(part.count("user: Question") for part in page.split("──"))

    usual = turns("seed=1,2")
    assert 0 < turns("max_tokens=10,900") < usual
    assert 0 < turns(f'\'system="Brief.","{"kind " * 200}"\'') < usual


@pytest.mark.local_model
def test_a_dry_run_says_what_would_be_left_out_and_what_all_would_cost(compare, long_talk, prepared):
    price = '{"openai/gpt-6-sol": {"input_usd_per_mtok": 2.5, "output_usd_per_mtok": 10}}'
    prepared.run(f"os.environ['IPYLLM_PRICES'] = {price!r}")
    ran, sent = compare("-c long --dry-run --max-tokens 100", models=f"-m openai/gpt-6-sol -m {LOCAL} -m openai/own")
    assert sent == []
    assert "The oldest " in ran.stdout
    assert ran.stderr == ""
    assert "not added to the conversation 'long'" in ran.stdout
    a, b, c = (block for block in ran.stdout.split("\n\n") if block.startswith(("A · ", "B · ", "C · ")))
    assert "cost    at most $" in a
    assert "cost    free" in b
    assert "context window 1,024" in b
    assert "cost    unknown" in c
    assert "plus the unknown cost of 1 of 3 arms" in ran.stdout
    free, _ = compare("--dry-run --max-tokens 100", models=f"-m {LOCAL} -m openai/own")
    assert "unknown for 1 of 2 arms, free for the others" in free.stdout
