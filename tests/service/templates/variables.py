"""What a user may have in a notebook, for templates to try: tables, texts, objects, and much that they may not use."""

from __future__ import annotations

import builtins
import codecs
import collections
import dataclasses
import datetime as dt
import decimal
import enum
import fractions
import functools
import io
import operator
import os
import pathlib
import runpy
import subprocess
import sys
import timeit
import types
import uuid

import numpy as np
import pandas as pd
import pydantic

from ipyllm import OpenAIService
from ipyllm.response import ChatResponse, Usage

effects: list[str] = []
"""What the code of hostile objects has noted when it ran."""


@dataclasses.dataclass
class Order:
    city: str
    cups: int
    note: object = None

    def total(self) -> int:
        effects.append("Order.total")
        return self.cups

    @property
    def price(self) -> int:
        effects.append("Order.price")
        return 3

    def __str__(self) -> str:
        effects.append("Order.__str__")
        return "hostile"


@dataclasses.dataclass
class Guarded:
    city: str

    def __getattribute__(self, name):
        if name != "__dict__":
            effects.append(f"Guarded.{name}")
        return "hostile"


class City(pydantic.BaseModel):
    name: str
    inhabitants: int = 0
    key: pydantic.SecretStr = pydantic.SecretStr("never-told-0123456789")


class Size(enum.Enum):
    SMALL = 1


class Hostile:
    """Notes whatever is done with it."""

    def __getattr__(self, name):
        effects.append(f"Hostile.{name}")
        raise AttributeError(name)

    def _note(self, *_args):
        effects.append("Hostile")
        return "hostile"

    def __bool__(self):
        effects.append("Hostile.__bool__")
        return True

    def __hash__(self):
        effects.append("Hostile.__hash__")
        return 1

    def __deepcopy__(self, _memo):
        effects.append("Hostile.__deepcopy__")
        return self

    def __iter__(self):
        effects.append("Hostile.__iter__")
        return iter([1])

    __class_getitem__ = __getitem__ = __call__ = __eq__ = __lt__ = __gt__ = __contains__ = __add__ = __radd__ = _note
    __str__ = __repr__ = __html__ = __format__ = __len__ = __mod__ = __mul__ = __rmul__ = _note


class HostileText(str):
    __slots__ = ()

    def _note(self, *_args):
        effects.append("HostileText")
        return "hostile"

    __str__ = __repr__ = __getitem__ = __add__ = __mod__ = __iter__ = __eq__ = upper = format = _note
    __hash__ = str.__hash__


class HostileDict(dict):
    def _note(self, *_args):
        effects.append("HostileDict")
        return "hostile"

    __str__ = __repr__ = __getitem__ = __iter__ = __len__ = __missing__ = items = get = keys = _note


class HostileList(list):
    def _note(self, *_args):
        effects.append("HostileList")
        return "hostile"

    __str__ = __repr__ = __getitem__ = __iter__ = __len__ = index = _note


class HostileFrame(pd.DataFrame):
    def head(self, n=5):
        effects.append("HostileFrame.head")
        return self

    def to_csv(self, *_args, **_kwargs):
        effects.append("HostileFrame.to_csv")
        return "hostile"

    def __repr__(self):
        effects.append("HostileFrame.__repr__")
        return "hostile"


class HostileZone(dt.tzinfo):
    def utcoffset(self, _time):
        effects.append("HostileZone")
        return dt.timedelta(0)

    tzname = dst = utcoffset


class HostileMeta(type):
    def __instancecheck__(cls, value):
        effects.append("HostileMeta")
        return True


class Lying(metaclass=HostileMeta):
    @property
    def __class__(self):
        effects.append("Lying.__class__")
        return str

    @property
    def __dict__(self):
        effects.append("Lying.__dict__")
        return {"x": 1}


Point = collections.namedtuple("Point", "x y")  # noqa: PYI024 - the untyped kind is meant


def frame() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "city": ["Bern", "Oslo", "Rome", "Bern"],
            "cups": [3, 5, 2, 1],
            "price": [1.5, 2.25, 3.0, None],
            "day": pd.date_range("2024-01-01", periods=4),
        }
    )


def _attributed() -> pd.DataFrame:
    table = pd.DataFrame({"a": [1, 2]})
    table.attrs["hostile"] = Hostile()
    return table


