"""The accessor ``.llm``: there once ipyllm and the library of the table are imported, in any order."""

from __future__ import annotations

import pandas as pd
import pytest

from tests.fakes import answer

SONGS = pd.DataFrame({"text": ["so", "la"]}, index=["x", "y"])


LOOK = """
for library in (pandas, polars):
    print(hasattr(library.DataFrame, "llm"), hasattr(library.Series, "llm"))
    print(library.__spec__.loader is library.__loader__, "ipyllm" in type(library.__loader__).__module__)
"""


@pytest.mark.parametrize("first", ["tables", "ipyllm"])
def test_it_is_there_whichever_is_imported_first_and_imports_nothing(run_script, first):
    tables, ours = "import pandas, polars", "import ipyllm, sys"
    if first == "ipyllm":
        ours += "\nassert not {'pandas', 'polars'} & sys.modules.keys()"
    script = "\n".join([tables, ours] if first == "tables" else [ours, tables]) + LOOK
    assert run_script(script).split() == ["True", "True", "True", "False"] * 2


def test_loading_the_extension_imports_no_tables_and_makes_the_accessor(run_script):
    script = """
        import sys
        from IPython.core.interactiveshell import InteractiveShell

        shell = InteractiveShell.instance()
        shell.run_line_magic("load_ext", "ipyllm")
        print("pandas" in sys.modules)
        import pandas as pd
        print(hasattr(pd.Series, "llm"))
    """
    assert run_script(script, warnings="default").split() == ["False", "True"]


def test_an_accessor_of_that_name_that_was_there_before_stays(run_script):
    script = """
        import pandas as pd
        pd.Series.llm = "mine"
        import ipyllm
        print(pd.Series.llm, hasattr(pd.DataFrame, "llm"))
    """
    assert run_script(script).split() == ["mine", "True"]


def test_each_method_gives_the_column_that_llm_map_gives(model, server):
    options = {"model": model, "progress": False}
    assert SONGS.llm.map("{{ text }}", **options).to_dict() == {"x": "SO", "y": "LA"}
    assert SONGS["text"].llm.map(**options).to_dict() == {"x": "SO", "y": "LA"}
    server.on(lambda _: answer('{"n": 1}'))
    extracted = SONGS.llm.extract("{{ text }}", schema={"properties": {"n": {"type": "integer"}}}, **options)
    assert extracted["n"].to_dict() == {"x": 1, "y": 1}
    server.on(lambda _: answer("a"))
    labels = SONGS["text"].llm.classify(labels=["a", "b"], **options)
    assert labels.to_dict() == {"x": "a", "y": "a"}
    assert labels.llm.errors().empty
