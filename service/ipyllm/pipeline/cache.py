"""Cache of responses on disk, shared by all kernels, so that the same question is not paid for twice.

An exchange looks for a response here before its first attempt. A broken cache is a miss, never an error. All
functions read or write a file: call them in a thread, not on the service loop.
"""

from __future__ import annotations

import hashlib
import json
import logging
import sqlite3
import threading
import time
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

from ipyllm.fork_safety import register, renewed_in_child
from ipyllm.headers import NO_HEADERS, Headers
from ipyllm.ledger.file_origin import ForeignFileError
from ipyllm.ledger.sqlite_file import is_busy
from ipyllm.logprobs import from_plain, to_plain
from ipyllm.observability.logs import log
from ipyllm.pipeline.cache_file import OPEN_S, CacheFile, UnusableError, used_bytes
from ipyllm.response import ChatResponse, ToolCall, Usage
from ipyllm.text.redact import redact

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["CacheStats", "ResponseCache", "cache_key", "current_cache"]

_logger = logging.getLogger("ipyllm.cache")

_NOT_IN_KEY: Final = {"stream", "stream_options"}
"""Parts of a body that affect how a response is sent, not what it says."""

_PAUSE_AFTER_ERROR_S: Final = 30.0
"""Seconds after an error during which every lookup is a miss."""

_MIN_RESPONSES: Final = 10
"""Number of responses that must fit: a response that is too large for that is not cached."""

_MAX_PENDING_USES: Final = 500
"""Times of use that are collected in memory before they are written."""


_FAILURES: Final = (sqlite3.Error, OSError, UnusableError, ForeignFileError, UnicodeDecodeError)
"""Of the file; the last is a message of SQLite about a damaged schema."""


class _RecentlyFailedError(Exception):
    """The cache failed recently."""


def cache_key(scope: str, body: Mapping[str, Any], headers: Headers = NO_HEADERS) -> str:
    """Return the key of the response to ``body``: SHA-256 of everything that affects the response.

    ``scope`` is the base URL of the server; for an embedded model, something that does not change with its port.
    ``body`` is the JSON body as it is sent, without an API key; ``headers`` are those that the user adds.
    """
    relevant = {
        # A slider sends 0.0 where a person writes 0.
        name: int(value) if isinstance(value, float) and value.is_integer() else value
        for name, value in body.items()
        if name not in _NOT_IN_KEY
    }
    # `repr`, because a value that JSON cannot hold is refused later, when it is sent, with a better message.
    parts = [scope.rstrip("/"), relevant, *filter(None, [headers.digest()])]
    canonical = json.dumps(parts, sort_keys=True, separators=(",", ":"), default=repr)
    return hashlib.sha256(canonical.encode("ascii")).hexdigest()


@dataclass(frozen=True, slots=True)
class CacheStats:
    """Responses in the file, their size and its limit, and the lookups of this process."""

    entries: int
    size_bytes: int
    max_bytes: int
    hits: int
    misses: int


