"""Interface of the ledger: rows are put and read, the budgets of experiments reserved, old rows deleted."""

from __future__ import annotations

import logging
import os
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Self, TypeVar

from ipyllm.errors import bad_request
from ipyllm.ledger.columns import CALLS, TABLES
from ipyllm.ledger.file_origin import LEDGER, ForeignFileError
from ipyllm.ledger.query import Query, merge, merge_by_tag
from ipyllm.ledger.sqlite_file import error_text, is_busy
from ipyllm.ledger.wait_limit import LedgerBusyError, remaining_s, wait_limit
from ipyllm.ledger.writer import Writer

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence
    from datetime import datetime

    from ipyllm.ledger.arrow_read import ArrowColumns
    from ipyllm.ledger.budget_state import BudgetState
    from ipyllm.ledger.claim_state import ClaimRequest, ClaimState
    from ipyllm.ledger.column_read import StoredColumns
    from ipyllm.ledger.columns import Row, Table
    from ipyllm.ledger.query import Conditions
    from ipyllm.ledger.store import Store

__all__ = ["Ledger", "LedgerUnavailableError"]

READ_WAIT_S = 5.0
"""Seconds that a read waits for other threads and processes, in all."""

_CHECK_WAIT_S = 0.5  # the opening checks again

_WRITER_WAIT_S = 2.0
"""Seconds of these for the writer: the rows it has not written are read from memory."""

_RESERVE_WAIT_S = 15.0
"""Seconds that a reservation or a claim waits: without it, a call cannot be made."""

_MOST_UNWRITTEN = 1_000
"""Most unwritten rows that are read one by one beside many stored ones."""

_LEAST_AGE_S = 1.0
"""Age of the last change of a file from which on a next change has another time, however coarse the times are."""

_log = logging.getLogger("ipyllm.ledger")

_T = TypeVar("_T")


class LedgerUnavailableError(Exception):
    """The database cannot be written now; the message says why."""


