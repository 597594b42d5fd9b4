"""SQLite: engines whose transactions are safe, and how integer keys are handed out.

A connection is in autocommit until its first write, which opens the transaction with BEGIN IMMEDIATE: a transaction
that read first and then upgrades its lock fails at once with SQLITE_BUSY_SNAPSHOT, whatever the busy timeout says, and
a reader that keeps a snapshot open starves checkpoints (https://www.sqlite.org/isolation.html and wal.html).
"""

from __future__ import annotations

import re
import uuid
from decimal import Decimal
from pathlib import Path
from typing import Any, cast
from weakref import WeakKeyDictionary

from pydantic_core import from_json
from sqlalchemy import URL, Column, Connection, Engine, QueuePool, Table, create_engine, event, text
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import DBAPIError, InvalidatePoolError

from storage.dialects import sqlite_driver
from storage.dialects.base import Dialect, json_text
from storage.dialects.sqlite_driver import GatedConnection
from storage.dialects.sqlite_errors import meaning_of
from storage.dialects.write_gate import WriteGate
from storage.errors import StorageError

# What SQLite runs outside a transaction; anything else, comments and parentheses in front included, counts as a write.
_NO_WRITE = re.compile(
    r"\s*(?:SELECT|PRAGMA|EXPLAIN|VALUES|ATTACH|DETACH|VACUUM|BEGIN|COMMIT|ROLLBACK\s*$"
    r"|WITH\b(?!.*\b(?:INSERT|UPDATE|DELETE|REPLACE)\b))\b",
    re.IGNORECASE | re.DOTALL,
)
_POOLED = 16
_FLOAT_DIGITS = 15


class SQLiteDialect(Dialect):
    """SQLite in a file, or in memory for tests."""

    name = "sqlite"
    reads_inline = True
    counts_given_ids = True
    names_references = False

    def __init__(self) -> None:
        self._gates: WeakKeyDictionary[Engine, WriteGate] = WeakKeyDictionary()

    def gate_of(self, engine: Engine) -> WriteGate | None:
        """The gate of an engine that this dialect made."""
        return self._gates.get(engine)

    def create_engine(self, url: URL, *, busy_timeout: float) -> Engine:
        """Make an engine: WAL, synchronous=FULL, foreign keys on, writers one at a time in a fair order."""
        sqlite_driver.warn_of_wal_reset_bug()
        engine = create_engine(
            url,
            module=sqlite_driver.DRIVER,
            poolclass=QueuePool,
            pool_size=_POOLED,
            max_overflow=-1,  # a connection costs little, and the gate bounds the writers
            json_serializer=json_text,
            json_deserializer=from_json,
        )
        gate = self._gates[engine] = WriteGate(busy_timeout)
        _connect_through_gate(engine, gate)
        event.listen(engine, "checkout", _make_ready)
        event.listen(engine, "before_cursor_execute", _begin_before_write)
        return engine

    def begin_write(self, connection: Connection) -> None:
        """BEGIN IMMEDIATE."""
        cast(GatedConnection, connection.connection.driver_connection).begin_write()

    def check_connection(self, driver: DBAPIConnection) -> None:
        """Make sure that the connection still reaches the file."""
        cast(GatedConnection, driver).check_file()

    def begin_snapshot(self, connection: Connection) -> None:
        """A read transaction, which writers do not wait for; until it ends, the write-ahead log only grows."""
        connection.exec_driver_sql("BEGIN")

    def keeps_decimal(self, value: Decimal, scale: int) -> bool:
        """Whether the number survives as a float of 15 digits, as NUMERIC stores it, and SQLAlchemy's rounding."""
        digits = "".join(map(str, value.as_tuple().digits)).strip("0")
        return len(digits) <= _FLOAT_DIGITS and Decimal(f"{float(value):.{scale}f}") == value

    def translate(self, error: Exception) -> StorageError | None:
        """Say what the driver's error means."""
        cause = error.orig if isinstance(error, DBAPIError) else error
        return meaning_of(cause) if isinstance(cause, sqlite_driver.DRIVER.Error) else None

    def allocate_ids(self, connection: Connection, key: Column[int], count: int) -> range:
        """Take the keys after the highest that was ever used; nobody else can write until the transaction ends."""
        self.begin_write(connection)
        table, column = key.table.name, connection.dialect.identifier_preparer.quote(key.name)
        quoted = connection.dialect.identifier_preparer.quote(table)
        highest = connection.scalar(text(f"SELECT max({column}) FROM {quoted}")) or 0  # noqa: S608 - quoted names
        if connection.scalar(text("SELECT 1 FROM sqlite_schema WHERE name = 'sqlite_sequence'")):
            statement = text("SELECT seq FROM sqlite_sequence WHERE name = :name")
            highest = max(highest, connection.scalar(statement, {"name": table}) or 0)
        return range(highest + 1, highest + 1 + count)

    def lock_table(self, connection: Connection, table: Table) -> None:
        """Nothing to do beyond BEGIN IMMEDIATE: SQLite has one writer at a time."""
        del table
        self.begin_write(connection)


def _connect_through_gate(engine: Engine, gate: WriteGate) -> None:
    """Let every connection of the engine pass the gate before it writes."""
    memory: list[GatedConnection] = []
    opened: set[str] = set()

    @event.listens_for(engine, "do_connect")
    def connect(_dialect: Any, _record: Any, arguments: list[Any], options: dict[str, Any]) -> GatedConnection:
        options["check_same_thread"] = False
        if arguments[0] != ":memory:":
            if opened and not Path(arguments[0]).exists() and not options.get("uri"):
                raise sqlite_driver.DRIVER.OperationalError(sqlite_driver.MOVED)  # and no new, empty one in its place
            connection = sqlite_driver.connect(arguments[0], gate, **options)
            opened.add(arguments[0])
            return connection
        # One database for all threads, which lives as long as a connection to it (sqlite.org/inmemorydb.html).
        uri = f"file:/{name}?vfs=memdb"
        if not memory:
            memory.append(sqlite_driver.connect(uri, gate, **{**options, "uri": True}))
        return sqlite_driver.connect(uri, gate, **{**options, "uri": True})

    name = f"vention-storage-{uuid.uuid4()}"


def _make_ready(driver: Any, _record: Any, _proxy: Any) -> None:
    """Have the pool replace its connections when the file was replaced."""
    try:
        driver.check_file()
        driver.reset_wait()
    except sqlite_driver.DRIVER.OperationalError as error:
        raise InvalidatePoolError(str(error)) from error


def _begin_before_write(
    _connection: Connection, cursor: Any, statement: str, _parameters: Any, _context: Any, _many: bool
) -> None:
    if not _NO_WRITE.match(statement):
        cursor.connection.begin_write()


SQLITE = SQLiteDialect()
