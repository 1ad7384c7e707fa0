"""Tests what a model receives for its tool calls: results of any type, its own errors and the tool's."""

from __future__ import annotations

import asyncio
import dataclasses
import decimal
import enum
import json
import threading
import time
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ipyllm.response import ToolCall
from ipyllm.text.redact import remember_secret
from ipyllm.tools import Tool
from tests.service.tools import kinds
from tests.service.tools.running import Running, run, run_one, tool_call
from tests.stalls import again_if_stalled


def add(a: int, b: int = 1) -> int:
    """Add two numbers."""
    return a + b


def written(arguments, tool=add):
    [result] = Running([tool], ToolCall("call_1", getattr(tool, "name", "add"), arguments)).wait()
    assert result.output == (result.error or result.output)
    return result


# ---- arguments ---------------------------------------------------------------------------------------


def test_a_result_says_what_was_asked_and_what_came_of_it():
    result = written(' {"a": 2, "b": 3} ')
    assert (result.call_id, result.name, result.arguments) == ("call_1", "add", ' {"a": 2, "b": 3} ')
    assert (result.output, result.error) == ("5", None)
    assert 0 < result.seconds < 5
    assert result.as_message() == {"role": "tool", "tool_call_id": "call_1", "content": "5"}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ('{"a": 1', "the arguments are not valid JSON (EOF while parsing an object at line 1 column 7)"),
        ("a=1", "not valid JSON"),
        ('{"a": 1}}', "not valid JSON"),
        ("[1, 2]", "the arguments must be a JSON object"),
        ('"{}"', "the arguments must be a JSON object"),
        ("null", "the arguments must be a JSON object"),
        ("[" * 100_000, "not valid JSON"),
        ("{}", "'a' is missing"),
        ("", "'a' is missing"),
        ('{"b": 1}', "'a' is missing"),
        ('{"a": "two"}', "a: input should be a valid integer, unable to parse string as an integer, not 'two'"),
        ('{"a": 1.5}', "a: input should be a valid integer"),
        ('{"a": null}', "not None"),
        ('{"a": 1, "c": 2}', "there is no argument 'c' (there are: a, b)"),
        (json.dumps({"a": "x" * 10_000}), "not 'xxxxxxxx"),
        ('{"a": "\\ud800"}', "not valid JSON"),
    ],
)
def test_arguments_that_do_not_fit_are_said_to_the_model_and_nothing_is_called(arguments, said):
    result = written(arguments)
    assert said in result.error
    assert result.error.startswith("add was not called: ")
    assert result.error.endswith(". Correct the arguments and call it again.")
    assert len(result.error) < 500
    assert "pydantic" not in result.error


def test_several_mistakes_are_said_at_once_with_their_places():
    def draw(points: list[kinds.Point], colour: kinds.Colour): ...

    draw.__annotations__ = {"points": list[kinds.Point], "colour": kinds.Colour}
    error = run_one(draw, points=[{"x": 1}, {"x": "far"}], color="red").error
    assert "points[1].x: input should be a valid number" in error
    assert "'colour' is missing" in error
    assert "there is no argument 'color' (did you mean 'colour'?)" in error


def test_numbers_in_strings_are_numbers():
    assert written('{"a": "2", "b": 3.0}').output == "5"


@pytest.mark.parametrize("arguments", ["", "  ", "{}"])
def test_no_arguments_are_written_in_several_ways(arguments):
    def now() -> str:
        return "noon"

    assert Running([now], ToolCall("1", "now", arguments)).wait()[0].output == "noon"


def test_defaults_are_the_functions_own():
    default = object()

    def which(value=default):
        return "default" if value is default else "other"

    assert run([which], tool_call("which"), tool_call("which", value=1)) == ["default", "other"]


def test_a_name_that_is_nearly_right_is_answered_with_the_right_one():
    [near, far] = Running([add], tool_call("ad", a=1), tool_call("x" * 500)).wait()
    assert near.error == near.output == "There is no tool 'ad' (did you mean 'add'?)."
    assert far.error.endswith("(there are: add).")
    assert len(far.error) < 120


def test_a_validator_that_breaks_is_an_error_like_any_other():
    from typing import Annotated

    from pydantic import BeforeValidator

    def breaks(value):
        raise KeyError("inside")

    def tool(value): ...

    tool.__annotations__["value"] = Annotated[int, BeforeValidator(breaks)]
    assert run_one(tool, value=1).error == "KeyError: 'inside'"


# ---- results -----------------------------------------------------------------------------------------


class _Level(enum.StrEnum):
    HIGH = "high"


class _OldLevel(str, enum.Enum):  # noqa: UP042
    HIGH = "high"


@dataclasses.dataclass
class _Opaque:
    thing: object


class _Broken:
    def __repr__(self):
        raise RuntimeError("no repr")


