"""``-f tokens``: probabilities are asked for, shown, saved, and missed if the server sends none."""

from dataclasses import replace

from tests.fakes import answer


def test_it_asks_for_alternatives_and_shows_them(kernel, kernel_fake):
    kernel_fake.default = answer("one two")
    ran = kernel.run("%%llm --no-history -f tokens -o kept\nHi")
    assert ran.status == "ok"
    sent = kernel_fake.requests[-1].json
    assert (sent["logprobs"], sent["top_logprobs"]) == (True, 5)
    html = ran.html
    assert 'title="␣two 61 %; instead of it: ␣a 22 %' in html
    assert "<script" not in html
    markdown = ran.of("text/markdown")
    assert "2 tokens, perplexity 1.65" in markdown
    kernel.run("%%llm --no-history -f tokens --logprobs 2\nHi")
    assert kernel_fake.requests[-1].json["top_logprobs"] == 2


def test_a_server_that_sends_none_fails_the_cell_and_the_answer_is_shown(kernel, kernel_fake):
    script = answer("one two")
    kernel_fake.default = replace(script, logprobs=([], []))
    ran = kernel.run("%%llm --no-history -f tokens\nHi")
    assert "sent no log probabilities; the answer is in _llm." in ran.error
    assert "one two" in ran.text


def test_the_notebooks_default_format_asks_for_them_too(kernel, kernel_fake):
    kernel.run("%config LLMMagics.format = 'tokens'")
    try:
        ran = kernel.run("%%llm --no-history\nHi")
        assert kernel_fake.requests[-1].json["top_logprobs"] == 5
        assert "ipyllm-tokens" in ran.html
    finally:
        kernel.run("%config LLMMagics.format = 'markdown'")


def test_columns_of_a_comparison_show_them(kernel, kernel_fake):
    ran = kernel.run("%%llm_compare -m openai/fake-model --vary temperature=0,1 -f tokens\nHi")
    assert ran.status == "ok", ran.error
    assert ran.html.count("<fieldset") >= 2