class Ledger:
    """All exchanges with models, in a database that kernels share.

    Parameters
    ----------
    url_or_path : str or path
        Path of an SQLite file, created with its folder if it does not exist; or the SQLAlchemy URL of an SQLite or
        PostgreSQL database.
    store_text : bool
        Whether prompts, answers and reasoning are written.

    Examples
    --------
    >>> with Ledger("sqlite://") as ledger:
    ...     ledger.put({"call_id": "01", "model": "local/smollm2-135m", "status": "running"})
    ...     ledger.put({"call_id": "01", "status": "ok", "output_tokens": 7})
    ...     ledger.flush(timeout=5)
    ...     [row[0] for row in ledger.read()]
    True
    ['01']
    """

    def __init__(self, url_or_path: str | os.PathLike[str], *, store_text: bool = True) -> None:
        self._writer = Writer(os.fspath(url_or_path), store_text=store_text)
        self._read_error: str | None = None
        self._is_checked = False
        self._is_held = False

    def __repr__(self) -> str:
        return repr(self._writer)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def check(self) -> None:
        """Raise LLMError if the path is something that is not a ledger, such as a folder or another program's file.

        After the first success it returns at once.
        """
        if self._is_checked:
            return
        path = self._writer.store.path
        try:
            if path is not None:
                LEDGER.check(path, _CHECK_WAIT_S)
        except ForeignFileError as exc:
            raise bad_request(
                f"{path} cannot be the ledger: {exc}. It was left unchanged, and nothing was sent. Set "
                "IPYLLM_LEDGER to a path where nothing is yet, or to a ledger of ipyllm."
            ) from None
        self._is_checked = True

    def put(self, row: Mapping[str, object], table: Table = CALLS) -> None:
        """Queue ``row`` to be written. Returns in microseconds and never raises.

        Parameters
        ----------
        row : mapping
            The table's key (``call_id``) and any other columns; they replace values that were put before.
        table : Table
            Table of the row.
        """
        self._writer.put(row, table)

    def flush(self, timeout: float = 5.0) -> bool:
        """Wait up to ``timeout`` seconds until all rows put so far are written; return whether they are.

        Returns False at once when the ledger cannot be written.
        """
        return self._writer.flush(timeout)

    def close(self, timeout: float = 5.0) -> bool:
        """Write all rows, stop the thread and close the database; return whether that was done in ``timeout`` seconds.

        After a timeout the thread continues in the background. A later ``put`` opens the ledger again.
        """
        return self._writer.close(timeout)

    def close_when_idle(self) -> None:
        """Close as soon as no call that writes to this ledger is running. Returns at once.

        Rows put later are still written, and the thread then stops again.
        """
        self._writer.close_when_idle()

    def take_warning(self) -> str | None:
        """Return the new warnings for the user, each once; None when there are none."""
        return self._writer.store.warnings.take()

    @property
    def read_error(self) -> str | None:
        """Sentence about the failure of the last read; None if it succeeded."""
        return self._read_error

    @property
    def recovering(self) -> str | None:
        """Clause about a large damaged file whose rows are still being recovered, as of the last read; None if none."""
        if not self._writer.store.is_recovering:
            return None
        return f"The ledger at {self._writer.store} is being recovered after damage, so it may lack rows until then"

    @property
    def is_held(self) -> bool:
        """Whether the last read failed because another process held the database for too long: it has more rows."""
        return self._is_held

    def read(self, query: Conditions | None = None, *, timeout: float = READ_WAIT_S) -> Sequence[tuple[Any, ...]]:
        """Return the rows of ``query`` (default: all calls), unwritten rows included; values in the order of columns.

        Waits ``timeout`` seconds at most for the writer and for other processes; if they hold the database longer, only
        the unwritten rows are returned, and :attr:`read_error` says so.
        """
        query = query or Query()
        with wait_limit(timeout):
            in_memory, store_query = self._unwritten_rows(query)
            return merge(self._query_store(lambda store: store.read(store_query), []), in_memory, query)

    def read_large(self, query: Conditions, *, timeout: float = READ_WAIT_S) -> ArrowColumns | None:
        """Return the rows of :meth:`read` as Arrow columns, in the database's types, where that is faster.

        Returns None for few rows, for a database that is not an SQLite file, and without ``ipyllm[tables]``.
        """
        with wait_limit(timeout):
            in_memory, store_query = self._unwritten_rows(query)
            table = self._query_store(lambda store: store.read_large(store_query), None)
        if table is None:
            return None
        from ipyllm.ledger.arrow_read import merge_columns

        return merge_columns(table, in_memory, query)

    def read_columns(self, query: Conditions, *, timeout: float = READ_WAIT_S) -> StoredColumns | None:
        """Return the stored rows of ``query`` as arrays, which take less memory than what :meth:`read_large` needs.

        The result names the rows that have newer values in memory. Columns of JSON are left out; each column of text
        should have few values. Returns None for few rows, for a database that is not an SQLite file, and where much is
        unwritten.
        """
        with wait_limit(timeout):
            in_memory, store_query = self._unwritten_rows(query)
            if len(in_memory) > _MOST_UNWRITTEN:
                return None
            found = self._query_store(lambda store: store.read_columns(store_query), None)
        return found and replace(found, unwritten=tuple(row[query.table.key] for row in in_memory))

    def content_mark(self) -> object | None:
        """Return a value that stays equal while no row changes, whoever changes it; None where that is not known."""
        path = self._writer.store.path
        if path is None or not self.flush(_WRITER_WAIT_S) or self._writer.pending.has_unwritten:
            return None
        found: list[tuple[int, int, int] | None] = []
        for file in (path, path.with_name(f"{path.name}-wal")):
            try:
                status = file.stat()
            except FileNotFoundError:
                found.append(None)
                continue
            except OSError:
                return None
            if time.time() - status.st_mtime < _LEAST_AGE_S:
                return None
            found.append((status.st_ino, status.st_size, status.st_mtime_ns))
        return tuple(found)

    def read_by_tag(
        self, experiment: str, tag: str, columns: Sequence[str], *, without_status: str | None = None
    ) -> Sequence[tuple[Any, ...]] | None:
        """Return the id of each call of an experiment, the text of one tag, and ``columns``; unwritten rows come last.

        Stored rows ``without_status`` are left out. Faster than :meth:`read`; None where a value is damaged, which that
        tolerates.
        """
        with wait_limit(READ_WAIT_S):
            in_memory, _ = self._unwritten_rows(Query())
            none: Sequence[tuple[Any, ...]] | None = ()
            stored = self._query_store(lambda store: store.read_by_tag(experiment, tag, columns, without_status), none)
        return None if stored is None else merge_by_tag(stored, in_memory, experiment, tag, columns)

    def tags_of_answers(self, experiment: str, tag: str, columns: Sequence[str]) -> Sequence[tuple[Any, ...]] | None:
        """Return ``columns`` of the stored answers of an experiment, each combination once, those of the latest last.

        Behind the columns stand whether their address is known, and the texts of a tag, joined by commas. Warm-ups and
        steps are left out. None where a value is damaged.
        """
        with wait_limit(READ_WAIT_S):
            none: Sequence[tuple[Any, ...]] | None = ()
            return self._query_store(lambda store: store.tags_of_answers(experiment, tag, columns), none)

    def pages(self, query: Conditions, *, timeout: float = READ_WAIT_S) -> Sequence[Conditions] | None:
        """Return ``query`` in pages, to be read one by one, oldest first, so that memory need not hold all rows.

        Rows that come later are on the last page. None where rows cannot be written or read by pages now, or are
        limited: :meth:`read` returns them all.
        """
        with wait_limit(timeout):
            if query.limit is not None or not self.flush(remaining_s(_WRITER_WAIT_S)):
                return None
            return self._query_store(lambda store: store.pages(query), None)

    def reserve(
        self,
        experiment: str,
        limit_usd: float,
        wanted: Mapping[str, tuple[float, bool]],
        released: Collection[str] = (),
    ) -> BudgetState:
        """Release and grant reservations of an experiment's budget, which all processes share.

        Parameters
        ----------
        experiment : str
            Its name.
        limit_usd : float
            Its limit in US dollars.
        wanted : mapping
            Amount in US dollars by the reservation's id; and whether it must stay if this process dies, because only
            this process can write the rows of its calls.
        released : collection of str
            Ids of reservations whose calls have ended; their rows are written first.

        Raises
        ------
        LedgerUnavailableError
            The database cannot be read or written now, so nothing was reserved.
        """
        return self._transact(
            lambda store: store.reserve(experiment, limit_usd, wanted, released),
            f"The budget of {experiment!r} cannot be checked",
            rows_first=bool(released),
        )

    def update_claims(self, request: ClaimRequest) -> ClaimState:
        """Give a sign of life of a participant of an experiment, and change its claims on trials.

        Rows of trials that have ended are written first.

        Raises
        ------
        LedgerUnavailableError
            The database cannot be read or written now, so nothing was claimed.
        """
        what = f"Trials of {request.experiment!r} cannot be claimed"
        return self._transact(lambda store: store.update_claims(request), what, rows_first=bool(request.ended))

    def leave(self, participant: str, experiment: str) -> None:
        """Give back all claims of a participant of an experiment, once its rows are written, and forget it.

        Raises as :meth:`update_claims` does.
        """
        what = f"Claims of {experiment!r} cannot be given back"
        self._transact(lambda store: store.leave(participant, experiment), what, rows_first=True)

    def has_participant(self, participant: str) -> bool:
        """Return whether a participant is known to this ledger, which is then the one that it has joined."""
        return self._transact(
            lambda store: store.has_participant(participant), "Participants cannot be found", rows_first=False
        )

    def prune(self, before: datetime | None, text_before: datetime | None) -> dict[Table, tuple[int, int]]:
        """Delete rows that began before ``before``, and text of those before ``text_before``, but not running calls.

        Returns the number of deleted rows, and of rows whose text was deleted, by table. LedgerUnavailableError says
        why the database cannot be written now.
        """
        self.flush()
        try:
            store = self._writer.store.open()
            pruned = {table: store.prune(table, before, text_before) for table in TABLES}
        except Exception as exc:
            self._writer.recover(exc)
            raise LedgerUnavailableError(
                f"The ledger at {self._writer.store} cannot be pruned ({error_text(exc)})."
            ) from exc
        try:
            store.compact()
        except Exception as exc:  # noqa: BLE001 - the rows are gone; the file can be shrunk later
            _log.info("The ledger at %s was not compacted (%s).", self._writer.store, error_text(exc))
        return pruned

    def _transact(self, ask: Callable[[Store], _T], what: str, *, rows_first: bool) -> _T:
        """Return the result of ``ask``, after all rows are written; ``what`` begins the sentence if that fails."""
        reason = "it cannot be written"
        if not rows_first or self.flush():
            try:
                with wait_limit(_RESERVE_WAIT_S):
                    return ask(self._writer.store.open())
            except Exception as exc:  # noqa: BLE001 - whatever it is, nothing may be spent
                self._writer.recover(exc)
                reason = error_text(exc)
        raise LedgerUnavailableError(f"{what} in the ledger at {self._writer.store} ({reason}).")

    def _unwritten_rows(self, query: Conditions) -> tuple[Sequence[Row], Conditions]:
        """Return the unwritten rows, and the query for the rows in the database."""
        if query.page is not None:
            return (), query
        self.flush(remaining_s(_WRITER_WAIT_S))
        in_memory = self._writer.pending.rows(query.table)  # before the database is read, so that no row is missed
        # A row that matches in the database may not match in memory any more, so read more rows than the limit.
        return in_memory, query if query.limit is None else query.with_limit(query.limit + len(in_memory))

    def _query_store(self, ask: Callable[[Store], _T], default: _T) -> _T:
        """Return the result of ``ask``; on failure, warn and return ``default``."""
        for _ in range(3):
            try:
                answer = ask(self._writer.store.open())
            except Exception as exc:  # noqa: BLE001 - rows in memory can be shown in any case
                if self._writer.recover(exc):
                    continue
                self._is_held = is_busy(exc) or isinstance(exc, LedgerBusyError)
                reason = "another process has held it for too long" if self._is_held else error_text(exc)
                why = f"cannot be read ({reason})"
                self._read_error = f"The ledger at {self._writer.store} {why}"
                if self._is_held or not self._writer.failing:
                    shown = f"{self._read_error}: only rows still in memory are shown."
                    self._writer.store.warnings.add(shown, again=self._is_held)
                break
            self._read_error, self._is_held = None, False
            if self.recovering is not None:
                self._writer.store.warnings.add(f"{self.recovering}.", again=True)
            return answer
        return default
