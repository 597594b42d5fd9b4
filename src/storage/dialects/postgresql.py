"""PostgreSQL: engines, locks and what its errors mean."""

from __future__ import annotations

import re
from decimal import Decimal

from pydantic_core import from_json
from sqlalchemy import URL, Column, Connection, Engine, Table, create_engine, text
from sqlalchemy.exc import DBAPIError

from storage.dialects.base import Dialect, json_text
from storage.dialects.references import SOME_REFERENCE, refers_to_nothing, still_referred_to
from storage.errors import (
    ConfigurationError,
    ConstraintViolation,
    DatabaseBusy,
    DatabaseDamaged,
    DatabaseUnavailable,
    DuplicateRecord,
    ForeignKeyViolation,
    StorageError,
)

# Codes and classes of https://www.postgresql.org/docs/current/errcodes-appendix.html
_UNIQUE = "23505"
_FOREIGN_KEY = "23503"
_INTEGRITY = "23"
_TOO_LONG = "54000"  # program limit exceeded, which here is that of a row in an index
_MISSING = {"42P01", "42703"}  # undefined table, undefined column
_BUSY = {"55P03", "40001", "40P01"}  # lock not available, serialization failure, deadlock detected
_UNAVAILABLE = ("08", "53", "57P", "58", "25006")  # connection, resources, shutdown, system, read-only
_OTHER_TABLE = re.compile(r'table "(.+)"')
_DAMAGED = {"XX001", "XX002"}  # data corrupted, index corrupted
_KEY = re.compile(r"Key \((.+?)\)=")


class PostgreSQLDialect(Dialect):
    """PostgreSQL, by psycopg 3."""

    name = "postgresql"
    reads_inline = False
    counts_given_ids = False
    names_references = True

    def create_engine(self, url: URL, *, busy_timeout: float) -> Engine:
        """Make an engine: times in UTC, waits for locks bounded, lost connections replaced."""
        options = f"-c lock_timeout={int(busy_timeout * 1000)} -c timezone=UTC"
        return create_engine(
            url,
            connect_args={"options": options},
            pool_pre_ping=True,
            json_serializer=json_text,
            json_deserializer=from_json,
        )

    def begin_write(self, connection: Connection) -> None:
        """Nothing to do: what is read to be written is read with FOR UPDATE."""

    def begin_snapshot(self, connection: Connection) -> None:
        """REPEATABLE READ, whose snapshot is that of its first statement."""
        connection.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)

    def keeps_decimal(self, value: Decimal, scale: int) -> bool:
        """NUMERIC is exact; its scale and precision are the column's own."""
        del value, scale
        return True

    def translate(self, error: Exception) -> StorageError | None:
        """Say what the server's error means."""
        cause = error.orig if isinstance(error, DBAPIError) else error
        if not hasattr(cause, "sqlstate"):  # psycopg may not be installed, so its classes cannot be named here
            return None
        return self._meaning_of(cause, getattr(cause, "sqlstate", None) or "")

    def _meaning_of(self, error: object, state: str) -> StorageError | None:
        if state.startswith(_INTEGRITY):
            return _broken_constraint(error, state)
        if state == _TOO_LONG:
            return ConstraintViolation("a value is too long for an index of the table")
        if state in _MISSING:
            message = "the database lacks a table or a column that the models need"
            return ConfigurationError(message, hint="call bootstrap() when all models are defined")
        if state in _BUSY:
            message = "another transaction had the record or table locked for too long"
            return DatabaseBusy(message, hint="try again, or raise VENTION_STORAGE_BUSY_TIMEOUT")
        if state in _DAMAGED:
            return DatabaseDamaged(
                "the database is damaged", hint="see the server's log, and restore what pg_dump wrote"
            )
        if not state or state.startswith(_UNAVAILABLE):
            return DatabaseUnavailable("the database server cannot be used now", hint="see its log, then try again")
        return None

    def allocate_ids(self, connection: Connection, key: Column[int], count: int) -> list[int]:
        """Take the next numbers of the column's sequence."""
        statement = text("SELECT nextval(pg_get_serial_sequence(:table, :column)) FROM generate_series(1, :count)")
        quoted = connection.dialect.identifier_preparer.quote(key.table.name)
        return list(connection.scalars(statement, {"table": quoted, "column": key.name, "count": count}))

    def lock_table(self, connection: Connection, table: Table) -> None:
        """Keep other writers of the table waiting; readers go on."""
        quoted = connection.dialect.identifier_preparer.format_table(table)
        connection.execute(text(f"LOCK TABLE {quoted} IN SHARE ROW EXCLUSIVE MODE"))


def _broken_constraint(error: object, state: str) -> StorageError:
    if state == _UNIQUE:
        return _duplicate(error)
    if state == _FOREIGN_KEY:
        return _broken_reference(error)
    return ConstraintViolation("a constraint of the table would be broken")


def _broken_reference(error: object) -> ForeignKeyViolation:
    detail = _detail(error)
    column, other = _KEY.search(detail), _OTHER_TABLE.search(detail)
    if column is None or other is None:
        return ForeignKeyViolation(SOME_REFERENCE)
    if "still referenced" in detail:
        return ForeignKeyViolation(still_referred_to(other.group(1)))
    return ForeignKeyViolation(refers_to_nothing(column.group(1), other.group(1)))


def _detail(error: object) -> str:
    return getattr(getattr(error, "diag", None), "message_detail", None) or ""


def _duplicate(error: object) -> DuplicateRecord:
    diagnosis = getattr(error, "diag", None)
    match = _KEY.search(_detail(error))
    columns = tuple(match.group(1).split(", ")) if match else ()
    table = getattr(diagnosis, "table_name", None) or "the table"
    return DuplicateRecord(f"another record of {table} has the same {', '.join(columns) or 'key'}", columns=columns)


POSTGRESQL = PostgreSQLDialect()
