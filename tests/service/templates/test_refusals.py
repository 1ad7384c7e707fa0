"""What templates may not do: each template of the table is refused by one sentence, and no code of the user's runs."""

from __future__ import annotations

import pytest

from ipyllm.errors import LLMError
from ipyllm.templates.sandbox import SandboxedTemplate, UndefinedNameError
from tests.service.templates.refused_names import ATTRIBUTES, HOSTILE, NAMES
from tests.service.templates.refused_uses import ARGUMENTS, STATEMENTS, TOO_MUCH
from tests.service.templates.variables import effects, variables


def refusal(text, values):
    """Return the sentence by which a template is refused; fail if it is not, or if it is more than a sentence."""
    with pytest.raises((LLMError, UndefinedNameError)) as caught:
        SandboxedTemplate(text).render(values)
    error = caught.value
    sentence = error.sentence("The template", "assign it first.") if hasattr(error, "sentence") else str(error)
    assert getattr(error, "category", "bad_request") == "bad_request"
    assert "\n" not in sentence
    assert len(sentence) < 500
    return sentence


@pytest.fixture(scope="module")
def notebook():
    return variables()


TABLE = {**NAMES, **HOSTILE, **ATTRIBUTES, **ARGUMENTS, **TOO_MUCH, **STATEMENTS}


def test_the_table_is_as_long_as_it_should_be():
    assert len(TABLE) >= 152


@pytest.mark.parametrize(("text", "reason"), TABLE.items(), ids=[text[-60:] for text in TABLE])
def test_what_a_template_may_not_do_is_refused_by_one_sentence(text, reason, notebook):
    effects.clear()
    assert reason in refusal(text, notebook)
    assert effects == [], "code of the user's ran"
