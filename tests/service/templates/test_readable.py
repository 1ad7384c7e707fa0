"""The table of what templates may read: every name in it exists, and the documentation has it."""

from __future__ import annotations

import importlib
import inspect
from pathlib import Path

import pytest
from jinja2.filters import FILTERS

from ipyllm.templates.readable import name_list, readable, readable_rows
from tests.service.templates.variables import Hostile, HostileFrame, HostileText

ROOT = Path(__file__).parents[3]
ALWAYS = ("pandas", "numpy", "jinja2", "collections", "datetime", "decimal", "fractions", "uuid", "pathlib")
EFFECTS = {
    "apply", "eval", "query", "pipe", "map", "transform", "plot", "info", "insert", "pop", "update", "sort", "append",
    "extend", "clear", "remove", "setdefault", "add", "discard", "read_text", "write_text", "open", "unlink", "mkdir",
    "tofile", "dump", "dumps", "to_pickle", "to_parquet", "to_sql", "to_excel", "to_clipboard", "to_hdf",
    "to_feather", "write_parquet", "write_ipc", "write_database", "sql", "map_rows", "map_elements", "glimpse",
    "show", "save", "savefig", "resize", "fill", "put", "setflags", "itemset", "elements", "encode", "format_map",
    "translate", "repeat",
}  # fmt: skip


def types(row):
    for name in row.types:
        module, _, own = name.rpartition(".")
        if not module or module.partition(".")[0] in ALWAYS:
            yield getattr(importlib.import_module(module or "builtins"), own, None)


DANGEROUS = {
    "path", "path_or_buf", "buf", "file", "fname", "func", "function", "key", "key_func", "out", "inplace",
    "formatters", "default_handler", "compression", "storage_options", "mode", "con", "engine", "engine_kwargs",
    "replace", "bins", "repeats", "expr", "exprs", "where", "into", "encoding", "converters", "args", "kwargs",
    "value", "fill_value", "name", "names", "sep", "na_rep", "float_format", "date_format",
}  # fmt: skip


@pytest.mark.parametrize("row", readable_rows(), ids=lambda row: row.title)
def test_each_member_belongs_to_one_of_the_types_and_only_reads(row):
    copies = {"sort"} if row.title.startswith("Polars") else set()  # there it returns a sorted copy
    assert set(row.members) & EFFECTS <= copies
    assert not any(name.startswith("_") for name in row.members)
    kinds = [kind for kind in types(row) if kind is not None]
    if len(kinds) == len(row.types):
        assert [name for name in row.members if not any(hasattr(kind, name) for kind in kinds)] == []


TABLES = [row for row in readable_rows() if row.table]


@pytest.mark.parametrize("row", TABLES, ids=lambda row: row.title)
def test_parameters_are_those_of_the_library_and_none_is_dangerous(row):
    pytest.importorskip("polars")
    kinds = [importlib.import_module(name.rpartition(".")[0]).__dict__[name.rpartition(".")[2]] for name in row.types]
    n_checked = 0
    for name, parameters in row.members.items():
        if parameters is None:
            continue
        listed = [parameter for parameter in parameters if parameter != "*"]
        assert set(listed) & DANGEROUS <= ({"name"} if name == "get_column" else set())
        for kind in kinds:
            try:
                signature = inspect.signature(getattr(kind, name))
            except (AttributeError, ValueError):  # of another of the types, or NumPy's, which has none in old versions
                continue
            own = list(signature.parameters)[1:]
            n_positional = parameters.index("*") if "*" in parameters else len(parameters)
            assert own[:n_positional] == parameters[:n_positional], name
            assert set(listed) <= set(own), name
            n_checked += 1
    assert n_checked >= len([name for name, parameters in row.members.items() if parameters is not None]) * 0.9


def test_filters_are_those_of_jinja():
    assert name_list("filters") <= set(FILTERS)
    assert name_list("filters").isdisjoint(
        {"random", "urlize", "xmlattr", "attr", "pprint", "wordwrap", "batch", "slice"}
    )


def test_only_the_types_themselves_are_read():
    assert readable(str) is not None
    assert [readable(kind) for kind in (HostileText, HostileFrame, Hostile, type, type(len))] == [None] * 5


def test_the_documentation_has_the_table():
    from docs.template_table import replace_table

    page = (ROOT / "docs/security.md").read_text(encoding="utf-8")
    assert "<!-- readable -->" in page
    assert replace_table(page) == page, "run: python docs/template_table.py docs/security.md"
