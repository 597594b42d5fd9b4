"""SQL that makes a table in SQLite what the model says."""

from __future__ import annotations

from collections.abc import Sequence

from alembic.operations import ops
from sqlalchemy import Connection, Table

from storage.schema import rebuild
from storage.schema.difference import Finding
from storage.schema.fillers import filler
from storage.schema.statements import add_column, create_index, create_indexes, create_table
from storage.schema.table_text import has_autoincrement, quote

# The shell goes on after an error unless told otherwise, and would drop a table whose rows were not copied.
_WARNING = "-- run all of it, and stop at the first error: sqlite3 -bail\n"


def sqlite_cures(connection: Connection, findings: Sequence[Finding]) -> list[str]:
    """The SQL for each finding of one table; when one of them needs the table made anew, that mends all."""
    cures = [_statement(connection, finding) for finding in findings]
    known = [cure for cure in cures if cure is not None]
    if len(known) == len(cures):
        return known
    return [_rebuild_script(connection, findings[0].table)] * len(findings)


def _statement(connection: Connection, finding: Finding) -> str | None:
    """A short cure, None where ALTER TABLE has none."""
    table, operation, dialect = finding.table, finding.operation, connection.dialect
    match operation:
        case ops.CreateTableOp():
            return ";\n".join([create_table(table, dialect), *create_indexes(table, dialect)]) + ";"
        case ops.AddColumnOp():
            column = table.columns[operation.column.key]
            plain = column.server_default is None and column.computed is None and not column.primary_key
            return f"{add_column(column, dialect)};" if plain else None
        case ops.DropColumnOp():
            plain = _stands_alone(connection, table.name, operation.column_name)
            return f"ALTER TABLE {quote(table.name)} DROP COLUMN {quote(operation.column_name)};" if plain else None
        case ops.CreateIndexOp():
            index = next(index for index in table.indexes if index.name == operation.index_name)
            drop = f"DROP INDEX IF EXISTS {quote(str(index.name))};"
            return f"{drop}\n{create_index(index, dialect)};"
        case _:
            return None


def _stands_alone(connection: Connection, table: str, column: str) -> bool:
    """Whether nothing else in the table names the column, so that DROP COLUMN works."""
    sql = rebuild.table_sql(connection, table) or ""
    in_table = sql.lower().count(column.lower()) > 1
    indexes = rebuild.stored_indexes(connection, table)
    in_index = any(column in index.columns or None in index.columns for index in indexes)
    return not (in_table or in_index or rebuild.stored_triggers(connection, table))


def _rebuild_script(connection: Connection, table: Table) -> str:
    own = {index.name for index in table.indexes}
    create, stored = create_table(table, connection.dialect), rebuild.table_sql(connection, table.name) or ""
    columns = set(table.columns.keys())
    foreign = [
        index.sql
        for index in rebuild.stored_indexes(connection, table.name)
        if index.name not in own and columns.issuperset(filter(None, index.columns))
    ]
    statements = rebuild.rebuild_statements(
        table.name,
        create,
        _values(connection, table),
        [*create_indexes(table, connection.dialect), *foreign, *rebuild.stored_triggers(connection, table.name)],
        keep_counter=has_autoincrement(create) and has_autoincrement(stored),
    )
    return _WARNING + ";\n".join([*rebuild.BEFORE, *statements, *rebuild.AFTER]) + ";"


def _values(connection: Connection, table: Table) -> dict[str, str]:
    """For each column of the model: where its values come from."""
    stored = {column.name: column for column in rebuild.stored_columns(connection, table.name)}
    values = {}
    for column in table.columns:
        old = stored.get(column.name)
        if column.computed is not None:
            continue
        if old is None:
            if not column.nullable and column.server_default is None and column is not table.autoincrement_column:
                values[column.name] = filler(column, connection.dialect)
        elif old.nullable and not column.nullable and not column.primary_key:
            values[column.name] = f"coalesce({quote(old.name)}, {filler(column, connection.dialect)})"
        else:
            values[column.name] = quote(old.name)
    return values
