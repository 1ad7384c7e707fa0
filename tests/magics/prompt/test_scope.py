"""``%llm`` where it is written: it sees the variables of the code around it, and assigns to them."""

from __future__ import annotations

import pytest

from tests.fakes import answer

ASK = "get_ipython().run_line_magic('llm', {!r})"


@pytest.fixture
def fake(kernel_fake):
    kernel_fake.default = answer("Bern.")
    return kernel_fake


def sent(fake):
    return [request.json["messages"][-1]["content"] for request in fake.requests]


def run(kernel, code):
    ran = kernel.run(code)
    assert ran.status == "ok", ran.traceback
    return ran


def test_a_function_sees_its_arguments_and_variables_and_those_of_the_notebook(kernel, fake):
    run(kernel, "unit, city = 'km', 'Oslo'")
    run(
        kernel,
        "def ask(city):\n    people = 3\n    %llm --no-history {{ people }} {{ city }} {{ unit }}\n\nask('Bern')\n"
        "class Asker:\n    city = 'Basel'\n    %llm --no-history {{ city }}\n",
    )
    assert sent(fake) == ["3 Bern km", "Basel"]


def test_a_cell_magic_run_in_a_function_sees_its_variables_too(kernel, fake):
    run(
        kernel,
        "def ask(city):\n    get_ipython().run_cell_magic('llm', '--no-history -o inside', '{{ city }}')\n"
        "    inside = inside\n    return inside.content\nprint(ask('Bern'))",
    )
    assert sent(fake) == ["Bern"]


def test_the_rules_of_templates_hold_for_local_variables(kernel, fake):
    code = "import os as system\ndef ask(module, _hidden):\n    %llm {{{{ {} }}}}\nask(system, 1)"
    assert "may not use module, a module" in kernel.run(code.format("module")).error
    assert "_hidden" in kernel.run(code.format("_hidden")).error
    assert "define it in the function or in a cell above" in kernel.run(code.format("nowhere_at_all")).error
    assert not fake.requests


INNER = "def f():\n    answer = None\n    def inner():\n        {}\n{}    return {}\nprint(f().content)"
IN_FUNCTION = "def f():\n    answer = None\n    {}\n    return answer\nprint(f().content)"
ASSIGNED = {
    "a local variable": (IN_FUNCTION, False),
    "a local variable without a value yet": (
        "def f(again=False):\n    if again:\n        answer = None\n    {}\n    return answer\nprint(f().content)",
        False,
    ),
    "a variable that an inner function uses": (INNER.format("return answer", "    {}\n", "inner()"), False),
    "a variable of the outer function": (INNER.format("nonlocal answer\n        {}", "    inner()\n", "answer"), False),
    "a variable of a generator": (
        "def f():\n    answer = None\n    {}\n    yield answer\nprint(next(f()).content)",
        False,
    ),
    "a variable of a coroutine": (
        "async def f():\n    answer = None\n    {}\n    return answer\nprint((await f()).content)",
        False,
    ),
    "within %time": (IN_FUNCTION.replace("{}", "%time {}"), False),
    "an attribute of a class": ("class A:\n    {}\nprint(A.answer.content)", False),
    "a name that the function only reads": ("def f():\n    {}\n    return answer\nprint(f().content)", True),
    "a variable of the notebook": ("{}\nprint(answer.content)", True),
}


@pytest.mark.parametrize("place", ASSIGNED)
def test_the_answer_is_assigned_where_the_magic_stands(kernel, fake, place):
    code, is_global = ASSIGNED[place]
    run(kernel, "globals().pop('answer', None)")
    ran = run(kernel, code.format("%llm --no-history --quiet -o answer Capital?"))
    assert ran.stdout.endswith("Bern.\n")
    assert run(kernel, "print('answer' in globals())").stdout == f"{is_global}\n"


def test_code_that_exec_runs_has_its_own_variables(kernel, fake):
    code = ASK.format("--no-history --quiet -o answer Where is {{ city }}?")
    run(kernel, f"names = {{'city': 'Thun'}}\nexec({code!r}, names)\nprint(names['answer'].content)")
    run(kernel, f"inner = {{}}\nexec({code!r}, {{'city': 'Chur'}}, inner)\nprint(inner['answer'].content)")
    assert sent(fake) == ["Where is Thun?", "Where is Chur?"]


def test_a_script_and_a_module_use_their_own_variables(kernel, fake, tmp_path):
    line = ASK.format("--no-history --quiet -o answer Where is {{ city }}?")
    (tmp_path / "script.py").write_text(f"city = 'Sion'\n{line}\nshown = answer.content\n")
    (tmp_path / "script.ipy").write_text("city = 'Biel'\n%llm --no-history --quiet -o answer Where is {{ city }}?\n")
    (tmp_path / "asking.py").write_text(
        f"from IPython import get_ipython\ncity = 'Olten'\ndef ask():\n    {line}\n    return answer.content\n"
    )
    run(kernel, f"city = 'Oslo'\n%run {tmp_path}/script.py\nprint(shown)")
    run(kernel, f"%run {tmp_path}/script.ipy\nprint(answer.content)")
    run(kernel, f"import sys\nsys.path.insert(0, {str(tmp_path)!r})\nimport asking\nprint(asking.ask())")
    assert sent(fake) == ["Where is Sion?", "Where is Biel?", "Where is Olten?"]


