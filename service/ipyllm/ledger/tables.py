"""SQL tables of the ledger, and the migrations that create and upgrade them.

Opening a ledger runs the migrations that it lacks. Migrations are never edited: each change is a new one at
the end. ``test_tables.py`` compares the tables with what the migrations build.
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import sqlalchemy as sa

from ipyllm.ledger.columns import PRIVATE, TABLES
from ipyllm.ledger.file_origin import ForeignFileError
from ipyllm.ledger.stored_values import as_utc

if TYPE_CHECKING:
    from ipyllm.ledger.columns import Kind

__all__ = [
    "MIGRATIONS",
    "VERSION",
    "LedgerTooNewError",
    "UnknownVersionError",
    "calls",
    "claims",
    "migrate",
    "participants",
    "recoveries",
    "reservations",
    "spending",
    "tables",
    "version_of",
]


class LedgerTooNewError(Exception):
    """A newer ipyllm wrote the ledger, and this one could damage its columns."""

    def __init__(self, version: int) -> None:
        super().__init__(
            f"a newer ipyllm wrote it in version {version}, and this one knows only {VERSION}: "
            "upgrade ipyllm, or set IPYLLM_LEDGER to another file"
        )


class UnknownVersionError(Exception):
    """The ledger has no version, or one that there cannot be."""


class _UTC(sa.types.TypeDecorator[datetime]):
    """Time with a zone, always UTC; SQLite stores it as text that sorts by time."""

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def process_result_value(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:  # noqa: ARG002
        return None if value is None else as_utc(value)


_TYPES: dict[Kind, Any] = {
    "text": sa.Text(),
    "json": sa.JSON(none_as_null=True),
    "time": _UTC(),
    "float": sa.Double(),
    "int": sa.BigInteger(),
    "bool": sa.Boolean(),
    "packed": sa.LargeBinary(),
}

_metadata = sa.MetaData()

tables: Final = {
    table.name: sa.Table(
        table.name,
        _metadata,
        *(
            sa.Column(name, _TYPES[kind], primary_key=name == table.key)
            for name, kind in {**table.writable, **table.private}.items()
        ),
    )
    for table in TABLES
}
calls: Final = tables["calls"]

reservations: Final = sa.Table(
    "reservations",
    _metadata,
    sa.Column("reservation_id", sa.Text, primary_key=True),
    sa.Column("experiment", sa.Text, nullable=False),
    sa.Column("usd", sa.Double, nullable=False),
    sa.Column("sent", sa.Boolean, nullable=False),
    *(sa.Column(name, _TYPES[kind]) for name, kind in PRIVATE.items()),
)
"""Highest possible costs of calls in flight, by experiment: see :mod:`ipyllm.ledger.reservations`."""

spending: Final = sa.Table(
    "spending",
    _metadata,
    sa.Column("experiment", sa.Text, nullable=False),
    sa.Column("usd", sa.Double, nullable=False),
    sa.Column("assumed_usd", sa.Double, nullable=False),
    sa.Column("uncounted", sa.BigInteger, nullable=False),
)
"""What ended calls cost, by experiment: amounts to add up. Triggers add one when a row of ``calls`` changes."""

participants: Final = sa.Table(
    "experiment_participants",
    _metadata,
    sa.Column("participant_id", sa.Text, primary_key=True),
    sa.Column("experiment", sa.Text, nullable=False),
    sa.Column("joined", sa.BigInteger, nullable=False),
    sa.Column("senders", sa.BigInteger, nullable=False),
    *(sa.Column(name, _TYPES[kind]) for name, kind in PRIVATE.items()),
)
"""Runs of experiments in living processes: see :mod:`ipyllm.ledger.claims`."""

claims: Final = sa.Table(
    "experiment_claims",
    _metadata,
    sa.Column("experiment", sa.Text, primary_key=True),
    sa.Column("trial", sa.Text, primary_key=True),
    sa.Column("participant", sa.Text, nullable=False),
    sa.Column("ended", sa.BigInteger),
)
"""Trials that participants ask, or have asked, by experiment."""

recoveries: Final = sa.Table(
    "recoveries",
    _metadata,
    sa.Column("damaged_file", sa.Text, primary_key=True),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("attempts", sa.BigInteger, nullable=False),
    sa.Column("size_bytes", sa.BigInteger, nullable=False),
    sa.Column("read_bytes", sa.BigInteger, nullable=False),
    sa.Column("calls", sa.BigInteger, nullable=False),
    sa.Column("votes", sa.BigInteger, nullable=False),
    sa.Column("summary", sa.Text),
    *(sa.Column(name, _TYPES[kind]) for name, kind in PRIVATE.items()),
)
"""Large damaged files and how far their rows are recovered, in SQLite: see :mod:`ipyllm.ledger.recovery_record`."""

_version = sa.Table("ledger_version", _metadata, sa.Column("version", sa.Integer, nullable=False))


def _statements(version: int, dialect: str) -> tuple[str, ...]:
    """Return the statements that both databases share, then those of one; a version may have only some of them."""
    folder = Path(__file__).with_name("migrations")
    scripts = [*folder.glob(f"{version}.sql"), *folder.glob(f"{version}.{dialect}.sql")]
    return tuple(part for script in scripts for part in script.read_text(encoding="utf-8").split(";\n") if part)


VERSION: Final = 8

_HIGHEST_VERSION: Final = 1000
"""Of any ipyllm to come; a file that says more is damaged."""

MIGRATIONS: Final = {
    dialect: tuple(_statements(version, dialect) for version in range(1, VERSION + 1))
    for dialect in ("sqlite", "postgresql")
}
"""By database, the statements that upgrade version n to n + 1, by n. Append only."""


def version_of(connection: sa.Connection) -> int:
    """Return the version of the ledger at ``connection``, 0 for a database without our tables.

    Raises LedgerTooNewError for a newer ledger, ForeignFileError for a database that has tables of others by our names.
    """
    names = set(sa.inspect(connection).get_table_names())
    if _version.name not in names:
        others = names if connection.dialect.name == "sqlite" else names & _metadata.tables.keys()
        if others:
            raise ForeignFileError("it is another program's database")
        return 0
    versions = connection.scalars(sa.select(_version.c.version)).all()
    if len(versions) != 1 or not isinstance(versions[0], int) or not 0 < versions[0] <= _HIGHEST_VERSION:
        raise UnknownVersionError(f"its version is {versions}")
    if versions[0] > VERSION:
        raise LedgerTooNewError(versions[0])
    return versions[0]


def migrate(connection: sa.Connection) -> None:
    """Upgrade the ledger to :data:`VERSION`, inside the transaction that ``connection`` has begun."""
    if connection.dialect.name == "postgresql":  # two kernels may upgrade at once; SQLite has already locked the file
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(0x1971_11E4)))
    version = version_of(connection)
    if version == VERSION:
        return
    for statements in MIGRATIONS[connection.dialect.name][version:]:
        for statement in statements:
            connection.exec_driver_sql(statement)
    if version == 0:
        _version.create(connection)
        connection.execute(_version.insert().values(version=VERSION))
    else:
        connection.execute(_version.update().values(version=VERSION))
