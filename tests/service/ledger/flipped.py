"""A ledger of 200 rows whose file is the same in every run, and bytes of it that are flipped by a seed."""

from __future__ import annotations

import random
import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from ipyllm.ledger import Ledger

if TYPE_CHECKING:
    from pathlib import Path

N_ROWS = 200
PLACES = ("header", "schema", "b-tree", "payload")
_PAGE = 4096


def call_id(number: int) -> str:
    return f"01J{number:023}"


def row(number: int) -> dict[str, object]:
    return {
        "call_id": call_id(number),
        "started_at": datetime(2026, 11, 1, tzinfo=UTC) + timedelta(minutes=number),
        "kernel_id": "kernel-a",
        "origin": "api",
        "service": "openai",
        "model": "openai/gpt-6-luna",
        "params": {"temperature": 0},
        "tags": {"arm": "a"},
        "status": "ok",
        "ttft_s": 0.25 + number / 1000,
        "input_tokens": number,
        "output_tokens": 7,
        "prompt": f"Question {number}: what is a ledger? " * 3,
        # Every tenth is longer than a page, and so on pages of its own.
        "response": f"Answer {number}: a book of accounts. " * (300 if number % 10 == 0 else 12),
    }


def make_ledger(path: Path, n_rows: int = N_ROWS) -> None:
    with Ledger(path) as ledger:
        for number in range(n_rows):
            ledger.put(row(number))
        assert ledger.flush(30)
        assert ledger.close(30)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("UPDATE calls SET writer_host='host', writer_pid=1, writer_start=1.0, updated_at=started_at")
        connection.commit()
        connection.execute("PRAGMA journal_mode=DELETE")
        connection.execute("VACUUM")


def flip(path: Path, seed: int) -> str:
    """Change one to four bytes of the file, all in one kind of place, and return its name."""
    chosen = random.Random(seed)
    data = bytearray(path.read_bytes())
    place = PLACES[seed % len(PLACES)]
    for _ in range(chosen.randint(1, 4)):
        offset = _offset(data, place, chosen)
        data[offset] ^= chosen.randint(1, 255)
    path.write_bytes(data)
    return place


def _offset(data: bytearray, place: str, chosen: random.Random) -> int:
    if place == "header":
        return chosen.randrange(100)
    starts = range(0, len(data), _PAGE)
    schema = [start for start in starts if b"CREATE " in data[start : start + _PAGE]]
    if place == "schema":
        start = chosen.choice(schema)
        return chosen.randrange(start + (100 if start == 0 else 0), start + _PAGE)
    start = chosen.choice([start for start in starts if start not in schema and start])
    n_cells = int.from_bytes(data[start + 3 : start + 5], "big")
    end_of_pointers = 8 + 2 * min(n_cells, 200)
    if place == "b-tree":
        return start + chosen.randrange(end_of_pointers)
    return start + chosen.randrange(end_of_pointers, _PAGE)
