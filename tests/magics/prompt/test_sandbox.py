"""The template sandbox: the same limits in a ``%%llm`` cell and in an Experiment's prompt."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap

import pytest

from ipyllm import Experiment, LLMError, OpenAIService
from ipyllm.templates.sandbox import SandboxedTemplate, UndefinedNameError

SECRETS = ("an-own-key", "given-to-us", "sk-service", "never-told")
HOSTILE = textwrap.dedent("""
    import os, sys, subprocess
    from types import SimpleNamespace
    from pydantic import SecretStr
    from ipyllm import OpenAIService
    from ipyllm.text.redact import remember_secret

    os.environ["LAB_API_KEY"] = "an-own-key-0123456789"
    os.environ["LAB_LOGIN"] = "never-told-not-named-like-a-key"
    remember_secret("given-to-us-0123456789")

    class Holder:
        def __init__(self):
            self.key, self.env = "given-to-us-0123456789", os.environ

    env, copied, getenv, run = os.environ, dict(os.environ), os.getenv, subprocess.check_output
    holder, boxed, box = Holder(), SecretStr("never-told-0123456789"), [os.environ]
    reader, get_ip = open, lambda: None
    service = OpenAIService(api_key="sk-service-0123456789abcdef")
    mapping = {"env": os.environ, "getenv": os.getenv}
    orders = {"city": "Bern"}
    import pandas as pd
    table = pd.DataFrame({"cups": [1, 2]})
