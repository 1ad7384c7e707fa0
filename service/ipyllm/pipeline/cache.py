"""Answers kept on disk, so that the same question is not paid for twice. Shared by all kernels.

It stands between a request and its first attempt. A broken cache is a miss, never an error. Everything here
reads or writes a file: call it in a thread, not on the service loop.
"""

from __future__ import annotations

import hashlib
import json
import logging
import sqlite3
import threading
import time
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

from ipyllm.fork_safety import in_forked_child, leave_to_parent, register
from ipyllm.ledger.sqlite_file import SQLiteFile, is_busy, is_damaged, retry_while_busy
from ipyllm.observability.logs import log
from ipyllm.response import ChatResponse, ToolCall, Usage
from ipyllm.text.redact import redact

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["CacheStats", "ResponseCache", "cache_key", "current_cache"]

_logger = logging.getLogger("ipyllm.cache")

_NOT_THE_ANSWER: Final = {"stream", "stream_options"}
"""Parts of a body that say how an answer travels, not what it is."""

_APPLICATION_ID: Final = 0x6C6C6D63
_VERSION: Final = 1
_SCHEMA: Final = (
    """
    CREATE TABLE answers (
        key TEXT PRIMARY KEY, answer TEXT NOT NULL, created_at REAL NOT NULL, used_at REAL NOT NULL
    )
    """,
    "CREATE INDEX answers_used ON answers (used_at)",
    f"PRAGMA application_id={_APPLICATION_ID}",
    f"PRAGMA user_version={_VERSION}",
)

_BUSY_S: Final = 0.5
"""How long to wait for another process: a call waits with us, and an answer that is not kept is no loss."""

_OPEN_S: Final = 2.0
"""How long several processes may take to begin a new file."""

_BROKEN_S: Final = 30.0
"""A cache that failed is left alone for so long, and every question is a miss."""

_LARGEST_PART: Final = 10
"""An answer that would take more than this part of the cache is not kept."""

_MANY_USES: Final = 500
"""So many uses are noted in memory before they are written down."""


class _UnusableError(Exception):
    """The file is a database, but not one of ours."""


class _RestingError(Exception):
    """The cache failed a moment ago."""


def cache_key(scope: str, body: Mapping[str, Any]) -> str:
    """Name of the answer to ``body``: SHA-256 over everything that shapes it.

    Parameters
    ----------
    scope : str
        Who answers: the base URL of the server; for a model in this process something that outlives its port.
    body : mapping
        The JSON body as it is sent. It holds no key.

    Examples
    --------
    >>> one = cache_key("http://127.0.0.1:1/v1", {"model": "m", "temperature": 0, "stream": True})
    >>> one == cache_key("http://127.0.0.1:1/v1/", {"temperature": 0.0, "model": "m"})
    True
    >>> one == cache_key("http://127.0.0.1:1/v1", {"model": "m", "temperature": 1})
    False
    """
    shaping = {
        # A slider says 0.0 where a person writes 0.
        name: int(value) if isinstance(value, float) and value.is_integer() else value
        for name, value in body.items()
        if name not in _NOT_THE_ANSWER
    }
    # What is no JSON will be refused by the wire, with a better sentence than ours.
    canonical = json.dumps([scope.rstrip("/"), shaping], sort_keys=True, separators=(",", ":"), default=repr)
    return hashlib.sha256(canonical.encode("ascii")).hexdigest()


@dataclass(frozen=True, slots=True)
class CacheStats:
    """What a cache holds, and what it did for this process.

    Attributes
    ----------
    entries : int
        Answers in the file.
    size_bytes, max_bytes : int
        What they take up there, and what they may.
    hits, misses : int
        Questions of this process.
    """

    entries: int
    size_bytes: int
    max_bytes: int
    hits: int
    misses: int


