"""Bringing a database of an earlier version up to date."""

from __future__ import annotations

import logging
from collections.abc import Iterator

from sqlalchemy import Connection, Engine, Index, MetaData, Table, inspect, text
from sqlmodel import SQLModel

from storage.auditor import AuditLog
from storage.schema import rebuild
from storage.schema.floors import id_floors
from storage.schema.ids import reserve_ids
from storage.schema.migration import migration
from storage.schema.statements import create_indexes, create_table
from storage.schema.table_text import add_autoincrement, has_autoincrement, quote

logger = logging.getLogger("storage")

# From the audit trail of 0.6: there a key was an integer, and a missing snapshot the JSON text `null`.
_AUDIT_OF_0_6 = {
    "record_id": "CASE WHEN typeof(record_id) = 'integer' THEN record_id END",
    "record_key": "CAST(record_id AS TEXT)",
    "before": "nullif(\"before\", 'null')",
    "after": "nullif(\"after\", 'null')",
}


def upgrade(engine: Engine, metadata: MetaData) -> None:
    """Give a database today's audit table, and the tables of a SQLite file of version 0.6 ids that never come back.

    Each of the two steps is one transaction, so a killed process leaves the step undone, and a second run finds nothing
    to do. Rows, other indexes, triggers, views and foreign keys stay.

    Args:
        engine: The database.
        metadata: The tables as the models have them, prepared.
    """
    if engine.dialect.name == "sqlite":  # PostgreSQL was not known to 0.6
        _upgrade_0_6(engine, metadata)
    _renew_indexes(engine)


def _upgrade_0_6(engine: Engine, metadata: MetaData) -> None:
    with engine.connect() as connection:
        if not _has_old_trail(connection) and not list(_reusing_ids(connection, metadata)):
            return
    with migration(engine) as connection:
        if _has_old_trail(connection):
            _renew_trail(connection)
        tables = list(_reusing_ids(connection, metadata))
        floors = _floors(connection, metadata)
        for table in tables:
            _stop_reusing_ids(connection, table, floors.get(table.name, 0))


def is_old(engine: Engine) -> bool:
    """Whether the database has the audit trail of 0.6, which only `upgrade` brings up to date."""
    if engine.dialect.name != "sqlite":
        return False
    with engine.connect() as connection:
        return _has_old_trail(connection)


def _audit_table() -> Table:
    return SQLModel.metadata.tables[str(AuditLog.__tablename__)]


def _has_old_trail(connection: Connection) -> bool:
    names = {column.name for column in rebuild.stored_columns(connection, _audit_table().name)}
    return "record_id" in names and "record_key" not in names


def _renew_trail(connection: Connection) -> None:
    table = _audit_table()
    indexes = rebuild.stored_indexes(connection, table.name)
    foreign = [index.sql for index in indexes if not index.name.startswith(f"ix_{table.name}_")]
    values = {column.name: _AUDIT_OF_0_6.get(column.name, quote(column.name)) for column in table.columns}
    extras = [*create_indexes(table, connection.dialect), *foreign, *rebuild.stored_triggers(connection, table.name)]
    create = create_table(table, connection.dialect)
    for statement in rebuild.rebuild_statements(table.name, create, values, extras):
        connection.exec_driver_sql(statement)


def _renew_indexes(engine: Engine) -> None:
    """Give the audit table the indexes that its model has today, and take those away that it had once."""
    with engine.connect() as connection:
        stale, missing = _index_changes(connection)
    if not stale and not missing:
        return
    with migration(engine) as connection:
        stale, missing = _index_changes(connection)  # another process may have been faster
        for name in stale:
            connection.exec_driver_sql(f"DROP INDEX {quote(name)}")
        for index in missing:
            index.create(connection)


