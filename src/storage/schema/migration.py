"""The transaction in which tables are made and changed, one process at a time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection, Engine, text

from storage.dialects.sqlite import SQLITE

_ADVISORY_LOCK = 0x76656E74696F6E  # "vention": any number that others do not use


@contextmanager
def migration(engine: Engine) -> Iterator[Connection]:
    """Run a block that makes or changes tables: all of it or nothing happens, and other processes wait for its end.

    On SQLite foreign keys are off in the block, so that a table can be made anew without a cascade from the old one.

    Args:
        engine: The database.

    Yields:
        A connection in the transaction.
    """
    with engine.connect() as connection:
        if engine.dialect.name != "sqlite":
            connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _ADVISORY_LOCK})
            yield connection
            connection.commit()
            return
        connection.exec_driver_sql("PRAGMA foreign_keys=OFF")  # has no effect inside a transaction
        try:
            SQLITE.begin_write(connection)
            connection.exec_driver_sql("PRAGMA legacy_alter_table=ON")
            yield connection
            connection.commit()
        finally:
            connection.rollback()
            connection.exec_driver_sql("PRAGMA legacy_alter_table=OFF")
            connection.exec_driver_sql("PRAGMA foreign_keys=ON")
