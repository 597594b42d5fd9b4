"""PostgreSQL: engines, locks, and connections that are lost."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from pydantic_core import from_json
from sqlalchemy import URL, Column, Connection, Engine, Table, create_engine, event, text
from sqlalchemy.engine import ExceptionContext

from storage.dialects.base import Dialect, json_text
from storage.dialects.open_transactions import OpenTransactions
from storage.dialects.postgresql_errors import LOCKED, code_of, is_lost, lost, meaning_of, rolled_back
from storage.errors import CommitUncertain, ConfigurationError, StorageError, WriteWouldDeadlock

_POOLED = 16
_MORE_IN_NEED = 16  # of a hundred that a server admits unless told otherwise
_AT_ONCE = 0.2  # seconds, for which a thread may stand still that others wait for
# So that a network that fell silent is noticed in half a minute, and not in hours
# (https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-PARAMKEYWORDS).
_PATIENCE = {
    "connect_timeout": 10,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,
}


class PostgreSQLDialect(Dialect):
    """PostgreSQL, by psycopg 3."""

    name = "postgresql"
    reads_inline = False
    counts_given_ids = False
    names_references = True

    def __init__(self) -> None:
        self._open = OpenTransactions()

    def create_engine(self, url: URL, *, busy_timeout: float) -> Engine:
        """Make an engine: times in UTC, waits for locks bounded, lost connections replaced."""
        if url.get_driver_name() != "psycopg":
            message = f"storage does not use the driver {url.get_driver_name()}"
            raise ConfigurationError(message, hint="write the database URL as postgresql://…")
        patience = {name: value for name, value in _PATIENCE.items() if name not in url.query}
        engine = create_engine(
            url,
            connect_args=patience,
            pool_pre_ping=True,
            pool_size=_POOLED,
            max_overflow=_MORE_IN_NEED,
            pool_timeout=busy_timeout,
            json_serializer=json_text,
            json_deserializer=from_json,
        )
        _set_on_connect(engine, f"SET lock_timeout = {int(busy_timeout * 1000)}; SET timezone = 'UTC'")
        event.listen(engine, "begin", self._begin)
        event.listen(engine, "commit", self._commit)
        event.listen(engine, "rollback", self._open.remove)
        event.listen(engine, "handle_error", self._explain)
        return engine

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
        return self._never_ending(error) or meaning_of(error)

    def translate_commit(self, error: Exception) -> StorageError | None:
        """Say what it means that a commit failed: where nobody answered it, nobody knows what became of it."""
        if code_of(error) != "":
            return self.translate(error)
        message = "the connection was lost while the server was to commit: what was written is stored, or nothing of it"
        return CommitUncertain(message, hint="read it again before writing it again")

    def is_lost(self, error: Exception) -> bool:
        """Whether the server is gone, or has ended the connection."""
        return is_lost(error)

    def allocate_ids(self, connection: Connection, key: Column[int], count: int) -> list[int]:
        """Take the next numbers of the column's sequence."""
        statement = text("SELECT nextval(pg_get_serial_sequence(:table, :column)) FROM generate_series(1, :count)")
        quoted = connection.dialect.identifier_preparer.format_table(key.table)
        return list(connection.scalars(statement, {"table": quoted, "column": key.name, "count": count}))

    def lock_table(self, connection: Connection, table: Table) -> None:
        """Keep other writers of the table waiting; readers go on."""
        quoted = connection.dialect.identifier_preparer.format_table(table)
        connection.execute(text(f"LOCK TABLE {quoted} IN SHARE ROW EXCLUSIVE MODE"))

    def _begin(self, connection: Connection) -> None:
        """Wait for no lock for long where its owner may be another transaction of this very thread."""
        driver = connection.connection.driver_connection
        assert driver is not None  # noqa: S101 - an open connection has one
        if self._open.of_this_thread():
            driver.execute(f"SET LOCAL lock_timeout = {int(_AT_ONCE * 1000)}")
        self._open.add(connection)

    def _commit(self, connection: Connection) -> None:
        """Refuse to commit what the server would roll back without a word.

        Raises:
            DatabaseUnavailable: An earlier statement has failed, or the connection is lost.
        """
        self._open.remove(connection)
        driver = connection.connection.driver_connection
        assert driver is not None  # noqa: S101 - as above
        if driver.closed:
            raise lost()
        if driver.info.transaction_status == driver.info.transaction_status.INERROR:
            driver.rollback()
            raise rolled_back()

    def _explain(self, context: ExceptionContext) -> None:
        """Tell a session's owner, too, that a wait would never end."""
        if meaning := self._never_ending(context.original_exception):
            raise meaning from context.original_exception

    def _never_ending(self, error: BaseException) -> StorageError | None:
        """A lock that another transaction of this thread may have."""
        if code_of(error) != LOCKED:
            return None
        owners = self._open.of_this_thread()
        if len(owners) <= 1:
            return None
        message = f"{owners[-1]} waits for a lock that a transaction of {owners[0]} on the same thread may have"
        hint = (
            "write with `await in_thread(...)`, do not await inside a transaction, or join it by use_session(session)"
        )
        return WriteWouldDeadlock(message, hint=hint)


def _set_on_connect(engine: Engine, settings: str) -> None:
    """Choose settings of every connection, which outdo those of the URL, the environment and the server."""

    @event.listens_for(engine, "connect")
    def choose(driver: Any, _record: Any) -> None:
        driver.execute(settings)
        driver.commit()


POSTGRESQL = PostgreSQLDialect()