def variables() -> dict[str, object]:
    """Return the names and values of a notebook."""
    orders = frame()
    cyclic: list[object] = []
    cyclic.append(cyclic)
    return {
        # what templates are for
        "name": "Ada Lovelace",
        "text": "some longer text",
        "n": 5,
        "x": 3.14159,
        "yes": True,
        "nothing": None,
        "sizes": [3, 1, 2],
        "pair": (1, "a"),
        "tags": {"b", "a"},
        "scores": {"Ada": 3, "Bob": 1},
        "nested": {"user": {"name": "Ada", "tags": ["x", "y"]}},
        "records": orders[["city", "cups"]].to_dict("records"),
        "df": orders,
        "cups": orders["cups"],
        "groups": orders.groupby("city"),
        "array": np.arange(6).reshape(2, 3),
        "column": np.arange(50).reshape(50, 1),
        "line": np.arange(50),
        "order": Order("Bern", 3),
        "city": City(name="Bern", inhabitants=130_000),
        "size": Size.SMALL,
        "point": Point(1, 2),
        "counts": collections.Counter("hello"),
        "by_default": collections.defaultdict(list, {"a": [1]}),
        "now": dt.datetime(2024, 5, 6, 7, 8),  # noqa: DTZ001
        "today": dt.date(2024, 5, 6),
        "took": dt.timedelta(seconds=90),
        "price": decimal.Decimal("1.50"),
        "third": fractions.Fraction(1, 3),
        "uid": uuid.UUID(int=1),
        "path": pathlib.PurePosixPath("/data/report.csv"),
        "answer": ChatResponse(content="Hello!", usage=Usage(output_tokens=2)),
        "stamp": pd.Timestamp("2024-05-06"),
        # what they may not use
        "pd": pd, "np": np, "os": os, "sys": sys, "io": io, "subprocess": subprocess, "operator": operator,
        "timeit": timeit, "runpy": runpy, "pathlib": pathlib, "codecs": codecs, "builtins": builtins,
        "functools": functools, "types": types,
        "Path": pathlib.Path, "Popen": subprocess.Popen, "Order": Order, "Hostile": Hostile,
        "run": subprocess.check_output, "reader": open, "getenv": os.getenv, "double": lambda value: 2 * value,
        "evaluate": eval, "printer": print, "method": orders.to_csv, "wrapper": "".__len__,
        "partial": functools.partial(open), "getter": operator.methodcaller("to_csv"),
        "env": os.environ, "service": OpenAIService(api_key="sk-service-0123456789abcdef"),
        "generator": (value for value in [1]), "iterator": iter([1]), "stream": io.StringIO("text"),
        "secret": pydantic.SecretStr("never-told-0123456789"), "error_value": ValueError("x"),
        "mapping": types.MappingProxyType({"a": 1}), "space": types.SimpleNamespace(a=1),
        "hostile": Hostile(), "lying": Lying(),
        "plain_object": type("Plain", (), {"key": "secret"})(),
        "moment": dt.datetime(2024, 5, 6, tzinfo=HostileZone()),
        "huge": decimal.Decimal("1e999999"),
        # some of which can be used
        "hostile_text": HostileText("abc"), "hostile_dict": HostileDict(a=1), "hostile_list": HostileList([1, 2]),
        "hostile_frame": HostileFrame({"a": [1, 2]}),
        "mixed": [1, os, len, Hostile()], "box": {"f": len, "m": os, "n": 1, "deep": [[os.environ]]},
        "guarded": Guarded("Bern"),
        "with_function": Order("Oslo", 2, note=len), "with_hostile": Order("Oslo", 2, note=Hostile()),
        "keyed": {Hostile: 1}, "hostile_set": {len}, "cyclic": cyclic,
        "objects": pd.DataFrame({"a": [1, 2], "o": [Hostile(), Hostile()]}),
        "functions": pd.Series([len, max]),
        "categories": pd.Series(pd.Categorical([Hostile()])), "labels": pd.DataFrame([[1]], columns=[Hostile()]),
        "levels": pd.Series([1], index=pd.MultiIndex.from_tuples([(Hostile(), 1)])),
        "named": pd.Series([1], name=Hostile()),
        "attributed": _attributed(), "grouped": pd.DataFrame({"a": [Hostile()], "b": [1]}).groupby("b"),
        "strange": np.array([Hostile()], dtype=object),
        "_hidden": 1, "__builtins__": builtins, "_ih": ["x"],
    }  # fmt: skip