""")
NAMES = (
    "os", "sys", "env", "copied", "getenv", "run", "holder", "boxed", "box", "reader", "service", "mapping", "orders",
    "table", "pd",
)  # fmt: skip

ATTEMPTS = [
    "{{ os.environ }}",
    "{{ os.environ['LAB_API_KEY'] }}",
    "{{ os.environ.LAB_API_KEY }}",
    "{{ os.environ.LAB_LOGIN }}",
    "{{ os.getenv('LAB_API_KEY') }}",
    "{{ os.environb }}",
    "{{ os.popen('env').read() }}",
    "{{ os['environ'] }}",
    "{{ os | attr('environ') }}",
    "{{ os.environ | dictsort }}",
    "{{ env }}",
    "{{ env ~ '' }}",
    "{{ '%s' % env }}",
    "{{ dict(env) }}",
    "{{ env.LAB_API_KEY }}",
    "{{ env['LAB_API_KEY'] }}",
    "{{ env.get('LAB_LOGIN') }}",
    "{{ env.items() | list }}",
    "{{ env | items | list }}",
    "{{ env | dictsort }}",
    "{{ env | list }}",
    "{{ env.copy() }}",
    "{% for name in env %}{{ name }}{% endfor %}",
    "{% for value in env.values() %}{{ value }}{% endfor %}",
    "{% set e = env %}{{ e | dictsort }}",
    "{{ box[0].LAB_LOGIN }}",
    "{{ box | first | dictsort }}",
    "{{ box }}",
    "{{ [[box]] }}",
    "{% for e in box %}{{ e }}{% endfor %}",
    "{% for e in box %}{{ e | dictsort }}{% endfor %}",
    "{{ box | map('dictsort') | list }}",
    "{{ box | map(attribute='LAB_LOGIN') | list }}",
    "{{ mapping.env.LAB_LOGIN }}",
    "{{ mapping['env'] | dictsort }}",
    "{{ mapping.getenv('LAB_LOGIN') }}",
    "{{ getenv('LAB_LOGIN') }}",
    "{{ copied }}",
    "{{ copied | tojson }}",
    "{% for c in copied.LAB_API_KEY %}{{ c }}{% endfor %}",
    "{{ run('env', shell=True) }}",
    "{{ reader('/etc/passwd').read() }}",
    "{{ holder.key }}",
    "{{ holder.env.LAB_LOGIN }}",
    "{{ holder.env | dictsort }}",
    "{{ boxed.get_secret_value() }}",
    "{{ boxed._secret_value }}",
    "{{ ''.__class__.__mro__ }}",
    "{{ holder.__init__.__globals__ }}",
    "{{ '{0.__class__}'.format(holder) }}",
    "{{ '{0.env}'.format(holder) }}",
    "{{ sys.modules['os'].environ }}",
    "{{ service._api_key }}",
    "{{ service }}{{ service.__dict__ }}",
    "{{ copied.LAB_API_KEY[::1] }}",
    "{{ pd.io.common.os.environ }}",
    "{{ pd.io.pickle.pickle.loads(b'') }}",
    '{{ pd.read_csv("/proc/self/environ") }}',
    "{{ table.to_csv('/tmp/never-written') }}",
    "{{ __builtins__ }}",
    "{{ __builtins__.get_ipython().getoutput('id -u') }}",
]

# Of IPython itself: only a cell has them.
IPYTHONS = [
    "{{ get_ipython().getoutput('id -u') }}",
    "{{ In }}",
    "{{ Out }}",
    "{{ _ih }}",
    "{{ _oh }}",
    "{{ _dh[0] }}",
    "{{ _i1 }}",
    "{{ exit() }}",
    "{{ open('/etc/passwd').read() }}",
]

MISTAKES = [
    ("{{ ordres }}", "uses {{ ordres }}", "did you mean 'orders'?"),
    ("{{ orders.ciyt }}", "uses 'ciyt' of a dict, which has no such attribute or item", "did you mean 'city'?"),
    ("{{ orders['ciyt'] }}", "uses 'ciyt' of a dict, which has no such attribute or item", "did you mean 'city'?"),
    ("{{ orders", "template does not parse, line 1", "end of print statement"),
    ("{{ orders | nofilter }}", "template does not parse, line 1", "No filter named 'nofilter'"),
    ("{{ 1 / 0 }}", "template failed", "ZeroDivisionError: division by zero"),
    ("{{ orders.key(", "template does not parse, line 1", "unexpected 'end of template'"),
]


@pytest.fixture(scope="module")
def hostile_kernel(kernel):
    assert kernel.run(HOSTILE).status == "ok"
    return kernel


@pytest.fixture
def cell(hostile_kernel, kernel_fake):
    """Ask it in a notebook's cell; return the error's sentence, and what was sent."""

    def ask(prompt):
        ran = hostile_kernel.run(f"%%llm --no-history\n{prompt}")
        output = f"{ran.text}{ran.html}{ran.stdout}{ran.stderr}{''.join(ran.traceback)}"
        assert not any(secret in output for secret in SECRETS), output
        return ran.error or None, [request.prompt for request in kernel_fake.requests]

    return ask


@pytest.fixture
def experiment(server, monkeypatch):
    """Make an experiment's prompt of it; return the error's sentence, and what would be sent."""
    for name in ("LAB_API_KEY", "LAB_LOGIN"):
        monkeypatch.setenv(name, "is set below")  # so that it is put back
    row: dict[str, object] = {}
    exec(HOSTILE, row)
    row = {name: row[name] for name in NAMES}

    def ask(prompt):
        models = [OpenAIService(name, base_url=server.base_url, api_key="no-key-needed") for name in ("a", "b")]
        try:
            made = Experiment([row], prompt, models=models)
        except LLMError as exc:
            error = exc
        else:
            return None, [asked.text for asked in made.grid.prompts]
        assert error.category == "bad_request"
        assert not any(secret in str(error) for secret in SECRETS)
        return str(error), []

    return ask


@pytest.fixture(params=["cell", "experiment"])
def door(request):
    return request.getfixturevalue(request.param)


@pytest.mark.parametrize("attempt", ATTEMPTS)
def test_no_key_and_nothing_of_the_environment_gets_into_a_prompt(door, attempt):
    error, sent = door(attempt)
    assert error is not None, sent
    assert "template" in error
    assert sent == []


@pytest.mark.parametrize("attempt", IPYTHONS)
def test_what_is_ipythons_own_is_no_variable_of_a_prompt(cell, attempt):
    error, sent = cell(attempt)
    assert error is not None, sent
    assert "which is not defined" in error or "because of the underscore at its beginning" in error
    assert sent == []


def test_the_kernel_is_as_it_was_after_all_attempts(hostile_kernel, kernel_fake):
    state = "import os; print(sorted(orders.items()), len(os.environ), os.path.exists('/tmp/never-written'))"
    before = hostile_kernel.run(state).stdout
    for attempt in ATTEMPTS + IPYTHONS:
        hostile_kernel.run(f"%%llm --no-history\n{attempt}")
    assert hostile_kernel.run(state).stdout == before
    assert before.endswith("False\n")


@pytest.mark.parametrize(("prompt", "what", "hint"), MISTAKES)
def test_a_mistake_is_one_sentence_with_what_was_meant(door, prompt, what, hint):
    error, sent = door(prompt)
    assert what in error
    assert hint in error
    assert "\n" not in error
    assert sent == []


@pytest.mark.parametrize(
    ("prompt", "text"),
    [
        ('{"a": {b}} {# c #} ${d} {{ orders.city }}', '{"a": {b}} {# c #} ${d} Bern'),
        ("{{ orders['city'] ~ '/' ~ table.cups.sum() }}", "Bern/3"),
        ("{% for city in [orders.city] %}{{ city | upper }}{% endfor %}", "BERN"),
        ("{{ orders | dictsort }} {{ [3, 1] | sort | first }}", "[('city', 'Bern')] 1"),
        ("{{ nothing | default('-') }}", "-"),
        ("sk-abcdefghijklmnop {{ 1 }}", "sk-abcdefghijklmnop 1"),
    ],
    ids=["braces", "a table", "a loop", "filters", "default", "a key that was written out"],
)
def test_what_does_no_harm_is_filled_in(door, prompt, text):
    assert door(prompt) == (None, [text])


def test_a_value_is_never_expanded_again():
    values = {"value": "{{ secret }} {% x %}", "secret": 1}
    assert SandboxedTemplate("{{ value }}").render(values) == "{{ secret }} {% x %}"


def test_a_template_assigns_nothing_where_its_values_are():
    values = {"n": 1}
    assert SandboxedTemplate("{% set n = 2 %}{{ n }}").render(values) == "2"
    assert values == {"n": 1}


def test_jinja_is_loaded_when_the_first_template_is_filled_in_and_not_before():
    script = """
        import sys
        import ipyllm.templates.sandbox, ipyllm.experiment.prompt_template, ipyllm_magics.prompt.template
        from ipyllm_magics.prompt.template import fill_in
        fill_in("no template", {})
        assert "jinja2" not in sys.modules
        fill_in("{{ n }}", {"n": 1})
        assert "jinja2" in sys.modules
    """
    ran = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, env=os.environ
    )
    assert ran.returncode == 0, ran.stderr


def test_an_undefined_name_is_one_sentence():
    sentence = "The prompt uses {{ nmae }}, which is not defined; did you mean 'name'?"
    assert UndefinedNameError("nmae", "", "name").sentence("The prompt", "") == sentence
    sentence = "The prompt uses 'nmae' of a dict, which has no such attribute or item."
    assert UndefinedNameError("nmae", "dict", None).sentence("The prompt", "") == sentence