class ResponseCache:
    """Answers by :func:`cache_key`, in an SQLite file.

    Parameters
    ----------
    path : str or Path
        The file; made with its folder, for this user alone, when it is not there.
    ttl_s : float, optional
        Seconds after which an answer is asked for again; never if not given.
    max_bytes : int
        What the answers may take up. Beyond it, those that were not used for longest go first.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder, ResponseCache(f"{folder}/answers.sqlite") as cache:
    ...     cache.put("k", ChatResponse(content="Hello!", finish_reason="stop"))
    ...     hit, miss = cache.get("k"), cache.get("another")
    >>> hit.content, hit.cache_hit, hit.timing.ttft_s, miss
    ('Hello!', True, None, None)
    """

    def __init__(self, path: str | Path, ttl_s: float | None = None, *, max_bytes: int = 500_000_000) -> None:
        self.path: Final = Path(path).expanduser().absolute()
        self._file = SQLiteFile(self.path)
        self.ttl_s = ttl_s
        self.max_bytes = max_bytes
        self._lock = threading.RLock()
        self._connection: sqlite3.Connection | None = None
        self._used: dict[str, float] = {}
        self._hits = self._misses = 0
        self._broken_until = 0.0
        self._complained = False
        self._held = False
        register(self)

    def __repr__(self) -> str:
        return f"ResponseCache({str(self.path)!r})"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def get(self, key: str) -> ChatResponse | None:
        """Return the answer kept under ``key``, marked as a hit and without latency; None when there is none.

        What belongs to the call (``call_id``, ``model``, ``started_at``, …) is the caller's to fill in.
        """
        found: ChatResponse | None = None
        with self._lock, self._never_raising(), self._opened() as connection:
            row = connection.execute("SELECT answer, created_at FROM answers WHERE key = ?", (key,)).fetchone()
            now = time.time()
            if row is not None and (self.ttl_s is None or now - row[1] <= self.ttl_s):
                found = _from_json(row[0])
                self._used[key] = now
                if len(self._used) >= _MANY_USES:
                    self._note_uses(connection)
        if found is None:
            self._misses += 1
        else:
            self._hits += 1
        return found

    def put(self, key: str, response: ChatResponse) -> None:
        """Keep ``response`` under ``key``, if it is a whole answer.

        One that holds what looks like a key is not kept: a file is no place for it, and masked it would be
        another answer.
        """
        whole = response.status == "ok" and bool(response.content or response.tool_calls)
        if not whole or response.cache_hit:
            return
        answer = _to_json(response)
        if len(answer) * _LARGEST_PART > self.max_bytes or redact(answer) != answer:
            return
        with self._lock, self._never_raising(), self._opened() as connection:
            now = time.time()
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("INSERT OR REPLACE INTO answers VALUES (?, ?, ?, ?)", (key, answer, now, now))
            self._write_uses(connection)
            self._evict(connection)
            connection.execute("COMMIT")

    def clear(self) -> None:
        """Forget all answers, and leave none of their text in the file.

        Raises
        ------
        OSError
            One sentence, when they are still there.
        """
        with self._lock:
            self._broken_until = 0.0
            try:
                with self._opened() as connection:
                    connection.execute("DELETE FROM answers")
                    connection.execute("VACUUM")
                    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
                    self._used.clear()
            except (sqlite3.Error, OSError, _UnusableError) as exc:
                raise OSError(f"The cache {self.path} could not be cleared: {redact(str(exc))}.") from None

    def stats(self) -> CacheStats:
        """Return what there is; a cache that cannot be read has nothing."""
        entries = size = 0
        with self._lock, self._never_raising(), self._opened() as connection:
            entries = connection.execute("SELECT count(*) FROM answers").fetchone()[0]
            size = _used_bytes(connection)
        return CacheStats(entries, size, self.max_bytes, self._hits, self._misses)

    # ---- the file --------------------------------------------------------------------------------

    @contextmanager
    def _never_raising(self) -> Iterator[None]:
        """Turn whatever fails into a miss, told once, and leave a broken cache alone for a while."""
        try:
            yield
        except _RestingError:
            pass
        except (sqlite3.Error, OSError, _UnusableError) as exc:
            if is_busy(exc) and self._connection is not None:
                return  # others are writing: that is no fault
            self._broken_until = time.monotonic() + _BROKEN_S
            if not self._complained:
                self._complained = True
                log(
                    _logger,
                    logging.WARNING,
                    "the cache cannot be used, and calls go on without it",
                    path=str(self.path),
                    why=str(exc) or type(exc).__name__,
                )

    @contextmanager
    def _opened(self) -> Iterator[sqlite3.Connection]:
        """Lend the connection to a file that is there and ours; a damaged one is moved aside."""
        if time.monotonic() < self._broken_until:
            raise _RestingError
        if self._connection is not None and self._file.is_replaced:
            self._disconnect()  # SQLite goes on with a file that was deleted, and calls it success
        try:
            if self._connection is None:
                self._connection = retry_while_busy(self._connect, for_s=_OPEN_S, pause_s=(0.005, 0.05))
            yield self._connection
        except BaseException as exc:
            if self._connection is not None and self._connection.in_transaction:
                with suppress(sqlite3.Error):
                    self._connection.execute("ROLLBACK")
            if is_damaged(exc):
                self._disconnect()
                with suppress(OSError):
                    self._file.move_aside()
            raise

    def _connect(self) -> sqlite3.Connection:
        self._file.prepare()
        connection = sqlite3.connect(self.path, timeout=_BUSY_S, isolation_level=None, check_same_thread=False)
        try:
            _set_up(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _note_uses(self, connection: sqlite3.Connection) -> None:
        connection.execute("BEGIN IMMEDIATE")
        self._write_uses(connection)
        connection.execute("COMMIT")

    def _write_uses(self, connection: sqlite3.Connection) -> None:
        used, self._used = self._used, {}
        connection.executemany(
            "UPDATE answers SET used_at = max(used_at, ?) WHERE key = ?", [(at, key) for key, at in used.items()]
        )

    def _evict(self, connection: sqlite3.Connection) -> None:
        """Make room, a tenth of the answers at a time, so that a full cache does not evict at every answer."""
        oldest = "DELETE FROM answers WHERE key IN (SELECT key FROM answers ORDER BY used_at LIMIT ?)"
        if _used_bytes(connection) <= self.max_bytes:
            return
        tenth = max(1, connection.execute("SELECT count(*) FROM answers").fetchone()[0] // 10)
        while _used_bytes(connection) > self.max_bytes and connection.execute(oldest, (tenth,)).rowcount:
            pass

    # ---- called by `fork_safety` at exit and around a fork ---------------------------------------------

    def close(self, timeout: float = 5.0) -> bool:
        """Write down what was used, and close the file. A later ``get`` or ``put`` opens it again."""
        if not self._lock.acquire(timeout=timeout):
            return False
        try:
            if self._connection is not None and self._used:
                with self._never_raising(), self._opened() as connection:
                    self._note_uses(connection)
            self._disconnect()
        finally:
            self._lock.release()
        return True

    def before_fork(self) -> None:
        """Leave no file open, and hold it so."""
        self._held = self._lock.acquire(timeout=_OPEN_S)
        if self._held:
            self._disconnect()

    def after_fork_in_parent(self) -> None:
        """Go on."""
        if self._held:
            self._held = False
            self._lock.release()

    def after_fork_in_child(self) -> None:
        """Begin as new; a connection that was open still is the parent's, never to be closed from here."""
        leave_to_parent(self._connection)
        self._connection = None
        self._lock = threading.RLock()
        self._held = False
        self._used = {}


def _set_up(connection: sqlite3.Connection) -> None:
    """Make a new file ours, and refuse one that is not."""
    connection.execute("PRAGMA synchronous=NORMAL")
    if _version_of(connection) == _VERSION:
        return
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("BEGIN IMMEDIATE")
    if _version_of(connection) != _VERSION:  # else another process was first
        connection.execute("DROP TABLE IF EXISTS answers")
        for statement in _SCHEMA:
            connection.execute(statement)
    connection.execute("COMMIT")


def _version_of(connection: sqlite3.Connection) -> int:
    application, version, tables = connection.execute(
        "SELECT application_id, user_version, (SELECT count(*) FROM sqlite_schema) "
        "FROM pragma_application_id, pragma_user_version"
    ).fetchone()
    if application != _APPLICATION_ID and tables:
        raise _UnusableError("it is a database of another program: set IPYLLM_CACHE_PATH to another file")
    if version > _VERSION:
        raise _UnusableError("it was written by a newer ipyllm: set IPYLLM_CACHE_PATH to another file")
    return int(version)


def _used_bytes(connection: sqlite3.Connection) -> int:
    """Bytes in use: SQLite fills the pages that were freed before the file grows."""
    found = connection.execute(
        "SELECT (page_count - freelist_count) * page_size "
        "FROM pragma_page_count, pragma_freelist_count, pragma_page_size"
    )
    return int(found.fetchone()[0])


def _to_json(response: ChatResponse) -> str:
    kept = {
        "content": response.content,
        "reasoning": response.reasoning,
        "tool_calls": [asdict(call) for call in response.tool_calls],
        "finish_reason": response.finish_reason,
        "response_model": response.response_model,
        "usage": asdict(response.usage),
    }
    return json.dumps(kept, separators=(",", ":"))  # in ASCII: lone surrogates have no other form


def _from_json(answer: str) -> ChatResponse | None:
    try:
        kept = json.loads(answer)
        tool_calls = tuple(ToolCall(**call) for call in kept.pop("tool_calls"))
        usage = Usage(**kept.pop("usage"))
        return ChatResponse(
            **kept, tool_calls=tool_calls, usage=usage, cache_hit=True, cost_usd=0.0, price_source="cache"
        )
    except (ValueError, TypeError, KeyError):
        return None  # not as we write it: the next answer takes its place


_current_lock = threading.Lock()
_current: ResponseCache | None = None


def current_cache(asked: bool | None = None) -> ResponseCache | None:
    """Return the cache that a call is to use, the one that the settings name.

    Parameters
    ----------
    asked : bool, optional
        What the call says; as the settings have it if it says nothing.

    Returns
    -------
    ResponseCache or None
        None when the call is to go without.
    """
    global _current
    from ipyllm.settings import get_settings

    settings = get_settings()
    if not (settings.cache if asked is None else asked):
        return None
    path = Path(settings.cache_path).expanduser().absolute()
    with _current_lock:
        if _current is None or (_current.path, _current.ttl_s) != (path, settings.cache_ttl):
            if _current is not None:
                _current.close(timeout=0)  # who still holds it opens it again, and `fork_safety` closes it at exit
            _current = ResponseCache(path, settings.cache_ttl)
        return _current


@in_forked_child
def _renew_lock() -> None:
    global _current_lock
    _current_lock = threading.Lock()  # another thread may have held it at that moment