class ResponseCache:
    """Responses by :func:`cache_key`, in an SQLite file that only this user can read.

    Responses expire after ``ttl_s`` seconds, by default never. The least recently used are deleted when all together
    exceed ``max_bytes``.
    """

    def __init__(self, path: str | Path, ttl_s: float | None = None, *, max_bytes: int = 500_000_000) -> None:
        self.path: Final = Path(path).expanduser().absolute()
        self._file = CacheFile(self.path)
        self.ttl_s = ttl_s
        self.max_bytes = max_bytes
        self._lock = renewed_in_child(threading.RLock())
        self._used_at: dict[str, float] = {}
        self._hits = self._misses = 0
        self._unusable_until = 0.0
        self._warned = False
        self._locked_for_fork = False
        register(self)

    def __repr__(self) -> str:
        return f"ResponseCache({str(self.path)!r})"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def get(self, key: str) -> ChatResponse | None:
        """Return the response cached under ``key``, marked as a hit and without latency; None when there is none.

        The caller sets what belongs to the call (``call_id``, ``model``, ``started_at``, …).
        """
        found: ChatResponse | None = None
        with self._lock, self._never_raising(), self._opened() as connection:
            # As bytes: an answer that is no text any more would end the reading.
            select = "SELECT CAST(answer AS BLOB), CAST(created_at AS REAL) FROM answers WHERE key = ?"
            row = connection.execute(select, (key,)).fetchone()
            now = time.time()
            if row is not None and (self.ttl_s is None or now - row[1] <= self.ttl_s):
                found = _from_json(row[0])
                self._used_at[key] = now
                if len(self._used_at) >= _MAX_PENDING_USES:
                    self._flush_uses(connection)
        if found is None:
            self._misses += 1
        else:
            self._hits += 1
        return found

    def put(self, key: str, response: ChatResponse) -> None:
        """Cache ``response`` under ``key``, if it is complete.

        A response with text that looks like an API key is not cached: a key must not be on disk, and a masked response
        would differ from the original.
        """
        complete = response.status == "ok" and bool(response.content or response.tool_calls)
        if not complete or response.cache_hit:
            return
        answer = _to_json(response)
        if len(answer) * _MIN_RESPONSES > self.max_bytes or redact(answer) != answer:
            return
        with self._lock, self._never_raising(), self._opened() as connection:
            now = time.time()
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("INSERT OR REPLACE INTO answers VALUES (?, ?, ?, ?)", (key, answer, now, now))
            self._write_uses(connection)
            self._evict(connection)
            connection.execute("COMMIT")

    def clear(self) -> None:
        """Delete all responses, and overwrite their text in the file. Raises OSError if that fails."""
        with self._lock:
            self._unusable_until = 0.0
            try:
                with self._opened() as connection:
                    connection.execute("DELETE FROM answers")
                    connection.execute("VACUUM")
                    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
                    self._used_at.clear()
            except _FAILURES as exc:
                raise OSError(f"The cache {self.path} could not be cleared: {redact(str(exc))}.") from None

    def stats(self) -> CacheStats:
        """Return the statistics; entries and size are 0 if the cache cannot be read."""
        entries = size = 0
        with self._lock, self._never_raising(), self._opened() as connection:
            entries = connection.execute("SELECT count(*) FROM answers").fetchone()[0]
            size = used_bytes(connection)
        return CacheStats(entries, size, self.max_bytes, self._hits, self._misses)

    # ---- the file --------------------------------------------------------------------------------

    @contextmanager
    def _never_raising(self) -> Iterator[None]:
        """Turn errors into misses, log the first, and do not use a broken cache for some time."""
        try:
            yield
        except _RecentlyFailedError:
            pass
        except _FAILURES as exc:
            if is_busy(exc) and self._file.is_open:
                return  # others are writing, which is not an error
            self._unusable_until = time.monotonic() + _PAUSE_AFTER_ERROR_S
            if not self._warned:
                self._warned = True
                log(
                    _logger,
                    logging.WARNING,
                    "the cache cannot be used; calls continue without it",
                    path=str(self.path),
                    why=str(exc) or type(exc).__name__,
                )

    @contextmanager
    def _opened(self) -> Iterator[sqlite3.Connection]:
        if time.monotonic() < self._unusable_until:
            raise _RecentlyFailedError
        with self._file.opened() as connection:
            yield connection

    def _flush_uses(self, connection: sqlite3.Connection) -> None:
        connection.execute("BEGIN IMMEDIATE")
        self._write_uses(connection)
        connection.execute("COMMIT")

    def _write_uses(self, connection: sqlite3.Connection) -> None:
        used_at, self._used_at = self._used_at, {}
        connection.executemany(
            "UPDATE answers SET used_at = max(used_at, ?) WHERE key = ?", [(at, key) for key, at in used_at.items()]
        )

    def _evict(self, connection: sqlite3.Connection) -> None:
        """Delete the least recently used responses, a tenth at a time: not at every write to a full cache."""
        oldest = "DELETE FROM answers WHERE key IN (SELECT key FROM answers ORDER BY used_at LIMIT ?)"
        if used_bytes(connection) <= self.max_bytes:
            return
        tenth = max(1, connection.execute("SELECT count(*) FROM answers").fetchone()[0] // 10)
        while used_bytes(connection) > self.max_bytes and connection.execute(oldest, (tenth,)).rowcount:
            pass

    # ---- called by `fork_safety` at exit and around a fork ---------------------------------------------

    def close(self, timeout: float = 5.0) -> bool:
        """Write pending uses and close the file. A later ``get`` or ``put`` opens it again."""
        if not self._lock.acquire(timeout=timeout):
            return False
        try:
            if self._file.is_open and self._used_at:
                with self._never_raising(), self._opened() as connection:
                    self._flush_uses(connection)
            self._file.close()
        finally:
            self._lock.release()
        return True

    def give_up(self) -> None:
        """Do nothing: a response that is not cached is no loss."""

    def before_fork(self) -> None:
        """Close the file and hold the lock."""
        self._locked_for_fork = self._lock.acquire(timeout=OPEN_S)
        if self._locked_for_fork:
            self._file.close()

    def after_fork_in_parent(self) -> None:
        """Release the lock."""
        if self._locked_for_fork:
            self._locked_for_fork = False
            self._lock.release()

    def after_fork_in_child(self) -> None:
        """Start empty, and leave an open connection to the parent."""
        self._file.abandon()
        self._locked_for_fork = False
        self._used_at = {}


def _to_json(response: ChatResponse) -> str:
    stored: dict[str, Any] = {
        "content": response.content,
        "reasoning": response.reasoning,
        "tool_calls": [asdict(call) for call in response.tool_calls],
        "finish_reason": response.finish_reason,
        "response_model": response.response_model,
        "usage": asdict(replace(response.usage, broken_output_tokens_estimated=None)),
    }
    if response.refused:
        stored["refused"] = True
    if response.logprobs:
        stored["logprobs"] = to_plain(response.logprobs)
    if response.output_items:
        stored["output_items"] = response.output_items
    return json.dumps(stored, separators=(",", ":"))  # ASCII, because UTF-8 has no form for lone surrogates


def _from_json(answer: bytes) -> ChatResponse | None:
    try:
        stored = json.loads(answer)
        tool_calls = tuple(ToolCall(**call) for call in stored.pop("tool_calls"))
        usage = _usage_from_json(stored.pop("usage"))
        stored["output_items"] = tuple(stored.get("output_items", ()))
        stored["logprobs"] = from_plain(stored.get("logprobs", ()))
        return ChatResponse(
            **stored, tool_calls=tool_calls, usage=usage, cache_hit=True, cost_usd=0.0, price_source="cache"
        )
    except (ValueError, TypeError, KeyError, AttributeError):
        return None  # damaged, or in an unknown format; the next response replaces it


def _usage_from_json(stored: dict[str, Any]) -> Usage:
    usage = Usage(**stored)
    if usage.source == "estimated" and "output_tokens_estimated" not in stored:  # stored by ipyllm 0.1
        return Usage(
            source="estimated",
            input_tokens_estimated=usage.input_tokens,
            output_tokens_estimated=usage.output_tokens,
        )
    return usage


_current_lock = renewed_in_child(threading.Lock())
_current: ResponseCache | None = None


def current_cache(enabled: bool | None = None) -> ResponseCache | None:
    """Return the cache that the settings name, or None if the call must not use it.

    ``enabled`` is the call's own choice; by default, the settings decide.
    """
    global _current
    from ipyllm.settings import get_settings

    settings = get_settings()
    if not (settings.cache if enabled is None else enabled):
        return None
    path = Path(settings.cache_path).expanduser().absolute()
    with _current_lock:
        if _current is None or (_current.path, _current.ttl_s) != (path, settings.cache_ttl):
            if _current is not None:
                _current.close(timeout=0)  # a call that still uses it opens it again; `fork_safety` closes it at exit
            _current = ResponseCache(path, settings.cache_ttl)
        return _current