_circle: list = []
_circle.append(_circle)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("as it is: é ☃", "as it is: é ☃"),
        ("", ""),
        (None, "null"),
        (True, "true"),
        (3.5, "3.5"),
        ([1, "é"], '[1,"é"]'),
        ({"a": (1, 2), 3: {4}}, '{"a":[1,2],"3":[4]}'),
        (kinds.Point(1, 2), '{"x":1,"y":2}'),
        (kinds.Person(name="Ada"), '{"name":"Ada","born":null}'),
        ([kinds.Colour.RED, _Level.HIGH], '["red","high"]'),
        (_OldLevel.HIGH, "high"),
        (datetime(2026, 11, 23, tzinfo=UTC), '"2026-11-23T00:00:00Z"'),
        (decimal.Decimal("1.10"), '"1.10"'),
        (Path("/tmp"), '"/tmp"'),
        (np.int64(3), "3"),
        ({"mean": np.float32(0.5), "n": np.arange(3), "missing": pd.NA}, '{"mean":0.5,"n":[0,1,2],"missing":null}'),
        (np.eye(2), "[[1.0,0.0],[0.0,1.0]]"),
        (slice(1, 2), "slice(1, 2, None)"),
        (b"\xff", r"b'\xff'"),
        (_Opaque(slice(1)), "_Opaque(thing=slice(None, 1, None))"),
        (_circle, "[[...]]"),
        (_Broken(), "<_Broken>"),
        ("lone \ud800 surrogate", "lone ? surrogate"),
    ],
)
def test_any_result_is_text(value, text):
    def give():
        return value

    result = run_one(give)
    assert (result.output, result.error) == (text, None)


def test_tables_are_short_csv():
    frame = pd.DataFrame({"n": range(1000), "word": "a,b"})

    def table():
        return frame

    def grouped():
        return frame.groupby("word").n.mean()

    def nested():
        return {"head": frame.head(1)}

    big, series, inside = run([table, grouped, nested], tool_call("table"), tool_call("grouped"), tool_call("nested"))
    assert big.startswith('table of 1,000 rows × 2 columns, as CSV:\nn,word\n0,"a,b"\n1,"a,b"\n')
    assert big.endswith('49,"a,b"\n… 950 more rows')
    assert series == 'table of 1 rows × 1 columns, as CSV:\nword,n\n"a,b",499.5'
    assert "n,word" in json.loads(inside)["head"]


def test_ten_megabytes_are_cut_with_a_note():
    def flood():
        return "0123456789" * 1_000_000

    began = time.process_time()  # of all threads: it is the work that counts, not who else is at work
    result = run_one(flood)
    assert len(result.output) < 32_100
    assert result.output.endswith("\n[cut: these are the first 32,000 of 10,000,000 characters]")
    assert time.process_time() - began < 2
    [short] = Running([flood], tool_call("flood"), limit=50).wait()
    assert short.output.startswith("0123456789" * 5 + "\n[cut")


def test_a_key_goes_to_no_model_not_even_one_that_straddles_the_cut():
    remember_secret("hunter2-r9Xq2LmT7v")

    def leak(before: int):
        return "x" * before + "hunter2-r9Xq2LmT7v sk-0123456789abcdef" + "y" * 1000

    def fails():
        raise ValueError("bad key hunter2-r9Xq2LmT7v")

    for before in [0, 80, 90, 95, 99]:
        [result] = Running([leak], tool_call("leak", before=before), limit=100).wait()
        assert "hunter" not in result.output
        assert "sk-" not in result.output
    result = run_one(fails)
    assert result.error == result.output == "ValueError: bad key [key hidden]"


# ---- failures ----------------------------------------------------------------------------------------


class _MuteError(Exception):
    def __str__(self):
        raise RuntimeError("no words")


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (ValueError("no such city"), "ValueError: no such city"),
        (ValueError(), "ValueError"),
        (KeyError("city"), "KeyError: 'city'"),
        (_MuteError(), "_MuteError"),
        (StopIteration("no more"), "StopIteration: no more"),
        (TimeoutError("the database sleeps"), "TimeoutError: the database sleeps"),
        (ExceptionGroup("two", [ValueError("a"), OSError("b")]), "ExceptionGroup: two (ValueError: a; OSError: b)"),
    ],
)
def test_what_a_tool_raises_is_told_in_one_line_without_traceback(error, message):
    def fails():
        raise error

    async def fails_later():
        await asyncio.sleep(0)
        raise error

    assert run_one(fails).error == message
    later = run_one(fails_later)
    assert later.error in {message, "RuntimeError: coroutine raised StopIteration"}
    assert later.output == later.error


def test_an_endless_error_is_cut():
    def fails():
        raise ValueError("x" * 100_000)

    assert len(run_one(fails).output) < 2_100


def test_one_that_fails_leaves_the_others_alone_and_results_keep_their_order():
    def fails(n: int):
        raise ValueError(n)

    results = Running(
        [add, fails], tool_call("add", a=1), tool_call("fails", n=2), tool_call("add", a=3), tool_call("gone")
    ).wait()
    assert [result.output for result in results[:3]] == ["2", "ValueError: 2", "4"]
    assert [result.error is None for result in results] == [True, False, True, False]


@pytest.mark.parametrize("waits", [True, False])
def test_a_hanging_tool_is_given_up(waits):
    over = threading.Event()

    def hangs():
        over.wait(100)

    async def sleeps():
        await asyncio.sleep(100)

    tools = [Tool.of(hangs, timeout=0.1), Tool.of(sleeps, timeout=0.2), add]
    results = Running(tools, tool_call("hangs"), tool_call("sleeps"), tool_call("add", a=1), waits=waits).wait()
    assert [result.output for result in results] == [
        "TimeoutError: hangs took longer than 0.1 s",
        "TimeoutError: sleeps took longer than 0.2 s",
        "2",
    ]
    over.set()


@again_if_stalled(0.1)
def test_a_timeout_does_not_count_the_wait_for_ones_turn():
    def slow():
        time.sleep(0.3)
        return "done"

    slow_one = Tool.of(slow, timeout=0.6)
    assert run([slow_one], *[tool_call("slow")] * 3) == ["done"] * 3