def _index_changes(connection: Connection) -> tuple[list[str], list[Index]]:
    """The names of our indexes that differ from the model, and the indexes that it has and the table has not."""
    table, inspector = _audit_table(), inspect(connection)
    if not inspector.has_table(table.name):
        return [], []
    stored = {index["name"] or "": index["column_names"] for index in inspector.get_indexes(table.name)}
    wanted = {str(index.name): [column.name for column in index.columns] for index in table.indexes}
    own = [name for name in stored if name.startswith(f"ix_{table.name}_")]
    stale = [name for name in own if stored[name] != wanted.get(name)]
    return stale, [index for index in table.indexes if index.name not in stored or index.name in stale]


def _reusing_ids(connection: Connection, metadata: MetaData) -> Iterator[Table]:
    """The tables of models whose last id comes back when its row is deleted."""
    for table in metadata.tables.values():
        if table.autoincrement_column is None:
            continue
        sql = rebuild.table_sql(connection, table.name)
        if sql is not None and not has_autoincrement(sql) and _numbers_rows(connection, table):
            yield table


def _numbers_rows(connection: Connection, table: Table) -> bool:
    """Whether the stored key is the one of the model, and SQLite numbers the rows by it."""
    key = table.autoincrement_column
    stored = [column for column in rebuild.stored_columns(connection, table.name) if column.key]
    return key is not None and [(column.name, column.type) for column in stored] == [(key.name, "INTEGER")]


def _floors(connection: Connection, metadata: MetaData) -> dict[str, int]:
    audit = _audit_table()
    if rebuild.table_sql(connection, audit.name) is None:
        return {}
    tables = {}
    for table in metadata.tables.values():
        columns = frozenset(column.name for column in rebuild.stored_columns(connection, table.name))
        if columns and table is not audit and table.autoincrement_column is not None:
            tables[table.name] = columns
    return id_floors(connection, tables)


def _stop_reusing_ids(connection: Connection, table: Table, floor: int) -> None:
    key = table.autoincrement_column
    sql = rebuild.table_sql(connection, table.name)
    assert key is not None and sql is not None  # noqa: PT018, S101 - as chosen by _reusing_ids
    create = add_autoincrement(sql, key.name)
    before = _fingerprint(connection, table.name)
    if create is not None:
        connection.exec_driver_sql("SAVEPOINT adoption")
        _rebuild_as(connection, table.name, create)
        if _fingerprint(connection, table.name) == before:
            connection.exec_driver_sql("RELEASE adoption")
            reserve_ids(connection, table, floor)
            return
        connection.exec_driver_sql("ROLLBACK TO adoption")
        connection.exec_driver_sql("RELEASE adoption")
    logger.warning(
        "table %s is declared in a way that storage leaves alone: SQLite may give the id of its last row out again "
        "when that is deleted; declare the key as INTEGER PRIMARY KEY AUTOINCREMENT",
        table.name,
    )


def _rebuild_as(connection: Connection, table: str, create: str) -> None:
    values = {
        column.name: quote(column.name) for column in rebuild.stored_columns(connection, table) if not column.generated
    }
    indexes = [index.sql for index in rebuild.stored_indexes(connection, table)]
    extras = [*indexes, *rebuild.stored_triggers(connection, table)]
    for statement in rebuild.rebuild_statements(table, create, values, extras):
        connection.exec_driver_sql(statement)


def _fingerprint(connection: Connection, table: str) -> list[object]:
    """What must be the same before and after: columns, foreign keys, indexes, triggers and the number of rows."""
    queries = [
        "SELECT * FROM pragma_table_xinfo(:table) ORDER BY cid",
        "SELECT * FROM pragma_foreign_key_list(:table) ORDER BY id, seq",
        'SELECT "unique", origin, partial FROM pragma_index_list(:table) ORDER BY name',
        "SELECT name, sql FROM sqlite_master WHERE lower(tbl_name) = lower(:table) AND type <> 'table' ORDER BY name",
    ]
    rows = [list(connection.execute(text(query), {"table": table})) for query in queries]
    count = connection.exec_driver_sql(f"SELECT count(*) FROM {quote(table)}").scalar()  # noqa: S608 - quoted
    return [*rows, count]
