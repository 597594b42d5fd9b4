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
            with database.engine.connect() as connection:
                return statement.rows(connection, parameters)
        return database.readers.read(lambda driver: _rows(database, driver, statement, parameters))


def _rows(
    database: Database, driver: DBAPIConnection, statement: Statement, parameters: Mapping[str, Any]
) -> list[Sequence[Any]]:
    database.dialect.check_connection(driver)
    return statement.rows_on(database.engine, driver, parameters)
