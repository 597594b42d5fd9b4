"""Reading the database and finding what its tables have otherwise than the models."""

from __future__ import annotations

from collections.abc import Iterator

from alembic.autogenerate import produce_migrations
from alembic.operations import ops
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, MetaData, Table, inspect

from storage.schema import quirks
from storage.schema.difference import Finding


def find(connection: Connection, metadata: MetaData) -> list[Finding]:
    """Compare the tables in the database with the models; tables that no model knows do not count."""

    def name_counts(name: str | None, kind: str, _parents: object) -> bool:
        return kind != "table" or name in metadata.tables

    options = {
        "compare_type": quirks.type_differs,
        "include_name": name_counts,
        "include_object": quirks.object_counts,
    }
    context = MigrationContext.configure(connection, opts=options)
    script = produce_migrations(context, metadata)
    assert script.upgrade_ops is not None  # noqa: S101 - so says alembic's documentation
    findings = []
    missing = set()
    for operation in script.upgrade_ops.ops:
        if isinstance(operation, ops.CreateTableOp):
            table = metadata.tables[operation.table_name]
            findings.append(Finding(table=table, column=None, what="is missing", operation=operation))
            missing.add(operation.table_name)
        elif isinstance(operation, ops.ModifyTableOps) and operation.table_name not in missing:
            findings += _in_table(metadata.tables[operation.table_name], operation.ops)
    return findings + list(_keys(connection, metadata))


def _in_table(table: Table, operations: list[ops.MigrateOperation]) -> Iterator[Finding]:
    added = {operation.index_name for operation in operations if isinstance(operation, ops.CreateIndexOp)}
    for operation in operations:
        if isinstance(operation, ops.DropIndexOp) and operation.index_name in added:
            continue  # the other half is a CreateIndexOp, whose cure drops the old one
        if quirks.change_counts(table, operation):
            column, what = _describe(operation)
            yield Finding(table=table, column=column, what=what, operation=operation)


def _describe(operation: ops.MigrateOperation) -> tuple[str | None, str]:
    column: str | None = None
    match operation:
        case ops.AddColumnOp():
            column, what = operation.column.name, "is missing"
        case ops.DropColumnOp():
            column, what = operation.column_name, "is not in the model"
        case ops.AlterColumnOp():
            column, what = operation.column_name, _describe_change(operation)
        case ops.CreateIndexOp():
            what = f"has no index {operation.index_name} as the model declares it"
        case ops.DropConstraintOp():
            what = f"has a {_kind(operation.constraint_type)} that is not in the model"
        case ops.CreateForeignKeyOp():
            column = _only(operation.local_cols)
            what = f"has no foreign key to {operation.referent_table}({', '.join(operation.remote_cols)})"
        case ops.CreateUniqueConstraintOp():
            column = _only([str(each) for each in operation.columns])
            what = f"has no unique constraint on ({', '.join(str(each) for each in operation.columns)})"
        case _:
            what = f"differs ({type(operation).__name__})"
    return column, what


def _describe_change(operation: ops.AlterColumnOp) -> str:
    changes = []
    if operation.modify_type is not None:
        changes.append(f"is {operation.existing_type!r}, in the model {operation.modify_type!r}")
    if operation.modify_nullable is not None:
        may = "may not be NULL, in the model it may"
        changes.append(may if operation.modify_nullable else "may be NULL, in the model it may not")
    return " and ".join(changes)


def _kind(constraint: str | None) -> str:
    return {"foreignkey": "foreign key", "unique": "unique constraint"}.get(constraint or "", "constraint")


def _only(columns: list[str]) -> str | None:
    return columns[0] if len(columns) == 1 else None


def _keys(connection: Connection, metadata: MetaData) -> Iterator[Finding]:
    """Find keys of other columns, which alembic does not compare."""
    inspector = inspect(connection)
    stored_tables = set(inspector.get_table_names())
    for table in metadata.tables.values():
        if table.name not in stored_tables:
            continue
        stored = inspector.get_pk_constraint(table.name)["constrained_columns"]
        wanted = [column.name for column in table.primary_key.columns]
        if set(stored) != set(wanted):
            what = f"has the key ({', '.join(stored)}), in the model it is ({', '.join(wanted)})"
            yield Finding(table=table, column=None, what=what, operation=None)