def test_schemas_tools_and_images_may_be_local_too(kernel, fake):
    fake.default = answer('{"name": "Bern"}')
    ran = run(
        kernel,
        "def ask():\n    import pydantic\n    class Town(pydantic.BaseModel):\n        name: str\n"
        "    photo = b'GIF89a'\n    found = None\n"
        "    %llm --no-history --quiet --schema Town --image photo -o found Which?\n    return found.parsed.name\n"
        "print(ask())",
    )
    assert ran.stdout == "Bern\n"


def test_a_comparison_in_a_function_is_assigned_there(kernel, fake):
    ran = run(
        kernel,
        "def ask(word):\n    table = None\n    get_ipython().run_cell_magic('llm_compare', "
        "'-m openai/a -m openai/b --quiet -o table', 'Say {{ word }}')\n    return table\nprint(len(ask('hi')))",
    )
    assert ran.stdout == "2\n"
    assert sent(fake) == ["Say hi", "Say hi"]


# ---- the value of the magic --------------------------------------------------------------------------


def test_an_assignment_has_the_response_and_a_statement_shows_the_answer_once(kernel, fake):
    ran = run(kernel, "x = %llm --no-history Capital?\nprint(x is _llm, x.content)")
    assert ran.stdout == "True Bern.\n"
    for code in ("%llm {}", "%%llm\n{}", "if True:\n    %llm {}"):
        ran = run(kernel, code.format("Capital?"))
        assert not [message for message in ran.messages if message["msg_type"] == "execute_result"]
        assert ran.text.count("Bern.") == 1
    assert run(kernel, "x = %llm --no-history --dry-run Capital?\nprint(x)").stdout.endswith("None\n")
    assert run(kernel, "print(get_ipython().run_cell_magic('llm', '--quiet', 'Capital?').content)").stdout == "Bern.\n"


def test_an_assigned_response_has_the_parsed_value(kernel, fake):
    fake.default = answer("[1, 2]")
    assert run(kernel, "x = %llm --no-history -f json --quiet A list?\nprint(x.parsed)").stdout == "[1, 2]\n"


def test_a_timed_statement_shows_the_answer_once(kernel, fake):
    ran = run(kernel, "%time %llm --no-history Capital?")
    assert not [message for message in ran.messages if message["msg_type"] == "execute_result"]


def test_every_statement_of_a_cell_is_shown_once_where_ipython_shows_all(kernel, fake):
    run(kernel, "get_ipython().ast_node_interactivity = 'all'")
    try:
        ran = run(
            kernel, "1 + 1\n%llm --no-history Capital?\nfor _ in range(2):\n    %llm --no-history Capital?\n2 + 2"
        )
    finally:
        run(kernel, "get_ipython().ast_node_interactivity = 'last_expr'")
    results = [m["content"]["data"]["text/plain"] for m in ran.messages if m["msg_type"] == "execute_result"]
    assert results == ["2", "4"]


def test_the_cell_that_loads_the_extension_shows_the_answer_once(kernel, fake):
    run(kernel, "%unload_ext ipyllm")
    ran = run(kernel, "%load_ext ipyllm\n%llm --no-history Name a capital.")
    assert not [message for message in ran.messages if message["msg_type"] == "execute_result"]
    assert ran.text.count("Bern.") == 1
    run(kernel, "%unload_ext ipyllm")
    for last in ("x", "len(x.content)", "get_ipython().run_line_magic('llm', '--no-history Name a capital.').content"):
        ran = run(kernel, f"%load_ext ipyllm\nx = %llm --no-history --quiet Name a capital.\n{last}")
        assert [message for message in ran.messages if message["msg_type"] == "execute_result"], last
        run(kernel, "%unload_ext ipyllm")
    run(kernel, "%load_ext ipyllm")
    assert run(kernel, "import sys\nprint(sys.displayhook is get_ipython().displayhook)").stdout == "True\n"


def test_without_the_extension_nothing_is_left_in_the_shell(kernel):
    count = "print(len(get_ipython().ast_transformers), len(get_ipython().input_transformers_cleanup))"
    loaded = run(kernel, count).stdout
    run(kernel, "%reload_ext ipyllm")
    assert run(kernel, count).stdout == loaded
    run(kernel, "%unload_ext ipyllm")
    try:
        before, after = map(int, loaded.split()), map(int, run(kernel, count).stdout.split())
        assert [b - a for b, a in zip(before, after, strict=True)] == [1, 2]
    finally:
        run(kernel, "%load_ext ipyllm")
