"""The read path: what an accessor reads outside a transaction never waits for a writer and keeps no snapshot open."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy.engine.interfaces import DBAPIConnection

from storage.database import Database, current_database
from storage.scope import current_scope, translated
from storage.statements import Statement


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
            return _read_from_pool(database, statement, parameters)
        return database.readers.read(lambda driver: _rows(database, driver, statement, parameters))


def _rows(
    database: Database, driver: DBAPIConnection, statement: Statement, parameters: Mapping[str, Any]
) -> list[Sequence[Any]]:
    database.dialect.check_connection(driver)
    return statement.rows_on(database.engine, driver, parameters)


def _read_from_pool(database: Database, statement: Statement, parameters: Mapping[str, Any]) -> list[Sequence[Any]]:
    """Run a statement on a pooled connection, and once more on another where the first one is lost meanwhile."""
    with database.engine.connect() as connection:
        try:
            return statement.rows(connection, parameters)
        except Exception as error:
            if not database.dialect.is_lost(error):
                raise
            connection.invalidate(error)
    with database.engine.connect() as connection:
        return statement.rows(connection, parameters)
