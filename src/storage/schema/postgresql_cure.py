"""SQL that makes a table in PostgreSQL what the model says."""

from __future__ import annotations

import io
from collections.abc import Sequence

from alembic.operations import Operations, ops
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, Enum, Table, inspect, text

from storage.schema.difference import Finding
from storage.schema.fillers import filler
from storage.schema.quirks import missing_members
from storage.schema.statements import add_column, create_index, create_indexes, create_table


def postgresql_cures(connection: Connection, findings: Sequence[Finding]) -> list[str]:
    """The SQL for each finding of one table."""
    return [";\n".join(_statements(connection, finding)) + ";" for finding in findings]


def _statements(connection: Connection, finding: Finding) -> list[str]:
    table, operation, dialect = finding.table, finding.operation, connection.dialect
    match operation:
        case None:
            return _change_key(connection, table)
        case ops.CreateTableOp():
            types = _missing_types(connection, table, list(table.columns.keys()))
            return [*types, create_table(table, dialect), *create_indexes(table, dialect)]
        case ops.AddColumnOp():
            column = table.columns[operation.column.key]
            statements = [*_missing_types(connection, table, [column.key]), add_column(column, dialect)]
            if not column.nullable and column.server_default is None:
                statements.append(f"{_alter(connection, table, column.name)} DROP DEFAULT")
            return statements
        case ops.AlterColumnOp():
            return _change_column(connection, table, operation)
        case ops.CreateIndexOp():
            index = next(index for index in table.indexes if index.name == operation.index_name)
            quoted = dialect.identifier_preparer.quote(str(index.name))
            return [f"DROP INDEX IF EXISTS {quoted}", create_index(index, dialect)]
        case _:
            return [_by_alembic(connection, operation)]


def _change_column(connection: Connection, table: Table, operation: ops.AlterColumnOp) -> list[str]:
    column = table.columns[operation.column_name]
    alter = _alter(connection, table, column.name)
    name = connection.dialect.identifier_preparer.format_column(column)
    statements = []
    stored_type = operation.existing_type
    if isinstance(stored_type, Enum) and isinstance(column.type, Enum) and stored_type.name == column.type.name:
        enum_type = connection.dialect.identifier_preparer.quote(str(column.type.name))
        missing = missing_members(stored_type, column.type)
        statements += [f"ALTER TYPE {enum_type} ADD VALUE {_literal(member)}" for member in missing]
    elif operation.modify_type is not None:
        wanted = column.type.compile(connection.dialect)
        statements += _missing_types(connection, table, [column.key])
        statements.append(f"{alter} TYPE {wanted} USING {name}::text::{wanted}")
    if operation.modify_nullable:
        statements.append(f"{alter} DROP NOT NULL")
    elif operation.modify_nullable is False:
        target = connection.dialect.identifier_preparer.format_table(table)
        value = filler(column, connection.dialect)
        statements.append(f"UPDATE {target} SET {name} = {value} WHERE {name} IS NULL")  # noqa: S608 - quoted names
        statements.append(f"{alter} SET NOT NULL")
    return statements


def _change_key(connection: Connection, table: Table) -> list[str]:
    preparer = connection.dialect.identifier_preparer
    target = f"ALTER TABLE {preparer.format_table(table)}"
    columns = ", ".join(preparer.format_column(column) for column in table.primary_key.columns)
    name = inspect(connection).get_pk_constraint(table.name)["name"]
    drop = [f"{target} DROP CONSTRAINT {preparer.quote(name)}"] if name else []
    return [*drop, f"{target} ADD PRIMARY KEY ({columns})"]


def _missing_types(connection: Connection, table: Table, columns: list[str]) -> list[str]:
    """The enum types that the columns need and the server does not have."""
    query = text("SELECT typname FROM pg_type WHERE typtype = 'e' AND pg_type_is_visible(oid)")
    existing = set(connection.scalars(query))
    wanted = {
        column.type.name: column.type
        for column in table.columns
        if column.key in columns and isinstance(column.type, Enum) and column.type.native_enum
    }
    quote = connection.dialect.identifier_preparer.quote
    return [
        f"CREATE TYPE {quote(str(name))} AS ENUM ({', '.join(_literal(member) for member in each.enums)})"
        for name, each in wanted.items()
        if name not in existing
    ]


def _literal(text: str) -> str:
    escaped = text.replace("'", "''")
    return f"'{escaped}'"


def _alter(connection: Connection, table: Table, column: str) -> str:
    preparer = connection.dialect.identifier_preparer
    return f"ALTER TABLE {preparer.format_table(table)} ALTER COLUMN {preparer.quote(column)}"


def _by_alembic(connection: Connection, operation: ops.MigrateOperation) -> str:
    """What alembic would run for an operation."""
    output = io.StringIO()
    context = MigrationContext.configure(
        dialect=connection.dialect, opts={"as_sql": True, "output_buffer": output, "literal_binds": True}
    )
    Operations(context).invoke(operation)
    return output.getvalue().strip().rstrip(";")
