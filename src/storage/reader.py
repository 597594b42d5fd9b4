"""The read path: what an accessor reads outside a transaction never waits for a writer and keeps no snapshot open."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Engine, PoolProxiedConnection
from sqlalchemy.engine.interfaces import DBAPIConnection

from storage.database import current_database
from storage.scope import current_scope, translated
from storage.statements import Statement


class _Kept(threading.local):
    """The connection that a thread reads with: in autocommit, so that nothing stays open between two reads."""

    def __init__(self) -> None:
        self.engine: Engine | None = None
        self.connection: PoolProxiedConnection | None = None

    def of(self, engine: Engine) -> DBAPIConnection:
        if self.engine is not engine or self.connection is None or self.connection.dbapi_connection is None:
            self.drop()
            self.engine, self.connection = engine, engine.raw_connection()
        driver = self.connection.dbapi_connection
        assert driver is not None  # noqa: S101 - it has just been opened
        return driver

    def drop(self) -> None:
        if self.connection is not None:
            self.connection.invalidate()
        self.engine = self.connection = None


_kept = _Kept()


def read(statement: Statement, parameters: Mapping[str, Any]) -> list[Sequence[Any]]:
    """Run a statement that reads: in the open scope, pending changes included, else outside any transaction.

    Raises:
        DatabaseUnavailable: The database cannot be read now.
    """
    scope = current_scope()
    if scope is not None:
        scope.flush()
        return scope.rows(statement, parameters)
    database = current_database()
    with translated(database.dialect):
        if not database.dialect.reads_inline:
            with database.engine.connect() as connection:
                return statement.rows(connection, parameters)
        try:
            driver = _kept.of(database.engine)
            database.dialect.check_connection(driver)
            return statement.rows_on(database.engine, driver, parameters)
        except Exception:
            _kept.drop()  # it may be broken, and opening another costs little
            raise
