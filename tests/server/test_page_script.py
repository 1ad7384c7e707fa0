"""The page's modules are joined by regular expressions: the modules are such that the script is whole."""

import re
from collections import Counter

from ipyllm_server import page_handlers

_NAME = re.compile(r"^(?:async )?(?:function\*?|class|const|let|var) ([\w$]+)", re.MULTILINE)


def modules():
    """Return names and texts of the modules in the order of the script."""
    widgets, own = page_handlers._widgets(), page_handlers._OWN
    paths = [
        *(widgets / name for name in page_handlers._MODULES),
        *(own / name for name in page_handlers._OWN_MODULES),
    ]
    return {path.name: path.read_text(encoding="utf-8") for path in paths}


def test_each_module_stands_after_those_that_it_imports():
    before, imports = set(), 0
    for name, text in modules().items():
        found = re.findall(r"""\bfrom\s*["']([^"']+)["']""", text)
        assert before >= {address.rpartition("/")[2] for address in found}, name
        imports += len(found)
        before.add(name)
    assert imports > len(before)


def test_no_import_gives_another_name():
    assert not [name for name, text in modules().items() if re.search(r"^import\b[^;]*\bas\b", text, re.MULTILINE)]


def test_nothing_of_modules_is_left_in_the_script():
    script = page_handlers._script()
    assert re.findall(r"^\s*(?:import|export)\b.*", script, re.MULTILINE) == []
    assert len(script) > 10_000


def test_names_at_the_top_are_those_of_one_module_each():
    names = Counter(_NAME.findall(page_handlers._script()))
    assert {"h", "PartView", "Composer", "ChatConnection"} <= set(names)
    assert [name for name, count in names.items() if count > 1] == []
